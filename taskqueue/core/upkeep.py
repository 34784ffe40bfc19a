"""
Upkeep: what time alone brings about.

Each method does a bounded amount of work and says whether there is more, so
that a backlog is worked off in slices and nobody waits for all of it.
"""

from __future__ import annotations

from math import inf

from taskqueue.core.control import Control
from taskqueue.core.desk import Desk
from taskqueue.core.lanes import Queue
from taskqueue.core.leases import Holder
from taskqueue.core.ledger import Ledger
from taskqueue.core.moments import Now
from taskqueue.core.rows import CONNECTION_LOST, LEASE_EXPIRED
from taskqueue.core.task import WAITING, State
from taskqueue.core.workers import Worker

#: The most tasks that one call looks at.
SLICE = 5000

#: Idle lanes are given up only where there are more than this many.
MANY_LANES = 10_000


class Upkeep:
    """The desk that only looks at the clock."""

    def __init__(self, ledger: Ledger, desk: Desk, control: Control) -> None:
        self._ledger = ledger
        self._desk = desk
        self._control = control

    def expire_leases(self, now: Now) -> bool:
        """
        End the leases whose time has come.

        @return: whether more may be due.
        """
        for _ in range(SLICE):
            lease = self._ledger.leases.next_expired(now.mono)
            if lease is None:
                return False
            self._desk.lose(lease, LEASE_EXPIRED, now)
        return True

    def evict_stale(self, now: Now) -> list[tuple[Worker, str]]:
        """
        Strike out workers without a heartbeat, or without a connection for
        longer than the grace; the leases of those that reserve run on.

        @return: the workers, each with the reason.
        """
        ledger, policy = self._ledger, self._ledger.policy
        gone = ledger.workers.stale(now.mono, policy.stale_after_s, policy.reconnect_grace_s)
        for worker, reason in gone:
            if worker.info.reserves:
                self._control.retire(worker)
            else:
                self._control.strike(worker, f"worker evicted: {reason}", now)
        return gone

    def release_due(self, now: Now) -> bool:
        """
        Make ready what was scheduled for now, or waits for a retry that is due.

        @return: whether more is due.
        """
        due = self._ledger.delayed.due(now.wall, SLICE)
        for task in due:
            self._ledger.move(task, State.PENDING)
            self._ledger.make_ready(task)
        return len(due) == SLICE

    def expire_tasks(self, now: Now) -> bool:
        """
        End the waiting tasks whose expiry has come.

        @return: whether more may be due.
        """
        due = self._ledger.expiring.due(now.wall, SLICE)
        for task in due:
            if task.state in WAITING:
                self._ledger.finish(task, State.EXPIRED, now)
        return len(due) == SLICE

    def lapse_keys(self, now: Now) -> bool:
        """
        Free the unique keys whose time is over.

        @return: whether more may be due.
        """
        return self._ledger.keys.lapse(now.wall, SLICE) == SLICE

    def resume_queues(self, now: Now) -> list[str]:
        """
        End the timed pauses that are over.

        @return: the names of the queues.
        """
        over = [
            queue.name
            for queue in self._ledger.queues.values()
            if queue.resume_at is not None and queue.resume_at <= now.wall
        ]
        for name in over:
            self._control.resume(name)
        return over

    def time_out_claims(self, now: Now) -> None:
        """Withdraw the claims that have waited as long as they would."""
        self._ledger.withdrawn += self._ledger.claims.expired(now.mono)

    def due_in_s(self, now: Now) -> float:
        """
        In how many seconds any of L{release_due}, L{expire_tasks}, L{resume_queues} and
        L{time_out_claims} has something to do, below 0 where it has already; infinity where
        nothing will be due by itself.
        """
        ledger = self._ledger
        moments = [queue.resume_at for queue in ledger.queues.values() if queue.resume_at]
        for schedule in (ledger.delayed, ledger.expiring):
            at = schedule.next_at()
            if at is not None:
                moments.append(at)
        return min(min(moments, default=inf) - now.wall, ledger.claims.next_at() - now.mono)

    def connection_lost(self, holder: Holder, now: Now) -> None:
        """
        The connection of C{holder} is gone, its waiting claims with it.  An
        unregistered claimer loses its leases at once; a registered worker is
        given time to come back.
        """
        self._ledger.withdraw_claims(holder)
        holder.link = None
        if isinstance(holder, Worker):
            holder.away_since = now.mono
        else:
            self._desk.lose_all(holder, CONNECTION_LOST, now)

    def retire_lanes(self) -> int:
        """
        Give up lanes without a task, live or kept, where there are very many
        lanes, and queues without a lane or a setting; what they had counted
        stays in the count of the whole.

        @return: how many lanes were given up.
        """
        ledger, policy = self._ledger, self._ledger.policy
        lanes = sum(len(queue.lanes) for queue in ledger.queues.values())
        few = lanes < min(MANY_LANES, policy.max_types)
        if few and len(ledger.queues) < min(MANY_LANES, policy.max_queues):
            return 0
        ledger.lanes_left = None
        count = 0
        for queue in list(ledger.queues.values()):
            for lane in [lane for lane in queue.lanes.values() if not any(lane.counts)]:
                queue.retired.add(lane.counters)
                del queue.lanes[lane.type]
                count += 1
            if self._is_spent(queue):
                ledger.retired.add(queue.retired)
                del ledger.queues[queue.name]
        return count

    def _is_spent(self, queue: Queue) -> bool:
        return not (
            queue.lanes
            or queue.paused
            or queue.max_depth is not None
            or queue.name in self._ledger.policy.queues
        )
