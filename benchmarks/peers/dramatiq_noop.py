"""dramatiq, with its middleware for results: both in Redis.  It has no bulk submission."""

from __future__ import annotations

import os

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

RESULTS = os.environ["PEER_RESULTS"]

broker = RedisBroker(url=os.environ["PEER_BROKER"])
broker.add_middleware(Results(backend=RedisBackend(url=RESULTS), store_results=True))
dramatiq.set_broker(broker)


@dramatiq.actor
def noop() -> None:
    """Nothing."""


if __name__ == "__main__":
    import redis

    from benchmarks.peers.producing import one_by_one, produce

    results = redis.Redis.from_url(RESULTS)
    produce(results.dbsize, one=one_by_one(noop.send))
