"""
The native protocol as bytes, without I/O.

A frame is C{length (4 bytes, big-endian) | message type (1 byte) | body}; the
length counts type and body.  The body is a JSON object on one line, the header;
then, where there are payloads, a line end and the raw bytes of all payloads one
after another.  Where a header lists items (see L{ATTACHED}), each item tells
how many of these bytes are its own: C{"size"} of its payload, C{"result_size"}
of its result.  In memory, the item has C{"payload"} and C{"result"} instead.

The same messages can be written as lines, one JSON object each: the operation
is its C{"op"}, a payload is text, or base64 as C{"payload_b64"}.

Only a length that cannot be right makes a stream untrustworthy
(L{FatalClientError}).  All else that is wrong with a message is a
L{ClientError} about this message, which carries the request's C{id} in its
fields where that could be read: the next message is found all the same.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from enum import IntEnum
from functools import partial
from struct import Struct
from typing import Any, NamedTuple

from taskqueue import strictjson
from taskqueue.errors import BadFrame, BadRequest, FrameTooLarge, UnknownOperation
from taskqueue.framing import MAX_FRAME_BYTES, FrameDecoder, LineDecoder

__all__ = [
    "ATTACHED",
    "MAX_FRAME_BYTES",
    "MAX_HEADER_BYTES",
    "OPERATIONS",
    "FrameDecoder",
    "Header",
    "LineDecoder",
    "MessageType",
    "Part",
    "decode",
    "decode_line",
    "encode",
    "encode_line",
]

Header = dict[str, Any]

#: Longest header.  A JSON text can become thirty times its size in memory, so
#: what is parsed is bounded more tightly than what is carried.
MAX_HEADER_BYTES = 4 * 1024 * 1024


class MessageType(IntEnum):
    """The second field of a frame.  Never reuse a number."""

    SUBMIT_TASK = 1
    CLAIM_TASK = 2
    TASK_RESULT = 3
    HEARTBEAT = 4
    ACK = 5
    NACK = 6
    QUERY_STATUS = 7
    CANCEL_TASK = 8
    GET_STATS = 9
    REGISTER_WORKER = 10
    DEREGISTER_WORKER = 11
    HELLO = 12
    EXTEND_LEASE = 13
    RELEASE_TASK = 14
    WATCH = 15
    EVENT = 16
    UNWATCH = 17
    PING = 18
    RETRY_TASK = 19
    LIST_TASKS = 20
    LIST_QUEUES = 21
    LIST_WORKERS = 22
    PAUSE_QUEUE = 23
    RESUME_QUEUE = 24
    SET_QUEUE = 25
    PURGE_QUEUE = 26
    REPORT_PROGRESS = 27
    BACKUP = 28
    DELETE_TASK = 29
    GET_PAYLOAD = 30
    ORDER_WORKER = 31


_TYPES: dict[int, MessageType] = {int(kind): kind for kind in MessageType}

#: Message type by the name that a line's C{"op"} has.
OPERATIONS: dict[str, MessageType] = {kind.name.lower(): kind for kind in MessageType} | {
    "submit": MessageType.SUBMIT_TASK,
    "claim": MessageType.CLAIM_TASK,
    "result": MessageType.TASK_RESULT,
    "status": MessageType.QUERY_STATUS,
    "cancel": MessageType.CANCEL_TASK,
    "stats": MessageType.GET_STATS,
    "register": MessageType.REGISTER_WORKER,
    "deregister": MessageType.DEREGISTER_WORKER,
    "extend": MessageType.EXTEND_LEASE,
    "release": MessageType.RELEASE_TASK,
    "retry": MessageType.RETRY_TASK,
    "tasks": MessageType.LIST_TASKS,
    "queues": MessageType.LIST_QUEUES,
    "workers": MessageType.LIST_WORKERS,
    "pause": MessageType.PAUSE_QUEUE,
    "resume": MessageType.RESUME_QUEUE,
    "purge": MessageType.PURGE_QUEUE,
    "progress": MessageType.REPORT_PROGRESS,
    "delete": MessageType.DELETE_TASK,
    "payload": MessageType.GET_PAYLOAD,
    "order": MessageType.ORDER_WORKER,
}


class Part(NamedTuple):
    """
    A piece of opaque bytes that an item may have.

    @ivar name: its key in memory, where it is C{bytes}; in a line, text.
    @ivar size: the key of its length in a frame's header.
    @ivar b64: its key in a line, where it is not text.
    @ivar default: what an item without it has; C{None}: nothing.
    """

    name: str
    size: str
    b64: str
    default: bytes | None = None


_PAYLOAD = Part("payload", "size", "payload_b64")
_RESULT = Part("result", "result_size", "result_b64")

Lists = Mapping[str, tuple[Part, ...]]

_ANY_ITEMS: Lists = dict.fromkeys(("tasks", "results", "events"), (_PAYLOAD, _RESULT))

#: By message type: which lists of the header have items with bytes of their
#: own, and which.  The bytes of a frame follow in the order of this table, in a
#: list in the order of its items, in an item payload before result.
ATTACHED: Mapping[MessageType, Lists] = {
    MessageType.SUBMIT_TASK: {"tasks": (_PAYLOAD._replace(default=b""),)},
    MessageType.TASK_RESULT: {"results": (_RESULT,)},
    MessageType.ACK: _ANY_ITEMS,
    MessageType.EVENT: _ANY_ITEMS,
}

#: Whether an answer in a line is C{"ok"}.
_VERDICTS = {MessageType.ACK: True, MessageType.NACK: False}

_PREFIX = Struct(">IB")
_MAX_LENGTH = 2**32 - 1
_ABSENT = object()


# --- frames --------------------------------------------------------------------


def encode(message_type: MessageType, header: Header) -> bytes:
    """
    Write a message as a whole frame, length included.

    @param header: what to say; items' C{"payload"} and C{"result"} are
        C{bytes}, or C{None} for none.  It is left as it is.
    @raises BadRequest: the header holds something that JSON has no form for.
    @raises FrameTooLarge: the message is longer than any frame can be.
    """
    attachments: list[bytes] = []
    header = _with_converted_parts(message_type, header, partial(_detach, attachments))
    text = strictjson.dumps(header)
    length = 1 + len(text)
    attached = sum(map(len, attachments))
    if attached:
        length += 1 + attached
    if length > _MAX_LENGTH:
        raise FrameTooLarge(
            f"A frame holds at most {_MAX_LENGTH} bytes; this message has {length}.",
            length=length,
            limit=_MAX_LENGTH,
        )
    prefix = _PREFIX.pack(length, message_type)
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
            **_request_id(header),
        )
    start = len(body) if line_end < 0 else line_end + 1
    attachments = _Attachments(body, start)
    _visit_parts(message_type, header, attachments.give)
    if attachments.end != len(body):
        raise BadRequest(
            f"The sizes in the header add up to {attachments.end - start} bytes, "
            f"but {len(body) - start} bytes follow the header.",
            **_request_id(header),
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
        size = item.pop(part.size, _ABSENT)
        if type(size) is int and size >= 0:
            start = self.end
            self.end += size
            item[part.name] = self._body[start : self.end]
        elif size is not _ABSENT:
            raise BadRequest(f'"{part.size}" must be a whole number of bytes, 0 or more.')
        elif part.default is not None:
            item[part.name] = part.default


# --- lines -----------------------------------------------------------------------


def encode_line(message_type: MessageType, header: Header) -> bytes:
    """
    Write a message as a line, its line end included.

    @param header: as for L{encode}; C{"op"}, and C{"ok"} in an answer, are added.
    @raises BadRequest: the header holds something that JSON has no form for.
    """
    line: Header = {"op": message_type.name.lower()}
    if message_type in _VERDICTS:
        line["ok"] = _VERDICTS[message_type]
    line.update(_with_converted_parts(message_type, header, _to_text))
    return strictjson.dumps(line) + b"\n"


def decode_line(line: bytes) -> tuple[MessageType, Header]:
    """
    Read a message from a line.

    @param line: without its line end.
    @return: as L{decode}; without C{"op"}, and C{"ok"} in an answer.
    @raises UnknownOperation: C{"op"} names none.
    @raises BadRequest: the line is no JSON object, or a payload in it is
        neither text nor base64.
    """
    if not line.strip():
        raise BadRequest('The line is empty; send a JSON object with an "op".')
    header = strictjson.loads_object(line)
    operation = header.pop("op", None)
    message_type = OPERATIONS.get(operation) if type(operation) is str else None
    if message_type is None:
        raise _no_such_operation(operation, header)
    if message_type in _VERDICTS:
        header.pop("ok", None)
    _visit_parts(message_type, header, _from_text)
    return message_type, header


def _no_such_operation(operation: Any, header: Header) -> BadRequest | UnknownOperation:
    if type(operation) is not str:
        return BadRequest(
            'The object must say what to do as "op", such as "submit_task" or "stats".',
            **_request_id(header),
        )
    # Likeness is costly to compute, and no operation has a long name.
    likely = get_close_matches(operation[:40].lower(), OPERATIONS, n=1)
    hint = f"did you mean {likely[0]!r}?" if likely else "the protocol's documentation lists them."
    return UnknownOperation(
        f"There is no operation {operation[:40]!r}; {hint}", **_request_id(header)
    )


def _to_text(item: Header, part: Part) -> None:
    """Turn the bytes of a part into what a line can hold."""
    data = item.pop(part.name)
    if data is None:
        return
    try:
        item[part.name] = data.decode("utf-8")
    except UnicodeDecodeError:
        item[part.b64] = b64encode(data).decode("ascii")
    except AttributeError:
        raise BadRequest(f'"{part.name}" must be bytes, not {type(data).__name__}.') from None


def _from_text(item: Header, part: Part) -> None:
    """Turn what a line holds of a part into bytes."""
    text = item.get(part.name, _ABSENT)
    encoded = item.pop(part.b64, _ABSENT)
    if text is not _ABSENT and encoded is not _ABSENT:
        raise BadRequest(f'Give either "{part.name}" or "{part.b64}", not both.')
    if type(text) is str:
        item[part.name] = text.encode("utf-8")
    elif text is not _ABSENT:
        raise BadRequest(f'"{part.name}" must be a text; send other data as "{part.b64}".')
    elif encoded is not _ABSENT:
        item[part.name] = _from_base64(encoded, part.b64)
    elif part.default is not None:
        item[part.name] = part.default


def _from_base64(encoded: Any, name: str) -> bytes:
    if type(encoded) is not str:
        raise BadRequest(f'"{name}" must be a text in base64.')
    try:
        return b64decode(encoded, validate=True)
    except ValueError as error:
        raise BadRequest(f'"{name}" is not valid base64: {error}.') from None


# --- items -----------------------------------------------------------------------


def _request_id(header: Header) -> Header:
    """The request's id as an error's fields, when it has one."""
    request_id = header.get("id")
    return {"id": request_id} if type(request_id) in (int, str) else {}


def _visit_parts(
    message_type: MessageType, header: Header, visit: Callable[[Header, Part], None]
) -> None:
    """
    Call C{visit} for each part that each item can have, in the order of the wire.

    @raises BadRequest: as C{visit}, and where that was.
    """
    for name, parts in ATTACHED.get(message_type, {}).items():
        items = header.get(name)
        if type(items) is not list:
            continue
        for index, item in enumerate(items):
            if type(item) is not dict:
                continue
            try:
                for part in parts:
                    visit(item, part)
            except BadRequest as error:
                raise BadRequest(f"{name}[{index}]: {error}", **_request_id(header)) from None


def _with_converted_parts(
    message_type: MessageType, header: Header, convert: Callable[[Header, Part], None]
) -> Header:
    """
    The header with what C{convert} makes of each part that an item has.  What
    changes is copied before, so that the caller's own objects stay as they are.
    """
    converted = header
    for name, parts in ATTACHED.get(message_type, {}).items():
        items = header.get(name)
        if isinstance(items, (list, tuple)):
            if converted is header:
                converted = header.copy()
            converted[name] = [_with_converted(item, parts, convert) for item in items]
    return converted


def _with_converted(
    item: Any, parts: tuple[Part, ...], convert: Callable[[Header, Part], None]
) -> Any:
    converted = item
    if type(item) is dict:
        for part in parts:
            if part.name in item:
                if converted is item:
                    converted = item.copy()
                convert(converted, part)
    return converted
