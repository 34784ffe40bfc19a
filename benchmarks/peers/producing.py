"""
What a producer measures: so many tasks, from the first submission until the
last result is stored.

Results are counted in their Redis database, not fetched, which is the cheapest
way for these frameworks to know.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable

import redis

#: Between two looks at how many results there are, seconds.
LOOK_S = 0.01


def until_stored(results: redis.Redis, count: int, patience_s: float) -> None:
    """Wait until C{count} results are there."""
    deadline = time.monotonic() + patience_s
    while results.dbsize() < count:
        if time.monotonic() > deadline:
            raise SystemExit(f"only {results.dbsize()} of {count} results are there")
        time.sleep(LOOK_S)


def produce(send: Callable[[], object], results_url: str) -> None:
    """
    Submit as many tasks as the command line says, after some to warm up, and
    print how long it took, as JSON.
    """
    warm_up, count = map(int, sys.argv[1:3])
    results = redis.Redis.from_url(results_url)
    for _ in range(warm_up):
        send()
    until_stored(results, warm_up, 60)
    began = time.perf_counter()
    for _ in range(count):
        send()
    submitted = time.perf_counter()
    until_stored(results, warm_up + count, 600)
    stored = time.perf_counter()
    print(json.dumps({"submit_s": submitted - began, "total_s": stored - began}))
