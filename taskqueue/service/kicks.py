"""
Commands that let tasks run now that lie aside or wait for their time, and looks at what is
first in a queue.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from taskqueue.core.changes import TaskRow, row_of
from taskqueue.core.control import unknown_task
from taskqueue.core.delivery import Delivery
from taskqueue.core.rows import CLAIMED_BY_ID
from taskqueue.core.task import State, Task
from taskqueue.core.waiting import Claim
from taskqueue.errors import Conflict, TaskQueueError
from taskqueue.service.commands import answered
from taskqueue.service.numbers import NumberCommands

#: How many dead letters are read, and revived, in one go.
AT_A_TIME = 500

#: How many tasks are made ready in one turn.
SLICE = 5000

#: A task, and its payload.
Peeked = tuple[TaskRow, bytes]


class KickCommands(NumberCommands):
    """Commands for those who do not want to wait."""

    # --- kicks ----------------------------------------------------------------------

    @answered
    def run_now(self, ids: Sequence[str]) -> Deferred[list[State | TaskQueueError]]:
        """
        Make tasks ready that wait for their time or their retry; those that are ready stay so.

        @return: fires with each task's state, or L{Conflict} or L{UnknownTask}.
        """
        self.check_open()
        answers = self.each(self.broker.control.run_now, ids)
        return Deferred.fromCoroutine(self._explain_unknown(ids, answers))

    @answered
    def kick_task(self, task_id: str) -> Deferred[State]:
        """
        Let a task run now: revive a dead letter, or do as L{run_now}.

        @return: fires with its state; fails with L{UnknownTask}, or with L{Conflict} where it is
            neither, or another task holds its unique key.
        """
        self.check_open()
        task = self.broker.ledger.tasks.get(task_id)
        if task is not None and task.state is State.PENDING:
            raise Conflict(f"task {task_id} is ready already", task=task_id, state="pending")
        command = self.retry if task is None else self.run_now
        return command([task_id]).addCallback(_alone)

    @answered
    def retry_queue(self, queue: str, bound: int) -> Deferred[tuple[int, int]]:
        """
        Revive the dead letters of a queue that have been so longest.

        @param bound: how many at most.
        @return: fires with how many there were, and how many dead letters are left; fails with
            L{UnknownQueue}.
        """
        self.check_open()
        self.broker.control.known_queue(queue)

        async def retry() -> tuple[int, int]:
            count, _ = await self._revive_first(queue, bound)
            return count, self.broker.control.known_queue(queue).count(State.DEAD_LETTER)

        revived = self.ended_lock.run(lambda: Deferred.fromCoroutine(retry()))
        return revived.addCallback(self.journal.barrier)

    @answered
    def kick(self, queue: str, bound: int) -> Deferred[int]:
        """
        Revive the dead letters of a queue that have been so longest, or, only where there are
        none, run those of its tasks now that would be ready soonest.

        @param bound: how many at most.
        @return: fires with how many there were.
        """
        self.check_open()
        return self.ended_lock.run(
            lambda: Deferred.fromCoroutine(self._kick(queue, bound))
        ).addCallback(self.journal.barrier)

    async def _kick(self, queue: str, bound: int) -> int:
        count, letters = await self._revive_first(queue, bound)
        return count if letters else await self._run_soonest_now(queue, bound)

    async def _revive_first(self, queue: str, bound: int) -> tuple[int, bool]:
        """How many dead letters were revived, and whether there were any."""
        letters, count = False, 0
        passed: set[int] = set()
        while count < bound:
            wanted = min(bound - count, AT_A_TIME)
            rows = await self._dead_letters(queue, wanted + len(passed))
            letters = letters or bool(rows)
            rows = [row for row in rows if row.seq not in passed]
            if not rows:
                break
            revived = await self._revive(rows)
            count += len(revived)
            # Whatever cannot be revived stays the first of them.
            passed |= {row.seq for row in rows}.difference(revived)
        return count, letters

    async def _run_soonest_now(self, queue: str, bound: int) -> int:
        count = 0
        while True:
            wanted, now = min(bound - count, SLICE), self.moments()
            found = self.broker.kicks.run_soonest_now(queue, wanted, now)
            self.after(now)
            count += found
            if found < SLICE:
                return count
            await deferLater(self.reactor, 0)
            self.check_open()

    async def _revive(self, rows: Sequence[TaskRow]) -> list[int]:
        """The C{seq}s of those that could be revived."""
        payloads = await self.payloads_of(rows)
        self.check_open()
        whole = [row._replace(payload=payloads[row.seq]) for row in rows if row.seq in payloads]
        now = self.moments()
        revived = self.broker.kicks.revive_all(whole, now)
        self.after(now)
        return revived

    async def _dead_letters(self, queue: str, limit: int) -> list[TaskRow]:
        """The dead letters of a queue that have been so longest, as they stand now."""
        known = self.broker.ledger.queues.get(queue)
        if known is None or not known.count(State.DEAD_LETTER):
            return []
        await self.journal.flush()
        self.check_open()
        return await self.reader.dead_letters(queue, limit)

    def claim_task(self, task_id: str, claim: Claim) -> Deferred[Delivery | None]:
        """
        Claim one task, whatever stands before it: one that is ready or waits for its time or
        retry; or a dead letter, which is revived.

        @param claim: in whose name, and for how long; it is for no other task.
        @return: fires with the delivery, C{None} where the task is none of these.
        """
        return self.ended_lock.run(lambda: Deferred.fromCoroutine(self._claim_task(task_id, claim)))

    async def _claim_task(self, task_id: str, claim: Claim) -> Delivery | None:
        self.check_open()
        now = self.moments()
        if self.broker.ledger.tasks.get(task_id) is None:
            row, payload = await self.peek(task_id)
            self.check_open()
            now = self.moments()
            whole = row._replace(payload=payload)
            if not self.broker.kicks.revive_all([whole], now, why=CLAIMED_BY_ID):
                return None
        reply: Deferred[list[Delivery]] = Deferred()
        claim.reply = reply
        found = self.broker.desk.claim_task(task_id, claim, now)
        if claim.absent:
            self.fetch(claim, found)
            self.after(now)
            found = await reply
        else:
            self.after(now)
        return found[0] if found else None

    # --- looks ----------------------------------------------------------------------

    def peek(self, task_id: str) -> Deferred[Peeked]:
        """Fires with a task as it stands, and its payload; fails with L{UnknownTask}."""

        async def look() -> Peeked:
            return await self._peeked(await self._row(task_id))

        return Deferred.fromCoroutine(look())

    def peek_ready(self, queue: str) -> Deferred[Peeked | None]:
        """Fires with the task of a queue that is next, as L{peek} does; C{None} for none."""
        known = self.broker.ledger.queues.get(queue)
        return Deferred.fromCoroutine(self._peek_at(None if known is None else known.first))

    def peek_delayed(self, queue: str) -> Deferred[Peeked | None]:
        """The same of the one that is due first of those that wait for their time or retry."""
        soonest = self.broker.ledger.delayed.soonest(queue, 1)
        return Deferred.fromCoroutine(self._peek_at(soonest[0] if soonest else None))

    def peek_dead(self, queue: str) -> Deferred[Peeked | None]:
        """The same of the dead letter that has been so longest."""

        async def look() -> Peeked | None:
            rows = await self._dead_letters(queue, 1)
            return await self._peeked(rows[0]) if rows else None

        return Deferred.fromCoroutine(look())

    async def _peek_at(self, task: Task | None) -> Peeked | None:
        return None if task is None else await self._peeked(row_of(task, with_payload=False))

    async def _peeked(self, row: TaskRow) -> Peeked:
        payload = (await self.payloads_of([row])).get(row.seq)
        if payload is None:
            raise unknown_task(row.id)  # removed in the meantime
        return row, payload


def _alone(answers: list[State | TaskQueueError]) -> State:
    """The one answer; raised, where it is an error."""
    [answer] = answers
    if isinstance(answer, TaskQueueError):
        raise answer
    return answer
