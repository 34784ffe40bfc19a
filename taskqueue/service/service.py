"""
The running broker as one service.
"""

from __future__ import annotations

from collections.abc import Callable
from random import SystemRandom
from time import perf_counter
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import (
    Deferred,
    DeferredLock,
    maybeDeferred,
    succeed,
)
from twisted.logger import Logger

from taskqueue.access.fair_use import FairUse
from taskqueue.config import Config, applicable
from taskqueue.core.broker import Broker
from taskqueue.core.ledger import TOKEN_BLOCK
from taskqueue.core.paging import payloads_to_read
from taskqueue.core.restore import Restoration
from taskqueue.core.task import Task
from taskqueue.ids import new_task_id, new_task_ids
from taskqueue.service.auditing import Auditor
from taskqueue.service.buffers import Buffers
from taskqueue.service.clock import Moments, moments_of
from taskqueue.service.duties import Duties
from taskqueue.service.events import Events
from taskqueue.service.gatekeeping import GateKeeping
from taskqueue.service.journal import Journal
from taskqueue.service.kicks import KickCommands
from taskqueue.service.lateness import Lateness
from taskqueue.service.memory import Trimming
from taskqueue.service.operators import OperatorCommands
from taskqueue.service.outbox import Outbox
from taskqueue.service.patience import in_time
from taskqueue.service.policies import most_ended_bytes, policy_of
from taskqueue.service.queues import QueueCommands
from taskqueue.service.reader import Reader
from taskqueue.service.runner import Runner, make_runner
from taskqueue.service.sampling import Samples
from taskqueue.service.settling import Settling
from taskqueue.service.singles import SingleCommands
from taskqueue.service.stalls import StallWatch
from taskqueue.service.ticks import next_tick
from taskqueue.service.timers import Timer
from taskqueue.service.traffic import Traffic
from taskqueue.service.watches import Watches
from taskqueue.service.work import WorkCommands
from taskqueue.store import make_store
from taskqueue.store.interface import IStore

#: How long connections, and calls of the store, have to end when time is up, seconds.
PATIENCE_S = 1.0


class TaskQueueService(
    MultiService,
    KickCommands,
    SingleCommands,
    WorkCommands,
    QueueCommands,
    OperatorCommands,
    Duties,
):
    """
    Owns the core, the store, the clock and the timers.  Front-ends are its
    child services: they are started after the store has been read, and stopped
    before it is closed.

    @ivar gate: who comes in, and what they may do.
    @ivar fair_use: who may ask how often.
    @ivar gatekeeping: what has the gate go by the keyring.
    @ivar buffers: what connections hold of messages that have not arrived whole.
    @ivar outbox: where connections stand that have something to send.
    @ivar stopping: it has begun to stop: nothing new is accepted.
    """

    _log = Logger()

    def __init__(
        self,
        config: Config,
        reactor: Any,
        *,
        store: IStore | None = None,
        moments: Moments | None = None,
    ) -> None:
        """
        @param reactor: an C{IReactorTime}, and C{IReactorFromThreads} where the
            store blocks (SQLite does, the memory store does not).
        @param store: instead of the one that C{config} names.
        @param moments: the clocks, instead of those that go with the reactor.
        """
        super().__init__()
        self.setName("taskqueue")
        self.config = config
        self.reactor = reactor
        self.moments = moments or moments_of(reactor)
        self.store = store or make_store(
            config.store.kind,
            config.store.path,
            config.store.durability,
            config.store.check_on_start,
        )
        self.store.most_ended_bytes = most_ended_bytes(config)
        self.broker = Broker(
            policy_of(config), SystemRandom(), new_task_id, next_tick, new_task_ids
        )
        self.watches = Watches()
        self.traffic = Traffic()
        self.outbox = Outbox(reactor)
        self.buffers = Buffers()
        self.samples = Samples(self.broker.ledger)
        self.trimming = Trimming()
        self.ended_lock = DeferredLock()
        self.stopping = False
        self.started_at = 0.0
        self._runners: list[Runner] = []
        self._closers: list[Any] = []
        self._hangups: list[Callable[[], None]] = []
        self._drains: list[Callable[[], None]] = []
        self._timers = self.make_timers()
        self.gatekeeping = GateKeeping(self)
        self.gatekeeping.setServiceParent(self)
        self.gate = self.gatekeeping.gate
        self.at_hangup(self.gatekeeping.hung_up)
        self.fair_use = FairUse(config.limits, lambda: self.moments().mono)
        self.events = Events(self)
        self.events.setServiceParent(self)
        self.stalls = StallWatch(self)
        self.auditor = Auditor(self)
        self.lateness = Lateness(self)
        for watch in (self.stalls, self.auditor, self.lateness):
            watch.setServiceParent(self)

    @property
    def timers(self) -> tuple[Timer, ...]:
        """What the service and its front-ends do again and again."""
        return *self._timers, *(child for child in self.services if isinstance(child, Timer))

    @property
    def threads_at_work(self) -> bool:
        """Whether a thread has something to do for the store."""
        return True in [runner.at_work for runner in self._runners]  # any() needs a generator

    # --- start ------------------------------------------------------------------------

    def startService(self) -> None:
        """
        Open the store, go on where an earlier broker stopped, then start the
        front-ends and timers.

        @raises StoreError: the store cannot be used; the message says what to do.
        @raises TaskQueueError: the file of keys and users cannot be used; or everybody could come
            in from other machines, and nobody has said that it should be so.
            This, or whatever keeps a front-end from starting, leaves nothing behind.
        """
        if self.started_at:
            self._begin_anew()
        self.gatekeeping.open()
        self.store.open()
        try:
            self._recover()
        except BaseException:
            self.store.close()
            raise
        try:
            self._run()
        except BaseException:
            self._take_back()
            raise

    def _begin_anew(self) -> None:
        """A second life of the same object starts with empty books."""
        self.broker = Broker(
            policy_of(self.config), SystemRandom(), new_task_id, next_tick, new_task_ids
        )
        self.samples = Samples(self.broker.ledger)
        self.stopping = False

    def _run(self) -> None:
        self.started_at = self.moments().wall
        inline = self.store.inline
        settler = make_runner(inline, self.reactor, "taskqueue store settler")
        writer = make_runner(inline, self.reactor, "taskqueue store writer")
        readers = make_runner(inline, self.reactor, "taskqueue store reader")
        self._runners = [settler, writer, readers]
        self.reader = Reader(self.broker.ledger, self.store, readers)
        self.settling = Settling(self.store, settler, self.reactor)
        self.journal = Journal(
            self.broker.ledger,
            self.store,
            writer,
            self.reactor,
            durability=self.config.store.durability,
            interval_s=self.config.store.sync_interval_ms / 1000,
            stored=self._forget_stored,
            told=self.watches.tell,
            committed=self.settling.offer,
            outbox=self.outbox,
        )
        for timer in self._timers:
            timer.startService()
        self._learning = self.learn_ids()
        super().startService()

    def _take_back(self) -> None:
        """A front-end cannot start: end what was started before it."""
        self.running = False
        for child in reversed([*self._timers, *self]):
            if child.running:
                child.stopService()
        self.journal.close()
        self._learning.cancel()
        for runner in self._runners:
            runner.stop(PATIENCE_S)
        self.store.close()

    def _recover(self) -> None:
        began = perf_counter()
        recovery = self.store.recover(payloads_to_read(self.broker.ledger.policy))
        now = self.moments()
        restoration = Restoration(self.broker.ledger, now)
        restoration.numbers(recovery.next_seq, recovery.token_ceiling)
        restoration.queues(recovery.queues)
        restoration.ended(recovery.ended)
        restoration.periodics(recovery.periodics)
        restoration.values(self.store.key_values())
        restoration.windows(self.store.open_windows(now.wall))
        count = restoration.tasks(recovery.tasks)
        ledger = self.broker.ledger
        ceiling = ledger.next_token + TOKEN_BLOCK
        ledger.changes.reserve_tokens(ceiling)
        batch, _ = ledger.changes.drain(ledger.next_seq)
        self.store.commit(batch)
        ledger.tokens_reserved(ceiling)
        self._log.info(
            "recovered {tasks} live tasks, {leases} of them in progress, in {seconds:.2f} s",
            tasks=count,
            leases=len(ledger.leases),
            seconds=perf_counter() - began,
        )

    def _forget_stored(self, ended: list[Task]) -> None:
        self.broker.ledger.forget_stored(ended, prune=not self.reader.busy)

    # --- stop -------------------------------------------------------------------------

    def at_close(self, closer: Any) -> None:
        """
        Call C{closer}, which may return a Deferred, when the broker stops and
        everything accepted has been answered: connections are closed then.
        """
        self._closers.append(closer)

    def stopService(self) -> Deferred[None]:
        """
        Stop accepting, answer waiting claims, store what has changed, close
        connections, close the store; within C{stop_timeout_s}.
        """
        if not self.running:
            return succeed(None)
        self.stopping = True
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        self._log.info("stopping")
        limit_s = self.config.broker.stop_timeout_s
        ends_at = self.moments().mono + limit_s
        ends = [timer.stopService() for timer in self._timers]
        ends.append(super().stopService() or succeed(None))
        ledger = self.broker.ledger
        for claim in ledger.claims:
            ledger.claims.remove(claim)
            ledger.withdrawn.append(claim)
        self.after(self.moments())
        self.end_all_value_waits()
        stored = await self._until(ends_at, *ends)
        if not (stored and await self._until(ends_at, self.journal.flush())):
            self._log.error("not everything could be stored within {limit} s", limit=limit_s)
        elif self.journal.error is not None:
            self._log.error("the newest changes could not be stored")
        self.journal.close()
        self._learning.cancel()
        await self._until(ends_at, self.settling.finish())
        closing = [maybeDeferred(closer) for closer in self._closers]
        await self._until(max(ends_at, self.moments().mono + PATIENCE_S), *closing)
        self._close_store()
        self._log.info("stopped")

    async def _until(self, ends_at: float, *waited: Deferred[Any]) -> bool:
        """Whether all came to their end before a monotonic moment; the rest is cancelled then."""
        left_s = ends_at - self.moments().mono
        ends = [in_time(one, left_s, self.reactor) for one in waited]
        return all([await end for end in ends])

    def _close_store(self) -> None:
        """Close the store, unless one of its calls hangs: closing would hang as well."""
        stopped = [runner.stop(PATIENCE_S) for runner in self._runners]
        if all(stopped):
            self.store.close()
        else:
            self._log.critical("the store hangs: it is left open until this process ends")

    # --- while it runs ---------------------------------------------------------------

    def at_hangup(self, call: Callable[[], None]) -> None:
        """Have C{call} called when the process is told by SIGHUP to open its files anew."""
        self._hangups.append(call)

    def hung_up(self) -> None:
        """Open files anew: something may have renewed or moved them."""
        for call in self._hangups:
            try:
                call()
            except Exception:
                self._log.failure("not every file could be opened anew")

    def at_drain(self, call: Callable[[], None]) -> None:
        """Have C{call} called when the process is told by SIGUSR1 to take no more new tasks."""
        self._drains.append(call)

    @property
    def drains(self) -> bool:
        """Whether there is a door whose clients know what it means to L{drain}."""
        return bool(self._drains)

    def drain(self) -> None:
        """Take no more new tasks, at the doors whose clients know what that means."""
        for call in self._drains:
            call()

    def reconfigure(self, config: Config) -> None:
        """
        Go by C{config} as far as it can change while running; the rest stays
        as it was started with.
        """
        self.config = applicable(self.config, config)
        self.broker.adopt(policy_of(self.config))
        self.store.most_ended_bytes = most_ended_bytes(self.config)
        self.gatekeeping.adopt(self.config)
        self.fair_use.adopt(self.config.limits)
