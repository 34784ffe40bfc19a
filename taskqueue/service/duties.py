"""
What the service does again and again.
"""

from __future__ import annotations

import math

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from taskqueue.core.overview import unserved
from taskqueue.core.seen import SeenIds
from taskqueue.core.task import State
from taskqueue.errors import ShuttingDown
from taskqueue.service.memory import Trimming
from taskqueue.service.periodics import PeriodicCommands
from taskqueue.service.policies import sweep_before
from taskqueue.service.settling import Settling
from taskqueue.service.timers import Timer
from taskqueue.service.values import ValueCommands

#: How often each timer runs, seconds.
SCHEDULE_S = 0.1
LEASES_S = 0.25
PERIODIC_S = 0.25
WORKERS_S = 1.0
SAMPLING_S = 5.0
SETTLE_S = 1.0
MEMORY_S = 1.0
ROOM_S = 0.1

#: A timer that is so late shows that heartbeats may wait unread, seconds.
LATE_S = 1.0


class Duties(PeriodicCommands, ValueCommands):
    """What is due: leases that end, workers that are gone, schedules, retention."""

    _log = Logger()

    settling: Settling
    trimming: Trimming

    #: Queues and types that were warned of.
    _warned: frozenset[tuple[str, str]] = frozenset()

    #: When leases, and workers, were looked at last, monotonic seconds.
    _leases_seen_at = _workers_seen_at = math.inf

    def make_timers(self) -> list[Timer]:
        """A timer for each duty, not started."""
        table = (
            ("lease expiry", LEASES_S, self.expire_leases),
            ("stale workers", WORKERS_S, self.evict_stale_workers),
            ("due schedules", SCHEDULE_S, self.release_due),
            ("periodic tasks", PERIODIC_S, self.fire_periodics),
            ("retention", self.config.retention.sweep_interval_s, self.sweep),
            ("catching up", SETTLE_S, self.catch_up),
            ("giving memory back", MEMORY_S, self.give_memory_back),
            ("sampling", SAMPLING_S, self.sample),
        )
        timers = [Timer(name, every, function, self.reactor) for name, every, function in table]
        if self.store.most_ended_bytes is not None:
            timers.append(Timer("making room", ROOM_S, self.make_room, self.reactor))
        return timers

    def expire_leases(self) -> bool | float:
        """
        End leases whose time has come; True where there is more to do, or else in how many
        seconds there may be.

        After a stop of everything (a disk or a machine that hung) what holders
        have said meanwhile is read first, in the next turn.
        """
        now = self.moments()
        before, self._leases_seen_at = self._leases_seen_at, now.mono
        if now.mono - before > LEASES_S + LATE_S:
            return True
        more = self.broker.upkeep.expire_leases(now)
        self.after(now)
        return more or self.broker.ledger.leases.next_at() - now.mono

    def evict_stale_workers(self) -> bool:
        """
        Strike out workers that are silent or gone; True where they are to be heard
        first, as for L{expire_leases}.
        """
        now = self.moments()
        before, self._workers_seen_at = self._workers_seen_at, now.mono
        if now.mono - before > WORKERS_S + LATE_S:
            return True
        for worker, reason in self.broker.upkeep.evict_stale(now):
            self._log.warn("worker {worker} evicted: {reason}", worker=worker.name, reason=reason)
        self.after(now)
        return False

    def release_due(self) -> bool | float:
        """
        Make ready, expire, resume and free what is due; True where there is more to do, or else
        in how many seconds there is.
        """
        now = self.moments()
        upkeep = self.broker.upkeep
        more = upkeep.release_due(now)
        more = upkeep.expire_tasks(now) or more
        more = upkeep.lapse_keys(now) or more
        for queue in upkeep.resume_queues(now):
            self._log.info("queue {queue} resumed", queue=queue)
        upkeep.time_out_claims(now)
        self.after(now)
        return self.expire_values(now) or more or upkeep.due_in_s(now)

    def sweep(self) -> Deferred[None]:
        """Remove ended tasks that have been kept long enough."""
        return Deferred.fromCoroutine(self._sweep())

    def make_room(self) -> Deferred[None] | None:
        """
        Where the store keeps everything in memory: note how much that is, and remove the oldest
        ended tasks where it is too much.
        """
        ledger = self.broker.ledger
        ledger.kept_bytes = max(0, self.store.memory_bytes - ledger.held_bytes)
        return Deferred.fromCoroutine(self._make_room()) if self.store.wants_sweep else None

    async def _make_room(self) -> None:
        swept = 1
        while swept and self.store.wants_sweep and not self.stopping:
            swept = await self._sweep_exclusively({})
            if self.store.wants_sweep:
                await self._let_others()

    async def _sweep(self) -> None:
        limit = self.config.retention.sweep_batch
        before = sweep_before(self.config, self.moments().wall)
        swept = limit
        total = 0
        while swept >= limit and before and not self.stopping:
            swept = await self._sweep_exclusively(before)
            total += swept
            if swept >= limit:
                await self._let_others()
        if total:
            self._log.info("{count} ended tasks removed after their retention", count=total)
        if self.broker.ledger.seen.full:
            await self.learn_ids()
        self.broker.upkeep.retire_lanes()

    async def _let_others(self) -> None:
        """A store in memory sweeps in the reactor's thread: others have their turn in between."""
        if self.store.inline and not self.stopping:
            await deferLater(self.reactor, 0)

    def _sweep_exclusively(self, before: dict[State, float]) -> Deferred[int]:
        limit = self.config.retention.sweep_batch
        return self.ended_lock.run(lambda: Deferred.fromCoroutine(self._sweep_some(before, limit)))

    async def _sweep_some(self, before: dict[State, float], limit: int) -> int:
        """Whatever was revived or deleted meanwhile is stored first, so that it counts once."""
        await self.journal.flush()
        counts = await self.settling.exclusive(self.store.sweep, before, limit)
        for (queue, task_type, state), count in counts.items():
            self.broker.ledger.queue(queue).lane(task_type).counts[state] -= count
        return sum(counts.values())

    def catch_up(self) -> Deferred[None]:
        """Let the store bring what was committed to its place."""
        return self.settling.catch_up()

    def give_memory_back(self) -> Deferred[None] | None:
        """Near C{memory_limit}: give the system what is free of the process's memory."""
        bound, now = self.config.broker.memory_limit, self.moments().mono
        if not self.trimming.is_due(bound, now):
            return None
        done = self.settling.exclusive(self.trimming.run, bound, now)
        return done.addErrback(_given_up)

    def sample(self) -> None:
        """Note the totals, and warn of tasks that nobody can run."""
        self.samples.take(self.moments().mono)
        now_unserved = {(queue, kind): n for queue, kind, n in unserved(self.broker.ledger)}
        for (queue, task_type), count in now_unserved.items():
            if (queue, task_type) not in self._warned:
                self._log.warn(
                    "{count} tasks of type {type} wait in queue {queue}, and no worker runs it",
                    count=count,
                    type=task_type,
                    queue=queue,
                )
        self._warned = frozenset(now_unserved)

    def learn_ids(self) -> Deferred[None]:
        """
        Learn, in the background, the ids of all ended tasks; until then each
        new id is looked up in the store.
        """
        self.broker.ledger.seen = seen = SeenIds()
        return Deferred.fromCoroutine(self.reader.learn_ids(seen)).addErrback(self._unlearnt)

    def _unlearnt(self, failure: Failure) -> None:
        if failure.check(CancelledError, ShuttingDown) is None:
            self._log.failure("the ids of ended tasks cannot be read", failure)


def _given_up(failure: Failure) -> None:
    """What the broker no longer does as it stops."""
    failure.trap(CancelledError, ShuttingDown)
