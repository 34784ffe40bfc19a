"""
Messages as frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from struct import Struct

from taskqueue import strictjson
from taskqueue.errors import BadFrame, BadRequest, FrameTooLarge, UnknownOperation
from taskqueue.wire.halves import check_halves
from taskqueue.wire.items import ABSENT, request_id_of, visit_parts, with_converted_parts
from taskqueue.wire.messages import Header, MessageType, Part

#: Longest header.  A JSON text can become thirty times its size in memory, so
#: what is parsed is bounded more tightly than what is carried.
MAX_HEADER_BYTES = 4 * 1024 * 1024

#: What a frame begins with: its length without these four bytes, and its type.
PREFIX = Struct(">IB")
_MAX_LENGTH = 2**32 - 1
_TYPES: dict[int, MessageType] = {int(kind): kind for kind in MessageType}


def encode(message_type: MessageType, header: Header, max_header_bytes: int | None = None) -> bytes:
    """
    Write a message as a whole frame, length included.

    @param header: what to say; items' C{"payload"} and C{"result"} are
        C{bytes}, or C{None} for none.  It is left as it is.
    @param max_header_bytes: how long the header may be, C{None} for any length.
    @raises BadRequest: the header holds something that JSON has no form for, or
        is too long.
    @raises FrameTooLarge: the message is longer than any frame can be.
    """
    attachments: list[bytes] = []
    header = with_converted_parts(message_type, header, partial(_detach, attachments))
    return frame(message_type, strictjson.dumps(header), attachments, max_header_bytes)


def encode_request(message_type: MessageType, header: Header) -> bytes:
    """
    Write a request as L{encode} does, but without changing what it says: of two keys with half a
    character each, C{?} would make one.

    @raises BadRequest: the header holds something that JSON has no form for, or half a
        character where that would be lost; the error's C{field} says where.
    @raises FrameTooLarge: the message is longer than any frame can be.
    """
    attachments: list[bytes] = []
    header = with_converted_parts(message_type, header, partial(_detach, attachments))
    try:
        text = strictjson.dumps(header, "strict")
    except UnicodeEncodeError:
        check_halves(header)
        text = strictjson.dumps(header)
    return frame(message_type, text, attachments)


def frame(
    message_type: MessageType,
    text: bytes,
    attachments: Sequence[bytes],
    max_header_bytes: int | None = None,
) -> bytes:
    """
    Put a whole frame together.

    @param text: the header.
    @param attachments: what follows it.
    @raises BadRequest: the header is longer than C{max_header_bytes}.
    @raises FrameTooLarge: the message is longer than any frame can be.
    """
    if max_header_bytes is not None and len(text) > max_header_bytes:
        raise BadRequest(
            f"The header would have {len(text)} bytes, and may have {max_header_bytes}: "
            "ask for fewer items at a time."
        )
    length = 1 + len(text)
    attached = sum(map(len, attachments)) if attachments else 0
    if attached:
        length += 1 + attached
    if length > _MAX_LENGTH:
        raise FrameTooLarge(
            f"A frame holds at most {_MAX_LENGTH} bytes; this message has {length}.",
            length=length,
            limit=_MAX_LENGTH,
        )
    prefix = PREFIX.pack(length, message_type)
    return b"".join((prefix, text, b"\n", *attachments) if attached else (prefix, text))


def decode(body: bytes, max_header_bytes: int = MAX_HEADER_BYTES) -> tuple[MessageType, Header]:
    """
    Read a message from a frame.

    @param body: a frame without its length, as L{FrameDecoder} gives it.
    @return: the type and the header; items that have bytes of their own have
        them as C{"payload"} and C{"result"}, and their sizes no more.
    @raises BadFrame: the frame is empty.
    @raises UnknownOperation: no message type has this number.
    @raises BadRequest: the header or the sizes in it make no sense.
    """
    if not body:
        raise BadFrame("A frame must hold at least its message type.")
    line_end = body.find(b"\n", 1)
    header_end = len(body) if line_end < 0 else line_end
    if header_end - 1 > max_header_bytes:
        raise BadRequest(
            f"The header has {header_end - 1} bytes, and may have {max_header_bytes}: "
            "split the batch, or move data from the header to a payload."
        )
    header = _read_header(body[1:header_end])
    message_type = _TYPES.get(body[0])
    if message_type is None:
        raise UnknownOperation(
            f"There is no message type {body[0]}; they go from 1 to {max(_TYPES)}.",
            **request_id_of(header),
        )
    start = len(body) if line_end < 0 else line_end + 1
    attachments = _Attachments(body, start)
    visit_parts(message_type, header, attachments.give)
    if attachments.end != len(body):
        raise BadRequest(
            f"The sizes in the header add up to {attachments.end - start} bytes, "
            f"but {len(body) - start} bytes follow the header.",
            **request_id_of(header),
        )
    return message_type, header


def _read_header(text: bytes) -> Header:
    try:
        return strictjson.loads_object(text)
    except BadRequest as error:
        raise BadRequest(f"A frame's header must be a JSON object on one line: {error}") from None


def _detach(attachments: list[bytes], item: Header, part: Part) -> None:
    """Move the bytes of a part from the item to the attachments."""
    data = item.pop(part.name)
    if data is None:
        return
    if type(data) is not bytes:
        raise BadRequest(f'"{part.name}" must be bytes, not {type(data).__name__}.')
    item[part.size] = len(data)
    attachments.append(data)


class _Attachments:
    """
    The bytes that follow a header.

    @ivar end: where those that were not given to an item yet start; past the
        end of the body when items ask for more than there is.
    """

    __slots__ = ("_body", "end")

    def __init__(self, body: bytes, start: int) -> None:
        self._body = body
        self.end = start

    def give(self, item: Header, part: Part) -> None:
        """Give an item what its size asks for."""
        if part.name in item:
            raise BadRequest(
                f'"{part.name}" does not belong into the header: send its bytes '
                f'after the header, and their number as "{part.size}".'
            )
        size = item.pop(part.size, ABSENT)
        if type(size) is int and size >= 0:
            start = self.end
            self.end += size
            item[part.name] = self._body[start : self.end]
        elif size is not ABSENT:
            raise BadRequest(f'"{part.size}" must be a whole number of bytes, 0 or more.')
        elif part.default is not None:
            item[part.name] = part.default
