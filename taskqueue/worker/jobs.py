"""
The tasks that a worker holds: those that run, and those that wait for a slot.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import count
from typing import Any

from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from taskqueue.app.outcomes import Verdict
from taskqueue.client import Client, Delivery, Report
from taskqueue.worker.executors import NOT_BEGUN, Executor
from taskqueue.worker.job import Job, Line, as_told, report_of
from taskqueue.worker.returning import Holding
from taskqueue.worker.stopping import CANCEL, LEASE_LOST, TIMEOUT, Reason
from taskqueue.worker.telling import Progress
from taskqueue.worker.work import Work

#: Of how many tasks the mean time counts.
REMEMBERED = 16


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
        places = sorted({work.in_loop for work in works.values()}, reverse=True)
        self._line_at = {in_loop: Line(loop if in_loop else pool) for in_loop in places}
        self._lines = list(self._line_at.values())
        for executor in self.executors:
            executor.listener = self
        self._jobs: dict[int, Job] = {}
        self._places = count(1)
        self._running = 0
        self._filling = False
        self._quiet = False
        self._ended_count = 0
        self._mean_s = 0.0

    @property
    def executors(self) -> list[Executor]:
        """Those that have something to run."""
        return [line.executor for line in self._lines]

    def __len__(self) -> int:
        return len(self._jobs)

    @property
    def slots(self) -> int:
        """How many it could run at a time, just now."""
        return min(self._most, sum(executor.capacity for executor in self.executors))

    @property
    def waiting(self) -> int:
        """How many have not begun."""
        return len(self._jobs) - self._running

    @property
    def mean_s(self) -> float | None:
        """How long a task takes, on average of the newest; C{None} before some have ended."""
        return self._mean_s if self._ended_count >= REMEMBERED else None

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

    def begin(self, *deliveries: Delivery) -> None:
        """Run these, as soon as there are slots, in this order."""
        for delivery in deliveries:
            self._line_up(delivery)
        self._fill()

    def _line_up(self, delivery: Delivery) -> None:
        work = self._works.get(delivery.type)
        if work is None:
            text = f"this worker has no task {delivery.type!r}"
            self.on_report(report_of(delivery, Verdict("failed", error=text)))
            return
        line = self._line_at[work.in_loop]
        job = Job(delivery, work.timeout_for(delivery.headers), line, next(self._places))
        self._jobs[delivery.lease] = line.waiting[delivery.lease] = job

    def _fill(self) -> None:
        """Have executors begin what waits, the oldest first, and hand them some more ahead."""
        if self._filling:
            return  # one that is over before it has been begun: no deeper, but once more around
        self._filling = True
        try:
            while self._running < self._most and (line := self._next_line()) is not None:
                job = line.waiting.popitem(last=False)[1]
                self._count_begun(job)
                self._run(line, [job])
            lines = [line for line in self._lines if line.waiting]
            if len(lines) == 1:  # what is handed over takes the next slot, which others may want
                self._hand_over(lines[0])
        finally:
            self._filling = False

    def _next_line(self) -> Line | None:
        """The one whose turn it is to begin something, where any can."""
        able = [line for line in self._lines if line.waiting and line.can_begin]
        if len(able) > 1:
            return min(able, key=lambda line: next(iter(line.waiting.values())).place)
        return able[0] if able else None

    def _hand_over(self, line: Line) -> None:
        count = min(line.executor.ahead, len(line.waiting))
        if count:
            line.handed += count
            self._run(line, [line.waiting.popitem(last=False)[1] for _ in range(count)])

    def _run(self, line: Line, jobs: list[Job]) -> None:
        for job in jobs:
            job.executor = line.executor
        line.executor.run([job.delivery for job in jobs], self._told)

    def _count_begun(self, job: Job) -> None:
        self._running += 1
        job.line.running += 1
        job.began_at = self._reactor.seconds()
        if job.timeout_s is not None:
            job.timer = self._reactor.callLater(job.timeout_s, self._timed_out, job)

    def _told(self, token: int, verdict: Verdict) -> None:
        """An executor tells how one ended."""
        try:
            self._ended(self._jobs[token], verdict)
        except Exception:  # the executor is not to blame, and others are to be told of
            self._log.failure("the end of a task could not be told")

    def _ended(self, job: Job, verdict: Verdict) -> None:
        if verdict is NOT_BEGUN:
            self._came_back(job)
            return
        self._count_ended(job)
        del self._jobs[job.delivery.lease]
        if job.progress is not None:
            job.progress.stop()
        if job.wanted:
            self._tell(job, verdict if job.reason is None else as_told(job, verdict))
        if self._running < self._most:
            self._fill()
        self.on_free()

    def _count_ended(self, job: Job) -> None:
        if job.began_at is not None:
            self._ended_count += 1
            took_s = self._reactor.seconds() - job.began_at
            self._mean_s += (took_s - self._mean_s) / min(self._ended_count, REMEMBERED)
        self._count_out(job)

    def _count_out(self, job: Job) -> None:
        """Its executor does not have it any more."""
        line = job.line
        if job.began_at is None:
            line.handed -= 1
            return
        job.began_at = None
        self._running -= 1
        line.running -= 1
        if job.timer is not None and job.timer.active():
            job.timer.cancel()

    def _came_back(self, job: Job) -> None:
        """
        It was handed over, and has not begun; not even where it was its turn, for
        what it was handed to may have been slower than the recall.
        """
        token = job.delivery.lease
        self._count_out(job)
        job.executor = None
        if job.wanted and job.reason is None and not self._quiet:
            job.line.waiting[token] = job
            job.line.waiting.move_to_end(token, last=False)
            return
        del self._jobs[token]
        if job.wanted and job.reason is not None:
            self.on_report(report_of(job.delivery, as_told(job, Verdict("cancelled"))))
        elif job.wanted:
            self.on_return(job.delivery.holding, 0.0)
        self.on_free()

    def _tell(self, job: Job, verdict: Verdict) -> None:
        if verdict.status == "released":
            self.on_return(job.delivery.holding, verdict.delay_s)
        else:
            self.on_report(report_of(job.delivery, verdict))

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

    def began(self, token: int) -> None:
        """What was handed over ahead begins."""
        job = self._jobs.get(token)
        if job is None or job.began_at is not None:
            return
        job.line.handed -= 1
        self._count_begun(job)
        if job.reason is not None and job.executor is not None:  # it was to be recalled
            job.executor.stop_task(token, job.reason)

    def capacity_changed(self) -> None:
        """An executor can run more, or fewer, or be handed some ahead."""
        self._fill()
        self.on_free()

    # --- stopping -----------------------------------------------------------------------

    def cancel(self, token: int) -> None:
        """Somebody wants this delivery to be given up; it may finish all the same."""
        job = self._jobs.get(token)
        if job is None:
            return
        if job.line.waiting.pop(token, None) is not None:
            del self._jobs[token]
            self.on_report(report_of(job.delivery, Verdict("cancelled")))
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
            if job.line.waiting.pop(token, None) is not None:
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
        for line in self._lines:
            for token in line.waiting:
                del self._jobs[token]
            line.waiting.clear()
        return holdings

    def give_back_waiting(self) -> None:
        """Let others have what has not begun, and what comes from now on."""
        self._quiet = True
        for line in self._lines:
            while line.waiting:
                token, job = line.waiting.popitem(last=False)
                del self._jobs[token]
                self.on_return(job.delivery.holding, 0.0)
            line.executor.recall()

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
            if job.began_at is None:
                job.executor.recall()
            else:
                job.executor.stop_task(job.delivery.lease, reason)

    def stop_running(self) -> None:
        """Have everything stop that is still running."""
        for job in list(self._jobs.values()):
            self._stop(job, LEASE_LOST)

    def shut_down(self, within_s: float) -> Deferred[Any]:
        """Let the executors go."""
        return DeferredList([executor.shut_down(within_s) for executor in self.executors])
