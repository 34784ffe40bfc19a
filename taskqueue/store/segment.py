"""
The bytes of the commit log: what one of its files, a segment, looks like.

A segment is a header and records, one for each commit, without anything between
them.  All numbers are big-endian::

    header   8 bytes  "tskq-log"
             u32      version of this format
             u64      id of the log, which the database has noted too
             u64      base: a log that begins here needs a database that has
                      everything up to this number
             u64      number of the first record
             u32      CRC-32 of all that
    record   u32      CRC-32 of what follows
             u32      bytes of the body
             u64      number (LSN) of the commit, one more than the one before
             ...      body: a batch, as taskqueue.store.encoding has it

Numbers that follow each other without a gap are what tells a log that is whole
from one that lacks something.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import NamedTuple
from zlib import crc32

#: What the version of the format is; it changes with that of the bodies.  (2: with values.)
FORMAT = 2

_MAGIC = b"tskq-log"
_VERSION = struct.Struct(">8sI")
_HEADER = struct.Struct(">8sIQQQ")
_CRC = struct.Struct(">I")
_RECORD = struct.Struct(">IIQ")

HEADER_BYTES = _HEADER.size + _CRC.size
#: How many bytes of a record stand before its body.
BODY_AT = _RECORD.size


class Header(NamedTuple):
    """
    How a segment begins.

    @ivar version: of the format.
    @ivar log_id: a random number; only the database that has noted it may be
        brought up to date from the log.
    @ivar base: this segment, with those behind it, has all that is newer than
        the commit with this number.
    @ivar first: the number of the first record.
    """

    version: int
    log_id: int
    base: int
    first: int


class Record(NamedTuple):
    """
    One record within a segment's bytes.

    @ivar body: where the batch stands.
    """

    lsn: int
    body: slice

    @property
    def end(self) -> int:
        """Where the next record begins."""
        return int(self.body.stop)


def pack_header(header: Header) -> bytes:
    """The bytes that a segment begins with."""
    data = _HEADER.pack(_MAGIC, *header)
    return data + _CRC.pack(crc32(data))


def unpack_header(data: bytes) -> Header | None:
    """
    The header of a segment, C{None} where it is none.  Of one that a newer
    format has, only the version is to be believed.
    """
    if len(data) < HEADER_BYTES:
        return None
    magic, version = _VERSION.unpack_from(data)
    if magic != _MAGIC:
        return None
    _, *fields = _HEADER.unpack_from(data)
    (crc,) = _CRC.unpack_from(data, _HEADER.size)
    if version <= FORMAT and crc != crc32(data[: _HEADER.size]):
        return None
    return Header(*fields)


def seal(record: bytearray, lsn: int) -> None:
    """
    Write the head of a record.

    @param record: room for the head (C{BODY_AT} bytes), then the body.
    @raises OverflowError: the body is longer than 4 GiB.
    """
    length = len(record) - BODY_AT
    if length >= 2**32:
        raise OverflowError(f"a batch of {length} bytes is more than a record can hold")
    _RECORD.pack_into(record, 0, 0, length, lsn)
    with memoryview(record) as view:
        _CRC.pack_into(record, 0, crc32(view[_CRC.size :]))


def record_at(data: bytes, offset: int) -> Record | None:
    """The record that begins at C{offset}, C{None} where there is no whole one."""
    body = offset + BODY_AT
    if body > len(data):
        return None
    crc, length, lsn = _RECORD.unpack_from(data, offset)
    end = body + length
    if end > len(data) or crc != crc32(memoryview(data)[offset + _CRC.size : end]):
        return None
    return Record(lsn, slice(body, end))


def records(data: bytes, offset: int = HEADER_BYTES) -> Iterator[Record]:
    """The whole records from C{offset} on, up to the first that is not whole."""
    while (record := record_at(data, offset)) is not None:
        yield record
        offset = record.end


def later_record(data: bytes, offset: int, lsn: int) -> Record | None:
    """
    The first whole record somewhere beyond one that is not whole.

    @param offset: where that one begins.
    @param lsn: its number; what is looked for has one of the next few thousand.
    """
    # All but the last two bytes of a number: it stands 8 bytes behind a record's beginning.
    starts = {(lsn + 1 + ahead).to_bytes(8, "big")[:6] for ahead in (0, 0xFFFF)}
    # No record has the number 0: the room that a segment has ahead is not looked at byte by byte.
    pattern = rb"(?!\0{8})(?:%s)" % b"|".join(b"(?=%s..)" % re.escape(s) for s in sorted(starts))
    end = len(data.rstrip(b"\0")) + 8
    for found in re.compile(pattern, re.DOTALL).finditer(data, offset + 9, end):
        record = record_at(data, found.start() - 8)
        if record is not None and record.lsn > lsn:
            return record
    return None
