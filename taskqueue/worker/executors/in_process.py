"""
What executors have in common that run tasks in the worker's own process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from taskqueue.app.context import DESCRIBED, Context
from taskqueue.app.outcomes import Verdict
from taskqueue.client import Delivery
from taskqueue.worker.executors import Ended, Listener
from taskqueue.worker.executors.silence import Silence
from taskqueue.worker.stopping import LEASE_LOST, Reason
from taskqueue.worker.work import Work


class InProcess:
    """
    The part of an L{Executor<taskqueue.worker.executors.Executor>} that keeps count of
    what runs.
    """

    def __init__(self, works: Mapping[str, Work], concurrency: int) -> None:
        """
        @param works: by type.
        """
        self.listener: Listener = Silence()
        self.capacity = concurrency
        self.ahead = 0
        self._works = works
        self._running: dict[int, tuple[Context, Deferred[Any]]] = {}

    def run(self, deliveries: Sequence[Delivery], ended: Ended) -> None:
        """See L{Executor}."""
        for delivery in deliveries:
            work = self._works[delivery.type]
            described = {name: getattr(delivery, name) for name in DESCRIBED}
            context = work.context(self, described, delivery.payload)
            running = self._begin(work, delivery.payload, context)
            self._running[delivery.lease] = context, running
            running.addErrback(self._stray).addCallback(self._over, delivery.lease, ended)

    def _begin(self, work: Work, payload: bytes, context: Context) -> Deferred[Any]:
        """
        Begin one.

        @return: fires with how it ended.
        """
        raise NotImplementedError

    def _stray(self, failure: Failure) -> Verdict:
        """What becomes of a task that ended in a way in which none should."""
        raise NotImplementedError

    def _over(self, verdict: Verdict, token: int, ended: Ended) -> None:
        del self._running[token]
        ended(token, verdict)

    def recall(self) -> None:
        """It begins everything at once."""

    def pids(self) -> list[int]:
        """None: tasks run in this process."""
        return []

    # --- what tasks say; see L{Sink<taskqueue.app.context.Sink>} ----------------------------

    def progress(self, context: Context, value: Any) -> None:
        """A task has come so far."""
        self.listener.progress(context.lease, value)

    def log(self, context: Context, message: str, fields: Mapping[str, Any]) -> None:
        """A task has something for the log."""
        self.listener.logged(context.lease, message, fields)


def mark(context: Context, reason: Reason) -> None:
    """Have a task in this process know that it should stop."""
    if reason == LEASE_LOST:
        context.lease_lost = True
    else:
        context.cancelled = True
