"""
Going on where an earlier broker stopped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from taskqueue.core.changes import OpenWindow, QueueRow, TaskRow
from taskqueue.core.leases import Holder
from taskqueue.core.ledger import Ledger
from taskqueue.core.moments import Now
from taskqueue.core.paging import page_out
from taskqueue.core.periodic import PeriodicRow
from taskqueue.core.rows import ValueRow
from taskqueue.core.task import DEFAULT_OPTIONS, Past, State, Task
from taskqueue.core.unique import holds
from taskqueue.core.workers import Registration, Worker


def task_from(row: TaskRow, ledger: Ledger) -> Task:
    """
    A task as its row tells, in no lane or schedule yet, and not in the books.

    @param row: with its payload, or the size of one that is left in the store.
    """
    lane = ledger.queue(row.queue).lane(row.type)
    options = DEFAULT_OPTIONS if row.options == DEFAULT_OPTIONS else row.options
    task = Task(row.id, row.seq, lane, row.priority, row.payload or b"", row.submitted_at, options)
    if row.expires_at is not None or row.headers is not None or row.depends_on or row.unique:
        task.expires_at = row.expires_at
        task.headers = row.headers
        task.depends_on = row.depends_on
        task.unique = row.unique
    if row.run_at is not None:
        task.run_at = row.run_at
    if row.attempt or row.error is not None or row.state != State.PENDING:
        task.past = _past_of(row)
    task.stored = True
    return task


def _past_of(row: TaskRow) -> Past:
    past = Past(row.attempt, row.token, row.worker, row.claimed_at)
    past.failures = row.failures
    past.losses = row.losses
    past.ended_at = row.ended_at
    past.cancel_requested = bool(row.cancel_requested)
    past.error = row.error
    return past


def unfinished(task: Task, ledger: Ledger) -> set[str]:
    """
    What a task that comes back still has to wait for: those of its
    dependencies that are live.  Any other has been settled, as the end of a task
    and what follows from it are stored together.  One that stands behind the
    task in line is another one, submitted when the id had become free.
    """
    live = ((task_id, ledger.tasks.get(task_id)) for task_id in task.depends_on)
    return {task_id for task_id, other in live if other is not None and other.seq < task.seq}


class Restoration:
    """
    Fills an empty ledger from what a store has.

    Leases stay valid under their tokens: each holder has one fresh lease's
    time (a registered worker: at least the time after which it would count as
    stale) to report.
    """

    def __init__(self, ledger: Ledger, now: Now) -> None:
        self._ledger = ledger
        self._now = now
        self._holders: dict[tuple[str, int], Holder] = {}

    def numbers(self, next_seq: int, token_ceiling: int) -> None:
        """Go on counting above every number that was ever given out."""
        ledger = self._ledger
        ledger.next_seq = max(ledger.next_seq, next_seq)
        ledger.next_token = max(ledger.next_token, token_ceiling)
        ledger.tokens_reserved(ledger.next_token)

    def queues(self, rows: Iterable[QueueRow]) -> None:
        """What operators had set on queues."""
        for row in rows:
            queue = self._ledger.queue(row.name)
            queue.paused = bool(row.paused)
            queue.resume_at = row.resume_at
            queue.max_depth = row.max_depth

    def ended(self, counts: Mapping[tuple[str, str, State], int]) -> None:
        """How many ended tasks are kept."""
        for (queue, task_type, state), count in counts.items():
            self._ledger.queue(queue).lane(task_type).counts[state] += count

    def periodics(self, rows: Iterable[PeriodicRow]) -> None:
        """The periodic tasks; ticks that were missed are still to come."""
        for row in rows:
            self._ledger.periodics[row.definition.name] = row

    def values(self, rows: Iterable[ValueRow]) -> None:
        """All values, also those that have expired meanwhile."""
        self._ledger.values.restore(rows)

    def windows(self, rows: Iterable[OpenWindow]) -> None:
        """Ended tasks that still hold their unique keys."""
        for row in rows:
            self._ledger.keys.restore(row.unique, row.id, row.seq, row.state)

    def tasks(self, rows: Iterable[TaskRow]) -> int:
        """
        Every live task; called once, last.

        @return: how many there were.
        """
        ledger = self._ledger
        blocked: list[Task] = []
        count = 0
        for row in rows:
            count += 1
            task = task_from(row, ledger)
            state = State(row.state)
            ledger.know(task, state)
            page_out(ledger, (task,))
            if task.extras.unique is not None and holds(task, self._now.wall):
                ledger.keys.restore(task.extras.unique, task.id, task.seq, state)
            if state is State.PENDING:
                ledger.make_ready(task)
            elif state is State.IN_PROGRESS:
                self._resume_lease(task, row)
            elif state is State.BLOCKED:
                blocked.append(task)
            else:
                ledger.delay(task, self._now.wall if task.run_at is None else task.run_at)
        for task in blocked:
            self._resume_waiting(task)
        ledger.changes.drain(ledger.next_seq)  # the store has all of this already
        return count

    def _resume_lease(self, task: Task, row: TaskRow) -> None:
        ledger, policy = self._ledger, self._ledger.policy
        holder = self._holder(row.worker or "unknown", row.incarnation)
        lease_s = row.lease_s or policy.default.lease_s
        grace_s = lease_s
        if isinstance(holder, Worker):
            grace_s = max(grace_s, policy.stale_after_s)
        ledger.leases.grant(task, row.token, holder, lease_s, self._now.mono + grace_s)

    def _holder(self, name: str, incarnation: int) -> Holder:
        holder = self._holders.get((name, incarnation))
        if holder is None:
            if incarnation and self._ledger.workers.find(name) is None:
                holder = Worker(Registration(name, incarnation), self._now)
                holder.recovered = True
                self._ledger.workers.restore(holder)
            else:
                holder = Holder(name, incarnation)
            self._holders[name, incarnation] = holder
        return holder

    def _resume_waiting(self, task: Task) -> None:
        missing = unfinished(task, self._ledger)
        if missing:
            self._ledger.block(task, missing)
        else:
            self._ledger.wait_or_run(task, self._now)
