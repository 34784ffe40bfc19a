"""
Commands on tasks: submit them, follow them, change their fate.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from taskqueue.core.changes import HistoryRow, TaskRow, row_of
from taskqueue.core.control import ended_already, unknown_task
from taskqueue.core.intake import Accepted, Submission
from taskqueue.core.moments import Now
from taskqueue.core.task import FIRST_ENDED, State, Task
from taskqueue.errors import StoreUnavailable, TaskQueueError, UnknownTask
from taskqueue.service.commands import Commands, answered
from taskqueue.service.watches import Listener
from taskqueue.store.interface import Filter, Page


class TaskCommands(Commands):
    """Commands on tasks."""

    # --- submitting ---------------------------------------------------------------

    @answered
    def submit(
        self,
        items: Sequence[Submission],
        listener: Listener | None = None,
        *,
        any_lease: bool = False,
    ) -> Deferred[list[Accepted | TaskQueueError]]:
        """
        Submit tasks.  An id that the broker knows gives the task it has: so
        whoever chose its ids can submit again after a lost connection.

        @param listener: told when the accepted tasks end.
        @param any_lease: whether leases may be of any length: for doors whose protocol has
            bounds of its own.
        @return: fires with what became of each item, in order.
        """
        self.check_open()
        unknown = self.broker.intake.unknown_ids(items)
        if unknown:
            return self.reader.records(unknown).addCallback(
                self._submit, items, listener, any_lease
            )
        return self._submit({}, items, listener, any_lease)

    def submit_new(
        self, items: Sequence[Submission], *, any_lease: bool = False
    ) -> list[Accepted | TaskQueueError] | None:
        """
        As L{submit}, where nothing has to be looked up in the store.

        @return: what became of each item; it may be told when all that has changed
            so far is stored.  C{None}: something must be looked up, and nothing was done.
        @raises ShuttingDown: the broker stops.
        @raises StoreUnavailable: the store fails.
        """
        self.check_open()
        intake = self.broker.intake
        if intake.unknown_ids(items):
            return None
        now = self.moments()
        answers = intake.submit(items, now, {}, any_lease=any_lease)
        self.after(now)
        return answers

    def _submit(
        self,
        stored: dict[str, TaskRow],
        items: Sequence[Submission],
        listener: Listener | None,
        any_lease: bool = False,
    ) -> Deferred[list[Accepted | TaskQueueError]]:
        self.check_open()
        now = self.moments()
        states = {task_id: State(row.state) for task_id, row in stored.items()}
        answers = self.broker.intake.submit(items, now, states, any_lease=any_lease)
        if listener is not None:
            accepted = [answer.id for answer in answers if isinstance(answer, Accepted)]
            self.watches.add(listener, accepted)
        self.after(now)
        told = self.journal.barrier(answers)
        if listener is not None:
            told.addCallback(self._tell_ended, listener)
        return told

    def _tell_ended(
        self, answers: list[Accepted | TaskQueueError], listener: Listener
    ) -> list[Accepted | TaskQueueError]:
        """Of tasks that had ended before they were submitted again, tell at once."""
        old = [
            answer.id
            for answer in answers
            if isinstance(answer, Accepted) and answer.existing and answer.state >= FIRST_ENDED
        ]
        missed = self.watches.remove(listener, old)
        if missed:
            self.status(missed).addCallback(
                lambda rows: listener.outcomes([row for row in rows if row is not None])
            ).addErrback(lambda _: None)  # the store fails: the listener may ask for the status
        return answers

    # --- tasks ----------------------------------------------------------------------

    def status(self, ids: Sequence[str]) -> Deferred[list[TaskRow | None]]:
        """
        Fires with each task as it durably stands, without payload, with its
        result; C{None} for an unknown one.  While the store cannot write, this
        is what it has; fails with L{StoreUnavailable} where it does not have it yet.
        """
        return Deferred.fromCoroutine(self._status(ids))

    async def _status(self, ids: Sequence[str]) -> list[TaskRow | None]:
        try:
            await self.journal.barrier(None)
        except StoreUnavailable:
            return await self._stored(ids)
        rows = {}
        for task_id in ids:
            task = self._task_in_memory(task_id)
            if task is not None:
                rows[task_id] = row_of(task, with_payload=False)
        rows |= await self.reader.records([i for i in ids if i not in rows])
        return [rows.get(task_id) for task_id in ids]

    async def _stored(self, ids: Sequence[str]) -> list[TaskRow | None]:
        """
        Tasks as they stand in the store, which cannot write: what has changed
        since then may never have been.

        @raises StoreUnavailable: one is in memory only, so nobody knows whether
            there is such a task.
        """
        rows = await self.reader.records(ids)
        if any(i not in rows and self.broker.ledger.find(i) is not None for i in ids):
            self.journal.check()
        return [rows.get(task_id) for task_id in ids]

    def _task_in_memory(self, task_id: str) -> Task | None:
        """
        A live task; and where answers do not wait for the store, also one whose
        end is still to be stored.
        """
        ledger = self.broker.ledger
        task = ledger.tasks.get(task_id)
        if task is None and not self.journal.waits:
            task = ledger.ended.get(task_id)
        return None if task is None or task.is_settled else task

    async def payloads_of(self, rows: Iterable[TaskRow]) -> dict[int, bytes]:
        """The payloads of these tasks by C{seq}, from memory or else from the store."""
        found: dict[int, bytes] = {}
        stored: list[int] = []
        for row in rows:
            task = self.broker.ledger.find(row.id)
            if task is None or task.payload is None or task.seq != row.seq:
                stored.append(row.seq)
            else:
                found[row.seq] = task.payload
        return found | await self.reader.payloads(stored) if stored else found

    async def _row(self, task_id: str) -> TaskRow:
        row = (await self._status([task_id]))[0]
        if row is None:
            raise unknown_task(task_id)
        return row

    def progress(self, task_id: str) -> Any:
        """The newest report on the delivery under way, C{None} where there is none."""
        task = self.broker.ledger.tasks.get(task_id)
        return None if task is None or task.lease is None else task.lease.progress

    def history(self, task_id: str) -> Deferred[list[HistoryRow]]:
        """Fires with the events of a task; fails with L{UnknownTask}."""

        async def look() -> list[HistoryRow]:
            seq = (await self._row(task_id)).seq
            coming = self._history_to_come(seq)
            told = await self.reader.history(seq)
            return told + [row for row in coming if row not in told]

        return Deferred.fromCoroutine(look())

    def _history_to_come(self, seq: int) -> list[HistoryRow]:
        """What is not stored yet of a task's history, where answers do not wait for the store."""
        if self.journal.waits:
            return []
        stored_now = self.journal.being_written
        written = [] if stored_now is None else stored_now.history
        coming = [row for row in written if row.seq == seq]
        return coming + self.broker.ledger.changes.history_of(seq)

    def payload(self, task_id: str) -> Deferred[bytes]:
        """Fires with the payload of a task; fails with L{UnknownTask}."""

        async def look() -> bytes:
            row = await self._row(task_id)
            payloads = await self.payloads_of([row])
            if row.seq not in payloads:
                raise unknown_task(task_id)  # removed in the meantime
            return payloads[row.seq]

        return Deferred.fromCoroutine(look())

    def find(self, filter: Filter, page: Page) -> Deferred[list[TaskRow]]:
        """Fires with one page of the matching tasks, as they durably stand."""
        stored = self.journal.barrier(None).addErrback(
            lambda failure: failure.trap(StoreUnavailable)
        )
        return stored.addCallback(lambda _: self.reader.find(filter, page))

    def watch(self, listener: Listener, ids: Sequence[str]) -> Deferred[list[TaskRow | None]]:
        """
        Tell C{listener} when these tasks end, once: of those that have ended,
        right after the answer.

        @return: fires with each task as it stands, C{None} for an unknown one.
        """
        self.watches.add(listener, ids)

        def sort_out(rows: list[TaskRow | None]) -> list[TaskRow | None]:
            over = [i for i, row in zip(ids, rows, strict=True) if self._is_over(i, row)]
            # Whatever is not watched any more was told meanwhile.
            missed = set(self.watches.remove(listener, over))
            ended = {row.id: row for row in rows if row is not None and row.id in missed}
            if ended:
                self.reactor.callLater(0, listener.outcomes, list(ended.values()))
            return rows

        def forget(failure: Failure) -> Failure:
            self.watches.remove(listener, ids)
            return failure

        return self.status(ids).addCallbacks(sort_out, forget)

    def _is_over(self, task_id: str, row: TaskRow | None) -> bool:
        if row is None:  # unless it was submitted while it was looked for
            return self.broker.ledger.find(task_id) is None
        return row.state >= FIRST_ENDED

    @answered
    def cancel(
        self, ids: Sequence[str], running: bool = False
    ) -> Deferred[list[State | TaskQueueError]]:
        """
        Cancel tasks; with C{running}, ask for those in progress too.

        @return: fires with each task's state, or L{Conflict} or L{UnknownTask}.
        """
        self.check_open()
        control = self.broker.control
        answers = self.each(lambda i, now: control.cancel(i, running, now), ids)
        return Deferred.fromCoroutine(self._explain_unknown(ids, answers))

    async def _explain_unknown(
        self, ids: Sequence[str], answers: list[State | TaskQueueError]
    ) -> list[State | TaskQueueError]:
        """Tasks that are in the store only have ended: say so."""
        await self.journal.barrier(None)
        unknown = [i for i, a in zip(ids, answers, strict=True) if isinstance(a, UnknownTask)]
        rows = await self.reader.records(unknown)
        return [
            ended_already(task_id, State(rows[task_id].state))
            if task_id in rows and isinstance(answer, UnknownTask)
            else answer
            for task_id, answer in zip(ids, answers, strict=True)
        ]

    @answered
    def retry(
        self, ids: Sequence[str], max_retries: int | None = None
    ) -> Deferred[list[State | TaskQueueError]]:
        """
        Let dead letters run again, with fresh retries.

        @return: fires with each task's state, or L{Conflict} or L{UnknownTask}.
        """
        self.check_open()
        return self.ended_lock.run(
            lambda: Deferred.fromCoroutine(self._retry(ids, max_retries))
        ).addCallback(self.journal.barrier)

    async def _retry(
        self, ids: Sequence[str], max_retries: int | None
    ) -> list[State | TaskQueueError]:
        rows = [row for row in await self._status(ids) if row is not None]
        payloads = await self.payloads_of(rows)
        self.check_open()
        known = {r.id: r._replace(payload=payloads[r.seq]) for r in rows if r.seq in payloads}
        control = self.broker.control
        return self.each(lambda i, now: control.revive(_known(known, i), now, max_retries), ids)

    @answered
    def delete(self, ids: Sequence[str]) -> Deferred[list[TaskQueueError | None]]:
        """
        Forget ended tasks entirely.

        @return: fires with C{None} for each, or L{Conflict} or L{UnknownTask}.
        """
        self.check_open()
        return self.ended_lock.run(lambda: Deferred.fromCoroutine(self._delete(ids))).addCallback(
            self.journal.barrier
        )

    async def _delete(self, ids: Sequence[str]) -> list[TaskQueueError | None]:
        known = {row.id: row for row in await self._status(ids) if row is not None}
        self.check_open()

        def forget(task_id: str, _: Now) -> None:
            self.broker.control.delete(_known(known, task_id))
            del known[task_id]

        return self.each(forget, ids)


def _known(rows: dict[str, TaskRow], task_id: str) -> TaskRow:
    row = rows.get(task_id)
    if row is None:
        raise unknown_task(task_id)
    return row
