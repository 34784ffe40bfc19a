"""
The worker: claims tasks, has handlers run them, and says what came of it.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from taskqueue.client import Client, Delivery, Lost
from taskqueue.errors import TaskQueueError, UnknownWorker
from taskqueue.worker.asking import FATAL, Asking
from taskqueue.worker.bounds import check_bounds
from taskqueue.worker.credit import Credit
from taskqueue.worker.executors import Executor
from taskqueue.worker.executors.inloop import InLoop
from taskqueue.worker.executors.threads import Threads
from taskqueue.worker.heartbeats import Heartbeats
from taskqueue.worker.jobs import Jobs
from taskqueue.worker.reporting import GATHER_S, Reporter
from taskqueue.worker.returning import Returns
from taskqueue.worker.vitals import Process, make_worker_id
from taskqueue.worker.work import preparation_for, works_of

#: How long a claim waits for tasks, seconds.
CLAIM_WAIT_S = 30.0

#: Results that may be on their way to the disk while more is claimed: one takes
#: some milliseconds, in which many tiny tasks end.
MOST_UNREPORTED = 100

#: How long the last words to the broker may take, seconds.
GOODBYE_S = 5.0

#: How long stopping waits for what is running, seconds.
STOP_TIMEOUT_S = 60.0


class Worker(Service):
    """
    Runs the tasks of a broker.

    Coroutine functions, and those marked with
    L{in_reactor<taskqueue.worker.in_reactor>}, run on the event loop; all others
    where C{pool} runs them.

    To stop is graceful: no more is claimed, what runs may end within
    C{stop_timeout_s}, the rest is given back, and only then killed, and the broker
    is told.  L{hurry} cuts that short.

    @ivar finished: fires when the worker has stopped, for whatever reason; fails
        with what the broker refuses it with, or why its tasks cannot be run.
    """

    _log = Logger()

    def __init__(
        self,
        tasks: Any,
        client: Client,
        reactor: Any,
        *,
        queues: Sequence[str] = ("default",),
        concurrency: int = 1,
        pool: Executor | None = None,
        prefetch: int | None = None,
        worker_id: str | None = None,
        incarnation: int | None = None,
        stop_timeout_s: float = STOP_TIMEOUT_S,
        prepare: Callable[[Client], Awaitable[None]] | None = None,
    ) -> None:
        """
        @param tasks: an L{App}, or a mapping of task type to function.
        @param client: not started yet; the worker starts and closes it.
        @param queues: in order of preference.
        @param concurrency: how many tasks are run at a time.
        @param pool: runs what does not belong on the event loop; threads where
            not given.
        @param prefetch: how many more tasks it claims, to have them at hand; a
            task that is more urgent does not overtake those.  Where not given, as
            many as are over in L{HORIZON_S<taskqueue.worker.credit.HORIZON_S>}.
        @param worker_id: unique among live workers; made up where not given.
        @param incarnation: larger at every start; milliseconds since the epoch
            where not given.
        @param stop_timeout_s: how long stopping waits for what is running.
        @param prepare: awaited once, when the worker is registered and has not
            claimed anything; where not given, an L{App} tells its schedules then.
        @raises BadRequest: there are no tasks, no queues, or a number is out of its bounds.
        """
        check_bounds(queues, concurrency, prefetch, stop_timeout_s)
        works = works_of(tasks)
        self.client = client
        self.types = sorted(works)
        self.queues = list(queues)
        self.concurrency = concurrency
        self.prefetch = prefetch
        self._credit = Credit(prefetch)
        self.most_unreported = max(concurrency, MOST_UNREPORTED)
        self.worker_id = worker_id or make_worker_id()
        self.incarnation = incarnation or int(time.time() * 1000)
        self.stop_timeout_s = stop_timeout_s
        self.finished: Deferred[None] = Deferred()
        self._reactor = reactor
        self._prepare = prepare or preparation_for(tasks)
        self._process = Process()
        self._asking = Asking(reactor)
        self._hurried = False
        self._slot: Deferred[None] | None = None
        self._idle: Deferred[None] | None = None
        self._claiming: Deferred[None] | None = None
        self._stopping: Deferred[None] | None = None
        self._reporter = Reporter(client, reactor)
        self._returns = Returns(client, reactor)
        self._jobs = Jobs(
            *(works, client, reactor, concurrency),
            loop=InLoop(works, concurrency, reactor),
            pool=pool or Threads(works, concurrency, reactor),
        )
        self._jobs.on_report = self._reporter.add
        self._jobs.on_return = self._returns.add
        self._jobs.on_free = self._job_ended
        self._reporter.on_taken = self._wake
        self._reporter.more_soon = self._more_ends_soon
        self._heartbeats = Heartbeats(self._beat, lambda: self._jobs.shortest_lease_s, reactor)
        client.on_lost("cancel", lambda lost: self._jobs.cancel(lost.lease))
        client.on_lost("lease_lost", self._lease_lost)

    @property
    def in_hand(self) -> int:
        """How many tasks it holds."""
        return len(self._jobs)

    # --- claiming ---------------------------------------------------------------------

    def startService(self) -> None:
        """Connect, register, and begin to claim."""
        super().startService()
        self.client.start()
        self._claiming = Deferred.fromCoroutine(self._run()).addErrback(self._refused)

    async def _run(self) -> None:
        try:
            await self._asking.ask(self._jobs.start())
        except CancelledError:
            return
        await self._register()
        await self._make_ready()
        while not self._asking.quiet:
            free = self._free_slots()
            if free > 0:
                await self._claim(free)
            else:
                await self._free_slot()

    async def _make_ready(self) -> None:
        while self._prepare is not None and not self._asking.quiet:
            try:
                await self._prepare(self.client)
                self._prepare = None
            except TaskQueueError as error:
                await self._asking.pause_after("the worker could not prepare", error)

    def _free_slots(self) -> int:
        slots = self._jobs.slots
        ahead = self._credit.ahead(slots, self._jobs.mean_s)
        if self._jobs.waiting > ahead // 2:
            return 0  # enough is at hand: many are claimed at once, not one by one
        # Results that the broker does not take must not pile up without bound.
        unreported = max(0, len(self._reporter) - self.most_unreported - ahead)
        return slots + ahead - len(self._jobs) - unreported

    def _more_ends_soon(self) -> bool:
        mean_s = self._jobs.mean_s
        return mean_s is not None and mean_s < GATHER_S and self._jobs.waiting > 0

    async def _free_slot(self) -> None:
        self._slot = Deferred()
        await self._slot

    def _wake(self) -> None:
        """There may be a free slot."""
        slot, self._slot = self._slot, None
        if slot is not None:
            # Whatever else ends in this turn of the reactor is claimed for at once.
            self._reactor.callLater(0, slot.callback, None)

    def _job_ended(self) -> None:
        self._wake()
        if not self._jobs:
            self._wait_no_more()

    def _wait_no_more(self) -> None:
        idle, self._idle = self._idle, None
        if idle is not None:
            idle.callback(None)

    async def _claim(self, free: int) -> None:
        limits = self.client.limits
        try:
            deliveries: list[Delivery] = await self._asking.ask(
                # Said each time: a claim must never fall back on the defaults of a
                # connection without a worker.
                self.client.claim(
                    self.queues,
                    self.types,
                    limit=min(free, limits.max_batch_claim),
                    wait_s=min(CLAIM_WAIT_S, limits.claim_wait_max_s),
                )
            )
        except CancelledError:
            return
        except UnknownWorker:
            self._log.warn("the broker had given up worker {worker}", worker=self.worker_id)
            await self._register()
            return
        except TaskQueueError as error:
            await self._asking.pause_after("tasks could not be claimed", error)
            return
        if deliveries:
            self._jobs.begin(*deliveries)
            self._heartbeats.hurry()

    def be_quiet(self) -> None:
        """Claim no more; what is running goes on, what has not begun is given back."""
        if not self._asking.quiet:
            self._log.info("worker {worker} claims no more", worker=self.worker_id)
            self._jobs.give_back_waiting()
            self._asking.withdraw()
            self._wake()

    # --- the broker's view --------------------------------------------------------------

    async def _register(self) -> None:
        while not self._asking.quiet:
            try:
                answer = await self._asking.ask(
                    self.client.register_worker(
                        self.worker_id,
                        self.incarnation,
                        queues=self.queues,
                        types=self.types,
                        capacity=self.concurrency + (self.prefetch or 0),
                        host=socket.gethostname(),
                        pid=os.getpid(),
                        on_registered=self._registered_again,
                    )
                )
            except CancelledError:
                return
            except TaskQueueError as error:
                await self._asking.pause_after("the worker could not be registered", error)
            else:
                self._registered(answer)
                return

    def _registered(self, answer: dict[str, Any]) -> None:
        self._log.info("worker {worker} is registered", worker=self.worker_id)
        self._reporter.most = self.client.limits.max_batch_results
        self._heartbeats.start(answer["heartbeat_s"])
        ours = {*self._jobs.tokens(), *self._reporter.tokens(), *self._returns.tokens()}
        theirs = {item["lease"]: item["task"] for item in answer["leases"]}
        self._jobs.drop(set(self._jobs.tokens()) - theirs.keys())
        # Delivered on a connection that broke before they arrived.
        for token, task in theirs.items():
            if token not in ours:
                self._returns.add((task, token))

    def _registered_again(self, answer: dict[str, Any] | Exception) -> None:
        if not isinstance(answer, Exception):
            self._registered(answer)
        elif isinstance(answer, FATAL):
            self._refused(Failure(answer))
        else:
            self._log.warn("the worker could not be registered again: {error}", error=answer)

    def _lease_lost(self, lost: Lost) -> None:
        self._jobs.drop([lost.lease])

    async def _beat(self) -> None:
        vitals = self._process.vitals(self._jobs.pids())
        tokens = self._jobs.tokens()
        orders = await self.client.heartbeat(
            self.worker_id,
            self.incarnation,
            cpu_percent=vitals.cpu_percent,
            rss_bytes=vitals.rss_bytes,
            in_hand=len(tokens),
            leases=tokens,
        )
        self._jobs.drop(orders.lost)
        for _, token in orders.cancel:
            self._jobs.cancel(token)
        if orders.order is not None:
            self._log.info("the broker orders to {order}", order=orders.order)
            self.be_quiet()
        if orders.order == "terminate":
            self._end()

    # --- the end ------------------------------------------------------------------------

    def _refused(self, failure: Failure) -> None:
        """The broker does not want this worker, or the worker is broken."""
        if not failure.check(TaskQueueError):
            self._log.failure("the worker failed", failure)
        self.be_quiet()
        self._end(failure)

    def _end(self, failure: Failure | None = None) -> None:
        # Not at once: to stop waits for the one that calls this.
        if self._stopping is None:
            self._stopping = deferLater(self._reactor, 0, lambda: None)
            self._stopping.addCallback(lambda _: self._stop(failure))

    def hurry(self) -> None:
        """Where the worker stops, wait no longer for what is running."""
        self._hurried = True
        self._wait_no_more()

    def stopService(self) -> Deferred[None]:
        """Stop gracefully; fires when the worker has stopped."""
        super().stopService()
        self.be_quiet()
        stopped: Deferred[None] = Deferred()
        if self._stopping is None:
            self._stopping = self._stop(None)
        self._stopping.chainDeferred(stopped)
        return stopped

    def _stop(self, failure: Failure | None) -> Deferred[None]:
        return Deferred.fromCoroutine(self._wind_up()).addBoth(self._stopped, failure)

    def _stopped(self, result: Any, failure: Failure | None) -> None:
        if isinstance(result, Failure):
            self._log.failure("the worker did not stop as it should", result)
        if not self.finished.called:
            self.finished.callback(None) if failure is None else self.finished.errback(failure)

    async def _wind_up(self) -> None:
        self._log.info(
            "worker {worker} stops: {count} tasks", worker=self.worker_id, count=self.in_hand
        )
        if self._claiming is not None:
            await self._claiming
        if self._jobs and not self._hurried:
            self._idle = Deferred()
            await self._within(self._idle, self.stop_timeout_s)
        self._heartbeats.stop()
        # Given back first: once its process is killed, a task should be somebody else's.
        for holding in self._jobs.forget():
            self._returns.add(holding)
        await self._within(Deferred.fromCoroutine(self._hand_over()), GOODBYE_S)
        self._jobs.stop_running()
        await self._jobs.shut_down(0.0)
        await self._within(Deferred.fromCoroutine(self._say_goodbye()), GOODBYE_S)
        await self.client.close()

    async def _hand_over(self) -> None:
        if self.client.connected:
            await self._reporter.drained()
            await self._returns.drained()

    async def _say_goodbye(self) -> None:
        if not self.client.connected:
            return
        try:
            await self.client.deregister_worker(self.worker_id)
        except TaskQueueError as error:
            self._log.info("the broker did not hear that the worker stops: {error}", error=error)

    async def _within(self, waited: Deferred[None], limit_s: float) -> None:
        """Wait for C{waited}, at most so many seconds."""

        def timed_out(_: object, __: float) -> None:
            return None

        await waited.addTimeout(limit_s, self._reactor, timed_out)
