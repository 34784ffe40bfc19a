"""
One SQLite database in a data directory: locked, looked over, opened and closed.

One connection writes (and checkpoints), another reads: in WAL mode neither
waits for the other.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from typing import NamedTuple
from urllib.parse import quote

from taskqueue.errors import StoreCorrupt, StoreFailed
from taskqueue.store import queries, schema, statements
from taskqueue.store.directory import DataDirectory, sync_directory
from taskqueue.store.faults import damaged, translating
from taskqueue.store.wal import unreadable_commits

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

#: What SQLite keeps of the file in memory for writing.  Twice as much is of use only where ids are
#: not in order of time: 7 % of the cost of a row.
CACHE_BYTES = 16 * 1024 * 1024

#: Pages after which SQLite checkpoints within a commit, should nobody call C{checkpoint}.
_SAFETY_NET_PAGES = 8192

#: How long a commit waits for an operator's own transaction on the file.
PATIENCE_MS = 2000


class Marks(NamedTuple):
    """
    What a database has noted about its commit log.

    @ivar log_id: of the log that it can be brought up to date from; C{None}
        where there can be none.
    @ivar lsn: the number of the newest commit that it has.
    """

    log_id: int | None
    lsn: int


NO_MARKS = Marks(None, 0)


class Database:
    """
    The database C{<directory>/taskqueue.db} and its two connections.

    @param directory: the data directory, created (0700) where there is none;
        on a local file system.
    @param synchronous: whether C{commit} waits until the medium has it.
    @param check_on_start: one of L{CHECKS}.
    @param guard: of a database with a commit log beside it: called in C{open}, with
        what the database has noted of it, before anything is written; what it raises
        stops that.  Nothing then waits for the medium but L{sync} and checkpoints.
    """

    def __init__(
        self,
        directory: str,
        synchronous: bool = True,
        check_on_start: str = "quick",
        guard: Callable[[Marks], None] | None = None,
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
        self._guard = guard
        self._next_seq = 1
        self._log_pages = 0

    @property
    def path(self) -> str:
        """Of the database file."""
        return self._path

    @property
    def directory(self) -> str:
        """The data directory, absolute."""
        return self._directory.path

    @property
    def is_open(self) -> bool:
        """Whether it may be used."""
        return self._writer_or_none is not None

    @property
    def next_seq(self) -> int:
        """Every C{seq} of a task that it has or had is below it."""
        return self._next_seq

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
            if self._guard is not None:
                self._guard(NO_MARKS)
            return
        with closing(self._open_file("ro")) as connection:
            version = schema.examine(connection, self._path)
            if self._check is not None:
                found = connection.execute(f"PRAGMA {self._check}(5)").fetchall()
                if found != [("ok",)]:
                    raise damaged(self._path, "; ".join(detail for (detail,) in found))
            logged = version >= schema.FIRST_WITH_LOG and self._guard is not None
            if self._guard is not None:
                self._guard(self._marks(connection) if logged else NO_MARKS)
        # With a commit log beside it, what is missing here is there, or missed there.
        if self._check is not None and self._synchronous and not logged:
            self._examine_log()

    def _marks(self, connection: sqlite3.Connection) -> Marks:
        return Marks._make(connection.execute(queries.MARKS).fetchone())

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
        level = "FULL" if self._guard is None else "NORMAL"
        writer.execute(f"PRAGMA synchronous = {level if self._synchronous else 'OFF'}")
        writer.execute(f"PRAGMA wal_autocheckpoint = {_SAFETY_NET_PAGES}").fetchall()
        writer.execute(f"PRAGMA journal_size_limit = {WAL_BOUND_BYTES}").fetchall()
        writer.execute(f"PRAGMA cache_size = -{CACHE_BYTES // 1024}").fetchall()
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
        connection.execute(f"PRAGMA busy_timeout = {PATIENCE_MS}").fetchall()
        return connection

    def _disconnect(self) -> None:
        # The reader first: the last connection to go may write to the database.
        for connection in (self._reader_or_none, self._writer_or_none):
            if connection is not None:
                connection.close()
        self._reader_or_none = self._writer_or_none = None
        self._directory.release()

    def check_open(self) -> None:
        """
        @raises StoreFailed: it is not open.
        """
        if self._writer_or_none is None:
            raise StoreFailed(f"The store {self._path} is not open.", path=self._path)

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

    # --- beside a commit log ------------------------------------------------------

    def marks(self) -> Marks:
        """What it has noted about its commit log."""
        with translating(self._path, "be read"):
            return self._marks(self._writer)

    def begin_log(self, log_id: int) -> None:
        """
        Note the id of a new log, on the medium.

        @raises StoreFailed: it cannot be written.
        """
        with translating(self._path, "begin a log"):
            self._writer.execute(statements.BEGIN_LOG, (log_id,))
        self.sync()

    def sync(self) -> None:
        """
        Return once the medium has everything that was committed: SQLite itself
        waits for it only when it moves its own log into the database.

        @raises StoreFailed: the medium fails.
        """
        if not self._synchronous:
            return
        with translating(self._path, "be synced"):
            try:
                descriptor = os.open(self._path + "-wal", os.O_RDWR | os.O_CLOEXEC)
            except FileNotFoundError:
                return  # SQLite removes it when the database has all of it
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
