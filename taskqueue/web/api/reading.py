"""
Reading requests: from bytes to the values that operations take.
"""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_to_bytes

from taskqueue import strictjson
from taskqueue.errors import BadRequest, BatchTooLarge
from taskqueue.operations.fields import LATEST_MOMENT, Check, Form, moment, wrong
from taskqueue.operations.schemas import described, schema_of
from taskqueue.web.api.answers import JSON
from taskqueue.web.api.endpoints import PLACES, Body
from taskqueue.web.api.problems import Problem

Header = dict[str, Any]


def malformed(detail: str) -> Problem:
    """The problem of a request that cannot be read."""
    return Problem(400, "BAD_REQUEST", detail)


# --- addresses -------------------------------------------------------------------


def read_places(parts: Mapping[str, str]) -> dict[str, str]:
    """
    The parts of a path, checked.

    @param parts: by name, each with its escapes.
    @raises BadRequest: a part cannot be what it is.
    """
    return {name: PLACES[name](_unescaped(name, text), name) for name, text in parts.items()}


def _unescaped(name: str, text: str) -> str:
    try:
        return unquote_to_bytes(text).decode("utf-8")
    except UnicodeDecodeError:
        raise BadRequest(f"{name} is not UTF-8", field=name) from None


def read_query(form: Form, given: Mapping[bytes, list[bytes]]) -> Header:
    """
    The parameters of a query, checked.

    @raises BadRequest: one is unknown, missing or wrong.
    """
    texts: dict[str, Any] = {}
    for raw_name, raw_values in given.items():
        try:
            name = raw_name.decode("utf-8")
            values = [value.decode("utf-8") for value in raw_values]
        except UnicodeDecodeError:
            raise BadRequest("the query is not UTF-8") from None
        check = form.fields.get(name)
        texts[name] = values[0] if check is None else _typed(check, name, values)
    try:
        return form.parse(texts, "the query")
    except BatchTooLarge as error:  # it is not the request that is too large
        raise BadRequest(error.message, **error.fields) from None


def _typed(check: Check, name: str, values: list[str]) -> Any:
    """What a parameter's text stands for, by what its check takes."""
    schema = schema_of(check)
    kind = schema.get("type")
    if kind == "array":
        return [item for value in values for item in value.split(",") if item]
    if len(values) > 1:
        raise BadRequest(f"{name} is given {len(values)} times: give it once", field=name)
    read = _READERS.get(kind[0] if type(kind) is list else str(kind))
    return values[0] if read is None else read(values[0])


def _integer(text: str) -> Any:
    """An integer; or the text, for the check to refuse."""
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) < 20 else text


def _number(text: str) -> Any:
    try:
        return strictjson.loads(text.encode("ascii")) if text.strip() == text else text
    except (BadRequest, UnicodeEncodeError):
        return text


_BOOLEANS = {"true": True, "false": False}

_READERS: Mapping[str, Callable[[str], Any]] = {
    "integer": _integer,
    "number": _number,
    "boolean": lambda text: _BOOLEANS.get(text, text),
}


def moment_text(value: Any, name: str) -> float:
    """A moment in a query: seconds since the epoch, or RFC 3339."""
    number = _number(value)
    if type(number) is not str:
        return moment(number, name)
    try:
        # A blank stands for the plus sign that somebody did not escape.
        found = datetime.fromisoformat(value.upper().replace(" ", "+"))
    except ValueError:
        expected = "seconds since 1970-01-01 UTC, or a moment such as 2026-05-01T12:00:00Z"
        raise wrong(name, value, expected) from None
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return min(max(found.timestamp(), 0.0), LATEST_MOMENT)


described(
    moment_text,
    anyOf=[schema_of(moment), {"type": "string", "format": "date-time"}],
)


# --- bodies ----------------------------------------------------------------------


def read_body(body: Body | None, content_type: str | None, data: bytes) -> Header:
    """
    The fields of a body, checked.

    @raises Problem: it is not JSON, or not declared as such.
    @raises BadRequest: a field is unknown, missing or wrong.
    """
    if content_type is not None and content_type.partition(";")[0].strip().lower() != JSON:
        detail = f"content-type is {content_type[:60]!r}, expected {JSON}"
        raise Problem(415, "UNSUPPORTED_MEDIA_TYPE", detail)
    if data and content_type is None:
        raise Problem(415, "UNSUPPORTED_MEDIA_TYPE", f"the body needs content-type: {JSON}")
    if body is None or not (data or body.needed):
        if data.strip():
            raise malformed("this request takes no body")
        return {} if body is None or body.form is None else body.form.parse({}, "the body")
    try:
        given = strictjson.loads_object(data)
    except BadRequest as error:
        raise malformed(f"the body cannot be read: {error.message}") from None
    return given if body.form is None else body.form.parse(given, "the body")


def with_payload(item: Any) -> Any:
    """
    An item of a request with its payload as bytes, however that was given.

    @raises BadRequest: it was given in a way that it cannot be, or in several.
    """
    return with_bytes(item, "payload") if type(item) is dict else item


def with_bytes(item: Header, name: str) -> Header:
    """
    An item of a request with one field as bytes, which may be given as text, or with C{_json} or
    C{_b64} behind its name.

    @raises BadRequest: it was given in a way that it cannot be, or in several.
    """
    given = [way for way in (name, f"{name}_json", f"{name}_b64") if way in item]
    if not given:
        return item
    if len(given) > 1:
        raise BadRequest(f"{' and '.join(given)} are given: give one of them", field=given[1])
    rest = {key: value for key, value in item.items() if key != given[0]}
    return {**rest, name: _bytes_of(given[0], item[given[0]])}


def _bytes_of(name: str, value: Any) -> bytes:
    if name.endswith("_json"):
        return strictjson.dumps(value)
    if type(value) is not str:
        hint = "" if name.endswith("_b64") else f": any JSON value may stand in {name}_json"
        raise wrong(name, value, f"text{hint}")
    if not name.endswith("_b64"):
        return value.encode("utf-8")
    try:
        return b64decode(value, validate=True)
    except ValueError:
        raise wrong(name, value, "base64") from None


def check_accept(accept: str | None, media: str) -> None:
    """
    @raises Problem: the peer takes nothing of the type C{media}.
    """
    if accept is None or not accept.strip():
        return
    family = media.partition("/")[0]
    for choice in accept.lower().split(","):
        kind, *parameters = (part.strip() for part in choice.split(";"))
        if kind in ("*/*", f"{family}/*", media) and "q=0" not in parameters:
            return
    detail = f"accept is {accept[:60]!r}; the answer would be {media}"
    raise Problem(406, "NOT_ACCEPTABLE", detail)
