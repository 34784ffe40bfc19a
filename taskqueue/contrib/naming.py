"""
What other frameworks call things, and what the broker can call them.
"""

from __future__ import annotations

import os
import re
import socket
from itertools import count

from taskqueue.core.task import DEFAULT_PRIORITY
from taskqueue.errors import BadRequest

#: The longest name of a queue, a type or a worker, characters.
LONGEST_NAME = 128

LOWEST_PRIORITY = 0
HIGHEST_PRIORITY = 255

_NAME = re.compile(r"[A-Za-z0-9_.:/-]{1,128}")
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_.:/-]")

_numbers = count(1)


def queue_name(value: object, what: str = "the queue's name") -> str:
    """
    C{value}, where the broker can have a queue of that name.

    @raises BadRequest: it cannot.
    """
    if isinstance(value, str) and _NAME.fullmatch(value):
        return value
    raise BadRequest(
        f"{what} is {value!r}; it must be 1 to {LONGEST_NAME} characters out of letters, digits "
        "and _ - . : /"
    )


def type_name(value: str) -> str:
    """
    The type of a task that another framework calls C{value}: the same name, with C{_} for
    characters that a type cannot have.  It is for people: the payload has the true name.
    """
    return _NOT_IN_NAMES.sub("_", value)[:LONGEST_NAME] or "_"


def worker_name(framework: str) -> str:
    """A name for a worker of this process, that no other one has."""
    host = _NOT_IN_NAMES.sub("_", socket.gethostname())[:64]
    return f"{framework}-{host}-{os.getpid()}-{next(_numbers)}"


def priority_at(distance: float | None, what: str = "priority") -> int:
    """
    The broker's priority for one that is so much more urgent than what says nothing.

    Frameworks agree that 0 is the usual priority, and not on how far there is to go from it.

    @param distance: negative for what is less urgent; C{None} is 0.
    @raises BadRequest: there is no such priority.
    """
    if distance is None:
        return DEFAULT_PRIORITY
    least, most = LOWEST_PRIORITY - DEFAULT_PRIORITY, HIGHEST_PRIORITY - DEFAULT_PRIORITY
    if isinstance(distance, bool) or not isinstance(distance, int | float):
        raise BadRequest(f"{what} is {distance!r}, expected a whole number")
    if distance != distance // 1 or not least <= distance <= most:
        raise BadRequest(
            f"{what} is {distance!r}, expected a whole number: the broker has room for "
            f"{-least} priorities below the usual one, and for {most} above"
        )
    return DEFAULT_PRIORITY + int(distance)
