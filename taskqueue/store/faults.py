"""
What SQLite's errors mean to the project: try again later, damaged, or a bug.
"""

from __future__ import annotations

import errno
import os
import sqlite3

from taskqueue.errors import StoreCorrupt, StoreError, StoreFailed

_DAMAGE = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))

#: No later try can succeed with these: what was to be stored is itself wrong.
_REFUSED = frozenset(
    (
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_MISMATCH,
        sqlite3.SQLITE_TOOBIG,
        sqlite3.SQLITE_RANGE,
        sqlite3.SQLITE_MISUSE,
    )
)

#: The others are raised by Python's binding, for values that it cannot bind.
_OF_THE_MEDIUM = (sqlite3.OperationalError, sqlite3.InternalError, OSError)

_NO_SPACE = "Free some disk space; the broker goes on by itself."
_BAD_DISK = "Look into the kernel's log for errors of the disk."
_NOT_WRITABLE = "Make the file system and the files writable for this user."

_ADVICE = {
    sqlite3.SQLITE_FULL: _NO_SPACE,
    sqlite3.SQLITE_IOERR: _BAD_DISK,
    sqlite3.SQLITE_READONLY: _NOT_WRITABLE,
    sqlite3.SQLITE_CANTOPEN: "Make the directory readable and writable for this user.",
    sqlite3.SQLITE_BUSY: "Another program keeps the database locked: end its transaction.",
}

#: The same for what the commit log's files say, by their error number.
_ADVICE_OF_FILES = {
    errno.ENOSPC: _NO_SPACE,
    errno.EDQUOT: "Free some disk space of this user, or raise its quota; the broker goes on by"
    " itself.",
    errno.EFBIG: "Raise how large a file of this user may be (ulimit -f).",
    errno.EIO: _BAD_DISK,
    errno.EROFS: _NOT_WRITABLE,
    errno.EACCES: _NOT_WRITABLE,
    errno.EPERM: _NOT_WRITABLE,
    errno.EMFILE: "Raise how many files the process may have open (ulimit -n).",
}


def damaged(path: str, detail: str) -> StoreCorrupt:
    """
    The error for a database that cannot be trusted.

    @param path: of the database file.
    @param detail: SQLite's own words.
    """
    return StoreCorrupt(
        f"The database {path} is damaged: {detail}. It was left as it is."
        " Restore a backup as taskqueue.db in a new directory, or salvage what can be read with"
        f" 'python -m taskqueue.store.salvage {os.path.dirname(path)} NEW'; then start the broker"
        " with [store] path = NEW.",
        path=path,
        detail=detail,
    )


def log_damaged(path: str, detail: str) -> StoreCorrupt:
    """
    The error for a commit log that lacks what was acknowledged.

    @param path: of the segment.
    """
    directory = os.path.dirname(path)
    return StoreCorrupt(
        f"The log {path} is damaged: {detail}. It was left as it is. Restore a backup in a new"
        f" directory, or salvage what can be read with 'python -m taskqueue.store.salvage"
        f" {directory} NEW' and start the broker with [store] path = NEW; or keep a copy of"
        f" {directory} and start once with check_on_start = none, to go on without these commits.",
        path=path,
        detail=detail,
    )


def foreign_log(path: str) -> StoreCorrupt:
    """
    The error for a commit log beside a database that it was not written for.

    @param path: of the segment.
    """
    return StoreCorrupt(
        f"The log {path} does not belong to the database beside it. Both were left as they are."
        " If a backup was put there: a backup goes into a new directory. To go on with this"
        " database and without what the log holds, move the files taskqueue.log.* away.",
        path=path,
    )


def translated(problem: Exception, path: str, doing: str) -> StoreError:
    """
    The project's error for one of SQLite's or of the operating system.

    @param doing: what was tried, to stand after "could not".
    """
    detail = str(problem)
    code = getattr(problem, "sqlite_errorcode", None)
    if code is not None:
        detail = f"{detail} ({problem.sqlite_errorname})"  # type: ignore[attr-defined]  # 3.11
        code &= 0xFF  # the primary code; what is above tells kinds of it apart
    if code in _DAMAGE or "decode to UTF-8" in detail:
        return damaged(path, detail)
    advice = _ADVICE.get(code or 0, "")
    if isinstance(problem, OSError):
        advice = _ADVICE_OF_FILES.get(problem.errno or 0, "")
    message = f"The store {path} could not {doing}: {detail}. {advice}".rstrip()
    if code in _REFUSED or not isinstance(problem, _OF_THE_MEDIUM):
        return StoreError(message, path=path)
    return StoreFailed(message, path=path)


#: The last three: a value that SQLite has no type or no room for.
_TRANSLATED = (sqlite3.Error, OSError, OverflowError, UnicodeError, TypeError)


class translating:
    """
    Turn what SQLite, its binding or the operating system raise within into
    the project's errors.
    """

    # Every commit goes through one: made of a generator it would cost three times as much.
    __slots__ = ("_doing", "_path")

    def __init__(self, path: str, doing: str) -> None:
        """
        @param doing: what is tried, to stand after "could not".
        """
        self._path = path
        self._doing = doing

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, problem: BaseException | None, trace: object) -> None:
        if isinstance(problem, _TRANSLATED):
            raise translated(problem, self._path, self._doing) from problem
