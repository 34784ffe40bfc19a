"""The configuration file, taken apart into entries that know their line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from configobj import ConfigObj, ConfigObjError

#: A larger file is something else: a log, a device, a data file.
_LONGEST_FILE = 1024 * 1024

#: How configobj begins a message, and how we say it.
_SYNTAX: tuple[tuple[str, str], ...] = (
    ("Duplicate keyword name", "this key was given already, in the same section; keep one"),
    ("Duplicate section name", "this section was opened already; put both parts together"),
    ("Invalid line", "this is neither 'key = value' nor a [section]"),
    ("Parse error", "the value's quotes or commas do not match"),
    ("Cannot compute", "the section's brackets do not match, or do not fit where it stands"),
    ("Section too nested", "the section has too many brackets for where it stands"),
)

_SECTION = re.compile(r"\s*(\[+)\s*(.*?)\s*\]+\s*(#.*)?$")
_KEY = re.compile(r"\s*([^#\[=]+?)\s*=")


class Entry(NamedTuple):
    """
    One value as a source gave it.

    @ivar path: (section, key) or ("queues", queue, key); the section is empty
        for a key before the first one.
    @ivar text: its text, the texts of a list, or C{None} for a section as such.
    @ivar origin: where it stands, for people.
    """

    path: tuple[str, ...]
    text: str | list[str] | None
    origin: str


def read_file(path: str) -> tuple[list[Entry], list[str]]:
    """
    Take a configuration file apart.

    @return: its entries, and what is wrong with the file as such; what could
        be read is returned even then.
    """
    try:
        lines = _read_lines(path)
    except OSError as error:
        return [], [f"{path}: cannot be read: {error.strerror or error}"]
    except ValueError as error:
        return [], [f"{path}: {error}"]
    problems: list[str] = []
    try:
        parsed = ConfigObj(lines, interpolation=False)
    except ConfigObjError as error:
        parsed = error.config
        problems = [
            f"{path} line {each.line_number}: {_explain(str(each))}: {each.line.strip()!r}"
            for each in error.errors
        ]
    numbers = _line_numbers(lines)
    entries = [
        Entry(place, text, f"{path} line {numbers[place]}" if place in numbers else path)
        for place, text in _walk(parsed, ())
    ]
    return entries, problems


def split_list(text: str) -> list[str] | None:
    """The parts of a comma-separated list, quoted as in the file; C{None}: it is malformed."""
    if "\n" in text or "\r" in text:
        return None
    try:
        value = ConfigObj([f"value = {text}"], interpolation=False)["value"]
    except ConfigObjError:
        return None
    return [value] if isinstance(value, str) else list(value)


def _read_lines(path: str) -> list[str]:
    """
    @raises OSError: the file cannot be read.
    @raises ValueError: it is no text file.
    """
    with open(path, "rb") as file:
        content = file.read(_LONGEST_FILE + 1)
    if len(content) > _LONGEST_FILE:
        raise ValueError(f"is longer than {_LONGEST_FILE} bytes, so no configuration file")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ValueError(
            f"line {line} is not UTF-8 text (byte {content[error.start]:#04x}); save it as UTF-8"
        ) from None
    # Not splitlines(): it also splits at characters that editors do not count as line ends.
    return [line.removesuffix("\r") for line in text.split("\n")]


def _explain(message: str) -> str:
    for beginning, explanation in _SYNTAX:
        if message.startswith(beginning):
            return explanation
    return message


def _walk(
    section: Mapping[str, Any], above: tuple[str, ...]
) -> Iterator[tuple[tuple[str, ...], str | list[str] | None]]:
    """All values below a section; of a section inside another, its existence too."""
    for name, value in section.items():
        if not isinstance(value, Mapping):
            yield (*above, name) if above else ("", name), value
            continue
        if above or not value:
            yield (*above, name), None
        yield from _walk(value, (*above, name))


def _line_numbers(lines: list[str]) -> dict[tuple[str, ...], int]:
    """Where each key and section first stands, counted from 1."""
    numbers: dict[tuple[str, ...], int] = {}
    section: tuple[str, ...] = ("",)
    for number, line in enumerate(lines, 1):
        if found := _SECTION.match(line):
            section = (*section[: len(found[1]) - 1], found[2].strip("'\""))
            numbers.setdefault(section, number)
        elif found := _KEY.match(line):
            numbers.setdefault((*section, found[1].strip("'\"")), number)
    return numbers
