"""
What runs tasks: child processes, threads, or the event loop.

An executor is told what to run and what to stop, and knows nothing of the
broker.  All of it is called in the reactor's thread, and calls back there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from taskqueue.app.outcomes import Verdict
from taskqueue.client import Delivery
from taskqueue.worker.stopping import Reason

#: What comes of a task that was given back before it began.
NOT_BEGUN = Verdict("not begun")

#: Told the token of a delivery, and how that ended, or L{NOT_BEGUN}.
Ended = Callable[[int, Verdict], None]


class Listener(Protocol):
    """What an executor tells while tasks run."""

    def progress(self, token: int, value: Any) -> None:
        """A task has come so far."""

    def logged(self, token: int, message: str, fields: Mapping[str, Any]) -> None:
        """A task has something for the worker's log."""

    def began(self, token: int) -> None:
        """A task that was handed over ahead begins now."""

    def capacity_changed(self) -> None:
        """It can run more tasks, or fewer, than a moment ago, or be handed some ahead."""


class Executor(Protocol):
    """
    Runs tasks.

    @ivar capacity: how many it can run at a time, just now.
    @ivar listener: who is told of what happens meanwhile.
    """

    listener: Listener

    @property
    def capacity(self) -> int: ...

    @property
    def ahead(self) -> int:
        """
        How many tasks beyond its capacity it may be handed just now, to begin each by
        itself as soon as another one ends.
        """

    def start(self) -> Deferred[None]:
        """
        Fires when it can run tasks; fails with L{BadRequest} where it never will,
        and its text says why.
        """

    def run(self, deliveries: Sequence[Delivery], ended: Ended) -> None:
        """
        Run these at once, or after others; the caller keeps to L{capacity} and L{ahead}.

        @param ended: called once for each of them, with its token and how it ended.
        """

    def recall(self) -> None:
        """Give back what was handed over ahead and has not begun, as far as possible."""

    def stop_task(self, token: int, reason: Reason) -> None:
        """
        Have a running task stop: it is told, then asked, then made to, as far as
        that is possible.  How it ended is told all the same.
        """

    def shut_down(self, within_s: float) -> Deferred[None]:
        """
        Let everything go; what still runs after C{within_s} seconds is killed, or
        left alone where that is not possible.
        """

    def pids(self) -> list[int]:
        """The processes that it has."""
