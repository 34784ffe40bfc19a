"""
The tasks that a worker runs at the moment.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from taskqueue.client import Client, Delivery, Report
from taskqueue.errors import TaskQueueError
from taskqueue.worker.handlers import Handler, call_in_thread, report_of, runs_in_reactor
from taskqueue.worker.task import Task


class Job:
    """
    A delivery under way.

    @ivar wanted: its end is to be reported.
    """

    __slots__ = ("_running", "delivery", "task", "wanted")

    def __init__(self, delivery: Delivery, task: Task) -> None:
        self.delivery = delivery
        self.task = task
        self.wanted = True
        self._running: Deferred[Any] | None = None

    def runs_as(self, running: Deferred[Any]) -> None:
        """The handler can be stopped by cancelling C{running}."""
        self._running = running

    def stop(self) -> None:
        """
        Have the handler stop: in the reactor at once, in a thread when it looks
        at its task; until then it keeps its slot, for it does keep its thread.
        """
        self.task.cancelled = True
        if self._running is not None:
            self._running.cancel()


class Jobs:
    """
    Runs handlers, in threads or in the reactor's, and passes on how they ended.

    @ivar on_report: given the report of every delivery that has ended.
    @ivar on_ended: called whenever there is one less.
    """

    _log = Logger()

    def __init__(
        self, handlers: Mapping[str, Handler], client: Client, reactor: Any, most: int
    ) -> None:
        """
        @param most: how many are run at a time.
        """
        self.on_report: Callable[[Report], None] = lambda report: None
        self.on_ended: Callable[[], None] = lambda: None
        self._handlers = handlers
        self._client = client
        self._reactor = reactor
        self._most = most
        self._jobs: dict[int, Job] = {}
        self._pool: ThreadPool | None = None

    def __len__(self) -> int:
        return len(self._jobs)

    def tokens(self) -> list[int]:
        """The leases of what is running."""
        return list(self._jobs)

    def holdings(self) -> list[tuple[str, int]]:
        """Task id and lease of what is running."""
        return [job.delivery.holding for job in self._jobs.values()]

    @property
    def shortest_lease_s(self) -> float | None:
        """Of what is running; C{None} where nothing is."""
        return min((job.delivery.lease_s for job in self._jobs.values()), default=None)

    # --- running ------------------------------------------------------------------------

    def open(self) -> None:
        """Have threads ready where there are handlers that need them."""
        if not all(map(runs_in_reactor, self._handlers.values())):
            pool = ThreadPool(0, self._most, "taskqueue worker")
            pool.threadFactory = _daemon_thread  # type: ignore[assignment]  # it is only called
            pool.start()
            self._pool = pool

    def begin(self, delivery: Delivery) -> None:
        """Run the handler of a delivery."""
        task = Task(delivery, lambda value: self._progress(job, value))
        job = Job(delivery, task)
        self._jobs[delivery.lease] = job
        handler = self._handlers.get(delivery.type, _no_handler)
        if self._pool is not None and not runs_in_reactor(handler):
            running = call_in_thread(handler, task, self._reactor, self._pool)
        else:
            running = maybeDeferred(handler, task)
            job.runs_as(running)
        running.addBoth(self._ended, job)

    def _ended(self, ended: Any, job: Job) -> None:
        self._jobs.pop(job.delivery.lease, None)
        if job.wanted:
            self.on_report(report_of(job.delivery, job.task, ended))
        self.on_ended()

    def _progress(self, job: Job, value: Any) -> None:
        self._reactor.callFromThread(self._send_progress, job, value)

    def _send_progress(self, job: Job, value: Any) -> None:
        if job.delivery.lease in self._jobs and job.wanted:
            told = self._client.progress(job.delivery.holding, value)
            told.addCallbacks(self._progress_told, self._progress_refused, (job,))

    def _progress_told(self, cancel: bool, job: Job) -> None:
        if cancel:
            self.cancel(job.delivery.lease)

    def _progress_refused(self, failure: Failure) -> None:
        failure.trap(TaskQueueError)
        self._log.info("a report of progress was not taken: {error}", error=failure.value)

    # --- stopping -----------------------------------------------------------------------

    def cancel(self, token: int) -> None:
        """Somebody wants this delivery to be given up; its handler may finish all the same."""
        job = self._jobs.get(token)
        if job is not None and not job.task.cancelled:
            job.stop()

    def drop(self, tokens: Iterable[int]) -> None:
        """These deliveries are not ours any more: nothing is said about them."""
        for token in tokens:
            job = self._jobs.get(token)
            if job is not None and job.wanted:
                job.wanted = False
                self._log.warn("task {task} was lost to this worker", task=job.delivery.id)
                job.stop()

    def close(self) -> None:
        """Let the threads go; one whose handler does not end keeps nobody waiting."""
        pool, self._pool = self._pool, None
        if pool is not None and self._jobs:
            _daemon_thread(target=pool.stop).start()
        elif pool is not None:
            pool.stop()


def _daemon_thread(*args: Any, **kwargs: Any) -> threading.Thread:
    return threading.Thread(*args, daemon=True, **kwargs)


def _no_handler(task: Task) -> None:
    raise LookupError(f"this worker has no handler for {task.type!r}")
