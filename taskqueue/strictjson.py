"""
JSON at the edges: as fast as ujson, as strict as the standard library.

ujson is lax where it hurts later.  It reads C{NaN}, C{Infinity}, and C{1e400}
as infinity, none of which can be compared, stored or sent on; it lets lone
surrogates (half a character) through, which no database and no socket takes;
and given bytes, it accepts surrogates in the UTF-8 as well.  So a text that
shows any sign of one of these is read again by the standard parser, which is
told to refuse them.  A sign may be a false alarm: that costs time, no more.

What may pass, because it does no harm: C{01} and C{1.} are numbers, a minus
sign alone is 0, control characters may stand in strings unescaped, and of two
equal names in an object the last one counts.
"""

from __future__ import annotations

import json
from math import isinf
from typing import Any, NoReturn

import ujson

from taskqueue.errors import BadRequest

#: Every byte that may stand before a value becomes C{,}, and every letter that
#: only a suspicious number has becomes C{e}; D and d, and all digits, are alike.
_SHAPE = bytes.maketrans(b"0123456789:[ENID", b"0000000000,,eeed")

#: With these left out, C{: -1.5E+400} has the shape C{,e}, as has C{[NaN}.
_NOISE = b"0123456789+-. \t\r\n"

#: A number without an exponent overflows from 309 digits on.  Looking at every
#: 16th byte, such a run shows as at least 19 digits in a row.
_STRIDE = 16
_LONG_RUN = b"0" * (309 // _STRIDE)

#: How many values one text may have.  As Python objects they take up to seventy times as many
#: bytes as C{{},}: 16 MiB of that would take 1 GiB, and seconds.
MOST_VALUES = 500_000

#: All bytes but those that begin another value, or begin and end a text.
_UNMARKED = bytes(set(range(256)) - set(b'",[{'))


def loads(data: bytes) -> Any:
    """
    Read one JSON text.

    @param data: UTF-8; white space around the value is allowed.
    @return: the value; every number in it is finite, and every text in it can
        be encoded.
    @raises BadRequest: what is wrong with the text.
    """
    if len(data) > MOST_VALUES and _has_too_many_values(data):
        raise BadRequest(
            f"This JSON text has more than {MOST_VALUES} values; split it, or send large data as "
            f"one text."
        )
    try:
        if not data.isascii():
            data.decode("utf-8")
        value = ujson.loads(data)
        # The signs are looked for in lists and objects; a number may stand alone.
        if type(value) is float or _is_suspicious(data):
            value = _loads_strictly(data)
    except UnicodeDecodeError as error:
        raise BadRequest(f"This is not UTF-8, at byte {error.start}.") from None
    except (ValueError, RecursionError, OverflowError) as error:
        raise BadRequest(f"This is not valid JSON: {error}.") from None
    return value


def loads_object(data: bytes) -> dict[str, Any]:
    """
    Read one JSON object, as L{loads} does.

    @raises BadRequest: what is wrong with the text, or that it is no object.
    """
    value = loads(data)
    if type(value) is not dict:
        raise BadRequest(f"This must be a JSON object, {{...}}, not {_name_of(value)}.")
    return value


def dumps(value: Any, halves: str = "replace") -> bytes:
    """
    Write a value as compact JSON: UTF-8 without a raw line end.  Half a
    character (a lone surrogate) is written as C{?}, for an answer that cannot
    be sent would be worse than one with a blemish.

    @param halves: what is done with half a character instead, as C{str.encode} takes it.
    @raises BadRequest: the value holds something that JSON has no form for.
    @raises UnicodeEncodeError: it holds half a character, and C{halves} is C{"strict"}.
    """
    try:
        # In order: no ASCII escapes, no HTML escapes, no escaped slashes, keys
        # as they come, no indentation, no NaN.  Names would cost as much again
        # as writing a small header does.
        text = ujson.dumps(value, False, False, False, False, 0, False)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadRequest(f"This cannot be written as JSON: {error}.") from None
    return text.encode("utf-8", halves)


def _has_too_many_values(data: bytes) -> bool:
    """Whether there are too many values: as many as commas and brackets that open."""
    if _count_values(data) <= MOST_VALUES:
        return False
    return _count_values(_outside_texts(data)) > MOST_VALUES


def _outside_texts(data: bytes) -> bytes:
    """Of the bytes that begin another value, those that do not stand in texts."""
    bare = data.replace(rb"\\", b"").replace(rb"\"", b"")
    # Two quotes side by side change nothing for what follows, and most texts are gone with them.
    marks = bare.translate(None, _UNMARKED).replace(b'""', b"")
    return b"".join(marks.split(b'"')[::2])


def _count_values(data: bytes) -> int:
    return data.count(b",") + data.count(b"[") + data.count(b"{")


def _is_suspicious(data: bytes) -> bool:
    """Whether the text may hold what ujson reads and nobody wants."""
    shape = data.translate(_SHAPE, _NOISE)
    return (
        b",e" in shape
        or b"\\ud" in shape
        or (len(data) > 308 and _LONG_RUN in data[::_STRIDE].translate(_SHAPE))
    )


def _loads_strictly(data: bytes) -> Any:
    value = _STRICT.decode(data.decode("utf-8"))
    if b"\\" in data:
        try:
            ujson.dumps(value, ensure_ascii=False).encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError("a \\u escape names half a character, a lone surrogate") from None
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _finite(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise ValueError(f"{text[:20]} is too large a number")
    return number


#: Not strict about control characters in strings, so that both parsers agree.
_STRICT = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite, strict=False)

_NAMES = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}


def _name_of(value: Any) -> str:
    return _NAMES.get(type(value), "a number")
