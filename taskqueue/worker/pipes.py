"""
What a worker and its child processes say to each other, as bytes.

A message is a head, a header, and bytes as they are.  What is said for every task
has a header in MessagePack, which costs least; what holds a value of a task's own
has JSON, which refuses what the broker would refuse.  Both ends are of one version
and trust each other; nothing here leaves the machine.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, NamedTuple

import msgspec

from taskqueue import strictjson
from taskqueue.errors import BadFrame

#: The child's ends of its pipes: tasks come in, what comes of them goes out, and
#: what concerns a running task comes in, which a thread of its own reads.
TASKS_FD = 3
REPLIES_FD = 4
CONTROL_FD = 5

#: Kind, token of the delivery, bytes of the header, bytes that follow it.
_HEAD = struct.Struct(">BQII")


class Kind(IntEnum):
    """What a message is for."""

    #: To the child, first of all: what to load, and how.
    OPEN = 1
    #: To the child: a delivery, with its payload.
    RUN = 2
    #: To the child, on the pipe for control: a running task should stop.
    STOP = 3
    #: To the worker: everything is imported.
    READY = 4
    #: To the worker: it cannot be, and why.
    BROKEN = 5
    #: To the worker: a L{Verdict<taskqueue.app.outcomes.Verdict>}, with the result.
    DONE = 6
    #: To the worker: a task has come so far.
    PROGRESS = 7
    #: To the worker: a task has something for the log.
    LOG = 8
    #: To the child, on the pipe for control: leave alone what has not begun, up to the
    #: delivery with the number that the header is.
    RECALL = 9
    #: To the worker: the numbers of the first and the last delivery left alone.
    RECALLED = 10


_PACKED = frozenset({Kind.RUN, Kind.DONE, Kind.RECALL, Kind.RECALLED})
_KINDS = {kind.value: kind for kind in Kind}
_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder().decode
_make = tuple.__new__


class Message(NamedTuple):
    """
    @ivar token: of the delivery that it is about, or 0.
    @ivar header: what JSON has a form for.
    """

    kind: Kind
    token: int
    header: Any
    body: bytes


def encode(kind: Kind, token: int = 0, header: Any = None, body: bytes = b"") -> bytes:
    """
    A message as bytes.

    @raises BadRequest: JSON has no form for C{header}.
    """
    return b"".join(parts(kind, token, header, body))


def parts(
    kind: Kind, token: int = 0, header: Any = None, body: bytes = b""
) -> tuple[bytes, bytes, bytes]:
    """
    The same as L{encode}, in pieces that are written one after another.

    @raises BadRequest: as L{encode}.
    """
    text = _packed(header) if kind in _PACKED else strictjson.dumps(header)
    return _HEAD.pack(kind, token, len(text), len(body)), text, body


def _packed(header: Any) -> bytes:
    try:
        return _pack(header)
    except UnicodeEncodeError:  # an error's text may hold half a character: JSON has it replaced
        return _pack(strictjson.loads(strictjson.dumps(header)))


class Decoder:
    """Finds the messages in bytes that arrive in pieces."""

    def __init__(self) -> None:
        self._held = bytearray()
        self._needed = _HEAD.size

    def feed(self, data: bytes) -> Iterator[Message]:
        """
        The messages that are complete now.

        @raises BadFrame: what arrives is no message; the pipe is of no use any more.
        """
        if self._held:
            self._held += data
            if len(self._held) < self._needed:
                return
            data = bytes(self._held)
        start, size, self._needed = 0, len(data), _HEAD.size
        try:
            while size - start >= _HEAD.size:
                kind, token, header_bytes, body_bytes = _HEAD.unpack_from(data, start)
                header_at = start + _HEAD.size
                body_at = header_at + header_bytes
                end = body_at + body_bytes
                if size < end:
                    self._needed = end - start
                    break
                start = end
                yield _message(kind, token, data[header_at:body_at], data[body_at:end])
        finally:
            self._held = bytearray(data[start:])


def _message(kind: int, token: int, header: bytes, body: bytes) -> Message:
    try:
        known = _KINDS[kind]
        value = _unpack(header) if known in _PACKED else strictjson.loads(header)
    except (KeyError, ValueError):
        raise BadFrame(f"there is no message of kind {kind} on this pipe") from None
    # Made without its constructor, a call in Python.
    return _make(Message, (known, token, value, body))
