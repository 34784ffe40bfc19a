"""
A task that does nothing, and its producer; see L{benchmarks.frameworks}.

The producer prints, as JSON, the seconds from the first submission until the
last was accepted, and until the last result was stored.
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import taskqueue

app = taskqueue.App()


@app.task(max_retries=0)
def noop() -> None:
    """Nothing."""


#: Between two looks at how many results there are, seconds.
LOOK_S = 0.02

#: Of one request, where many are submitted in one.
CHUNK = 100


def until_stored(client: Any, count: int, patience_s: float) -> None:
    """
    Wait until the broker has stored C{count} results.

    What it counts may not be on disk yet.  It is when something submitted later is.
    """
    deadline = time.monotonic() + patience_s
    while (stored := client.stats()["totals"]["completed"]) < count:
        if time.monotonic() > deadline:
            raise SystemExit(f"only {stored} of {count} results are there")
        time.sleep(LOOK_S)
    client.submit("noop", queue="afterwards")


def submit(client: Any, count: int, how: str) -> None:
    """Submit so many, C{how}: C{"one"} by one, or C{"many"} in a request."""
    if how == "one":
        for _ in range(count):
            noop.submit()
    else:
        for answer in client.submit_many(noop.submission() for _ in range(count)):
            if isinstance(answer, Exception):
                raise answer


def main() -> None:
    """Produce."""
    how, warm_up, count = sys.argv[1], *map(int, sys.argv[2:4])
    client = app.client
    submit(client, warm_up, how)
    until_stored(client, warm_up, 60)
    began = time.perf_counter()
    submit(client, count, how)
    submitted = time.perf_counter()
    until_stored(client, warm_up + count, 600)
    stored = time.perf_counter()
    print(json.dumps({"submit_s": submitted - began, "total_s": stored - began}))


if __name__ == "__main__":
    main()
