"""
A pool of threads: no time-out can kill what runs there, and a crash ends the
worker; but it costs no processes, and shares memory.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from taskqueue.app.context import DESCRIBED, Context
from taskqueue.app.outcomes import Verdict
from taskqueue.client import Delivery
from taskqueue.worker.executors import Listener
from taskqueue.worker.executors.silence import Silence
from taskqueue.worker.stopping import LEASE_LOST, Reason
from taskqueue.worker.work import Work


def described(delivery: Delivery) -> dict[str, Any]:
    """What a L{Context} is made from."""
    return {name: getattr(delivery, name) for name in DESCRIBED}


def mark(context: Context, reason: Reason) -> None:
    """Have a task in this process know that it should stop."""
    if reason == LEASE_LOST:
        context.lease_lost = True
    else:
        context.cancelled = True


class Threads:
    """
    An L{Executor<taskqueue.worker.executors.Executor>} that runs tasks in threads
    of this process.  A task stops only where it looks at its context.
    """

    _log = Logger()

    def __init__(self, works: Mapping[str, Work], concurrency: int, reactor: Any) -> None:
        """
        @param works: by type.
        """
        self.listener: Listener = Silence()
        self.capacity = concurrency
        self.ahead = 0
        self._works = works
        self._reactor = reactor
        self._running: dict[int, Context] = {}
        self._pool = ThreadPool(0, concurrency, "taskqueue worker")
        self._pool.threadFactory = daemon_thread  # type: ignore[assignment]  # it is only called

    def start(self) -> Deferred[None]:
        """See L{Executor}."""
        return maybeDeferred(self._pool.start)

    def run(self, delivery: Delivery) -> Deferred[Verdict]:
        """See L{Executor}."""
        work = self._works[delivery.type]
        context = work.context(self, described(delivery), delivery.payload)
        self._running[delivery.lease] = context
        running: Deferred[Verdict] = deferToThreadPool(
            self._reactor, self._pool, work.perform, delivery.payload, context
        )
        return running.addErrback(self._stray).addBoth(self._ended, delivery.lease)

    def _stray(self, failure: Failure) -> Verdict:
        self._log.failure("a task ended its thread", failure)
        return Verdict("failed", error=f"the task ended its thread: {failure.getErrorMessage()}")

    def _ended(self, verdict: Verdict, token: int) -> Verdict:
        self._running.pop(token, None)
        return verdict

    def recall(self) -> None:
        """It begins everything at once."""

    def stop_task(self, token: int, reason: Reason) -> None:
        """See L{Executor}."""
        context = self._running.get(token)
        if context is not None:
            mark(context, reason)

    def progress(self, context: Context, value: Any) -> None:
        """See L{Sink<taskqueue.app.context.Sink>}; called in any thread."""
        self._reactor.callFromThread(self._progress, context.lease, value)

    def _progress(self, token: int, value: Any) -> None:
        self.listener.progress(token, value)

    def log(self, context: Context, message: str, fields: Mapping[str, Any]) -> None:
        """See L{Sink<taskqueue.app.context.Sink>}; called in any thread."""
        self._reactor.callFromThread(self._logged, context.lease, message, fields)

    def _logged(self, token: int, message: str, fields: Mapping[str, Any]) -> None:
        self.listener.logged(token, message, fields)

    def shut_down(self, within_s: float) -> Deferred[None]:
        """
        Let the threads go; one whose task does not end keeps nobody waiting.
        """
        if self._running:
            daemon_thread(target=self._pool.stop).start()
        elif self._pool.started:
            self._pool.stop()
        return maybeDeferred(lambda: None)

    def pids(self) -> list[int]:
        """None: they are this process."""
        return []


def daemon_thread(*args: Any, **kwargs: Any) -> threading.Thread:
    """A thread that does not keep the process from ending."""
    return threading.Thread(*args, daemon=True, **kwargs)
