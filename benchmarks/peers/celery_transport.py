"""
Celery over any broker: the application that C{benchmarks.celery_transport} runs, and its producer.

Every child of a worker counts what it has ended in a file of its own, so that it is known in
the same way with results and without, and costs a microsecond.
"""

from __future__ import annotations

import json
import mmap
import os
import struct
import sys
import time
from pathlib import Path
from typing import Any

# Redis' client is among the peers; all else is this environment's, for both.
sys.path.append(os.environ["PEERS_PATH"])

from celery import Celery
from celery.signals import task_postrun

import taskqueue.contrib.celery  # noqa: F401  # registers its schemes

COUNTS = Path(os.environ["COUNTS"])

app = Celery("noop", broker=os.environ["BROKER"], backend=os.environ.get("RESULTS") or None)
app.conf.worker_prefetch_multiplier = int(os.environ["PREFETCH"])
app.conf.task_ignore_result = not os.environ.get("RESULTS")

_counter: mmap.mmap | None = None
_ended = 0


@app.task(name="noop")
def noop() -> None:
    """Nothing."""


@task_postrun.connect
def _count(**_: Any) -> None:
    global _counter, _ended  # noqa: PLW0603  # of this process
    if _counter is None:
        path = COUNTS / str(os.getpid())
        path.write_bytes(bytes(8))
        with path.open("r+b") as file:
            _counter = mmap.mmap(file.fileno(), 8)
    _ended += 1
    _counter[:] = struct.pack("Q", _ended)


def ended() -> int:
    """How many tasks have ended so far, their results stored."""
    return sum(struct.unpack("Q", path.read_bytes())[0] for path in COUNTS.iterdir())


def until_ended(count: int, patience_s: float = 240.0) -> None:
    """Wait for so many."""
    deadline = time.monotonic() + patience_s
    while ended() < count:
        if time.monotonic() > deadline:
            raise SystemExit(f"only {ended()} of {count} tasks have ended")
        time.sleep(0.005)


def main() -> None:
    """Submit some to warm up, then as many as is said, and print how long it took, as JSON."""
    warm_up, count = map(int, sys.argv[1:3])
    with app.producer_pool.acquire(block=True) as producer:
        for _ in range(warm_up):
            noop.apply_async(producer=producer)
        until_ended(warm_up)
        began, cpu = time.perf_counter(), time.process_time()
        for _ in range(count):
            noop.apply_async(producer=producer)
        submitted, cpu = time.perf_counter(), time.process_time() - cpu
        until_ended(warm_up + count)
        took = time.perf_counter() - began
    print(json.dumps({"submit_s": submitted - began, "total_s": took, "producer_cpu_s": cpu}))


if __name__ == "__main__":
    main()
