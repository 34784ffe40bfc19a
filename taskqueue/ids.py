"""
Task ids.

A UUID of version 7 (RFC 9562, section 5.7) is 48 bits of milliseconds since the
epoch, then random bits.  Asking the system for these costs more than all the rest
of an id, and gives the interpreter's lock away besides.  So that is needed once in a
millisecond only, and further ids of the same millisecond count up from there (section
6.2, method 2): unique in this process by counting, among processes by chance, and
sorted, which keeps the store's index compact.  And the system is asked for the bits of
many milliseconds at a time.

A task may instead have an id that carries its place in line, a number from 1 on, for
protocols whose ids are numbers: a UUID of version 8 (section 5.8), whose first half is always
the same.  Nobody else may give an id of that kind: it would stand in the way of a task to come.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from itertools import count, islice
from typing import NamedTuple

#: How many random bytes a series takes.
_BYTES = 10

#: For how many series the system is asked at a time.
_AHEAD = 256


#: In place of an id: the task is to get the one that carries its number.  (No id is so short.)
NUMBERED = "#"

#: How the ids begin that carry a number; twelve hexadecimal digits follow.
NUMBERED_HEAD = "ffffffff-ffff-8000-8000-"

_NUMBER_DIGITS = 12
_NUMBER = re.compile(f"{NUMBERED_HEAD}([0-9a-f]{{{_NUMBER_DIGITS}}})")

#: The largest number that an id can carry.
LARGEST_NUMBER = (1 << 4 * _NUMBER_DIGITS) - 1


class _Series(NamedTuple):
    """
    The ids of one millisecond.

    @ivar at_ms: the millisecond, since the epoch.
    @ivar head: an id but for its last 48 bits.
    @ivar tails: gives these 48 bits, one after another.
    """

    at_ms: int
    head: str
    tails: count[int]


class _Chance(NamedTuple):
    """
    What the system was asked for.

    @ivar drawn: random bytes.
    @ivar starts: gives where in them those of a series begin, each once.
    """

    drawn: bytes
    starts: Iterator[int]


_new = tuple.__new__  # makes a named tuple without a call of a Python function

_series = _Series(-1, "", count())
_chance = _Chance(b"", iter(()))


def new_task_id() -> str:
    """A UUID of version 7; those made one after another sort almost in that order."""
    series = _current()
    return f"{series.head}{next(series.tails):012x}"


def new_task_ids(count: int) -> list[str]:
    """So many ids like those of L{new_task_id}, at a third of the cost."""
    if count == 1:
        return [new_task_id()]
    series = _current()
    head = series.head
    return [f"{head}{tail:012x}" for tail in islice(series.tails, count)]


def numbered_id(number: int) -> str:
    """
    The id that carries C{number}; in the order of the numbers, and behind all others.

    @param number: at most L{LARGEST_NUMBER}.
    """
    return f"{NUMBERED_HEAD}{number:012x}"


def numbered_ids(first: int, count: int) -> list[str]:
    """The ids of so many numbers in a row."""
    head = NUMBERED_HEAD
    return [f"{head}{number:012x}" for number in range(first, first + count)]


def number_of(task_id: str) -> int | None:
    """The number that an id carries, C{None} where it carries none."""
    found = _NUMBER.fullmatch(task_id)
    return None if found is None else int(found[1], 16)


def _current() -> _Series:
    at_ms = int(time.time() * 1000)
    series = _series
    # Whoever comes in between from another thread begins a series too, which harms nobody.
    return series if series.at_ms == at_ms else _begin(at_ms)


def _begin(at_ms: int) -> _Series:
    global _series  # noqa: PLW0603  # the one thing that the process has one of
    chance = _chance
    start = next(chance.starts, None)
    if start is None:
        chance, start = _draw()
    bits = int.from_bytes(chance.drawn[start : start + _BYTES])
    clock = f"{at_ms & 0xFFFFFFFFFFFF:012x}"
    version = 0x7000 | bits >> 68
    variant = 0x8000 | bits >> 54 & 0x3FFF
    # The highest bit stays free, so that counting up never needs a 49th one.
    first = bits & 0x7FFFFFFFFFFF
    head = f"{clock[:8]}-{clock[8:]}-{version:04x}-{variant:04x}-"
    series = _series = _new(_Series, (at_ms, head, count(first)))
    return series


def _draw() -> tuple[_Chance, int]:
    """Random bits for many series, and where those of the first begin."""
    global _chance  # noqa: PLW0603  # see above
    drawn = os.urandom(_BYTES * _AHEAD)
    chance = _chance = _Chance(drawn, iter(range(0, len(drawn), _BYTES)))
    return chance, next(chance.starts)


def _forget() -> None:
    """A forked process goes on from where its parent does: it must begin anew."""
    global _series, _chance  # noqa: PLW0603  # see above
    _series = _Series(-1, "", count())
    _chance = _Chance(b"", iter(()))


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
