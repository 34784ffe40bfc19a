"""
The items of a message, visited or converted part by part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taskqueue.errors import BadRequest
from taskqueue.wire.messages import ATTACHED, Header, MessageType, Part

#: What a missing field is told apart by from one that is null.
ABSENT = object()


def request_id_of(header: Header) -> Header:
    """The request's id as an error's fields, when it has one."""
    request_id = header.get("id")
    return {"id": request_id} if type(request_id) in (int, str) else {}


def visit_parts(
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
                raise BadRequest(f"{name}[{index}]: {error}", **request_id_of(header)) from None


def with_converted_parts(
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
