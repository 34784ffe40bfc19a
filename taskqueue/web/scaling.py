"""
C{/scaling}: how many workers there should be, for whatever starts and ends them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import ceil, isfinite
from typing import Any, NamedTuple

from twisted.web import http

from taskqueue.access.permissions import Action
from taskqueue.core.counters import Histogram
from taskqueue.core.lanes import Lane
from taskqueue.core.overview import oldest_ready_s
from taskqueue.core.task import State
from taskqueue.core.workers import Worker
from taskqueue.service import TaskQueueService
from taskqueue.web.credentials import check
from taskqueue.web.pages import Page, answer, refuse, turn_away

#: The parameters that a query may have; the first two may be there several times.
PARAMETERS = ("queue", "type", "tasks_per_worker", "within_s", "min", "max")

#: More workers than anybody wants.
_MOST = 1_000_000


class Wanted(NamedTuple):
    """
    What is asked for.

    @ivar queues: their names; empty for all.
    @ivar types: the types of tasks; empty for all.
    @ivar tasks_per_worker: how many tasks one worker runs at a time; C{None}: as many
        as the connected ones say, on average.
    @ivar within_s: in how long the backlog is to be worked off, seconds; C{None}: at
        once.
    @ivar least: so many workers at least.
    @ivar most: so many at most.
    """

    queues: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    tasks_per_worker: float | None = None
    within_s: float | None = None
    least: int = 0
    most: int = _MOST


class ScalingPage(Page):
    """How much there is to do, and how many workers it wants."""

    def __init__(self, service: TaskQueueService) -> None:
        super().__init__()
        self._service = service

    def render_GET(self, request: Any) -> bytes:
        """The numbers of L{describe}; 400 where the query makes no sense."""
        error = check(self._service, request, Action.METRICS)
        if error is not None:
            return turn_away(request, error)
        try:
            wanted = read_query(request.args)
        except ValueError as error:
            return refuse(request, http.BAD_REQUEST, "BAD_REQUEST", str(error))
        return answer(request, http.OK, describe(self._service, wanted))


def read_query(args: Mapping[bytes, Sequence[bytes]]) -> Wanted:
    """
    @param args: the parameters of the query.
    @raises ValueError: one is unknown, or has a value that it cannot have.
    """
    given = {
        name.decode("utf-8", "replace"): [value.decode("utf-8", "replace") for value in values]
        for name, values in args.items()
    }
    unknown = sorted(given.keys() - set(PARAMETERS))
    if unknown:
        raise ValueError(f"{unknown[0][:50]!r} is no parameter; there are {', '.join(PARAMETERS)}")
    least = _number(given, "min", 0, _MOST)
    most = _number(given, "max", 0, _MOST)
    wanted = Wanted(
        tuple(given.get("queue", ())),
        tuple(given.get("type", ())),
        _number(given, "tasks_per_worker", 0.001, _MOST),
        _number(given, "within_s", 0.001, 10.0**9),
        0 if least is None else ceil(least),
        _MOST if most is None else ceil(most),
    )
    if wanted.least > wanted.most:
        raise ValueError("min is larger than max")
    return wanted


def _number(
    given: Mapping[str, Sequence[str]], name: str, lowest: float, highest: float
) -> float | None:
    values = given.get(name)
    if values is None:
        return None
    try:
        number = float(values[-1])
    except ValueError:
        number = float("nan")
    if not (isfinite(number) and lowest <= number <= highest):
        raise ValueError(
            f"{name} is {values[-1][:50]!r}, which is no number from {lowest:g} to {highest:g}"
        )
    return number


def describe(service: TaskQueueService, wanted: Wanted) -> dict[str, Any]:
    """
    How much there is to do in some queues, and how many workers that wants.

    Tasks of paused queues do not count, nor those whose time has not come: no worker
    would get them.
    """
    ledger, now = service.broker.ledger, service.moments()
    queues = [
        queue
        for queue in ledger.queues.values()
        if not wanted.queues or queue.name in wanted.queues
    ]
    lanes = [
        lane
        for queue in queues
        for lane in queue.lanes.values()
        if not wanted.types or lane.type in wanted.types
    ]
    backlog = sum(lane.size for lane in lanes if not lane.queue.paused)
    in_progress = sum(lane.counts[State.IN_PROGRESS] for lane in lanes)
    workers = [worker for worker in ledger.workers if _serves(worker, wanted)]
    capacity = sum(worker.info.capacity for worker in workers)
    mean_s = mean_processing_s(lanes)
    open_queues = [queue for queue in queues if not queue.paused]
    return {
        "backlog": backlog,
        "in_progress": in_progress,
        "oldest_ready_s": max((oldest_ready_s(queue, now) for queue in open_queues), default=0.0),
        "mean_processing_s": mean_s,
        "workers": len(workers),
        "capacity": capacity,
        "desired_workers": desired_workers(
            backlog, in_progress, mean_s, _per_worker(wanted, workers, capacity), wanted
        ),
    }


def desired_workers(
    backlog: int, in_progress: int, mean_s: float | None, per_worker: float, wanted: Wanted
) -> int:
    """
    How many workers there should be: enough to run all there is at a time, or, where
    there is time (C{wanted.within_s}), enough to have run it all by then.

    @param mean_s: how long a task takes; C{None}: nobody knows yet.
    @param per_worker: how many tasks a worker runs at a time.
    """
    tasks = backlog + in_progress
    slots = float(tasks)
    if wanted.within_s is not None and mean_s is not None and tasks:
        slots = min(slots, max(1.0, tasks * mean_s / wanted.within_s))
    return min(max(ceil(slots / per_worker), wanted.least), wanted.most)


def mean_processing_s(lanes: Collection[Lane]) -> float | None:
    """How long the tasks of these lanes have taken on average, C{None} before the first."""
    total = Histogram()
    for lane in lanes:
        total.add(lane.counters.processing)
    count = sum(total.counts)
    return total.total / count if count else None


def _per_worker(wanted: Wanted, workers: Sequence[Worker], capacity: int) -> float:
    if wanted.tasks_per_worker is not None:
        return wanted.tasks_per_worker
    return max(1.0, capacity / len(workers)) if workers else 1.0


def _serves(worker: Worker, wanted: Wanted) -> bool:
    """Whether a worker is there, and would run some of what is asked for."""
    if worker.away_since is not None or worker.recovered or worker.order is not None:
        return False
    if wanted.queues and not set(wanted.queues) & set(worker.info.queues):
        return False
    types = worker.info.types
    return types is None or not wanted.types or not types.isdisjoint(wanted.types)
