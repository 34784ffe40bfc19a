"""
What a producer measures: so many tasks, from the first submission until the
last result is stored.

Results are counted where the framework keeps them, not fetched, which is the
cheapest way for all of them to know.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

#: Between two looks at how many results there are, seconds.
LOOK_S = 0.02

#: Tasks in one request, where a framework can submit many in one.
CHUNK = 100


def until_stored(stored: Callable[[], int], count: int, patience_s: float) -> None:
    """Wait until C{count} results are there."""
    deadline = time.monotonic() + patience_s
    while (there := stored()) < count:
        if time.monotonic() > deadline:
            raise SystemExit(f"only {there} of {count} results are there")
        time.sleep(LOOK_S)


def one_by_one(send: Callable[[], object]) -> Callable[[int], None]:
    """Submits C{count} tasks with C{send}, which submits one."""

    def submit(count: int) -> None:
        for _ in range(count):
            send()

    return submit


def in_chunks(send_many: Callable[[int], object]) -> Callable[[int], None]:
    """Submits C{count} tasks with C{send_many}, which submits as many as it is told."""

    def submit(count: int) -> None:
        for start in range(0, count, CHUNK):
            send_many(min(CHUNK, count - start))

    return submit


def produce(stored: Callable[[], int], **styles: Callable[[int], None]) -> None:
    """
    Submit in the style that the command line says as many tasks as it says, after
    some to warm up, and print how long it took, as JSON.

    @param stored: how many results there are.
    @param styles: each submits so many tasks.
    """
    submit = styles[sys.argv[1]]
    warm_up, count = map(int, sys.argv[2:4])
    submit(warm_up)
    until_stored(stored, warm_up, 60)
    began = time.perf_counter()
    submit(count)
    submitted = time.perf_counter()
    until_stored(stored, warm_up + count, 600)
    ended = time.perf_counter()
    print(json.dumps({"submit_s": submitted - began, "total_s": ended - began}))
