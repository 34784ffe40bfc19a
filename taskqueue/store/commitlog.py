"""
The commit log: where a commit goes first, and is safe.

A commit is one record appended to the newest segment, and one sync.  The
database gets what is in it later (see L{taskqueue.store.logged}); a segment is
removed when the database has all of it.

After a failed sync nobody knows which of the newest pages the medium has: the
kernel may have dropped them and say of the next sync that all is well.  So such a
segment is not written to again.  The next one begins with what the database lacks,
as one record, and needs the one before it no more.
"""

from __future__ import annotations

import os
from collections import deque
from contextlib import suppress
from typing import NamedTuple

from taskqueue.core.changes import Batch
from taskqueue.store import segment
from taskqueue.store.encoding import encode_into
from taskqueue.store.files import Files

#: What segments are called: this and a number.
PREFIX = "taskqueue.log."

#: A segment that has grown so large is the last one's predecessor.
SEGMENT_BYTES = 16 * 1024 * 1024

#: How much room a segment is given at a time: a sync that need not make the file longer takes half
#: as long, and does not wait for what else the file system has to note.
STEP_BYTES = 1024 * 1024

#: The room in which records are put together is kept if it is no larger.
_KEPT_BYTES = 1024 * 1024


class _Full(NamedTuple):
    """A segment that is written to no more, and the newest commit in it."""

    path: str
    lsn: int
    size_bytes: int


def number_of(name: str) -> int | None:
    """The number of a segment by the name of its file, C{None} where it is none."""
    digits = name.removeprefix(PREFIX)
    return int(digits) if digits != name and digits.isascii() and digits.isdecimal() else None


def paths(files: Files, directory: str) -> list[str]:
    """The segments in a directory, oldest first."""
    found = [name for name in files.names(directory) if number_of(name) is not None]
    return [os.path.join(directory, name) for name in sorted(found, key=number_of)]  # type: ignore[arg-type]  # none is None


class CommitLog:
    """
    The log of one broker's life, being written.

    @ivar lsn: the number of the newest commit that is safe.
    @ivar doubtful: the newest segment is not to be written to, so L{renew} is to
        be called before the next L{append}.
    """

    def __init__(self, directory: str, synchronous: bool, files: Files) -> None:
        """
        @param directory: where segments stand.
        @param synchronous: whether L{append} waits until the medium has it.
        """
        self._directory = directory
        self._synchronous = synchronous
        self._files = files
        self._full: deque[_Full] = deque()
        self._path = ""
        self._descriptor: int | None = None
        self._length = 0
        self._room_until = 0
        self._number = 0
        self._log_id = 0
        self._room = bytearray()
        self.lsn = 0
        self.doubtful = False

    @property
    def size_bytes(self) -> int:
        """The bytes that the log takes."""
        return self._length + sum(full.size_bytes for full in list(self._full))

    def begin(self, log_id: int, lsn: int) -> None:
        """
        Begin a log, where none is.

        @param log_id: what the database has noted.
        @param lsn: the number of the newest commit in the database.
        @raises OSError: the medium fails.
        """
        self._log_id = log_id
        self.lsn = lsn
        self.doubtful = False
        self._number = 0
        self._begin_segment(lsn, lsn + 1)

    def append(self, batch: Batch) -> tuple[int, int]:
        """
        Make a batch safe.

        @return: its number, and how many bytes it took.
        @raises OSError: the medium fails; nothing of it counts, and the same
            batch may be sent again.
        @raises TypeError: a row holds what none can; likewise OverflowError and
            UnicodeEncodeError.
        """
        lsn = self.lsn + 1
        record = self._record(batch, lsn)
        if self._descriptor is None:
            self._begin_segment(self.lsn, lsn)
        self._write(record)
        self.lsn = lsn
        if self._length >= SEGMENT_BYTES:
            self._end_segment()
        self._keep_little_room()
        return lsn, len(record)

    def renew(self, base: int, unsettled: Batch) -> None:
        """
        Go on in a new segment after one that is in doubt.

        @param base: the number of the newest commit in the database.
        @param unsettled: everything that is newer, as one batch.
        @raises OSError: the medium fails; the newest segment is as doubtful as before.
        """
        if self._descriptor is not None:
            self._end_segment()
        if self.lsn > base:
            record = self._record(unsettled, self.lsn)
            self._begin_segment(base, self.lsn)
            self._write(record)
            self._keep_little_room()
        self.doubtful = False

    def forget(self, lsn: int) -> None:
        """
        Remove the segments that the database needs no more.

        @param lsn: the number of the newest commit that the database certainly has,
            on the medium.
        @raises OSError: one cannot be removed; it is tried again.
        """
        while self.has_spare(lsn):
            self._files.remove(self._full[0].path)
            self._full.popleft()

    def has_spare(self, lsn: int) -> bool:
        """Whether there is a segment with nothing newer than the commit C{lsn}."""
        return bool(self._full) and self._full[0].lsn <= lsn

    def remove(self) -> None:
        """
        Remove all segments that stand in the directory, oldest first.

        @raises OSError: one cannot be removed.
        """
        self.close()
        for path in paths(self._files, self._directory):
            self._files.remove(path)
        self._files.sync_directory(self._directory)
        self._full.clear()
        self._length = 0

    def close(self) -> None:
        """Write no more; the segments stay as they are."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with suppress(OSError):
                self._files.close(descriptor)

    # --- one segment ------------------------------------------------------------

    def _record(self, batch: Batch, lsn: int) -> bytearray:
        """A record, in room that is used again and again."""
        room = self._room
        encode_into(batch, room, segment.BODY_AT)
        segment.seal(room, lsn)
        return room

    def _keep_little_room(self) -> None:
        """A large record is written: its room is memory that others may need meanwhile."""
        if len(self._room) > _KEPT_BYTES:
            self._room = bytearray()

    def _write(self, record: bytearray) -> None:
        assert self._descriptor is not None
        if self._length + len(record) > self._room_until:
            self._make_room(len(record))
        try:
            self._write_all(record, self._length)
        except OSError:
            self._take_back()
            raise
        if self._synchronous:
            try:
                self._files.sync(self._descriptor)
            except OSError:
                self.doubtful = True
                raise
        self._length += len(record)

    def _make_room(self, length: int) -> None:
        """For a record and some more; where that cannot be had, the file grows as it is written."""
        assert self._descriptor is not None
        self._room_until = self._length + max(length, STEP_BYTES)
        with suppress(OSError):
            self._files.allocate(self._descriptor, self._length, max(length, STEP_BYTES))

    def _take_back(self) -> None:
        """A record was written in part: cut it off."""
        assert self._descriptor is not None
        self._room_until = 0
        try:
            self._files.truncate(self._descriptor, self._length)
        except OSError:
            self.doubtful = True

    def _write_all(self, data: bytes | bytearray, offset: int) -> None:
        assert self._descriptor is not None
        with memoryview(data) as view:
            written = self._files.write(self._descriptor, view, offset)
            while written < len(view):
                with view[written:] as rest:
                    written += self._files.write(self._descriptor, rest, offset + written)

    def _begin_segment(self, base: int, first: int) -> None:
        """The next segment, known to the medium by name."""
        self._number += 1
        self._path = os.path.join(self._directory, f"{PREFIX}{self._number:06}")
        header = segment.Header(segment.FORMAT, self._log_id, base, first)
        self._descriptor = self._files.create(self._path)
        self._length = 0
        try:
            self._write_all(segment.pack_header(header), 0)
            if self._synchronous:
                self._files.sync(self._descriptor)
                self._files.sync_directory(self._directory)
        except OSError:
            self.close()
            with suppress(OSError):  # one without records means nothing
                self._files.remove(self._path)
            raise
        self._length = segment.HEADER_BYTES
        self._room_until = 0

    def _end_segment(self) -> None:
        self.close()
        self._full.append(_Full(self._path, self.lsn, self._length))
        self._length = 0
