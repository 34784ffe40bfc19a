"""Celery: broker and results in Redis."""

from __future__ import annotations

import os

from celery import Celery

RESULTS = os.environ["PEER_RESULTS"]

app = Celery("noop", broker=os.environ["PEER_BROKER"], backend=RESULTS)
# Of many short tasks it says: fetch many ahead.
app.conf.worker_prefetch_multiplier = 64


@app.task(name="noop")
def noop() -> None:
    """Nothing."""


def with_one_producer(count: int) -> None:
    """Submit so many over one connection, without looking for it each time."""
    with app.producer_pool.acquire(block=True) as producer:
        for _ in range(count):
            noop.apply_async(producer=producer)


if __name__ == "__main__":
    import redis

    from benchmarks.peers.producing import one_by_one, produce

    results = redis.Redis.from_url(RESULTS)
    produce(results.dbsize, one=one_by_one(noop.delay), many=with_one_producer)
