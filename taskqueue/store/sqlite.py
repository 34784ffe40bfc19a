"""
The store that keeps tasks in one SQLite database: the embedded default.

One connection writes (and checkpoints), another reads: in WAL mode neither
waits for the other.  C{docs/store.md} says what was measured and chosen.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, suppress
from urllib.parse import quote

from zope.interface import implementer

from taskqueue.core.changes import Batch, HistoryRow, OpenWindow, QueueRow, TaskRow
from taskqueue.core.task import FIRST_ENDED, State, Unique, Until
from taskqueue.errors import StoreCorrupt, StoreFailed
from taskqueue.store import periodics, queries, schema, statements
from taskqueue.store.backups import write_backup
from taskqueue.store.directory import DataDirectory, sync_directory
from taskqueue.store.faults import damaged, translating
from taskqueue.store.interface import EndedCounts, Filter, IStore, Page, Recovery
from taskqueue.store.log import unreadable_commits

#: UPDATE FROM came with 3.33.
OLDEST_SQLITE = (3, 33, 0)

#: How thoroughly a file is looked at before it is used: the setting's value to the pragma.
CHECKS: Mapping[str, str | None] = {
    "quick": "quick_check",
    "full": "integrity_check",
    "none": None,
}

#: The log is cut back to this when it outgrew it (a long read or backup held it).
WAL_BOUND_BYTES = 64 * 1024 * 1024

#: Pages after which SQLite checkpoints within a commit, should nobody call C{checkpoint}.
_SAFETY_NET_PAGES = 8192

#: About as many log pages are worth a checkpoint; fewer are not worth its syncs.
_WORTH_PAGES = 1000

#: How long a commit waits for an operator's own transaction on the file.
_PATIENCE_MS = 2000


@implementer(IStore)
class SQLiteStore:
    """
    Tasks in C{<directory>/taskqueue.db}.

    @param directory: the data directory, created (0700) where there is none;
        on a local file system.
    @param synchronous: whether C{commit} waits until the medium has it.
    @param check_on_start: one of L{CHECKS}.
    """

    inline = False

    def __init__(
        self, directory: str, synchronous: bool = True, check_on_start: str = "quick"
    ) -> None:
        if check_on_start not in CHECKS:
            raise ValueError(
                f"check_on_start is one of {', '.join(CHECKS)}, not {check_on_start!r}"
            )
        self._directory = DataDirectory(directory)
        self._path = self._directory.database
        self._synchronous = synchronous
        self._check = CHECKS[check_on_start]
        self._writer_or_none: sqlite3.Connection | None = None
        self._reader_or_none: sqlite3.Connection | None = None
        self._next_seq = 1
        self._log_pages = 0

    # --- start and stop ---------------------------------------------------------

    def open(self) -> None:
        """
        Lock the directory, look the database over, create or migrate it.

        @raises StoreLocked: another broker has it.
        @raises StoreCorrupt: the check found damage; the file is untouched.
        @raises StoreVersion: a newer version wrote it.
        @raises StoreFailed: it cannot be created or opened.
        """
        if self._writer_or_none is not None:
            return
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise StoreFailed(
                f"Python's SQLite is {sqlite3.sqlite_version}; the store needs 3.33 or newer."
            )
        self._directory.acquire()
        try:
            with translating(self._path, "be opened"):
                self._examine()
                self._connect()
        except BaseException:
            self._disconnect()
            raise

    def close(self) -> None:
        """Move the log into the database, close it and unlock the directory."""
        if self._writer_or_none is not None:
            with suppress(sqlite3.Error):  # the log holds everything; the next start reads it
                self._writer_or_none.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        self._disconnect()

    def _examine(self) -> None:
        """
        Look at the file through a connection that cannot write: what is
        damaged must stay as it is, also when that connection is closed.
        """
        if not os.path.exists(self._path) or os.path.getsize(self._path) == 0:
            return
        with closing(self._open_file("ro")) as connection:
            schema.examine(connection, self._path)
            if self._check is not None:
                found = connection.execute(f"PRAGMA {self._check}(5)").fetchall()
                if found != [("ok",)]:
                    raise damaged(self._path, "; ".join(detail for (detail,) in found))
        if self._check is not None and self._synchronous:
            self._examine_log()

    def _examine_log(self) -> None:
        log = self._path + "-wal"
        unreadable = unreadable_commits(log, self._path + "-shm")
        if unreadable > 1:
            raise StoreCorrupt(
                f"The log {log} is damaged: {unreadable} commits in it cannot be read. It was left"
                " as it is. Restore a backup into a new directory; or keep a copy of this one and"
                " start once with check_on_start = none, to go on without these commits.",
                path=log,
                commits=unreadable,
            )

    def _connect(self) -> None:
        self._writer_or_none = writer = self._open_file("rwc")
        (mode,) = writer.execute("PRAGMA journal_mode = WAL").fetchone()
        if mode != "wal":
            raise StoreFailed(
                f"{self._path} cannot have a write-ahead log (SQLite stays with {mode!r})."
                " The data directory must be on a local file system.",
                path=self._path,
            )
        os.chmod(self._path, 0o600)
        writer.execute(f"PRAGMA synchronous = {'FULL' if self._synchronous else 'OFF'}")
        writer.execute(f"PRAGMA wal_autocheckpoint = {_SAFETY_NET_PAGES}").fetchall()
        writer.execute(f"PRAGMA journal_size_limit = {WAL_BOUND_BYTES}").fetchall()
        writer.execute("PRAGMA cache_size = -32768").fetchall()  # KiB
        schema.migrate(writer)
        sync_directory(self._directory.path)
        (self._next_seq,) = writer.execute(queries.NEXT_SEQ).fetchone()
        self._reader_or_none = self._open_file("ro")

    def _open_file(self, mode: str) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"file:{quote(self._path)}?mode={mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=256,
        )
        connection.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}").fetchall()
        return connection

    def _disconnect(self) -> None:
        # The reader first: the last connection to go may write to the database.
        for connection in (self._reader_or_none, self._writer_or_none):
            if connection is not None:
                connection.close()
        self._reader_or_none = self._writer_or_none = None
        self._directory.release()

    @property
    def _writer(self) -> sqlite3.Connection:
        if self._writer_or_none is None:
            raise StoreFailed(f"The store {self._path} is not open.", path=self._path)
        return self._writer_or_none

    @property
    def _reader(self) -> sqlite3.Connection:
        if self._reader_or_none is None:
            raise StoreFailed(f"The store {self._path} is not open.", path=self._path)
        return self._reader_or_none

    def recover(self) -> Recovery:
        """
        What the last owner left.  C{tasks} reads on while it is consumed, so
        that payloads need not all fit into memory twice.

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
        return Recovery(self._live(reader), queues, ceiling, next_seq, ended, rows)

    def open_windows(self, beyond: float) -> list[OpenWindow]:
        with translating(self._path, "be read"):
            return [
                OpenWindow(seq, task_id, State(state), Unique(key, Until(until), ends_at))
                for seq, task_id, state, key, until, ends_at in self._reader.execute(
                    queries.OPEN_WINDOWS, (beyond,)
                )
            ]

    def _live(self, reader: sqlite3.Connection) -> Iterator[TaskRow]:
        with translating(self._path, "be read"), closing(reader.cursor()) as cursor:
            for values in cursor.execute(queries.LIVE):
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
        writer = self._writer
        with translating(self._path, "store a batch"):
            calls = statements.writing(batch, self._next_seq)
            self._execute(writer, calls)
        self._next_seq = statements.next_seq_after(batch, self._next_seq)
        # A commit of one row writes about six pages, one of 1,000 about 250.
        self._log_pages += 6 + batch.facts // 4

    def _execute(self, writer: sqlite3.Connection, calls: Sequence[statements.Call]) -> None:
        if len(calls) == 1:
            # A transaction by itself: each statement saved is a wait for the
            # interpreter lock saved.
            writer.execute(*calls[0])
        elif calls:
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
                writer.execute(f"PRAGMA busy_timeout = {_PATIENCE_MS}").fetchall()
        self._log_pages = 0

    # --- the reader's -----------------------------------------------------------

    def records(self, ids: Sequence[str]) -> list[TaskRow]:
        return queries.in_order_of(ids, self._tasks(list(queries.RECORDS.calls(ids))))

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

    def size(self) -> int:
        return sum(_bytes(self._path + suffix) for suffix in ("", "-wal", "-shm"))


def _bytes(path: str) -> int:
    """The size of a file, 0 where there is none."""
    try:
        return os.path.getsize(path)
    except FileNotFoundError:
        return 0
