"""
Exemplars: for a bucket of a histogram, a trace that fell into it.

Nothing is noted while tasks run.  The core remembers the tasks that ended lately;
those of them that carry the context of a trace are looked at when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator
from itertools import islice

import msgspec
from prometheus_client.samples import Exemplar

from taskqueue.core.counters import BUCKETS_S
from taskqueue.core.ledger import Ledger
from taskqueue.core.task import State, Task

#: How many of the tasks that ended last are looked at, and of how many the headers.
LOOK_AT = 2000
READ = 200

#: What a trace's context is called among a task's headers, as the W3C has it.
TRACEPARENT = "traceparent"

#: By the label values of a series, and the number of the bucket.
Exemplars = dict[tuple[str, str], dict[int, Exemplar]]

_read = msgspec.json.Decoder(dict[str, str]).decode


def find_exemplars(
    ledger: Ledger, label: Callable[[str, str], tuple[str, str]]
) -> tuple[Exemplars, Exemplars]:
    """
    The newest completed task with a trace, for each bucket that any fell into.

    @param label: the label values for a queue and a type.
    @return: of how long they had waited, and of how long they ran.
    """
    waits: Exemplars = {}
    runs: Exemplars = {}
    for task, trace in _traced(ledger):
        if task.claimed_at is None or task.ended_at is None:
            continue
        key = label(task.queue, task.type)
        ready_at = max(task.submitted_at, task.run_at or 0.0)
        for found, since, until in (
            (waits, ready_at, task.claimed_at),
            (runs, task.claimed_at, task.ended_at),
        ):
            amount_s = max(0.0, until - since)
            bucket = bisect_left(BUCKETS_S, amount_s)
            found.setdefault(key, {}).setdefault(bucket, Exemplar(trace, amount_s, until))
    return waits, runs


def _traced(ledger: Ledger) -> Iterator[tuple[Task, dict[str, str]]]:
    """Completed tasks with a trace, the newest first."""
    newest = islice(reversed(ledger.ended.values()), LOOK_AT)
    candidates = (
        task
        for task in newest
        if task.state is State.COMPLETED and task.headers and TRACEPARENT in task.headers
    )
    for task in islice(candidates, READ):
        trace = _trace_of(task.headers or "")
        if trace is not None:
            yield task, trace


def _trace_of(headers: str) -> dict[str, str] | None:
    """The ids of the trace and the span that submitted, C{None} where they make no sense."""
    try:
        parts = _read(headers).get(TRACEPARENT, "").split("-")
        if len(parts) >= 4 and len(parts[1]) == 32 and len(parts[2]) == 16:
            int(parts[1] + parts[2], 16)
            return {"trace_id": parts[1], "span_id": parts[2]}
    except (ValueError, msgspec.MsgspecError):
        pass
    return None
