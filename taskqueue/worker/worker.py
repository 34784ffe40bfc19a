"""
The worker: claims tasks, has handlers run them, and says what came of it.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from taskqueue.client import Client, Delivery, Lost
from taskqueue.errors import (
    BadRequest,
    FatalClientError,
    StaleIncarnation,
    TaskQueueError,
    TimedOut,
    TooManyConnections,
    UnknownWorker,
    WorkerExists,
)
from taskqueue.worker.handlers import Handler, checked
from taskqueue.worker.heartbeats import Heartbeats
from taskqueue.worker.jobs import Jobs
from taskqueue.worker.reporting import Reporter
from taskqueue.worker.vitals import Process, make_worker_id

#: How long a claim waits for tasks, seconds.
CLAIM_WAIT_S = 30.0

#: The pause after a refusal that names none, seconds.
PAUSE_S = 1.0

#: How long the last words to the broker may take, seconds.
GOODBYE_S = 5.0

#: What goes away by itself, although it ends a connection.
_PASSING = (TimedOut, TooManyConnections)

#: What no second attempt can mend.
_FATAL = (BadRequest, StaleIncarnation, WorkerExists, FatalClientError)


class Worker(Service):
    """
    Runs handlers on the tasks of a broker.

    Plain functions run in threads; coroutine functions, and those marked with
    L{in_reactor<taskqueue.worker.in_reactor>}, in the reactor's.  An exception
    fails the task, L{PermanentFailure} for good.

    To stop is graceful: no more is claimed, what runs may end within
    C{stop_timeout_s}, the rest is given back, and the broker is told.

    @ivar finished: fires when the worker has stopped, for whatever reason; fails
        with what the broker refuses it with.
    """

    _log = Logger()

    def __init__(
        self,
        handlers: Mapping[str, Handler],
        client: Client,
        reactor: Any,
        *,
        queues: Sequence[str] = ("default",),
        concurrency: int = 1,
        worker_id: str | None = None,
        incarnation: int | None = None,
        stop_timeout_s: float = 30.0,
    ) -> None:
        """
        @param handlers: by task type.
        @param client: not started yet; the worker starts and closes it.
        @param queues: in order of preference.
        @param concurrency: how many tasks are run at a time.
        @param worker_id: unique among live workers; made up where not given.
        @param incarnation: larger at every start; milliseconds since the epoch
            where not given.
        @param stop_timeout_s: how long stopping waits for what is running.
        @raises BadRequest: there are no handlers, no queues, or no concurrency.
        """
        if concurrency < 1 or not queues:
            raise BadRequest("a worker needs at least one queue, and a concurrency of 1 or more")
        self.handlers = checked(handlers)
        self.client = client
        self.types = sorted(self.handlers)
        self.queues = list(queues)
        self.concurrency = concurrency
        self.worker_id = worker_id or make_worker_id()
        self.incarnation = incarnation or int(time.time() * 1000)
        self.stop_timeout_s = stop_timeout_s
        self.finished: Deferred[None] = Deferred()
        self._reactor = reactor
        self._process = Process()
        self._quiet = False
        self._slot: Deferred[None] | None = None
        self._asked: Deferred[Any] | None = None
        self._idle: Deferred[None] | None = None
        self._claiming: Deferred[None] | None = None
        self._stopping: Deferred[None] | None = None
        self._reporter = Reporter(client, reactor)
        self._jobs = Jobs(self.handlers, client, reactor, concurrency)
        self._jobs.on_report = self._reporter.add
        self._jobs.on_ended = self._job_ended
        self._reporter.on_taken = self._wake
        self._heartbeats = Heartbeats(self._beat, lambda: self._jobs.shortest_lease_s, reactor)
        client.on_lost("cancel", lambda lost: self._jobs.cancel(lost.lease))
        client.on_lost("lease_lost", self._lease_lost)

    @property
    def in_hand(self) -> int:
        """How many tasks are running."""
        return len(self._jobs)

    # --- claiming ---------------------------------------------------------------------

    def startService(self) -> None:
        """Connect, register, and begin to claim."""
        super().startService()
        self._jobs.open()
        self.client.start()
        self._claiming = Deferred.fromCoroutine(self._run()).addErrback(self._refused)

    async def _run(self) -> None:
        await self._register()
        while not self._quiet:
            free = self._free_slots()
            if free > 0:
                await self._claim(free)
            else:
                await self._free_slot()

    def _free_slots(self) -> int:
        # Results that the broker does not take must not pile up without bound.
        unreported = max(0, len(self._reporter) - self.concurrency)
        return self.concurrency - len(self._jobs) - unreported

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
        if self._idle is not None and not self._jobs:
            idle, self._idle = self._idle, None
            idle.callback(None)

    async def _claim(self, free: int) -> None:
        limits = self.client.limits
        try:
            deliveries: list[Delivery] = await self._ask(
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
            await self._pause_after("tasks could not be claimed", error)
            return
        for delivery in deliveries:
            self._jobs.begin(delivery)
        if deliveries:
            self._heartbeats.hurry()

    async def _ask(self, asked: Deferred[Any]) -> Any:
        """Wait for C{asked}; L{be_quiet} cancels it."""
        self._asked = asked
        try:
            return await asked
        finally:
            self._asked = None

    async def _pause_after(self, what: str, error: TaskQueueError) -> None:
        """
        @raises TaskQueueError: C{error}, where no pause can mend it.
        """
        if self._quiet:
            return
        if isinstance(error, _FATAL) and not isinstance(error, _PASSING):
            raise error
        pause_s = error.retry_after_s or PAUSE_S
        self._log.warn("{what}: {error}; again in {pause} s", what=what, error=error, pause=pause_s)
        try:
            await self._ask(deferLater(self._reactor, pause_s, lambda: None))
        except CancelledError:
            return

    def be_quiet(self) -> None:
        """Claim no more; what is running goes on."""
        if not self._quiet:
            self._quiet = True
            self._log.info("worker {worker} claims no more", worker=self.worker_id)
            if self._asked is not None:
                self._asked.cancel()
            self._wake()

    # --- the broker's view --------------------------------------------------------------

    async def _register(self) -> None:
        while not self._quiet:
            try:
                answer = await self._ask(
                    self.client.register_worker(
                        self.worker_id,
                        self.incarnation,
                        queues=self.queues,
                        types=self.types,
                        capacity=self.concurrency,
                        host=socket.gethostname(),
                        pid=os.getpid(),
                        on_registered=self._registered_again,
                    )
                )
            except CancelledError:
                return
            except TaskQueueError as error:
                await self._pause_after("the worker could not be registered", error)
            else:
                self._registered(answer)
                return

    def _registered(self, answer: dict[str, Any]) -> None:
        self._log.info("worker {worker} is registered", worker=self.worker_id)
        self._reporter.most = self.client.limits.max_batch_results
        self._heartbeats.start(answer["heartbeat_s"])
        ours = {*self._jobs.tokens(), *self._reporter.tokens()}
        theirs = {item["lease"]: item["task"] for item in answer["leases"]}
        self._jobs.drop(set(self._jobs.tokens()) - theirs.keys())
        # Delivered on a connection that broke before they arrived.
        self._give_back([(task, token) for token, task in theirs.items() if token not in ours])

    def _registered_again(self, answer: dict[str, Any] | Exception) -> None:
        if not isinstance(answer, Exception):
            self._registered(answer)
        elif isinstance(answer, _FATAL):
            self._refused(Failure(answer))
        else:
            self._log.warn("the worker could not be registered again: {error}", error=answer)

    def _give_back(self, holdings: list[tuple[str, int]]) -> None:
        if holdings:
            self.client.release(holdings).addErrback(self._not_told)

    def _not_told(self, failure: Failure) -> None:
        failure.trap(TaskQueueError)
        self._log.info("the broker could not be told: {error}", error=failure.value)

    def _lease_lost(self, lost: Lost) -> None:
        self._jobs.drop([lost.lease])

    async def _beat(self) -> None:
        vitals = self._process.vitals()
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
        if self._jobs:
            self._idle = Deferred()
            await self._within(self._idle, self.stop_timeout_s)
        left = self._jobs.holdings()
        self._heartbeats.stop()
        self._jobs.drop(token for _, token in left)
        if self.client.connected:
            await self._within(Deferred.fromCoroutine(self._say_goodbye(left)), GOODBYE_S)
        self._jobs.close()
        await self.client.close()

    async def _say_goodbye(self, left: list[tuple[str, int]]) -> None:
        await self._reporter.drained()
        try:
            if left:
                await self.client.release(left)
            await self.client.deregister_worker(self.worker_id)
        except TaskQueueError as error:
            self._log.info("the broker did not hear that the worker stops: {error}", error=error)

    async def _within(self, waited: Deferred[None], limit_s: float) -> None:
        """Wait for C{waited}, at most so many seconds."""

        def timed_out(_: object, __: float) -> None:
            return None

        await waited.addTimeout(limit_s, self._reactor, timed_out)
