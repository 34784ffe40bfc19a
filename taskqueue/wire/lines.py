"""
Messages as lines.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from difflib import get_close_matches
from typing import Any

from taskqueue import strictjson
from taskqueue.errors import BadFrame, BadRequest, UnknownOperation
from taskqueue.wire.items import ABSENT, request_id_of, visit_parts, with_converted_parts
from taskqueue.wire.messages import OPERATIONS, Header, MessageType, Part

#: The first line of an HTTP request.
_HTTP = re.compile(rb"[A-Za-z]+ \S+ HTTP/[0-9.]+\s*")

#: Whether an answer in a line is C{"ok"}.
_VERDICTS = {MessageType.ACK: True, MessageType.NACK: False}


def encode_line(message_type: MessageType, header: Header) -> bytes:
    """
    Write a message as a line, its line end included.

    @param header: as for L{encode}; C{"op"}, and C{"ok"} in an answer, are added.
    @raises BadRequest: the header holds something that JSON has no form for.
    """
    line: Header = {"op": message_type.name.lower()}
    if message_type in _VERDICTS:
        line["ok"] = _VERDICTS[message_type]
    line.update(with_converted_parts(message_type, header, _to_text))
    return strictjson.dumps(line) + b"\n"


def decode_line(line: bytes) -> tuple[MessageType, Header]:
    """
    Read a message from a line.

    @param line: without its line end.
    @return: as L{decode}; without C{"op"}, and C{"ok"} in an answer.
    @raises UnknownOperation: C{"op"} names none.
    @raises BadRequest: the line is no JSON object, or a payload in it is
        neither text nor base64.
    @raises BadFrame: an HTTP request begins with it.
    """
    if not line.strip():
        raise BadRequest('The line is empty; send a JSON object with an "op".')
    header = _object_in(line)
    operation = header.pop("op", None)
    message_type = OPERATIONS.get(operation) if type(operation) is str else None
    if message_type is None:
        raise _no_such_operation(operation, header)
    if message_type in _VERDICTS:
        header.pop("ok", None)
    visit_parts(message_type, header, _from_text)
    return message_type, header


def _object_in(line: bytes) -> Header:
    try:
        return strictjson.loads_object(line)
    except BadRequest:
        # A page of any site can have a browser send it here, and orders in its body.
        if _HTTP.fullmatch(line):
            raise BadFrame("This is HTTP, and lines of JSON are spoken here.") from None
        raise


def _no_such_operation(operation: Any, header: Header) -> BadRequest | UnknownOperation:
    if type(operation) is not str:
        return BadRequest(
            'The object must say what to do as "op", such as "submit_task" or "stats".',
            **request_id_of(header),
        )
    # Likeness is costly to compute, and no operation has a long name.
    likely = get_close_matches(operation[:40].lower(), OPERATIONS, n=1)
    hint = f"did you mean {likely[0]!r}?" if likely else "the protocol's documentation lists them."
    return UnknownOperation(
        f"There is no operation {operation[:40]!r}; {hint}", **request_id_of(header)
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
    text = item.get(part.name, ABSENT)
    encoded = item.pop(part.b64, ABSENT)
    if text is not ABSENT and encoded is not ABSENT:
        raise BadRequest(f'Give either "{part.name}" or "{part.b64}", not both.')
    if type(text) is str:
        item[part.name] = text.encode("utf-8")
    elif text is not ABSENT:
        raise BadRequest(f'"{part.name}" must be a text; send other data as "{part.b64}".')
    elif encoded is not ABSENT:
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
