"""
The audit log: who did what to the broker, and who was not let in.

One JSON object a line, in a file of its own, or as events of the logger C{taskqueue.audit}.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from twisted.logger import Logger

from taskqueue.access.identities import Identity

#: No text of an entry is longer: what came from outside must not fill the disk.
LONGEST_TEXT = 500

#: Not the class's: whoever collects the audit log looks for this name.
_log = Logger(namespace="taskqueue.audit")


class _Entry(dict[str, Any]):
    """An object for logs of objects, and a line of JSON for logs of lines."""

    def __str__(self) -> str:
        return json.dumps(self)


class AuditLog:
    """
    Writes down administrative actions, and attempts to authenticate that failed.

    A file is opened for appending and readable for its owner only.  What rotates it tells the
    broker with SIGHUP, which opens it anew.  Where it cannot be written, the entry goes to the log
    instead, and the log says so once.
    """

    def __init__(self, path: str = "", wall: Callable[[], float] | None = None) -> None:
        """
        @param path: the file; empty for the logger.
        @param wall: seconds since the epoch.
        """
        # The process may change its directory later.
        self.path = os.path.abspath(path) if path else ""
        self._wall = wall or (lambda: datetime.now(UTC).timestamp())
        self._file: int | None = None
        self._failing = False
        #: What ends a line that is not whole, since the disk was full.
        self._begin = ""

    def record(
        self,
        who: Identity | None,
        operation: str,
        *,
        peer: str = "",
        door: str = "",
        what: str = "",
        count: int | None = None,
        outcome: str = "ok",
    ) -> None:
        """
        Write an entry.  Never fails.

        @param who: C{None} where nobody was let in.
        @param operation: what was asked: the lower-case name of an operation.
        @param peer: the address that it came from.
        @param door: where it came in: C{"framed"}, C{"lines"}, C{"http"}.
        @param what: a queue, ids, a filter, in short.
        @param count: how many tasks it concerned, where that is known.
        @param outcome: C{"ok"}, or the code of the error.
        """
        entry = _Entry()
        entry |= {
            "at": moment_text(self._wall()),
            "who": None if who is None else who.name,
            "kind": None if who is None else who.kind,
            "peer": _bounded(peer),
            "door": door,
            "operation": _bounded(operation),
            "what": _bounded(what),
            "count": count,
            "outcome": _bounded(outcome),
        }
        if who is not None and who.key_id is not None:
            entry["key_id"] = who.key_id
        if not (self.path and self._written(entry)):
            _log.info("{audit}", audit=entry)

    def reopen(self) -> None:
        """Open the file anew with the next entry: something may have moved it."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        self._failing = False

    def open(self) -> None:
        """Open the file now: the log says at once where it cannot be, not with the first entry."""
        if self.path:
            try:
                self._opened()
            except OSError as error:
                self._complain(error)

    def _written(self, entry: _Entry) -> bool:
        line = f"{self._begin}{entry}\n".encode("ascii")
        try:
            written = os.write(self._opened(), line)
            if written < len(line):
                self._begin = "\n"
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._complain(error)
            return False
        self._failing, self._begin = False, ""
        return True

    def _opened(self) -> int:
        if self._file is None:
            # Of a pipe that nobody reads, the broker must not wait for a reader.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
            self._file = os.open(self.path, flags, 0o600)
        return self._file

    def _complain(self, error: OSError) -> None:
        if not self._failing:
            self._failing = True
            _log.error(
                "the audit log {path} cannot be written: {reason}; entries stand here until it can",
                path=self.path,
                reason=error.strerror,
            )


def moment_text(wall: float) -> str:
    """A moment as RFC 3339 writes it, in UTC, to the millisecond."""
    return datetime.fromtimestamp(wall, UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def _bounded(text: str) -> str:
    return text if len(text) <= LONGEST_TEXT else f"{text[:LONGEST_TEXT]}..."
