"""
The store that keeps tasks in one SQLite database.  C{docs/store.md} says what
was measured and chosen.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager

from zope.interface import implementer

from taskqueue.core.changes import Batch, HistoryRow, OpenWindow, QueueRow, TaskRow
from taskqueue.core.rows import ValueRow
from taskqueue.core.task import FIRST_ENDED, State, Unique, Until
from taskqueue.store import key_values, periodics, queries, statements
from taskqueue.store.backups import write_backup
from taskqueue.store.database import PATIENCE_MS, WAL_BOUND_BYTES, Database
from taskqueue.store.faults import damaged, translating
from taskqueue.store.interface import Backlog, EndedCounts, Filter, IStore, Page, Recovery

#: About as many log pages are worth a checkpoint; fewer are not worth its syncs.
_WORTH_PAGES = 1000


@implementer(IStore)
class SQLiteStore(Database):
    """
    Tasks in C{<directory>/taskqueue.db}.
    """

    inline = False
    most_ended_bytes: int | None = None
    wants_sweep = False
    memory_bytes = 0
    wants_checkpoint = False

    def recover(self, payload_bytes: int | None = None) -> Recovery:
        """
        What the last owner left.  C{tasks} reads on while it is consumed, so
        that payloads need not all fit into memory twice.

        @param payload_bytes: of payloads so many bytes are wanted.

        @raises StoreCorrupt: also while C{tasks} is consumed.
        """
        reader = self._reader
        with translating(self._path, "be read"):
            queues = [
                QueueRow(name, bool(paused), resume_at, max_depth)
                for name, paused, resume_at, max_depth in reader.execute(queries.QUEUES)
            ]
            (ceiling,) = reader.execute(queries.TOKEN_CEILING).fetchone()
            (next_seq,) = reader.execute(queries.NEXT_SEQ).fetchone()
            ended = {
                (queue, type_, State(state)): n
                for queue, type_, state, n in reader.execute(queries.ENDED_COUNTS)
            }
            found = reader.execute(periodics.SELECT).fetchall()
        try:
            rows = [periodics.periodic_row(values) for values in found]
        except ValueError as problem:
            raise damaged(self._path, str(problem)) from problem
        return Recovery(self._live(reader, payload_bytes), queues, ceiling, next_seq, ended, rows)

    def open_windows(self, beyond: float) -> list[OpenWindow]:
        with translating(self._path, "be read"):
            return [
                OpenWindow(seq, task_id, State(state), Unique(key, Until(until), ends_at))
                for seq, task_id, state, key, until, ends_at in self._reader.execute(
                    queries.OPEN_WINDOWS, (beyond,)
                )
            ]

    def key_values(self) -> Iterator[ValueRow]:
        """All values; reads on while it is consumed."""

        def refuse(version: int) -> None:
            raise damaged(self._path, f"value {version} is unreadable")

        with translating(self._path, "be read"), closing(self._reader.cursor()) as cursor:
            yield from key_values.value_rows(cursor.execute(key_values.SELECT), refuse)

    def _live(self, reader: sqlite3.Connection, payload_bytes: int | None) -> Iterator[TaskRow]:
        newest, left = 0, payload_bytes
        for row in self._rows(reader, queries.LIVE, newest):
            yield row
            if left is not None:
                newest, left = row.seq, left - len(row.payload or b"")
                if left < 0:
                    break
        if left is not None:
            yield from self._rows(reader, queries.LIVE_WITHOUT_PAYLOADS, newest)

    def _rows(self, reader: sqlite3.Connection, text: str, beyond: int) -> Iterator[TaskRow]:
        with translating(self._path, "be read"), closing(reader.cursor()) as cursor:
            for values in cursor.execute(text, (beyond,)):
                try:
                    yield statements.task_row(values)
                except ValueError as problem:
                    raise damaged(self._path, str(problem)) from problem

    # --- the writer's -----------------------------------------------------------

    def commit(self, batch: Batch) -> None:
        """
        Store a batch, durably where the store is synchronous.  The same batch
        may be sent again.  Changes to tasks that are gone are passed over.

        @raises StoreFailed: nothing of it was stored; it may be sent again.
        @raises StoreError: nothing of it was stored, nor ever can be.
        """
        with translating(self._path, "store a batch"):
            self._execute(self._writer, statements.writing(batch, self._next_seq))
        self._stored(statements.next_seq_after(batch, self._next_seq), batch.facts)

    def settle(self, batches: Iterable[Batch], lsn: int) -> None:
        """
        Store what many commits come to, in one transaction: of each batch C{removed} first,
        then the rest.

        @param batches: small ones, made one by one, are best: only while SQLite works do
            other threads have the interpreter lock.
        @param lsn: the number of the newest of these commits.
        @raises StoreFailed: nothing of it was stored; it may be sent again.
        @raises StoreError: nothing of it was stored, nor ever can be.
        """
        tally = statements.Tally(self._next_seq)
        with translating(self._path, "store a batch"):
            self._in_transaction(self._writer, statements.settling(batches, lsn, tally))
        self._stored(tally.next_seq, tally.facts)

    def _stored(self, next_seq: int, facts: int) -> None:
        self._next_seq = next_seq
        # A commit of one row writes about six pages, one of 1,000 about 250.
        self._log_pages += 6 + facts // 4

    def _execute(self, writer: sqlite3.Connection, calls: Sequence[statements.Call]) -> None:
        if len(calls) == 1:
            # A transaction by itself: each statement saved is a wait for the
            # interpreter lock saved.
            writer.execute(*calls[0])
        elif calls:
            self._in_transaction(writer, calls)

    def _in_transaction(self, writer: sqlite3.Connection, calls: Iterable[statements.Call]) -> None:
        writer.execute("BEGIN IMMEDIATE")
        try:
            for text, values in calls:
                writer.execute(text, values)
            writer.execute("COMMIT")
        except BaseException:
            if writer.in_transaction:  # SQLite may have rolled back by itself
                writer.execute("ROLLBACK")
            raise

    def sweep(self, before: Mapping[State, float], limit: int) -> EndedCounts:
        """
        Remove ended tasks, those that ended first of each state first.

        @param limit: at most this many, of all states together.
        @raises ValueError: C{before} names a state that is no end.
        """
        writer = self._writer
        swept: Counter[tuple[str, str, State]] = Counter()
        seqs: list[int] = []
        with translating(self._path, "sweep"):
            for state, moment in before.items():
                if state < FIRST_ENDED:
                    raise ValueError(f"tasks that are {state.word} have not ended")
                room = max(limit - len(seqs), 0)
                for seq, queue, type_ in writer.execute(
                    queries.SWEEPABLE, (int(state), moment, moment, room)
                ):
                    seqs.append(seq)
                    swept[queue, type_, State(state)] += 1
            if seqs:
                self._execute(writer, statements.removing(seqs, self._next_seq))
        self._log_pages += 6 + len(seqs) // 4
        return dict(swept)

    def checkpoint(self) -> None:
        """
        Move what commits have logged into the database, when there is enough
        of it to be worth the syncs; and cut the log back when it outgrew its
        bound.  Readers are never waited for: what they hold back stays in the
        log until the next call.
        """
        writer = self._writer
        if self._log_pages < _WORTH_PAGES:
            return
        with translating(self._path, "checkpoint"):
            mode = "TRUNCATE" if _bytes(self._path + "-wal") > WAL_BOUND_BYTES else "PASSIVE"
            writer.execute("PRAGMA busy_timeout = 0").fetchall()
            try:
                writer.execute(f"PRAGMA wal_checkpoint({mode})").fetchall()
            finally:
                writer.execute(f"PRAGMA busy_timeout = {PATIENCE_MS}").fetchall()
        self._log_pages = 0

    def backlog(self) -> Backlog:
        """Nothing waits: a commit goes straight into the database."""
        return Backlog()

    # --- the reader's -----------------------------------------------------------

    def records(self, ids: Sequence[str]) -> list[TaskRow]:
        return queries.in_order_of(ids, self._tasks(list(queries.RECORDS.calls(ids))))

    def numbered(self, seqs: Sequence[int]) -> list[TaskRow]:
        return self._tasks(list(queries.NUMBERED.calls(seqs)))

    def dead_letters(self, queue: str, limit: int) -> list[TaskRow]:
        seqs = self.dead_seqs(queue, limit)
        rows = {row.seq: row for row in self.bare(seqs)}
        return [rows[seq] for seq in seqs if seq in rows]

    def dead_seqs(self, queue: str, limit: int) -> list[int]:
        """The C{seq}s of the tasks that L{dead_letters} gives."""
        return self._seqs([(queries.DEAD_LETTERS, (queue, limit))])

    def ended_ids(self, after: int, limit: int) -> list[tuple[int, str]]:
        with translating(self._path, "be read"):
            return self._reader.execute(queries.ENDED_IDS, (after, limit)).fetchall()

    def payloads(self, seqs: Sequence[int]) -> dict[int, bytes]:
        reader = self._reader
        with translating(self._path, "be read"):
            return {
                seq: payload
                for call in queries.PAYLOADS.calls(seqs)
                for seq, payload in reader.execute(*call)
            }

    def history(self, seq: int) -> list[HistoryRow]:
        reader = self._reader
        with translating(self._path, "be read"):
            return [HistoryRow._make(row) for row in reader.execute(queries.HISTORY, (seq,))]

    def find(self, filter: Filter, page: Page) -> list[TaskRow]:
        return self._tasks([queries.finding(filter, page)])

    def find_seqs(self, filter: Filter, page: Page) -> list[int]:
        """The C{seq}s of the tasks that L{find} gives."""
        return self._seqs([queries.finding_seqs(filter, page)])

    def narrow(self, filter: Filter, seqs: Sequence[int]) -> list[int]:
        """Of these C{seq}s those of tasks that match, in any order."""
        return self._seqs(queries.narrowing(filter, seqs))

    def _seqs(self, calls: Iterable[statements.Call]) -> list[int]:
        reader = self._reader
        with translating(self._path, "be read"):
            return [seq for call in calls for (seq,) in reader.execute(*call)]

    @contextmanager
    def reading(self) -> Iterator[None]:
        """What is read within it is of one moment."""
        reader = self._reader
        with translating(self._path, "be read"):
            reader.execute("BEGIN")
        try:
            yield
        finally:
            if reader.in_transaction:  # SQLite may have ended it, after an error
                reader.execute("ROLLBACK")

    def bare(self, seqs: Sequence[int]) -> list[TaskRow]:
        """The tasks with these C{seq}s, without payload and result, in any order."""
        return self._tasks(list(queries.BARE.calls(seqs)))

    def _tasks(self, calls: Sequence[statements.Call]) -> list[TaskRow]:
        reader = self._reader
        with translating(self._path, "be read"):
            rows = [row for call in calls for row in reader.execute(*call).fetchall()]
        try:
            return statements.task_rows(rows)
        except ValueError as problem:
            raise damaged(self._path, str(problem)) from problem

    def backup(self, path: str) -> int:
        """
        Copy the database as it stands at this moment.  The copy is a data
        directory's C{taskqueue.db}; it has the name C{path} only when it is
        whole and on the medium.

        @raises StoreFailed: C{path} exists, or cannot be written.
        """
        self._reader  # noqa: B018 - that the store is open
        with translating(self._path, f"be copied to {path}"):
            return write_backup(path, self._copy)

    def _copy(self, path: str) -> None:
        # A connection of its own: searches need not wait for the copy.
        with closing(self._open_file("ro")) as source:
            source.execute("VACUUM INTO ?", (path,))
        # The log of this database is not one of the copy.
        with closing(sqlite3.connect(path, isolation_level=None)) as copy:
            copy.execute(statements.NO_LOG)

    def size(self) -> int:
        return sum(_bytes(self._path + suffix) for suffix in ("", "-wal", "-shm"))


def _bytes(path: str) -> int:
    """The size of a file, 0 where there is none."""
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0
