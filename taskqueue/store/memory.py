"""
The store that keeps tasks in memory: for tests, and for work that may be lost.
"""

from __future__ import annotations

import heapq
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import islice
from math import inf

from zope.interface import implementer

from taskqueue.core.changes import (
    Batch,
    HistoryRow,
    OpenWindow,
    QueueRow,
    TaskRow,
)
from taskqueue.core.paging import SMALLEST_BYTES
from taskqueue.core.periodic import PeriodicRow
from taskqueue.core.rows import ValueRow
from taskqueue.core.task import FIRST_ENDED, State, Until
from taskqueue.errors import StoreFailed
from taskqueue.store import schema, statements
from taskqueue.store.backups import write_backup
from taskqueue.store.faults import translating
from taskqueue.store.interface import Backlog, EndedCounts, Filter, IStore, Page, Recovery
from taskqueue.store.matching import matching
from taskqueue.store.pending import rewritten, updated


@implementer(IStore)
class MemoryStore:
    """
    Tasks in dictionaries.  What is stored outlives C{close} and C{open} of the
    same object, as a database's does, but not the process.
    """

    inline = True
    wants_checkpoint = False

    def __init__(self) -> None:
        self._open = False
        self._tasks: dict[int, TaskRow] = {}
        self._seqs: dict[str, int] = {}
        self._history: dict[int, list[HistoryRow]] = {}
        self._queues: dict[str, QueueRow] = {}
        self._periodics: dict[str, PeriodicRow] = {}
        self._values: dict[tuple[str, str], ValueRow] = {}
        self._ended: Counter[tuple[str, str, State]] = Counter()
        self._token_ceiling = 0
        self._next_seq = 1
        self._bytes = 0

    def open(self) -> None:
        self._open = True

    def close(self) -> None:
        self._open = False

    def recover(self, payload_bytes: int | None = None) -> Recovery:
        self._check_open()
        live = [row for _, row in sorted(self._tasks.items()) if row.state < FIRST_ENDED]
        queues = [queue for _, queue in sorted(self._queues.items())]
        periodics = [row for _, row in sorted(self._periodics.items())]
        tasks = _sized(live, payload_bytes)
        return Recovery(tasks, queues, self._token_ceiling, self._next_seq, +self._ended, periodics)

    def open_windows(self, beyond: float) -> list[OpenWindow]:
        self._check_open()
        return [
            OpenWindow(row.seq, row.id, State(row.state), row.unique)
            for _, row in sorted(self._tasks.items())
            if row.unique is not None and row.state >= FIRST_ENDED and _window_end(row) > beyond
        ]

    def key_values(self) -> Iterable[ValueRow]:
        self._check_open()
        return list(self._values.values())

    def commit(self, batch: Batch) -> None:
        self._check_open()
        for row in batch.inserts:
            known = self._tasks.get(row.seq)
            self._put(row if known is None else rewritten(known, row))
        for update in batch.updates:
            if (stored := self._tasks.get(update.seq)) is not None:
                self._put(updated(stored, update))
        for event in batch.history:
            events = self._history.setdefault(event.seq, [])
            if all(event[:4] != known[:4] for known in events):
                events.append(event)
        for queue in batch.queues:
            self._queues[queue.name] = queue
        for periodic in batch.periodics:
            self._periodics[periodic.definition.name] = periodic
        for name in batch.dropped:
            self._periodics.pop(name, None)
        for place in batch.unset:
            self._values.pop(place, None)
        for value in batch.values:
            self._values[value.namespace, value.key] = value
        for seq in batch.removed:
            self._remove(seq)
        self._token_ceiling = max(self._token_ceiling, batch.token_ceiling or 0)
        self._next_seq = statements.next_seq_after(batch, self._next_seq)

    def records(self, ids: Sequence[str]) -> list[TaskRow]:
        self._check_open()
        return [
            self._tasks[self._seqs[task_id]]._replace(payload=None)
            for task_id in dict.fromkeys(ids)
            if task_id in self._seqs
        ]

    def numbered(self, seqs: Sequence[int]) -> list[TaskRow]:
        self._check_open()
        found = (self._tasks[seq] for seq in dict.fromkeys(seqs) if seq in self._tasks)
        return [row._replace(payload=None) for row in found]

    def dead_letters(self, queue: str, limit: int) -> list[TaskRow]:
        self._check_open()
        dead = (
            (row.ended_at, row.seq)
            for row in self._tasks.values()
            if row.state == State.DEAD_LETTER and row.queue == queue
        )
        rows = (self._tasks[seq] for _, seq in heapq.nsmallest(limit, dead))
        return [row._replace(payload=None, result=None) for row in rows]

    def ended_ids(self, after: int, limit: int) -> list[tuple[int, str]]:
        self._check_open()
        ended = (
            (seq, row.id)
            for seq, row in sorted(self._tasks.items())
            if seq > after and row.state >= FIRST_ENDED
        )
        return list(islice(ended, limit))

    def payloads(self, seqs: Sequence[int]) -> dict[int, bytes]:
        self._check_open()
        rows = (self._tasks[seq] for seq in seqs if seq in self._tasks)
        return {row.seq: row.payload for row in rows if row.payload is not None}

    def history(self, seq: int) -> list[HistoryRow]:
        self._check_open()
        return list(self._history.get(seq, ()))

    def find(self, filter: Filter, page: Page) -> list[TaskRow]:
        self._check_open()
        matches = matching(filter)
        found: list[TaskRow] = []
        for seq in sorted(self._tasks, reverse=page.descending):
            if len(found) >= page.limit:
                break
            if page.has(seq) and matches(row := self._tasks[seq]):
                found.append(row._replace(payload=None, result=None))
        return found

    def sweep(self, before: Mapping[State, float], limit: int) -> EndedCounts:
        """
        Remove ended tasks, those that ended first of each state first.

        @raises ValueError: C{before} names a state that is no end.
        """
        self._check_open()
        swept: Counter[tuple[str, str, State]] = Counter()
        for state, moment in before.items():
            if state < FIRST_ENDED:
                raise ValueError(f"tasks that are {state.word} have not ended")
            due = (
                (row.ended_at, row.seq)
                for row in self._tasks.values()
                if row.state == state
                and row.ended_at is not None
                and row.ended_at < moment
                and _window_end(row) < moment
            )
            for _, seq in heapq.nsmallest(max(limit - swept.total(), 0), due):
                swept[_kind(self._tasks[seq])] += 1
                self._remove(seq)
        return dict(swept)

    def checkpoint(self) -> None:
        self._check_open()

    def backlog(self) -> Backlog:
        return Backlog()

    def backup(self, path: str) -> int:
        """
        Write what is in memory as an SQLite database, from which a broker with
        C{kind = sqlite} can start.

        @raises StoreFailed: C{path} exists, or cannot be written.
        """
        self._check_open()
        with translating(path, "be written as a backup"):
            return write_backup(path, self._fill)

    def size(self) -> int:
        """The bytes of all payloads, results and values."""
        return self._bytes + sum(len(row.value) for row in self._values.values())

    def _fill(self, path: str) -> None:
        everything = Batch(
            inserts=[row for _, row in sorted(self._tasks.items())],
            updates=[],
            history=[event for events in self._history.values() for event in events],
            queues=list(self._queues.values()),
            removed=[],
            token_ceiling=self._token_ceiling,
            next_seq=self._next_seq,
            periodics=list(self._periodics.values()),
            values=list(self._values.values()),
        )
        with closing(sqlite3.connect(path, isolation_level=None)) as target:
            schema.migrate(target)
            target.execute("BEGIN")
            for text, values in statements.writing(everything, 1):
                target.execute(text, values)
            target.execute("COMMIT")

    def _check_open(self) -> None:
        if not self._open:
            raise StoreFailed("The store is not open.")

    def _put(self, row: TaskRow) -> None:
        known = self._tasks.get(row.seq)
        if known is not None:
            self._forget(known)
        self._tasks[row.seq] = row
        self._seqs[row.id] = row.seq
        self._bytes += _held(row)
        if row.state >= FIRST_ENDED:
            self._ended[_kind(row)] += 1

    def _forget(self, row: TaskRow) -> None:
        self._bytes -= _held(row)
        if row.state >= FIRST_ENDED:
            self._ended[_kind(row)] -= 1

    def _remove(self, seq: int) -> None:
        row = self._tasks.pop(seq, None)
        if row is not None:
            self._forget(row)
            self._seqs.pop(row.id, None)
            self._history.pop(seq, None)


def _sized(rows: Iterable[TaskRow], payload_bytes: int | None) -> Iterator[TaskRow]:
    """The rows of a L{Recovery}, of whose payloads so many bytes are wanted."""
    left = inf if payload_bytes is None else payload_bytes
    for row in rows:
        size = len(row.payload or b"")
        yield row if left >= 0 or size < SMALLEST_BYTES else row._replace(payload=size)  # type: ignore[arg-type]  # size
        left -= size


def _kind(row: TaskRow) -> tuple[str, str, State]:
    return row.queue, row.type, State(row.state)


def _window_end(row: TaskRow) -> float:
    """Until when the task holds its key, whatever becomes of it."""
    unique = row.unique
    if unique is None or unique.until is not Until.WINDOW or unique.ends_at is None:
        return -inf
    return unique.ends_at


def _held(row: TaskRow) -> int:
    return len(row.payload or b"") + len(row.result or b"")
