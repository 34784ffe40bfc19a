"""
What commands print: tables for people, JSON for programs.
"""

from __future__ import annotations

import json
import sys
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

#: As wide as tables are where the output is no terminal.
_WIDTH = 200

_STATE_STYLES = {
    "completed": "green",
    "in_progress": "cyan",
    "failed": "yellow",
    "dead_letter": "bold red",
    "cancelled": "magenta",
    "expired": "magenta",
}


class Output:
    """
    Prints results on standard output.

    @ivar as_json: to print them as JSON.
    """

    def __init__(self, as_json: bool) -> None:
        self.as_json = as_json
        width = None if sys.stdout.isatty() else _WIDTH
        self._console = Console(file=sys.stdout, width=width, highlight=False, soft_wrap=False)

    def json(self, value: Any) -> None:
        """Print a value as one JSON document."""
        sys.stdout.write(json.dumps(_jsonable(value), indent=2, ensure_ascii=False) + "\n")
        sys.stdout.flush()

    def line(self, text: str) -> None:
        """Print a line as it is."""
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def raw(self, data: bytes) -> None:
        """Print bytes as they are, and end the line on a terminal."""
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        if sys.stdout.isatty() and not data.endswith(b"\n"):
            sys.stdout.buffer.write(b"\n")
        sys.stdout.buffer.flush()

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Print rows below the names of their columns; numbers stand at the right."""
        kept = [list(row) for row in rows]
        table = Table(title=title, title_justify="left")
        for index, name in enumerate(columns):
            numbers = bool(kept) and all(_is_number(row[index]) for row in kept)
            table.add_column(name, justify="right" if numbers else "left", overflow="fold")
        for row in kept:
            table.add_row(*map(_cell, row))
        self._console.print(table)


def moment(at: float | None) -> str:
    """Seconds since the epoch as a date and a time, in UTC."""
    if at is None:
        return ""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def first_line(text: str | None) -> str:
    """The first line of an error; what follows is its traceback."""
    return (text or "").partition("\n")[0]


def flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """The values in an object of objects, each with its dotted name."""
    rows: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, Mapping):
            rows += flat(value, f"{prefix}{name}.")
        elif isinstance(value, list):
            rows.append((f"{prefix}{name}", ", ".join(map(_brief, value)) or "none"))
        else:
            rows.append((f"{prefix}{name}", value))
    return rows


def _brief(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{name}={item}" for name, item in value.items())
    return str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _cell(value: Any) -> Text:
    if value is None:
        return Text("")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, float):
        return Text(f"{value:.2f}".rstrip("0").rstrip("."))
    # A Text is not read as markup: what people put into errors is shown as it is.
    return Text(str(value), style=_STATE_STYLES.get(str(value), ""))


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _jsonable(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, bytes):
        return text_or_base64(value)
    return value


def text_or_base64(data: bytes) -> str | dict[str, str]:
    """Bytes as JSON has them: text where they are UTF-8, else an object with C{"base64"}."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": b64encode(data).decode("ascii")}
