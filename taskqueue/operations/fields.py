"""
Fields: what a request may say, declared once, checked in one place.

A check takes a value and the name to call it by in an error; it returns the
value as the operation wants it, or raises L{BadRequest} with a sentence that
tells what was found and what is allowed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from taskqueue import strictjson
from taskqueue.errors import BadRequest, BatchTooLarge
from taskqueue.operations.schemas import described, or_null, schema_of
from taskqueue.wire.typed import LARGEST_INTEGER as LARGEST_INTEGER

Check = Callable[[Any, str], Any]

#: The longest name of a queue, a type or a worker, characters.
LONGEST_NAME = 128

#: Names of queues and task types: safe in logs, labels, paths and shells.
_NAME = re.compile(rf"[A-Za-z0-9_\-.:/]{{1,{LONGEST_NAME}}}")
#: The longest name of a queue that was made by a door of another protocol, characters.
LONGEST_QUEUE = 200

#: Names of queues, whichever door made them: beanstalkd's tubes may have more characters.
_QUEUE = re.compile(rf"[A-Za-z0-9_\-.:/+;$()]{{1,{LONGEST_QUEUE}}}")
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_FILE = re.compile(r"[A-Za-z0-9_\-][A-Za-z0-9_\-.]{0,127}")

#: The last second of the year 9999: later moments cannot be written as a date.
LATEST_MOMENT = 253_402_300_799.0

#: As long as a duration can sensibly be: a hundred years, in seconds.
LONGEST_S = 3_155_760_000.0

#: How deep lists and objects may stand in one another where any JSON is taken: what the
#: parser lets through could not be written again with a few levels around it.
DEEPEST = 32

#: How much of a value an error shows, characters.
_LONGEST_SHOWN = 60


def shown(value: Any) -> str:
    """
    A value as an error shows it: as it stands in JSON, but short, and never a
    whole payload.
    """
    if type(value) is list:
        return f"a list of {len(value)}"
    if type(value) is dict:
        return f"an object with {len(value)} fields"
    if type(value) is bytes:
        return f"{len(value)} bytes"
    if type(value) is str:
        value = value[:_LONGEST_SHOWN]
    text = strictjson.dumps(value).decode()
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."


def wrong(name: str, value: Any, expected: str) -> BadRequest:
    """The error for a field whose value cannot be taken."""
    return BadRequest(f"{name} is {shown(value)}, expected {expected}", field=name)


def integer(low: int = 0, high: int = LARGEST_INTEGER) -> Check:
    """An integer between C{low} and C{high}, both included."""
    highest = "2**53-1" if high == LARGEST_INTEGER else str(high)

    def check(value: Any, name: str) -> int:
        if type(value) is not int or not low <= value <= high:
            raise wrong(name, value, f"an integer from {low} to {highest}")
        return value

    return described(check, type="integer", minimum=low, maximum=high)


def number(low: float = 0.0, high: float = LONGEST_S) -> Check:
    """A number between C{low} and C{high}, both included, as a float."""

    def check(value: Any, name: str) -> float:
        if type(value) not in (int, float) or not low <= value <= high:
            raise wrong(name, value, f"a number from {low:g} to {high:.15g}")
        return float(value)

    return described(check, type="number", minimum=low, maximum=high)


def moment(value: Any, name: str) -> float:
    """A point in time: seconds since the epoch."""
    if type(value) not in (int, float) or not 0 <= value <= LATEST_MOMENT:
        raise wrong(name, value, "seconds since 1970-01-01 UTC, before the year 10000")
    return float(value)


def boolean(value: Any, name: str) -> bool:
    """True or false."""
    if type(value) is not bool:
        raise wrong(name, value, "true or false")
    return value


def text(longest: int, least: int = 0) -> Check:
    """Text of C{least} to C{longest} characters."""

    def check(value: Any, name: str) -> str:
        if type(value) is not str:
            raise wrong(name, value, "text")
        if len(value) > longest:
            raise BadRequest(
                f"{name} has {len(value)} characters, at most {longest} are allowed", field=name
            )
        if len(value) < least:
            raise wrong(name, value, f"text of {least} to {longest} characters")
        return value

    bounds = {"minLength": least, "maxLength": longest} if least else {"maxLength": longest}
    return described(check, type="string", **bounds)


#: The longest key or password, characters.
LONGEST_SECRET = 1024


def secret(value: Any, name: str) -> str:
    """A key or a password: no error shows anything of it."""
    if type(value) is not str or not 1 <= len(value) <= LONGEST_SECRET:
        raise BadRequest(f"{name} must be a text of 1 to {LONGEST_SECRET} characters", field=name)
    return value


def _matching(pattern: re.Pattern[str], expected: str) -> Check:
    match = pattern.fullmatch

    def check(value: Any, name: str) -> str:
        if type(value) is not str or match(value) is None:
            raise wrong(name, value, expected)
        return value

    return described(check, type="string", pattern=f"^{pattern.pattern}$")


#: The name of a queue, a type or a worker.
name_text = _matching(_NAME, "1 to 128 characters out of letters, digits and _ - . : /")


@lru_cache(maxsize=4096)
def is_name(value: str) -> bool:
    """Whether C{name_text} takes a text that is no longer than L{LONGEST_NAME}."""
    return _NAME.fullmatch(value) is not None


#: The name of a queue that is looked at or looked after, whichever door made it.
any_queue = _matching(
    _QUEUE, f"1 to {LONGEST_QUEUE} characters out of letters, digits and _ - . : / + ; $ ( )"
)

#: The name of a file, without a path.
file_name = _matching(_FILE, "a file name of 1 to 128 letters, digits, _ - and ., without a path")


def task_id(value: Any, name: str) -> str:
    """A task id: a UUID in its canonical form; upper-case letters are lowered."""
    if type(value) is str:
        if _UUID.fullmatch(value) is not None:
            return value
        lowered = value.lower()
        if _UUID.fullmatch(lowered) is not None:
            return lowered
    raise wrong(name, value, "a UUID such as 01893b2e-7f3a-7c5e-9b0d-3f1e2a4c6d80")


def one_of(*words: str) -> Check:
    """One of a few words."""
    allowed = frozenset(words)
    expected = "one of " + ", ".join(words)

    def check(value: Any, name: str) -> str:
        if type(value) is not str or value not in allowed:
            raise wrong(name, value, expected)
        return value

    return described(check, type="string", enum=list(words))


def list_of(check: Check, most: int, least: int = 0) -> Check:
    """A list of C{least} to C{most} items, each checked, as a tuple."""

    def check_list(value: Any, name: str) -> tuple[Any, ...]:
        if type(value) is not list:
            raise wrong(name, value, "a list")
        if len(value) > most:
            raise BatchTooLarge(
                f"{name} has {len(value)} items, at most {most} are allowed",
                field=name,
                limit=most,
            )
        if len(value) < least:
            raise wrong(name, value, f"a list of at least {least}")
        return tuple([check(item, f"{name}[{i}]") for i, item in enumerate(value)])

    bounds = {"minItems": least, "maxItems": most} if least else {"maxItems": most}
    return described(check_list, type="array", items=schema_of(check), **bounds)


def nullable(check: Check) -> Check:
    """As C{check} says, or null."""

    def check_or_null(value: Any, name: str) -> Any:
        return None if value is None else check(value, name)

    return described(check_or_null, **or_null(schema_of(check)))


def raw_list(value: Any, name: str) -> list[Any]:
    """A list whose items are looked at one by one later."""
    if type(value) is not list:
        raise wrong(name, value, "a list")
    return value


def raw_object(value: Any, name: str) -> dict[str, Any]:
    """A JSON object whose fields are looked at later."""
    if type(value) is not dict:
        raise wrong(name, value, "a JSON object")
    return value


def payload(value: Any, name: str) -> bytes:
    """Opaque bytes; how large they may be is for the operation to say."""
    if type(value) is not bytes:
        raise wrong(name, value, "bytes: give their length as size (in a line: text or base64)")
    return value


def json_value(longest: int) -> Check:
    """Any JSON value of at most so many bytes, and at most L{DEEPEST} levels."""

    def check(value: Any, name: str) -> Any:
        if _is_deeper(value, DEEPEST):
            raise BadRequest(
                f"{name} has lists or objects in one another, at most {DEEPEST} levels of them "
                f"are allowed",
                field=name,
            )
        size = len(strictjson.dumps(value))
        if size > longest:
            raise BadRequest(
                f"{name} has {size} bytes as JSON, at most {longest} are allowed", field=name
            )
        return value

    return check


def _is_deeper(value: Any, levels: int) -> bool:
    if type(value) is dict:
        value = value.values()
    elif type(value) is not list:
        return False
    return levels == 0 or any(_is_deeper(item, levels - 1) for item in value)


def headers(longest: int) -> Check:
    """An object of texts, kept as one JSON text of at most so many bytes."""

    def check(value: Any, name: str) -> str | None:
        if type(value) is not dict or not all(type(v) is str for v in value.values()):
            raise wrong(name, value, "a JSON object whose values are texts")
        if not value:
            return None
        encoded = strictjson.dumps(value)
        if len(encoded) > longest:
            raise BadRequest(
                f"{name} have {len(encoded)} bytes as JSON, at most {longest} are allowed",
                field=name,
            )
        return encoded.decode()

    return described(check, type="object", additionalProperties={"type": "string"})


described(secret, type="string", minLength=1, maxLength=LONGEST_SECRET)
described(moment, type="number", minimum=0, maximum=LATEST_MOMENT)
described(boolean, type="boolean")
described(task_id, type="string", format="uuid")
described(raw_list, type="array")
described(raw_object, type="object")


class Form:
    """
    The fields that a request, or an item of one, may have.
    """

    def __init__(self, fields: Mapping[str, Check], required: tuple[str, ...] = ()) -> None:
        self.fields = dict(fields)
        self.required = required

    def parse(self, given: Any, what: str = "the request") -> dict[str, Any]:
        """
        The values given, checked.

        @param what: how to call it in an error.
        @raises BadRequest: something is unknown, missing or wrong.
        """
        if type(given) is not dict:
            raise wrong(what, given, "a JSON object")
        fields = self.fields
        values: dict[str, Any] = {}
        for name, value in given.items():
            check = fields.get(name)
            if check is None:
                raise self._unknown(name, what)
            values[name] = check(value, name)
        for name in self.required:
            if name not in values:
                raise BadRequest(f"{what} has no {name}, which is required", field=name)
        return values

    def _unknown(self, name: str, what: str) -> BadRequest:
        # Likeness is costly to compute, and no field has a long name.
        close = get_close_matches(name[:40], self.fields, n=1)
        hint = f", did you mean {close[0]}?" if close else ""
        allowed = ", ".join(self.fields) or "none"
        return BadRequest(
            f"{what} has an unknown field {shown(name)}{hint} (known: {allowed})", field=name[:100]
        )
