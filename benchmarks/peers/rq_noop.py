"""RQ: one by one, and with C{enqueue_many}, which sends a pipeline to Redis."""

from __future__ import annotations

import os

import redis
from rq import Queue
from rq.registry import FinishedJobRegistry

from benchmarks.peers.producing import in_chunks, one_by_one, produce
from benchmarks.peers.rq_tasks import noop

if __name__ == "__main__":
    connection = redis.Redis.from_url(os.environ["PEER_BROKER"])
    queue = Queue(connection=connection)
    finished = FinishedJobRegistry(queue=queue)

    def many(count: int) -> None:
        """Submit so many in one pipeline."""
        queue.enqueue_many([Queue.prepare_data(noop) for _ in range(count)])

    produce(
        lambda: connection.zcard(finished.key),
        one=one_by_one(lambda: queue.enqueue(noop)),
        many=in_chunks(many),
    )
