"""
A task that a worker holds, and the line in which it waits.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from taskqueue.app.outcomes import Verdict
from taskqueue.client import Delivery, Report
from taskqueue.core.task import State
from taskqueue.worker.executors import Executor
from taskqueue.worker.stopping import TIMEOUT, Reason
from taskqueue.worker.telling import Progress

_STATES = {
    "completed": State.COMPLETED,
    "failed": State.FAILED,
    "cancelled": State.CANCELLED,
}


class Job:
    """
    A delivery that the worker holds.

    @ivar executor: has it; C{None} while it waits.
    @ivar line: of those that wait for the same executor.
    @ivar place: the smaller, the sooner it is its turn.
    @ivar began_at: when it was begun, on the reactor's clock; C{None} before.
    @ivar wanted: its end is to be reported.
    @ivar reason: why it was told to stop, the first time.
    @ivar timer: runs out with its time-out.
    """

    __slots__ = (
        *("began_at", "delivery", "executor", "line", "place", "progress", "reason"),
        *("timeout_s", "timer", "wanted"),
    )

    def __init__(self, delivery: Delivery, timeout_s: float | None, line: Line, place: int) -> None:
        self.delivery = delivery
        self.timeout_s = timeout_s
        self.line = line
        self.place = place
        self.executor: Executor | None = None
        self.began_at: float | None = None
        self.progress: Progress | None = None
        self.reason: Reason | None = None
        self.timer: Any = None
        self.wanted = True


class Line:
    """
    What waits for one executor, and how much that one has.

    @ivar waiting: by token, in the order in which they are begun.
    @ivar running: how many it runs.
    @ivar handed: how many it has been handed ahead, which have not begun.
    """

    __slots__ = ("executor", "handed", "running", "waiting")

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self.waiting: OrderedDict[int, Job] = OrderedDict()
        self.running = 0
        self.handed = 0

    @property
    def can_begin(self) -> bool:
        """Whether the executor could run one more."""
        return self.running < self.executor.capacity


def as_told(job: Job, verdict: Verdict) -> Verdict:
    """C{verdict}, which says so where the time-out is the cause."""
    if job.reason != TIMEOUT or verdict.status not in ("failed", "cancelled"):
        return verdict
    if verdict.retry_in_s is not None or verdict.permanent:
        return verdict
    text = f"the task exceeded its time-out of {job.timeout_s:g} s"
    return Verdict("failed", error=f"{text}\n\n{verdict.error}" if verdict.error else text)


def report_of(delivery: Delivery, verdict: Verdict) -> Report:
    """What the broker is told of it."""
    status, result, error, permanent, retry_in_s, _ = verdict
    told = delivery.id, delivery.lease, _STATES[status], result, error, permanent, retry_in_s
    return tuple.__new__(Report, told)  # its constructor is a call in Python
