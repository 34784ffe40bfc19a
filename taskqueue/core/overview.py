"""
What is going on: numbers for people and monitoring, without a look at any task
but the first of each lane.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Any

from taskqueue.core.counters import COUNTED, Counters, Histogram
from taskqueue.core.lanes import Lane, Queue
from taskqueue.core.ledger import Ledger
from taskqueue.core.moments import Now
from taskqueue.core.task import STATE_WORDS, TIERS, State

#: What counters have counted, in the order of C{COUNTED}.
_values = attrgetter(*COUNTED)


def oldest_ready_s(queue: Queue, now: Now) -> float:
    """Seconds for which the longest-ready task of a queue has been ready; 0 without one."""
    return max((_ready_for_s(lane, now) for lane in queue.busy.values()), default=0.0)


def _ready_for_s(lane: Lane, now: Now) -> float:
    since = [
        task.submitted_at
        if (run_at := task.extras.run_at) is None or run_at < task.submitted_at
        else run_at
        for task in lane.longest_ready()
    ]
    return max(0.0, now.wall - min(since))


def state_counts(queue: Queue) -> dict[str, int]:
    """How many of a queue's tasks are in each state, by the state's word."""
    return dict(zip(STATE_WORDS, _counts_of(queue), strict=True))


def _counts_of(queue: Queue) -> list[int]:
    """The same by L{State}."""
    totals = [0] * len(State)
    for lane in queue.lanes.values():
        for state, count in enumerate(lane.counts):
            totals[state] += count
    return totals


def _all_of(queue: Queue) -> Iterator[Counters]:
    yield queue.retired
    for lane in queue.lanes.values():
        yield lane.counters


def _all(ledger: Ledger) -> Iterator[Counters]:
    yield ledger.retired
    for queue in ledger.queues.values():
        yield from _all_of(queue)


def _counts(several: Iterable[Counters]) -> dict[str, int]:
    columns = zip(*map(_values, several), strict=True)
    return dict(zip(COUNTED, map(sum, columns), strict=True))


def queue_counts(queue: Queue) -> dict[str, int]:
    """The events of a queue since the broker started, by name."""
    return _counts(_all_of(queue))


def total_counts(ledger: Ledger) -> dict[str, int]:
    """All events since the broker started, by name."""
    return _counts(_all(ledger))


def total_submitted(ledger: Ledger) -> int:
    """How many tasks were submitted since the broker started, for far less than all counts."""
    return sum([one.submitted for one in _all(ledger)])


def total_times(ledger: Ledger) -> tuple[Histogram, Histogram]:
    """How long all tasks waited, and were in progress, since the broker started."""
    every = list(_all(ledger))
    wait, processing = Histogram(), Histogram()
    wait.add_all([one.wait for one in every])
    processing.add_all([one.processing for one in every])
    return wait, processing


def describe_queue(queue: Queue, now: Now) -> dict[str, Any]:
    """One queue, as JSON-able values; durations in seconds."""
    return {
        "name": queue.name,
        "paused": queue.paused,
        "resume_at": queue.resume_at,
        "max_depth": queue.bound,
        "depth": queue.depth,
        "tiers": {tier[0]: queue.tiers[i] for i, tier in enumerate(TIERS)},
        "states": state_counts(queue),
        "oldest_ready_s": oldest_ready_s(queue, now),
        "totals": queue_counts(queue),
    }


def total_states(ledger: Ledger) -> dict[str, int]:
    """How many tasks are in each state, by the state's word."""
    totals = dict.fromkeys(STATE_WORDS, 0)
    for queue in ledger.queues.values():
        for word, count in state_counts(queue).items():
            totals[word] += count
    return totals


def unserved(ledger: Ledger) -> list[tuple[str, str, int]]:
    """
    Ready tasks that nobody can run: of a type and queue that no registered
    worker advertises and no claim waits for.

    @return: (queue, type, number of ready tasks).
    """
    advertised: dict[str, set[str] | None] = {}
    for worker in ledger.workers:
        for name in worker.info.queues:
            known = advertised.setdefault(name, set())
            if worker.info.types is None or known is None:
                advertised[name] = None
            else:
                known.update(worker.info.types)
    found: list[tuple[str, str, int]] = []
    for queue in ledger.queues.values():
        types = advertised.get(queue.name, set())
        if types is None:
            continue
        found += [
            (queue.name, lane.type, lane.size)
            for lane in queue.busy.values()
            if lane.type not in types and not ledger.claims.wants(queue.name, lane.type)
        ]
    return found
