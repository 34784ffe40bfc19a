"""
Results: what becomes of deliveries, by what workers say or do not say.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import groupby
from operator import attrgetter
from typing import Any

from taskqueue.core.delivery import NO_REASON, Outcome, lease_lost, tells
from taskqueue.core.lanes import Lane
from taskqueue.core.leases import Holder, Lease
from taskqueue.core.ledger import Ledger, Notice
from taskqueue.core.moments import Now
from taskqueue.core.retry import retry_delay_s
from taskqueue.core.submission import check_lease
from taskqueue.core.task import State, Task
from taskqueue.core.workers import Worker
from taskqueue.errors import Conflict, TaskQueueError

_LANE = attrgetter("lane")

#: The error of a dead letter that its holder made one, without a failure.
BURIED = "buried by its holder"

_COMPLETED = State.COMPLETED


class Results:
    """The desk at which results are handed in, and leases extended and given back."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    # --- results ----------------------------------------------------------------

    def report(self, outcome: Outcome, now: Now) -> State:
        """
        A delivery ended.  Said twice, it counts once.

        @return: the task's state thereafter.
        @raises LeaseLost: the token is not the task's current one.
        @raises Conflict: it yields to a cancel request that nobody made.
        """
        ledger = self._ledger
        lease = ledger.leases.by_token.get(outcome.lease)
        if lease is None or lease.task.id != outcome.task:
            return self._repeated(outcome)
        task, past = lease.task, lease.task.past
        if outcome.status is State.CANCELLED and not past.cancel_requested:
            raise Conflict(f"nobody asked to cancel task {task.id}", task=task.id)
        ledger.leases.end(lease)
        if outcome.status is State.COMPLETED:
            self.note(lease, outcome.result)
            self._complete([task], now)
            return State.COMPLETED
        _observe([task], now)
        if outcome.status is State.CANCELLED or past.cancel_requested:
            ledger.record(task, now, "cancelled", outcome.error, delivery=True)
            ledger.finish(task, State.CANCELLED, now, outcome.error)
        else:
            self._fail(task, outcome, lease, now)
        return task.state

    def report_all(self, outcomes: Iterable[Outcome], now: Now) -> list[State | TaskQueueError]:
        """
        Several deliveries ended: what is a matter of course is done in one go.

        @return: for each, what L{report} says or raises.
        """
        by_token = self._ledger.leases.by_token
        answers: list[State | TaskQueueError] = []
        completed: list[Task] = []
        for outcome in outcomes:
            token = outcome.lease
            lease = by_token.get(token)
            if (
                outcome.status is _COMPLETED
                and lease is not None
                and (task := lease.task).id == outcome.task
            ):
                # What Leases.end and note do, which would be two calls for every task.
                past, holder = task.past, lease.holder
                task.lease = None
                del by_token[token], holder.leases[token]
                if past.cancel_requested:
                    del holder.to_cancel[token]
                past.result = outcome.result
                past.error = None
                if isinstance(holder, Worker):
                    holder.completed += 1
                completed.append(task)
                answers.append(_COMPLETED)
                continue
            if completed:
                self._complete(completed, now)
                completed = []
            try:
                answers.append(self.report(outcome, now))
            except TaskQueueError as error:
                answers.append(error.alone())
        if completed:
            self._complete(completed, now)
        return answers

    def note(self, lease: Lease, result: bytes | None) -> None:
        """The delivery under C{lease} was completed."""
        past = lease.task.past
        past.result = result
        past.error = None
        if isinstance(lease.holder, Worker):
            lease.holder.completed += 1

    def _complete(self, tasks: list[Task], now: Now) -> None:
        for lane, some in groupby(tasks, _LANE):
            self.complete_alike(lane, list(some), now)

    def complete_alike(self, lane: Lane, tasks: list[Task], now: Now) -> None:
        """Tasks of one lane were completed: their leases are over, and their results noted."""
        lane.counters.completed += len(tasks)
        _observe(tasks, now)
        self._ledger.complete(lane, tasks, now)

    def _repeated(self, outcome: Outcome) -> State:
        task = self._ledger.find(outcome.task)
        if task is not None and tells(outcome, task):
            return task.state
        raise lease_lost(outcome.task, outcome.lease)

    def _fail(self, task: Task, outcome: Outcome, lease: Lease, now: Now) -> None:
        self._fail_or_retry(task, outcome, lease, now)
        self._ledger.failures.add(task, outcome.error or NO_REASON, now, lost=False)

    def _fail_or_retry(self, task: Task, outcome: Outcome, lease: Lease, now: Now) -> None:
        ledger, counters = self._ledger, task.lane.counters
        if isinstance(lease.holder, Worker):
            lease.holder.failed += 1
        counters.failed += 1
        task.failures += 1
        task.error = outcome.error or NO_REASON
        ledger.record(task, now, "failed", task.error, delivery=True)
        options, policy = task.options, task.lane.queue.policy
        retries = policy.bound("max_retries", options.max_retries)
        if outcome.permanent or task.failures > retries:
            ledger.finish(task, State.DEAD_LETTER, now, task.error)
            return
        counters.retried += 1
        pause_s = outcome.retry_in_s
        if pause_s is None:
            pause_s = retry_delay_s(task.failures, options, policy, ledger.random.random)
        ledger.move(task, State.FAILED)
        ledger.delay(task, now.wall + pause_s)

    def lease(self, task_id: str, token: int) -> Lease:
        """
        The lease with this token on this task.

        @raises LeaseLost: there is none.
        """
        lease = self._ledger.leases.by_token.get(token)
        if lease is None or lease.task.id != task_id:
            raise lease_lost(task_id, token)
        return lease

    def extend(self, task_id: str, token: int, lease_s: float | None, now: Now) -> float:
        """
        Let a lease run anew from now, for C{lease_s} (C{None}: its own length).
        That is its length from now on: heartbeats renew it for as long, and
        after a restart it has as long again.

        @return: the seconds that it runs from now.
        @raises LeaseLost: it is over.
        @raises BadRequest: C{lease_s} is out of bounds.
        """
        lease = self.lease(task_id, token)
        if lease_s is None:
            lease_s = lease.lease_s
        else:
            check_lease(lease_s, self._ledger.policy)
        if lease_s != lease.lease_s:
            self._ledger.changes.touch(lease.task)
        self._ledger.leases.extend(lease, lease_s, now.mono + lease_s)
        return lease_s

    def report_progress(self, task_id: str, token: int, progress: Any) -> bool:
        """
        Note how far a delivery has come.

        @return: whether somebody asked to cancel the task.
        @raises LeaseLost: the lease is over.
        """
        lease = self.lease(task_id, token)
        lease.progress = progress
        return lease.task.cancel_requested

    def release(
        self, task_id: str, token: int, delay_s: float, now: Now, priority: int | None = None
    ) -> State:
        """
        Give a task back, to run at once or after a pause; no retry is spent.

        @param priority: the one that it has from now on, C{None} for the one it has.
        @return: the task's state thereafter.
        @raises LeaseLost: the lease is over.
        """
        ledger = self._ledger
        lease = self.lease(task_id, token)
        task = lease.task
        ledger.leases.end(lease)
        task.lane.counters.released += 1
        ledger.record(task, now, "snoozed" if delay_s > 0 else "released", None, delivery=True)
        if task.cancel_requested:
            ledger.finish(task, State.CANCELLED, now)
            return task.state
        task.run_at = now.wall + delay_s if delay_s > 0 else task.run_at
        ledger.reprioritize(task, priority)
        ledger.wait_or_run(task, now)
        return task.state

    def bury(self, task_id: str, token: int, now: Now, priority: int | None = None) -> State:
        """
        Lay a task aside as a dead letter, without having failed at it, until somebody revives
        it.

        @param priority: the one that it has from now on, C{None} for the one it has.
        @return: the task's state thereafter.
        @raises LeaseLost: the lease is over.
        """
        ledger = self._ledger
        lease = self.lease(task_id, token)
        task = lease.task
        ledger.leases.end(lease)
        ledger.record(task, now, "buried", None, delivery=True)
        ledger.reprioritize(task, priority)
        if task.cancel_requested:
            ledger.finish(task, State.CANCELLED, now)
        else:
            ledger.finish(task, State.DEAD_LETTER, now, BURIED)
        return task.state

    # --- losses -----------------------------------------------------------------

    def lose(self, lease: Lease, reason: str, now: Now) -> None:
        """A delivery ended without a word: the lease ran out, or its holder is gone."""
        self._lose(lease, reason, now)
        self._ledger.failures.add(lease.task, reason, now, lost=True)

    def _lose(self, lease: Lease, reason: str, now: Now) -> None:
        ledger, task = self._ledger, lease.task
        ledger.leases.end(lease)
        ledger.notices.append(Notice(lease.holder, "lease_lost", task.id, lease.token, reason))
        if isinstance(lease.holder, Worker):
            lease.holder.lost += 1
        task.lane.counters.lost += 1
        task.losses += 1
        ledger.record(task, now, "lost", reason, delivery=True)
        options, policy = task.options, task.lane.queue.policy
        max_lost = policy.bound("max_lost", options.max_lost)
        if task.cancel_requested:
            ledger.finish(task, State.CANCELLED, now)
        elif task.losses > max_lost:
            ledger.finish(
                task,
                State.DEAD_LETTER,
                now,
                f"lost {task.losses} times, more than max_lost ({max_lost}); the last time: "
                f"{reason}",
            )
        else:
            ledger.move(task, State.PENDING)
            ledger.make_ready(task)

    def lose_all(self, holder: Holder, reason: str, now: Now) -> int:
        """
        All leases of C{holder} end.

        @return: how many there were.
        """
        leases = list(holder.leases.values())
        for lease in leases:
            self.lose(lease, reason, now)
        return len(leases)


def _observe(tasks: list[Task], now: Now) -> None:
    """Note how long these tasks of one lane were in progress; those of one claim equally long."""
    histogram = tasks[0].lane.counters.processing
    alike, since = 0, now.wall
    for task in tasks:
        claimed_at = task.past.claimed_at or now.wall
        if claimed_at != since and alike:
            histogram.observe(now.wall - since, alike)
            alike = 0
        since = claimed_at
        alike += 1
    histogram.observe(now.wall - since, alike)
