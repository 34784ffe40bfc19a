"""
Batches as bytes: what stands in the records of the commit log.

A batch is a MessagePack array of its fields in their order, and so is every
row in it.  What is read must have exactly these fields and types; so when a field
comes or goes, C{taskqueue.store.segment.FORMAT} must change.
"""

from __future__ import annotations

from typing import Any, get_type_hints

import msgspec

from taskqueue.core.changes import Batch, HistoryRow, QueueRow, TaskRow, TaskUpdate
from taskqueue.core.periodic import PeriodicRow
from taskqueue.core.rows import ValueRow
from taskqueue.core.task import TaskOptions, Unique

# The module of TaskRow knows these two for type checkers only.
_TYPES = get_type_hints(TaskRow, localns={"TaskOptions": TaskOptions, "Unique": Unique})
_ROW: Any = tuple[tuple(_TYPES[name] for name in TaskRow._fields)]  # type: ignore[misc]
_FORMAT_1: Any = (
    list[_ROW],
    list[TaskUpdate],
    list[HistoryRow],
    list[QueueRow],
    list[int],
    int | None,
    int,
    list[PeriodicRow],
    list[str],
)
_FORMAT_2: Any = (*_FORMAT_1, list[ValueRow], list[tuple[str, str]])

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[_FORMAT_2])
_older = msgspec.msgpack.Decoder(tuple[_FORMAT_1])


def encode_into(batch: Batch, buffer: bytearray, offset: int) -> None:
    """
    Write a batch into C{buffer} from C{offset} on; it ends where the batch ends.

    @raises TypeError: a field holds what no row can.
    @raises OverflowError: a number is too large.
    @raises UnicodeEncodeError: a text has surrogates in it.
    """
    _encoder.encode_into(batch, buffer, offset)


def decode(body: bytes | memoryview) -> Batch:
    """
    The batch that C{body} holds, in this format or an older one.

    @raises ValueError: it holds none.
    """
    try:
        rows, *others = _decoder.decode(body)
    except msgspec.ValidationError as problem:
        try:
            rows, *others = _older.decode(body)
        except ValueError:
            raise problem from None
    return Batch([TaskRow._make(row) for row in rows], *others)
