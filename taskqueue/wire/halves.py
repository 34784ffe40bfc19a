"""
Half a character (a lone surrogate), which no encoding has a form for: where one stands.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from taskqueue.errors import BadRequest
from taskqueue.wire.messages import Header

#: What people read, of a list's items: with a blemish it is better than not at all.
_FOR_PEOPLE = {"results": "error", "reports": "progress"}


def check_halves(header: Header) -> None:
    """
    Look for half a character where it would be lost.

    @raises BadRequest: there is one; the error's C{field} says where.
    """
    for place, text in _texts("", header):
        half = next((each for each in text if "\ud800" <= each <= "\udfff"), None)
        if half is not None:
            raise BadRequest(
                f"{place} has half a character in it, the lone surrogate U+{ord(half):04X}, which "
                f"cannot be sent: encode the text, or replace that.",
                field=place,
            )


def _texts(place: str, value: Any, left_out: str | None = None) -> Iterator[tuple[str, str]]:
    """
    All texts in a value, each with the place where it stands.

    @param left_out: if it is a list: the key of its items' texts that people read.
    """
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield f"a key in {place}" if place else "a key", str(key)
            inner_place = f"{place}.{key}" if place else str(key)
            yield from _texts(inner_place, inner, None if place else _FOR_PEOPLE.get(key))
    elif isinstance(value, (list, tuple)):
        for index, inner in enumerate(value):
            if isinstance(inner, dict):
                inner = {key: inner[key] for key in inner if key != left_out}
            yield from _texts(f"{place}[{index}]", inner)
