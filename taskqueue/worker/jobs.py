"""
The tasks that a worker holds: those that run, and those that wait for a slot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from taskqueue.app.outcomes import Verdict
from taskqueue.client import Client, Delivery, Report
from taskqueue.core.task import State
from taskqueue.worker.executors import Executor
from taskqueue.worker.returning import Holding
from taskqueue.worker.stopping import CANCEL, LEASE_LOST, TIMEOUT, Reason
from taskqueue.worker.telling import Progress
from taskqueue.worker.work import Work

_STATES = {
    "completed": State.COMPLETED,
    "failed": State.FAILED,
    "cancelled": State.CANCELLED,
}


class Job:
    """
    A delivery that the worker holds.

    @ivar executor: runs it; C{None} while it waits for a slot.
    @ivar wanted: its end is to be reported.
    @ivar reason: why it was told to stop, the first time.
    @ivar timer: runs out with its time-out.
    """

    __slots__ = ("delivery", "executor", "progress", "reason", "timeout_s", "timer", "wanted")

    def __init__(self, delivery: Delivery, timeout_s: float | None) -> None:
        self.delivery = delivery
        self.timeout_s = timeout_s
        self.executor: Executor | None = None
        self.progress: Progress | None = None
        self.reason: Reason | None = None
        self.timer: Any = None
        self.wanted = True


class Jobs:
    """
    Has executors run deliveries, and passes on how they ended.

    @ivar on_report: given the report of every delivery that has ended.
    @ivar on_return: given the holding of one to give back, and the pause in
        seconds before anybody gets it.
    @ivar on_free: called whenever there may be a free slot.
    """

    _log = Logger()

    def __init__(
        self,
        works: Mapping[str, Work],
        client: Client,
        reactor: Any,
        most: int,
        *,
        loop: Executor,
        pool: Executor,
    ) -> None:
        """
        @param works: by task type.
        @param most: how many are run at a time.
        @param loop: runs those that belong on the event loop.
        @param pool: runs all others.
        """
        self.on_report: Callable[[Report], None] = lambda report: None
        self.on_return: Callable[[Holding, float], None] = lambda holding, delay_s: None
        self.on_free: Callable[[], None] = lambda: None
        self._works = works
        self._client = client
        self._reactor = reactor
        self._most = most
        self._loop, self._pool = loop, pool
        self.executors = [e for e in (loop, pool) if self._needed(e)]
        for executor in self.executors:
            executor.listener = self
        self._jobs: dict[int, Job] = {}
        self._waiting: dict[int, Job] = {}
        self._running = {id(loop): 0, id(pool): 0}

    def _needed(self, executor: Executor) -> bool:
        return any((executor is self._loop) == work.in_loop for work in self._works.values())

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def slots(self) -> int:
        """How many it could run at a time, just now."""
        return min(self._most, sum(executor.capacity for executor in self.executors))

    @property
    def waiting(self) -> int:
        """How many wait for a slot."""
        return len(self._waiting)

    @property
    def is_running(self) -> bool:
        """Whether anything runs."""
        return len(self._jobs) > len(self._waiting)

    def tokens(self) -> list[int]:
        """The leases of what it holds."""
        return list(self._jobs)

    def holdings(self) -> list[Holding]:
        """Task id and lease of what it holds."""
        return [job.delivery.holding for job in self._jobs.values()]

    @property
    def shortest_lease_s(self) -> float | None:
        """Of what it holds; C{None} where that is nothing."""
        return min((job.delivery.lease_s for job in self._jobs.values()), default=None)

    def pids(self) -> list[int]:
        """The child processes."""
        return [pid for executor in self.executors for pid in executor.pids()]

    # --- running ------------------------------------------------------------------------

    def start(self) -> Deferred[Any]:
        """Fires when tasks can be run; fails with L{BadRequest} where they never can."""
        started: Deferred[None] = Deferred()
        DeferredList(
            [executor.start() for executor in self.executors],
            fireOnOneErrback=True,
            consumeErrors=True,
        ).addCallbacks(
            lambda _: started.callback(None),
            lambda first: started.errback(first.value.subFailure),
        )
        return started

    def begin(self, delivery: Delivery) -> None:
        """Run this, as soon as there is a slot."""
        work = self._works.get(delivery.type)
        if work is None:
            text = f"this worker has no task {delivery.type!r}"
            self.on_report(_report(delivery, Verdict("failed", error=text)))
            return
        job = Job(delivery, work.timeout_for(delivery.headers))
        self._jobs[delivery.lease] = self._waiting[delivery.lease] = job
        self._run_if_free(job, work)

    def _run_if_free(self, job: Job, work: Work) -> None:
        executor = self._loop if work.in_loop else self._pool
        running = self._running[id(executor)]
        if len(self._jobs) - len(self._waiting) < self._most and running < executor.capacity:
            self._run(job, executor)

    def _run(self, job: Job, executor: Executor) -> None:
        token = job.delivery.lease
        del self._waiting[token]
        job.executor = executor
        self._running[id(executor)] += 1
        if job.timeout_s is not None:
            job.timer = self._reactor.callLater(job.timeout_s, self._timed_out, job)
        executor.run(job.delivery).addCallback(self._ended, job).addErrback(self._broken)

    def _broken(self, failure: Any) -> None:
        self._log.failure("the end of a task could not be told", failure)

    def _run_waiting(self) -> None:
        for job in list(self._waiting.values()):
            if len(self._jobs) - len(self._waiting) >= self._most:
                break
            self._run_if_free(job, self._works[job.delivery.type])

    def _ended(self, verdict: Verdict, job: Job) -> None:
        token = job.delivery.lease
        self._jobs.pop(token, None)
        self._running[id(job.executor)] -= 1
        if job.timer is not None and job.timer.active():
            job.timer.cancel()
        if job.progress is not None:
            job.progress.stop()
        if job.wanted:
            self._tell(job, _as_told(job, verdict))
        self._run_waiting()
        self.on_free()

    def _tell(self, job: Job, verdict: Verdict) -> None:
        if verdict.status == "released":
            self.on_return(job.delivery.holding, verdict.delay_s)
        else:
            self.on_report(_report(job.delivery, verdict))

    # --- what tasks say; see L{Listener} ----------------------------------------------------

    def progress(self, token: int, value: Any) -> None:
        """A task has come so far."""
        job = self._jobs.get(token)
        if job is not None and job.wanted:
            if job.progress is None:
                job.progress = Progress(
                    self._client, job.delivery.holding, lambda: self.cancel(token)
                )
            job.progress.tell(value)

    def logged(self, token: int, message: str, fields: Mapping[str, Any]) -> None:
        """A task has something for the log."""
        job = self._jobs.get(token)
        task = "?" if job is None else job.delivery.id
        more = "".join(f" {name}={value}" for name, value in fields.items())
        self._log.info(
            "task {task}: {message}{more}", task=task, message=message, more=more, fields=fields
        )

    def capacity_changed(self) -> None:
        """An executor can run more, or fewer."""
        self._run_waiting()
        self.on_free()

    # --- stopping -----------------------------------------------------------------------

    def cancel(self, token: int) -> None:
        """Somebody wants this delivery to be given up; it may finish all the same."""
        job = self._jobs.get(token)
        if job is None:
            return
        if self._waiting.pop(token, None) is not None:
            del self._jobs[token]
            self.on_report(_report(job.delivery, Verdict("cancelled")))
            self.on_free()
        else:
            self._stop(job, CANCEL)

    def drop(self, tokens: Iterable[int]) -> None:
        """These deliveries are not ours any more: nothing is said about them."""
        for token in list(tokens):
            job = self._jobs.get(token)
            if job is None or not job.wanted:
                continue
            job.wanted = False
            self._log.warn("task {task} was lost to this worker", task=job.delivery.id)
            if self._waiting.pop(token, None) is not None:
                del self._jobs[token]
                self.on_free()
            else:
                self._stop(job, LEASE_LOST)

    def forget(self) -> list[Holding]:
        """
        Say nothing more about what is left; it is given back.

        @return: all of it.
        """
        holdings = [job.delivery.holding for job in self._jobs.values() if job.wanted]
        for job in self._jobs.values():
            job.wanted = False
            if job.progress is not None:
                job.progress.stop()
            if job.timer is not None and job.timer.active():
                job.timer.cancel()
        for token in self._waiting:
            del self._jobs[token]
        self._waiting.clear()
        return holdings

    def give_back_waiting(self) -> None:
        """Let others have what has not begun."""
        waiting, self._waiting = self._waiting, {}
        for token, job in waiting.items():
            del self._jobs[token]
            self.on_return(job.delivery.holding, 0.0)

    def _timed_out(self, job: Job) -> None:
        self._log.warn(
            "task {task} exceeds its time-out of {limit} s",
            task=job.delivery.id,
            limit=job.timeout_s,
        )
        self._stop(job, TIMEOUT)

    def _stop(self, job: Job, reason: Reason) -> None:
        if job.reason is None and job.executor is not None:
            job.reason = reason
            job.executor.stop_task(job.delivery.lease, reason)

    def stop_running(self) -> None:
        """Have everything stop that is still running."""
        for job in list(self._jobs.values()):
            self._stop(job, LEASE_LOST)

    def shut_down(self, within_s: float) -> Deferred[Any]:
        """Let the executors go."""
        return DeferredList([executor.shut_down(within_s) for executor in self.executors])


def _as_told(job: Job, verdict: Verdict) -> Verdict:
    """C{verdict}, which says so where the time-out is the cause."""
    if job.reason != TIMEOUT or verdict.status not in ("failed", "cancelled"):
        return verdict
    if verdict.retry_in_s is not None or verdict.permanent:
        return verdict
    text = f"the task exceeded its time-out of {job.timeout_s:g} s"
    return Verdict("failed", error=f"{text}\n\n{verdict.error}" if verdict.error else text)


def _report(delivery: Delivery, verdict: Verdict) -> Report:
    return Report(
        delivery.id,
        delivery.lease,
        _STATES[verdict.status],
        verdict.result,
        verdict.error,
        verdict.permanent,
        verdict.retry_in_s,
    )
