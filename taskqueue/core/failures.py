"""
The newest failures, for those who look at what goes wrong just now.

The store keeps tasks in the order of their submission, so that whatever failed last may
stand anywhere in it, and what was tried again and succeeded is no failure there any more.
So the newest few are noted as they happen; a restart begins anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from taskqueue.core.moments import Now
from taskqueue.core.task import State, Task

#: How many are kept.
KEPT = 100

#: As much of an error as is kept, characters.
LONGEST_ERROR = 500


class Failure(NamedTuple):
    """
    A delivery that came to nothing.

    @ivar at: when, as seconds since the epoch.
    @ivar worker: whom the task was delivered to.
    @ivar lost: the lease ran out, or its holder vanished: nobody said why.
    @ivar state: what the task was right after it.
    """

    at: float
    task: str
    type: str
    queue: str
    attempt: int
    worker: str | None
    lost: bool
    state: State
    error: str


class Failures:
    """The newest L{KEPT} failures."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: deque[Failure] = deque(maxlen=KEPT)

    def __iter__(self) -> Iterator[Failure]:
        """The newest first."""
        return reversed(self._kept)

    def add(self, task: Task, error: str, now: Now, *, lost: bool) -> None:
        """A delivery of C{task}, which is what it is thereafter already, has come to nothing."""
        self._kept.append(
            Failure(
                now.wall,
                task.id,
                task.type,
                task.queue,
                task.attempt,
                task.worker,
                lost,
                task.state,
                error[:LONGEST_ERROR],
            )
        )
