"""
Delivery: what is handed to workers, and what they say about it.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

from taskqueue.core.task import State
from taskqueue.errors import LeaseLost

#: The error of a task whose worker gave none.
NO_REASON = "failed without a reason"


class Delivery(NamedTuple):
    """
    A task in a worker's hands.

    @ivar lease: the fencing token, to be given with whatever the worker says
        about this delivery.
    @ivar attempt: 1 for the first delivery.
    """

    id: str
    type: str
    queue: str
    priority: int
    payload: bytes
    attempt: int
    lease: int
    lease_s: float
    headers: str | None
    submitted_at: float
    failures: int
    losses: int


class Outcome(NamedTuple):
    """
    How a delivery ended.

    @ivar lease: the token it was delivered with.
    @ivar status: C{COMPLETED}, C{FAILED}, or C{CANCELLED} for a worker that
        yields to a cancel request.
    @ivar permanent: a failure that no retry can mend.
    @ivar retry_in_s: a pause before the retry other than the policy's.
    """

    task: str
    lease: int
    status: State
    result: bytes = b""
    error: str | None = None
    permanent: bool = False
    retry_in_s: float | None = None


class _Ended(Protocol):
    """What a task in memory and a row of the store have in common."""

    @property
    def token(self) -> int: ...
    @property
    def state(self) -> int: ...
    @property
    def error(self) -> str | None: ...
    @property
    def cancel_requested(self) -> bool: ...


def tells(outcome: Outcome, task: _Ended) -> bool:
    """
    Whether C{task} stands as C{outcome} would have left it: the worker said
    the same before, and did not hear the answer.
    """
    if task.token != outcome.lease:
        return False
    if outcome.status is not State.FAILED:
        return task.state == outcome.status
    if task.state == State.DEAD_LETTER:
        return task.error == (outcome.error or NO_REASON)
    yielded = task.state == State.CANCELLED and task.cancel_requested
    return task.state == State.FAILED or yielded


def lease_lost(task_id: str, token: int) -> LeaseLost:
    """The error for a token that is not the current one of its task."""
    return LeaseLost(
        f"{token} is not the current lease of task {task_id}: it ran out or was ended, and the "
        f"task may be with another worker",
        task=task_id,
        lease=token,
    )
