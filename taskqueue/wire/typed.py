"""
Frames whose header is read straight into typed values, or written from them.

That saves most of what a batch costs on its way in and out, but a reader of types
tells little of what is wrong.  So a L{HeaderReader} takes only what is certainly
right, and leaves all else to L{decode<taskqueue.wire.frames.decode>}, which knows
what to say; whatever it takes, it takes to mean the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Generic, TypeVar

from msgspec import UNSET, Meta, MsgspecError, Struct, UnsetType
from msgspec.json import Decoder, Encoder

from taskqueue.wire.frames import MAX_HEADER_BYTES, PREFIX, frame
from taskqueue.wire.messages import Header, MessageType

#: The largest integer that every JSON reader keeps exactly.
LARGEST_INTEGER = 2**53 - 1

#: The longest id of a request, if it is a text.
LONGEST_REQUEST_ID = 64

RequestId = (
    Annotated[int, Meta(ge=0, le=LARGEST_INTEGER)]
    | Annotated[str, Meta(max_length=LONGEST_REQUEST_ID)]
    | None
)


class TypedHeader(Struct, kw_only=True, forbid_unknown_fields=True, gc=False):
    """
    The header of a request.

    @ivar id: what its answer has as C{id}, C{None} for nothing.
    """

    id: RequestId = None


class AnswerHeader(Struct, kw_only=True, gc=False):
    """
    The header of an answer, whose other fields come before this one.

    @ivar id: of the request, where it had one.
    """

    id: int | str | UnsetType = UNSET


class Reply(Struct, frozen=True, gc=False):
    """
    An answer in typed values.

    @ivar attachments: what follows the header, in order.
    """

    header: AnswerHeader
    attachments: Sequence[bytes] = ()


#: An answer in either form.
Message = Header | Reply

_H = TypeVar("_H", bound=TypedHeader)


class HeaderReader(Generic[_H]):
    """Reads the headers of one kind of request."""

    def __init__(self, kind: type[_H]) -> None:
        """
        @param kind: what to read them into; it says by its types and bounds what may
            stand in such a header.
        """
        self._decode = Decoder(kind).decode

    def read(self, body: bytes) -> tuple[_H, int] | None:
        """
        Read a message from a frame.

        @param body: a frame without its length.
        @return: the header, and where in the body its attachments begin; C{None}
            where the header is not certainly right.
        """
        line_end = body.find(b"\n", 1)
        header_end = len(body) if line_end < 0 else line_end
        if header_end - 1 > MAX_HEADER_BYTES:
            return None
        try:
            header = self._decode(body[1:header_end])
        except (MsgspecError, UnicodeDecodeError, RecursionError):
            return None
        return header, header_end if line_end < 0 else line_end + 1


_encode = Encoder().encode


def encode_reply(
    message_type: MessageType, reply: Reply, max_header_bytes: int | None = None
) -> bytes:
    """
    Write a typed answer as a whole frame, as L{encode<taskqueue.wire.frames.encode>}
    writes an untyped one.

    @raises BadRequest: the header is too long.
    @raises FrameTooLarge: the message is longer than any frame can be.
    """
    text, attachments = _encode(reply.header), reply.attachments
    if not attachments and max_header_bytes is not None and len(text) <= max_header_bytes:
        return PREFIX.pack(1 + len(text), message_type) + text
    return frame(message_type, text, attachments, max_header_bytes)
