"""
The page of the protocol, read by tests: its tables, its examples, and what its
words for values allow.
"""

import json
import re
from pathlib import Path
from typing import NamedTuple

from taskqueue.wire import MessageType

PATH = Path(__file__).resolve().parent.parent.parent / "docs" / "protocol.md"
TEXT = PATH.read_text(encoding="utf-8")

_SECTION = re.compile(r"^### ([A-Z_]+) \((\d+)\)$")
_HEADING = re.compile(r"^#+ ")
_TITLE = re.compile(r"^\*\*(.+?)\*\*")
_CODE = re.compile(r"`([^`]+)`")


class Field(NamedTuple):
    """
    A row of a table of fields.

    @ivar default: C{None} in tables of answers.
    """

    name: str
    value: str
    default: str | None


def _cells(line):
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def tables():
    """
    The tables of fields.

    @return: message type to title to L{Field}s.
    """
    found = {}
    section = title = None
    for line in TEXT.splitlines():
        if match := _SECTION.match(line):
            section, title = MessageType[match[1]], None
            assert section == int(match[2]), line
            found[section] = {}
        elif _HEADING.match(line):
            section = None
        elif section is not None and (match := _TITLE.match(line)):
            title = match[1].replace("`", "")
        elif section is not None and line.startswith("| `"):
            cells = _cells(line)
            name = cells[0].strip("`")
            default = cells[2] if len(cells) == 4 else None
            found[section].setdefault(title, []).append(Field(name, cells[1], default))
    return found


def rows_under(heading, columns):
    """The rows of the tables with so many columns under a heading, as cells."""
    start = TEXT.index(f"\n{heading}\n") + len(heading)
    next_heading = rf"^#{{1,{heading.count('#')}}} "
    end = re.compile(next_heading, re.MULTILINE).search(TEXT, start + 2)
    part = TEXT[start : end.start() if end else None]
    rows = [_cells(line) for line in part.splitlines() if line.startswith("| ")]
    return [r for r in rows if len(r) == columns and not r[0].startswith("-")]


def blocks(kind):
    """The fenced blocks of one kind, as lists of lines."""
    found = re.findall(rf"^```{kind}\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    return [block.splitlines() for block in found]


def unescaped(text):
    r"""The bytes of an example: C{\n}, C{\\} and C{\x00} stand for one byte each."""

    def byte(match):
        code = match[1]
        if code == "n":
            return "\n"
        return "\\" if code == "\\" else chr(int(code[1:], 16))

    return re.sub(r"\\(n|\\|x[0-9a-f]{2})", byte, text).encode("latin-1")


# --- what the words for values allow ----------------------------------------------------


def _number(text):
    return 2**53 - 1 if text == "2^53-1" else int(text)


def _levels(value):
    if type(value) is dict:
        value = list(value.values())
    return 1 + max(map(_levels, value), default=0) if type(value) is list else 0


def _is_text(value):
    return type(value) is str


def _is_number(value):
    return type(value) in (int, float)


def _size(value):
    return len(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())


_NAME = re.compile(r"[A-Za-z0-9_\-.:/]{1,128}")
_QUEUE_NAME = re.compile(r"[A-Za-z0-9+/;.$_():-]{1,200}")
_FILE = re.compile(r"(?!\.)[A-Za-z0-9_\-.]{1,128}")
_UUID = re.compile(r"[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}")

_WORDS = {
    "boolean": lambda v: type(v) is bool,
    "name": lambda v: _is_text(v) and bool(_NAME.fullmatch(v)),
    "queue name": lambda v: _is_text(v) and bool(_QUEUE_NAME.fullmatch(v)),
    "file name": lambda v: _is_text(v) and bool(_FILE.fullmatch(v)),
    "task id": lambda v: _is_text(v) and bool(_UUID.fullmatch(v)),
    "moment": lambda v: _is_number(v) and 0 <= v <= 253402300799,
    "duration": lambda v: _is_number(v) and 0 <= v <= 3155760000,
    "token": lambda v: type(v) is int and 1 <= v < 2**53,
    "object": lambda v: type(v) is dict,
    "bytes": _is_text,  # in a line
    "key": lambda v: _is_key(v) and v != "",
}


def _is_key(value):
    return _is_text(value) and len(value.encode("utf-8", "replace")) <= 512 and "\x00" not in value


def _is_versions(value):
    if type(value) is not dict or not 1 <= len(value) <= 1000:
        return False
    version = _integer("0", "2^53-1")
    return all(_WORDS["key"](key) and version(known) for key, known in value.items())


_WORDS["beginning of a key"] = _is_key
_WORDS["versions by key"] = _is_versions


def allowed(words):
    """
    What the words of a table's value column allow.

    @return: a predicate of JSON values.
    """
    words = re.sub(r" \(.*\)$", "", words)
    if match := re.fullmatch(r"(.*?),? or null", words):
        inner = allowed(match[1])
        return lambda v: v is None or inner(v)
    if words in _WORDS:
        return _WORDS[words]
    for pattern, make in _PATTERNS:
        if match := re.fullmatch(pattern, words):
            return make(*match.groups())
    raise AssertionError(f"what is allowed by {words!r}?")


def _integer(low, high):
    return lambda v: type(v) is int and int(low) <= v <= _number(high)


def _real(low, high):
    return lambda v: _is_number(v) and int(low) <= v <= int(high)


def _list(least, most, inner):
    check = allowed(inner)
    return lambda v: type(v) is list and int(least) <= len(v) <= int(most) and all(map(check, v))


def _texts(most):
    def check(value):
        return (
            type(value) is dict
            and all(map(_is_text, value.values()))
            and (not value or _size(value) <= int(most))
        )

    return check


_PATTERNS = (
    (r"integer (-?\d+) to ([\d^-]+)", _integer),
    (r"number (\d+) to (\d+)", _real),
    (r"one of (.*)", lambda words: lambda v: _is_text(v) and v in _CODE.findall(words)),
    (r"list of (\d+) to (\d+): (.*)", _list),
    (
        r"text, (\d+) to (\d+) characters",
        lambda low, high: lambda v: _is_text(v) and int(low) <= len(v) <= int(high),
    ),
    (r"text, at most (\d+) characters", lambda n: lambda v: _is_text(v) and len(v) <= int(n)),
    (r"object of texts, at most (\d+) bytes as JSON", _texts),
    (
        r"any JSON, at most (\d+) bytes and (\d+) levels",
        lambda n, deep: lambda v: _levels(v) <= int(deep) and _size(v) <= int(n),
    ),
    (r"items, at most (\d+)", lambda n: lambda v: type(v) is list and len(v) <= int(n)),
)


def edges(words):
    """Values at, and just beyond, the limits that the words of a value column name."""
    found = []
    for text in re.findall(r"\d+\^53-1|\d+", words):
        limit = _number(text)
        found += [limit - 1, limit, limit + 1, limit + 0.5]
        if limit <= 100_000:
            for length in (limit, limit + 1):
                found += ["x" * length, ["x"] * length]
                found += [[1] * length, ["019b74ff-0000-7000-8000-000000000001"] * length]
                found += [{"k": "x" * (length - len('{"k":""}'))}]
    return found
