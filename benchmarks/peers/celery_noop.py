"""Celery, as it comes: broker and results in Redis."""

from __future__ import annotations

import os

from celery import Celery

BROKER = os.environ["PEER_BROKER"]
RESULTS = os.environ["PEER_RESULTS"]

app = Celery("noop", broker=BROKER, backend=RESULTS)


@app.task(name="noop")
def noop() -> None:
    """Nothing."""


if __name__ == "__main__":
    from benchmarks.peers.producing import produce

    produce(noop.delay, RESULTS)
