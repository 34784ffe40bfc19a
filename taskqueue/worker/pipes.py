"""
What a worker and its child processes say to each other, as bytes.

A message is a head, a header as JSON, and bytes as they are.  Both ends are of
one version and trust each other; nothing here leaves the machine.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from enum import IntEnum
from typing import Any, NamedTuple

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
    text = strictjson.dumps(header)
    return b"".join((_HEAD.pack(kind, token, len(text), len(body)), text, body))


class Decoder:
    """Finds the messages in bytes that arrive in pieces."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[Message]:
        """
        The messages that are complete now.

        @raises BadFrame: what arrives is no message; the pipe is of no use any more.
        """
        self._held += data
        start = 0
        try:
            while len(self._held) - start >= _HEAD.size:
                kind, token, header_bytes, body_bytes = _HEAD.unpack_from(self._held, start)
                header_at = start + _HEAD.size
                body_at = header_at + header_bytes
                end = body_at + body_bytes
                if len(self._held) < end:
                    break
                header = bytes(self._held[header_at:body_at])
                body = bytes(self._held[body_at:end])
                start = end
                yield _message(kind, token, header, body)
        finally:
            del self._held[:start]


def _message(kind: int, token: int, header: bytes, body: bytes) -> Message:
    try:
        return Message(Kind(kind), token, strictjson.loads(header), body)
    except ValueError:
        raise BadFrame(f"there is no message of kind {kind} on this pipe") from None
