"""
How a task may end: what its function raises for it, and what is made of that.
"""

from __future__ import annotations

from typing import NamedTuple


class Retry(Exception):
    """
    Raised by a task: it has failed this time, and is to be tried again.

    This spends a retry: where none is left, the task has failed for good.

    @ivar in_s: the pause before the next try, seconds; C{None}: as the task's
        policy says.
    @ivar reason: for whoever looks at the task.
    """

    def __init__(self, in_s: float | None = None, reason: str | None = None) -> None:
        super().__init__(reason or "the task asked to be tried again")
        self.in_s = None if in_s is None else max(0.0, in_s)
        self.reason = reason


class Snooze(Exception):
    """
    Raised by a task: not now.  It is given back and comes again after a pause;
    no retry is spent.

    @ivar in_s: the pause, seconds.
    """

    def __init__(self, in_s: float) -> None:
        super().__init__(f"the task asked to come again in {in_s:g} s")
        self.in_s = max(0.0, in_s)


class Discard(Exception):
    """
    Raised by a task: it makes no sense any more.  It becomes a dead letter
    without another try.

    @ivar reason: for whoever looks at the task.
    """

    def __init__(self, reason: str = "discarded") -> None:
        super().__init__(reason)
        self.reason = reason


class PermanentFailure(Exception):
    """Raised by a task: it has failed, and no retry can mend that."""


class TaskCancelled(Exception):
    """
    Raised by L{Context.check<taskqueue.app.context.Context.check>}: somebody has
    asked to cancel the task, or its lease is lost.
    """


class Verdict(NamedTuple):
    """
    What is to be told to the broker about a delivery.

    @ivar status: C{"completed"}, C{"failed"}, C{"released"} (given back, no
        retry is spent) or C{"cancelled"}.
    @ivar result: of a completed one.
    @ivar error: of a failed one, the reason in its first line.
    @ivar permanent: a failure that no retry can mend.
    @ivar retry_in_s: the pause before the next try, instead of the policy's.
    @ivar delay_s: the pause before a released one may be claimed again.
    """

    status: str
    result: bytes = b""
    error: str | None = None
    permanent: bool = False
    retry_in_s: float | None = None
    delay_s: float = 0.0
