"""
What is safe in the commit log and not yet in the database.

Batches are merged as they come, so that each task is written to the database
once, as it stands when its turn comes.  Who reads lays this over what the database
says.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import TypeVar

from taskqueue.core.changes import (
    Batch,
    HistoryRow,
    QueueRow,
    TaskRow,
    TaskUpdate,
    empty_batch,
)
from taskqueue.core.periodic import PeriodicRow
from taskqueue.core.rows import ValueRow
from taskqueue.errors import StoreError

_T = TypeVar("_T")

#: What a piece has at most, of one kind of row: to make it, and to bind it to a statement, holds
#: the interpreter lock for a third of a millisecond.
PIECE_ROWS = 128

#: The same where so many rows have come together that what counts is how many tasks a second: each
#: statement is a wait for the interpreter lock.
LARGE_PIECE_ROWS = 512
MANY_ROWS = 20_000

#: About so many bytes a piece has at most: what is bound is copied.
PIECE_BYTES = 512 * 1024

#: The columns of a L{TaskRow} that a L{TaskUpdate} leaves as they are stand before this one.
FIRST_CHANGING = TaskRow._fields.index("state")
_PRIORITY = TaskRow._fields.index("priority")
_EXPIRES_AT = TaskRow._fields.index("expires_at")
_HEADERS = TaskRow._fields.index("headers")

#: Makes a named tuple of a plain one, without a call of a Python function.
_new = tuple.__new__


def updated(row: TaskRow, update: TaskUpdate) -> TaskRow:
    """A task after a change."""
    return _new(TaskRow, row[:FIRST_CHANGING] + update[1:])


def rewritten(row: TaskRow, newer: TaskRow) -> TaskRow:
    """
    A task that is inserted again: what it is stays, what may become of it is
    replaced.  (See the statement that inserts tasks.)
    """
    return TaskRow._make(
        (
            *row[:_PRIORITY],
            newer.priority,
            *row[_PRIORITY + 1 : _EXPIRES_AT],
            newer.expires_at,
            newer.options,
            *row[_HEADERS:FIRST_CHANGING],
            *newer[FIRST_CHANGING:],
        )
    )


class Pending:
    """
    Batches, merged.  One thread adds; others may read meanwhile.

    @ivar inserts: tasks that the database has not, or that are to be written as a
        whole, by C{seq}.
    @ivar updates: changes that are newer than these, or of tasks in the database.
    @ivar ids: the C{seq} of the tasks in C{inserts}, by id.
    @ivar removed: C{seq}s of tasks to be removed from the database, before
        anything else is done.
    @ivar first: whatever was known before this began has a C{seq} below it.
    @ivar newest: no C{seq} of a task is above it.
    @ivar order: the C{seq}s of tasks that are new since then, ascending; some may have been
        removed again.
    @ivar again: the C{seq}s of other tasks in C{inserts}: known before, or late in line.
    @ivar lsn: the number of the newest commit in it.
    @ivar size_bytes: about as many bytes are held, or fewer.
    @ivar since: the monotonic moment of the first commit in it.
    """

    def __init__(self, newest: int = 0) -> None:
        """
        @param newest: no C{seq} of a task that is known by now is above it.
        """
        self.first = newest + 1
        self.newest = newest
        self.order: list[int] = []
        self.again: set[int] = set()
        self.inserts: dict[int, TaskRow] = {}
        self.updates: dict[int, TaskUpdate] = {}
        self.ids: dict[str, int] = {}
        self.history: dict[int, list[HistoryRow]] = {}
        self.queues: dict[str, QueueRow] = {}
        self.periodics: dict[str, PeriodicRow | None] = {}
        self.values: dict[tuple[str, str], ValueRow | None] = {}
        self.removed: set[int] = set()
        self.token_ceiling: int | None = None
        self.next_seq = 0
        self.lsn = 0
        self.size_bytes = 0
        self.since = 0.0

    def __bool__(self) -> bool:
        return self.lsn > 0

    @property
    def rows(self) -> int:
        """How many rows the database will have to write, or a few more."""
        tasks = len(self.inserts) + len(self.updates) + len(self.removed) + len(self.history)
        return tasks + len(self.values)

    def add(self, batch: Batch, lsn: int, size_bytes: int, now: float = 0.0) -> None:
        """
        Merge a batch.

        @param lsn: the number of its commit.
        @param size_bytes: of its record.
        @param now: monotonic seconds.
        """
        if batch.inserts:
            self._insert(batch.inserts)
        if batch.updates:
            self.updates.update({update.seq: update for update in batch.updates})
        for event in batch.history:
            self.history.setdefault(event.seq, []).append(event)
        if batch.queues:
            self.queues.update({queue.name: queue for queue in batch.queues})
        if batch.periodics:
            self.periodics.update({row.definition.name: row for row in batch.periodics})
        if batch.dropped:
            self.periodics.update(dict.fromkeys(batch.dropped))
        if batch.values:
            self.values.update({(row.namespace, row.key): row for row in batch.values})
        if batch.unset:
            self.values.update(dict.fromkeys(batch.unset))
        if batch.removed:
            self._remove(batch.removed)
        if batch.token_ceiling is not None:
            self.token_ceiling = max(self.token_ceiling or 0, batch.token_ceiling)
        self.next_seq = max(self.next_seq, batch.next_seq)
        if not self.lsn:
            self.since = now
        self.lsn = lsn
        self.size_bytes += size_bytes

    def absorb(self, newer: Pending) -> None:
        """Merge what came later."""
        self._remove(newer.removed)
        self.add(newer.batch()._replace(removed=[]), newer.lsn, newer.size_bytes, newer.since)

    def _insert(self, rows: Sequence[TaskRow]) -> None:
        new = {row.seq: row for row in rows}
        self.next_seq = max(self.next_seq, max(new) + 1)
        repeated = self.inserts.keys() & new.keys()
        for seq in repeated:
            new[seq] = rewritten(self.inserts[seq], new[seq])
        self.inserts.update(new)
        self._place([seq for seq in new if seq not in repeated] if repeated else list(new))
        self.ids.update({row.id: row.seq for row in rows})
        if self.updates:
            for seq in self.updates.keys() & new.keys():
                del self.updates[seq]

    def _place(self, seqs: list[int]) -> None:
        """These are in C{inserts} now, and were not before."""
        seqs.sort()
        if seqs and seqs[0] <= self.newest:
            self.again.update(seqs[: bisect_right(seqs, self.newest)])
            seqs = seqs[bisect_right(seqs, self.newest) :]
        if seqs:
            # Readers see all of a batch's tasks or none: the list grows once.
            self.order.extend(seqs)
            self.newest = seqs[-1]

    def _remove(self, seqs: Iterable[int]) -> None:
        for seq in seqs:
            row = self.inserts.pop(seq, None)
            if row is not None and self.ids.get(row.id) == seq:
                del self.ids[row.id]
            self.updates.pop(seq, None)
            self.history.pop(seq, None)
            self.removed.add(seq)

    def batch(self) -> Batch:
        """All of it; C{removed} is to be done first."""
        pieces = list(self.pieces())
        return pieces[-1]._replace(
            inserts=[row for piece in pieces for row in piece.inserts],
            updates=[update for piece in pieces for update in piece.updates],
            history=[event for piece in pieces for event in piece.history],
            removed=sorted(self.removed),
            values=[row for piece in pieces for row in piece.values],
        )

    def pieces(self) -> Iterator[Batch]:
        """
        All of it in small batches, to be stored in this order.  Each is made when it is asked
        for, so that whoever stores them holds up no other thread for long.
        """
        step, nothing = self._piece_rows(), empty_batch(self.next_seq)
        for seqs in _slices(self.removed, step):
            yield nothing._replace(removed=seqs)
        for rows in _slices(self.inserts.values(), step):
            yield nothing._replace(inserts=self._as_they_stand(rows))
        inserts = self.inserts
        others = (update for seq, update in self.updates.items() if seq not in inserts)
        for updates in _slices(others, step):
            yield nothing._replace(updates=updates)
        for events in _slices(chain.from_iterable(self.history.values()), step):
            yield nothing._replace(history=events)
        for values in _slices((row for row in self.values.values() if row is not None), step):
            yield nothing._replace(values=values)
        yield nothing._replace(
            queues=list(self.queues.values()),
            token_ceiling=self.token_ceiling,
            periodics=[row for row in self.periodics.values() if row is not None],
            dropped=[name for name, row in self.periodics.items() if row is None],
            unset=[place for place, row in self.values.items() if row is None],
        )

    def _piece_rows(self) -> int:
        """How many rows a piece has: a power of two, as statements have it."""
        most = PIECE_ROWS if self.rows < MANY_ROWS else LARGE_PIECE_ROWS
        few = PIECE_BYTES * self.rows // max(self.size_bytes, 1)
        return min(most, 1 << max(few.bit_length() - 1, 0))

    def _as_they_stand(self, rows: list[TaskRow]) -> list[TaskRow]:
        updates = self.updates
        if not updates:
            return rows
        return [updated(row, updates[row.seq]) if row.seq in updates else row for row in rows]

    def contents(self) -> list[list[object]]:
        """
        What takes the time when this is freed; whoever holds these lists may free them
        little by little.
        """
        return [
            list(self.inserts.values()),
            list(self.updates.values()),
            list(self.history.values()),
            list(self.values.values()),
        ]


def _slices(rows: Iterable[_T], step: int) -> Iterator[list[_T]]:
    """Lists of up to C{step} of them."""
    left = iter(rows)
    while taken := list(islice(left, step)):
        yield taken


def check(batch: Batch, generations: Sequence[Pending]) -> None:
    """
    Refuse a batch that would make two tasks of one with what is pending.  (What
    is in the database already, the database would have to refuse, later.)

    @param generations: oldest first.
    @raises StoreError: it says what cannot be.
    """
    ids = {row.seq: row.id for row in batch.inserts}
    if len(ids) < len(batch.inserts):
        raise StoreError("A batch has two tasks with one place in line (seq).")
    for pending in generations:
        for seq in pending.inserts.keys() & ids.keys():
            if pending.inserts[seq].id != ids[seq]:
                raise StoreError(f"There are two tasks with the place in line (seq) {seq}.")
        for task_id in pending.ids.keys() & set(ids.values()):
            seq = pending.ids[task_id]
            gone = (batch.removed, *(later.removed for later in generations))
            if seq not in ids and not any(seq in removed for removed in gone):
                raise StoreError(f"There are two tasks with the id {task_id}.")
