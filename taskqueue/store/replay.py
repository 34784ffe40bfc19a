"""
Reading the commit log that a broker left behind.

What a crash can leave, and what it cannot
==========================================

Each commit is safe before the next one begins.  So a record that is not whole is
the newest one, which nobody was told of: it is passed over.  If a whole record
follows it, or if a number is missing, what is lacking had been acknowledged: that
is damage.  A segment without a single whole record had no commit in it yet.  It
counts for nothing; in particular it does not stand in for those before it, as one
does that was begun after a failed sync (see L{taskqueue.store.commitlog}).

Where commits are not synced, a power cut may leave anything, and what is
readable without a gap is all that there is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from taskqueue.core.changes import Batch
from taskqueue.errors import StoreVersion
from taskqueue.store import segment
from taskqueue.store.commitlog import paths
from taskqueue.store.database import Marks
from taskqueue.store.encoding import decode
from taskqueue.store.faults import foreign_log, log_damaged
from taskqueue.store.files import Files


class _Segment(NamedTuple):
    """A segment with at least one whole record."""

    path: str
    header: segment.Header

    @property
    def stands_in_from(self) -> int:
        """What segments before this one have beyond this commit does not count."""
        _, _, base, first = self.header
        return base if first == base + 1 else first


class LeftLog:
    """
    The log in a data directory, as an earlier broker left it; only read.
    """

    def __init__(self, directory: str, files: Files, lenient: bool) -> None:
        """
        @param lenient: whether to end in front of damage instead of refusing it.
        """
        self._directory = directory
        self._files = files
        self._lenient = lenient

    def batches(self, marks: Marks) -> Iterator[tuple[int, Batch]]:
        """
        The commits that the database lacks, with their numbers, in order.

        @raises StoreCorrupt: the log is damaged, or belongs to another database.
        @raises StoreVersion: a newer version wrote it.
        """
        segments = self._segments(marks)
        had = marks.lsn
        for number, (path, header) in enumerate(segments):
            until = min((later.stands_in_from for later in segments[number + 1 :]), default=None)
            if header.base > had:
                if self._lenient:
                    return
                raise log_damaged(path, f"commits {had + 1} to {header.base} are missing")
            for lsn, batch in self._read(path, header, had, until):
                yield lsn, batch
                had = lsn

    def _segments(self, marks: Marks) -> list[_Segment]:
        """Those that count, oldest first."""
        found = []
        for path in paths(self._files, self._directory):
            data = self._files.read(path)
            header = segment.unpack_header(data)
            if header is not None and header.version > segment.FORMAT:
                raise StoreVersion(
                    f"{path} was written by a newer version of taskqueue (its format is"
                    f" {header.version}, this one knows up to {segment.FORMAT}). It was left as it"
                    " is. Install that version again.",
                    path=path,
                    found=header.version,
                    known=segment.FORMAT,
                )
            if header is None:
                if len(data) > segment.HEADER_BYTES and not self._lenient:
                    raise log_damaged(path, "its header cannot be read")
                continue
            if header.log_id != marks.log_id:
                raise foreign_log(path)
            if segment.record_at(data, segment.HEADER_BYTES) is not None:
                found.append(_Segment(path, header))
            elif not self._lenient and segment.later_record(
                data, segment.HEADER_BYTES, header.first
            ):
                raise log_damaged(path, f"commit {header.first} cannot be read")
        return found

    def _read(
        self, path: str, header: segment.Header, had: int, until: int | None
    ) -> Iterator[tuple[int, Batch]]:
        """
        What one segment has beyond the commit C{had}.

        @param until: the newest commit in it that counts; C{None}: all do.
        """
        data = self._files.read(path)
        offset, expected = segment.HEADER_BYTES, header.first
        for record in segment.records(data):
            if until is not None and record.lsn > until:
                return
            if record.lsn != expected:
                if not self._lenient:
                    raise log_damaged(path, f"commit {expected} is missing")
                return
            if record.lsn > had:
                yield record.lsn, self._batch(path, data, record)
            offset, expected = record.end, record.lsn + 1
        if until is None and not self._lenient and segment.later_record(data, offset, expected):
            raise log_damaged(path, f"commit {expected} cannot be read, and later ones can")

    def _batch(self, path: str, data: bytes, record: segment.Record) -> Batch:
        try:
            return decode(memoryview(data)[record.body])
        except ValueError as problem:
            raise log_damaged(path, f"commit {record.lsn} is unreadable: {problem}") from problem


def readable(files: Files, directory: str, marks: Marks | None) -> Iterator[Batch | None]:
    """
    Whatever can be read of a damaged log, commit by commit; C{None} stands for
    something that cannot be, or that belongs to another database.

    @param marks: of the database; what it has is left out.  C{None} where that is
        not known.
    """
    for path in paths(files, directory):
        data = files.read(path)
        header = segment.unpack_header(data)
        if header is not None and marks is not None and header.log_id != marks.log_id:
            yield None
            continue
        had = 0 if marks is None else marks.lsn
        for lsn, batch in _readable(data, 0 if header is None else header.first - 1):
            if lsn > had:
                yield batch


def _readable(data: bytes, lsn: int) -> Iterator[tuple[int, Batch | None]]:
    """
    The commits in a segment, with their numbers.

    @param lsn: the number of the one before.
    """
    offset = segment.HEADER_BYTES
    while True:
        for record in segment.records(data, offset):
            lsn, offset = record.lsn, record.end
            try:
                yield lsn, decode(memoryview(data)[record.body])
            except ValueError:
                yield lsn, None
        beyond = segment.later_record(data, offset, lsn)
        if beyond is None:
            return
        yield beyond.lsn, None
        lsn, offset = beyond.lsn - 1, beyond.body.start - segment.BODY_AT
