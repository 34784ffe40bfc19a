"""
What commands print: tables for people, JSON and YAML for programs.
"""

from __future__ import annotations

import json
import sys
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import yaml
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from taskqueue.cli.exits import OK

FORMATS = ("table", "json", "yaml")

#: As wide as tables are where the output is no terminal.
_WIDTH = 200

#: What a column takes besides its text.
_FRAME = 3

#: Texts that are longer are folded where there is no room; an id is not.
_LONG = 37

_STATE_STYLES = {
    "completed": "green",
    "in_progress": "cyan",
    "failed": "yellow",
    "dead_letter": "bold red",
    "cancelled": "magenta",
    "expired": "magenta",
}


class Shown(NamedTuple):
    """
    What a view has to show.

    @ivar value: for programs; JSON-able, but for bytes.
    @ivar parts: for people, one below the other.
    @ivar status: the exit status.
    @ivar complaints: for the standard error.
    """

    value: Any
    parts: Sequence[RenderableType]
    status: int = OK
    complaints: Sequence[str] = ()


class Output:
    """
    Prints results on standard output.

    @ivar form: one of L{FORMATS}.
    @ivar console: where tables go.
    """

    def __init__(self, form: str) -> None:
        self.form = form
        width = None if sys.stdout.isatty() else _WIDTH
        self.console = Console(file=sys.stdout, width=width, highlight=False, soft_wrap=False)

    @property
    def for_people(self) -> bool:
        """Whether tables are wanted."""
        return self.form == "table"

    def show(self, shown: Shown) -> None:
        """Print what a view has to show, but for its complaints."""
        if self.for_people:
            for part in shown.parts:
                self.console.print(part)
        else:
            self.value(shown.value)

    def value(self, value: Any) -> None:
        """Print a value as the one document of this command."""
        if self.form == "yaml":
            self._write(_as_yaml(value))
        else:
            self._write(json.dumps(_jsonable(value), indent=2, ensure_ascii=False) + "\n")

    def item(self, value: Any) -> None:
        """Print one of many values: a line of JSON, or a YAML document."""
        if self.form == "yaml":
            self._write("---\n" + _as_yaml(value))
        else:
            self._write(json.dumps(_jsonable(value), ensure_ascii=False) + "\n")

    def line(self, text: str) -> None:
        """Print a line as it is."""
        self._write(f"{text}\n")

    def note(self, text: str) -> None:
        """Print a line for people; programs are not told."""
        if self.for_people:
            self.line(text)

    def raw(self, data: bytes) -> None:
        """Print bytes as they are, and end the line on a terminal."""
        sys.stdout.flush()
        sys.stdout.buffer.write(data)
        if sys.stdout.isatty() and not data.endswith(b"\n"):
            sys.stdout.buffer.write(b"\n")
        sys.stdout.buffer.flush()

    def _write(self, text: str) -> None:
        sys.stdout.write(text)
        sys.stdout.flush()


class Rows:
    """
    Rows below the names of their columns; numbers stand at the right.  Where the
    terminal is narrow, columns that matter less are left out.
    """

    def __init__(
        self,
        title: str | None,
        columns: Sequence[str],
        rows: Iterable[Sequence[Any]],
        optional: Sequence[str] = (),
    ) -> None:
        """
        @param optional: columns that may be left out, the first first.
        """
        self._title = title
        self._columns = list(columns)
        self._rows = [list(row) for row in rows]
        self._optional = optional

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        widths = [self._width(index) for index in range(len(self._columns))]
        shown = list(range(len(self._columns)))
        for name in self._optional:
            if sum(widths[index] + _FRAME for index in shown) + 1 <= options.max_width:
                break
            shown.remove(self._columns.index(name))
        yield self._table(shown)

    def _width(self, index: int) -> int:
        """The width of a column; long texts may be folded."""
        cells = [cell(row[index]).cell_len for row in self._rows]
        return max(len(self._columns[index]), min(max(cells, default=0), _LONG))

    def _table(self, shown: Sequence[int]) -> Table:
        left_out = len(self._columns) - len(shown)
        caption = f"a wider terminal shows {left_out} more columns" if left_out else None
        made = Table(
            title=self._title, title_justify="left", caption=caption, caption_justify="left"
        )
        for index in shown:
            numbers = bool(self._rows) and all(_is_number(row[index]) for row in self._rows)
            made.add_column(
                self._columns[index],
                justify="right" if numbers else "left",
                no_wrap=numbers or self._width(index) < _LONG,
                overflow="fold",
            )
        for row in self._rows:
            made.add_row(*(cell(row[index]) for index in shown))
        return made


def together(parts: Sequence[RenderableType]) -> RenderableType:
    """Several parts as one, one below the other."""
    return Group(*parts)


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


def cell(value: Any) -> Text:
    """A value in a table; the words of states have their colours."""
    if value is None:
        return Text("")
    if isinstance(value, bool):
        return Text("yes" if value else "no")
    if isinstance(value, float):
        return Text(f"{value:.2f}".rstrip("0").rstrip("."))
    # A Text is not read as markup: what people put into errors is shown as it is.
    return Text(str(value), style=_STATE_STYLES.get(str(value), ""))


def text_or_base64(data: bytes) -> str | dict[str, str]:
    """Bytes as JSON has them: text where they are UTF-8, else an object with C{"base64"}."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": b64encode(data).decode("ascii")}


def _brief(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{name}={item}" for name, item in value.items())
    return str(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _as_yaml(value: Any) -> str:
    text: str = yaml.safe_dump(
        _jsonable(value), sort_keys=False, allow_unicode=True, default_flow_style=False
    )
    # A lone value is followed by the mark of the document's end, which says nothing here.
    return text.removesuffix("...\n")


def _jsonable(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): _jsonable(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_jsonable(item) for item in value]
    if isinstance(value, bytes):
        return text_or_base64(value)
    # Subclasses of text are unknown to YAML.
    return str(value) if isinstance(value, str) else value
