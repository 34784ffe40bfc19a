"""
A file of tasks, a JSON object a line: reading it, and what each line submits.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, NamedTuple
from uuid import UUID

from taskqueue import strictjson
from taskqueue.client import Submission
from taskqueue.errors import BadRequest

#: No longer line is read: no broker that is set up as usual takes so much.
LONGEST_LINE = 64 * 1024 * 1024

#: What the ids of lines derive from, with the file and the line.
_NAMESPACE = UUID("5b0f7c6e-3c0c-5a55-8f43-0c1f4c9b5f7a")

_PAYLOADS = ("payload", "payload_base64", "args", "kwargs")


class Line(NamedTuple):
    """
    @ivar number: from 1.
    @ivar end: the offset of the byte after it.
    @ivar data: without white space around it; C{None} where it is too long.
    """

    number: int
    end: int
    data: bytes | None


def lines_from(file: BinaryIO, number: int, offset: int) -> Iterator[Line]:
    """The lines after C{number} lines and C{offset} bytes, which is where C{file} stands."""
    while True:
        data = file.readline(LONGEST_LINE + 1)
        if not data:
            return
        number += 1
        offset += len(data)
        if len(data) <= LONGEST_LINE:
            yield Line(number, offset, data.strip())
            continue
        while not data.endswith(b"\n"):
            data = file.readline(LONGEST_LINE)
            offset += len(data)
            if not data:
                break
        yield Line(number, offset, None)


def fingerprint(path: str) -> str:
    """
    The SHA-256 of a whole file, in hexadecimal digits.

    @raises OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def space_of(file_print: str, run_name: str) -> UUID:
    """The space in which the ids of a file's lines are, for one run over it."""
    return _uuid5(_NAMESPACE, f"{file_print}/{run_name}".encode())


def _uuid5(space: UUID, name: bytes) -> UUID:
    # The standard library's takes text only, up to Python 3.11.
    return UUID(bytes=hashlib.sha1(space.bytes + name).digest()[:16], version=5)


def submission_from(line: Line, defaults: Mapping[str, Any], space: UUID) -> Submission:
    """
    What a line submits.

    @param defaults: fields of a L{Submission}, for those that the line leaves out.
    @raises BadRequest: what is wrong with the line.
    """
    if line.data is None:
        raise BadRequest(f"the line has more than {LONGEST_LINE} bytes")
    fields = strictjson.loads(line.data)
    if not isinstance(fields, dict):
        raise BadRequest('a line must be a JSON object, as in {"type": "shout"}')
    _check_type(fields, defaults)
    payload = _payload(fields)
    own_id = fields.pop("id", None)
    made = Submission.of(
        {
            **defaults,
            **fields,
            "payload": payload,
            "id": own_id or str(_uuid5(space, b"%d:%s" % (line.number, line.data))),
        }
    )
    try:
        made.item()
    except (TypeError, ValueError, AttributeError) as error:
        raise BadRequest(f"a field has no value of its kind: {error}") from None
    return made


def _check_type(fields: dict[str, Any], defaults: Mapping[str, Any]) -> None:
    if fields.get("type") is None:
        fields.pop("type", None)
    if not isinstance(fields.get("type", defaults.get("type")), str):
        raise BadRequest('a task needs a "type", the name of the handler that can run it')


def _payload(fields: dict[str, Any]) -> bytes:
    """Take what the handler gets out of the fields of a line."""
    given = {name: fields.pop(name) for name in _PAYLOADS if name in fields}
    if len(given) > 1 and set(given) != {"args", "kwargs"}:
        raise BadRequest(f"a line has one payload, and this has {' and '.join(given)}")
    if "payload_base64" in given:
        try:
            return b64decode(given["payload_base64"], validate=True)
        except (Base64Error, TypeError, ValueError) as error:
            raise BadRequest(f"payload_base64 is no Base64: {error}") from None
    if "payload" in given:
        payload = given["payload"]
        return payload.encode() if isinstance(payload, str) else strictjson.dumps(payload)
    if given:
        args, kwargs = given.get("args", []), given.get("kwargs", {})
        if not (isinstance(args, list) and isinstance(kwargs, dict)):
            raise BadRequest("args must be a list, and kwargs an object")
        return strictjson.dumps({"args": args, "kwargs": kwargs})
    return b""
