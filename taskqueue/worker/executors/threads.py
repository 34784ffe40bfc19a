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

from taskqueue.app.context import Context
from taskqueue.app.outcomes import Verdict
from taskqueue.worker.executors.in_process import InProcess, mark
from taskqueue.worker.stopping import Reason
from taskqueue.worker.work import Work


class Threads(InProcess):
    """
    An L{Executor<taskqueue.worker.executors.Executor>} that runs tasks in threads
    of this process.  A task stops only where it looks at its context.
    """

    _log = Logger()

    def __init__(self, works: Mapping[str, Work], concurrency: int, reactor: Any) -> None:
        """
        @param works: by type.
        """
        super().__init__(works, concurrency)
        self._reactor = reactor
        self._pool = ThreadPool(0, concurrency, "taskqueue worker")
        self._pool.threadFactory = daemon_thread  # type: ignore[assignment]  # it is only called

    def start(self) -> Deferred[None]:
        """See L{Executor}."""
        return maybeDeferred(self._pool.start)

    def _begin(self, work: Work, payload: bytes, context: Context) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._pool, work.perform, payload, context)

    def _stray(self, failure: Failure) -> Verdict:
        self._log.failure("a task ended its thread", failure)
        return Verdict("failed", error=f"the task ended its thread: {failure.getErrorMessage()}")

    def stop_task(self, token: int, reason: Reason) -> None:
        """See L{Executor}."""
        if token in self._running:
            mark(self._running[token][0], reason)

    def progress(self, context: Context, value: Any) -> None:
        """See L{Sink<taskqueue.app.context.Sink>}; called in any thread."""
        self._reactor.callFromThread(super().progress, context, value)

    def log(self, context: Context, message: str, fields: Mapping[str, Any]) -> None:
        """See L{Sink<taskqueue.app.context.Sink>}; called in any thread."""
        self._reactor.callFromThread(super().log, context, message, fields)

    def shut_down(self, within_s: float) -> Deferred[None]:
        """
        Let the threads go; one whose task does not end keeps nobody waiting.
        """
        if self._running:
            daemon_thread(target=self._pool.stop).start()
        elif self._pool.started:
            self._pool.stop()
        return maybeDeferred(lambda: None)


def daemon_thread(*args: Any, **kwargs: Any) -> threading.Thread:
    """A thread that does not keep the process from ending."""
    return threading.Thread(*args, daemon=True, **kwargs)
