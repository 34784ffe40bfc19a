"""
The store that keeps tasks in memory: for tests, and for work that may be lost.
"""

from __future__ import annotations

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
from taskqueue.core.task import FIRST_ENDED, State
from taskqueue.errors import StoreFailed
from taskqueue.store import schema, statements
from taskqueue.store.backups import write_backup
from taskqueue.store.faults import translating
from taskqueue.store.interface import Backlog, EndedCounts, Filter, IStore, Page, Recovery
from taskqueue.store.kept import Kept, kind_of
from taskqueue.store.matching import matching


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
        self._kept = Kept()
        self._queues: dict[str, QueueRow] = {}
        self._periodics: dict[str, PeriodicRow] = {}
        self._values: dict[tuple[str, str], ValueRow] = {}
        self._token_ceiling = 0
        self._next_seq = 1

    @property
    def most_ended_bytes(self) -> int | None:
        """See L{IStore}."""
        return self._kept.most_ended_bytes

    @most_ended_bytes.setter
    def most_ended_bytes(self, most: int | None) -> None:
        self._kept.most_ended_bytes = most

    def open(self) -> None:
        self._open = True

    def close(self) -> None:
        self._open = False

    def recover(self, payload_bytes: int | None = None) -> Recovery:
        self._check_open()
        live = [seq for seq in self._kept.order if not self._kept.has_ended(seq)]
        tasks = _sized(map(self._kept.current, live), payload_bytes)
        ended = Counter(map(kind_of, self._kept.ended()))
        queues = [queue for _, queue in sorted(self._queues.items())]
        periodics = [row for _, row in sorted(self._periodics.items())]
        return Recovery(tasks, queues, self._token_ceiling, self._next_seq, ended, periodics)

    def open_windows(self, beyond: float) -> list[OpenWindow]:
        self._check_open()
        return [
            OpenWindow(row.seq, row.id, State(row.state), row.unique)
            for row in self._kept.windows(beyond)
            if row.unique is not None
        ]

    def key_values(self) -> Iterable[ValueRow]:
        self._check_open()
        return list(self._values.values())

    def commit(self, batch: Batch) -> None:
        self._check_open()
        if batch.inserts:
            self._kept.insert(batch.inserts)
        if batch.updates:
            self._kept.update(batch.updates)
        for event in batch.history:
            self._kept.record(event)
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
        if batch.removed:
            known = self._kept.rows
            self._kept.remove([seq for seq in dict.fromkeys(batch.removed) if seq in known])
        self._token_ceiling = max(self._token_ceiling, batch.token_ceiling or 0)
        self._next_seq = statements.next_seq_after(batch, self._next_seq)

    def records(self, ids: Sequence[str]) -> list[TaskRow]:
        self._check_open()
        return self.numbered(
            [self._kept.seqs[task_id] for task_id in ids if task_id in self._kept.seqs]
        )

    def numbered(self, seqs: Sequence[int]) -> list[TaskRow]:
        self._check_open()
        found = (self._kept.current(seq) for seq in dict.fromkeys(seqs) if seq in self._kept.rows)
        return [row._replace(payload=None) for row in found]

    def dead_letters(self, queue: str, limit: int) -> list[TaskRow]:
        self._check_open()
        rows = self._kept.dead_letters(queue, limit)
        return [row._replace(payload=None, result=None) for row in rows]

    def ended_ids(self, after: int, limit: int) -> list[tuple[int, str]]:
        self._check_open()
        seqs = filter(
            self._kept.has_ended, self._kept.order.walk(Page(after=after, descending=False))
        )
        return [(seq, self._kept.rows[seq].id) for seq in islice(seqs, limit)]

    def payloads(self, seqs: Sequence[int]) -> dict[int, bytes]:
        self._check_open()
        rows = (self._kept.rows[seq] for seq in seqs if seq in self._kept.rows)
        return {row.seq: row.payload for row in rows if row.payload is not None}

    def history(self, seq: int) -> list[HistoryRow]:
        self._check_open()
        return list(self._kept.history.get(seq, ()))

    def find(self, filter: Filter, page: Page) -> list[TaskRow]:
        self._check_open()
        matches = matching(filter)
        rows = (row for row in map(self._kept.current, self._kept.order.walk(page)) if matches(row))
        return [row._replace(payload=None, result=None) for row in islice(rows, page.limit)]

    def sweep(self, before: Mapping[State, float], limit: int) -> EndedCounts:
        """
        Remove ended tasks, those that ended first of each state first: what
        holds its key for a time after the others.  Then, where more is kept than
        C{most_ended_bytes}, completed, cancelled and expired tasks that hold no key, those
        that ended first.

        @raises ValueError: C{before} names a state that is no end.
        """
        self._check_open()
        for state in before:
            if state < FIRST_ENDED:
                raise ValueError(f"tasks that are {state.word} have not ended")
        return dict(self._kept.sweep(before, limit))

    @property
    def wants_sweep(self) -> bool:
        """See L{IStore}."""
        return self._kept.wants_sweep

    @property
    def memory_bytes(self) -> int:
        """See L{IStore}."""
        return self._kept.memory_bytes

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
        """The bytes of all payloads, headers, errors, results and values."""
        return self._kept.text_bytes + sum(len(row.value) for row in self._values.values())

    def _fill(self, path: str) -> None:
        everything = Batch(
            inserts=[self._kept.current(seq) for seq in self._kept.order],
            updates=[],
            history=[event for events in self._kept.history.values() for event in events],
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


def _sized(rows: Iterable[TaskRow], payload_bytes: int | None) -> Iterator[TaskRow]:
    """The rows of a L{Recovery}, of whose payloads so many bytes are wanted."""
    left = inf if payload_bytes is None else payload_bytes
    for row in rows:
        size = len(row.payload or b"")
        yield row if left >= 0 or size < SMALLEST_BYTES else row._replace(payload=size)  # type: ignore[arg-type]  # size
        left -= size
