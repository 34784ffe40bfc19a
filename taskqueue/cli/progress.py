"""
How far an import of tasks has got: in a journal, and on the terminal.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from taskqueue.errors import BadRequest

_VERSION = 1

#: As much of a file's beginning is compared before an import of it goes on.
_HEAD = 65536


@dataclass
class Place:
    """
    Up to where every line of a file is settled.

    @ivar print: the fingerprint of the file as it was at the beginning.
    @ivar head: the SHA-256 of its first C{head_bytes} bytes.
    @ivar offset: bytes that are settled.
    @ivar line: lines that are settled.
    @ivar accepted: of these, tasks that the broker has.
    @ivar rejected: of these, lines that were not accepted.
    @ivar rejects_bytes: the length of the file of rejected lines.
    """

    print: str
    head: str = ""
    head_bytes: int = 0
    run_name: str = ""
    offset: int = 0
    line: int = 0
    accepted: int = 0
    rejected: int = 0
    rejects_bytes: int = 0
    version: int = _VERSION


def head_of(path: str, most: int = _HEAD) -> tuple[str, int]:
    """
    The SHA-256 of up to C{most} bytes at the beginning of a file, and how many
    they are.

    @raises OSError: it cannot be read.
    """
    with open(path, "rb") as file:
        data = file.read(most)
    return hashlib.sha256(data).hexdigest(), len(data)


def read_place(journal: str, source: str, run_name: str) -> Place | None:
    """
    Where an earlier import of C{source} stopped; C{None} without a journal.

    @raises BadRequest: it is no journal, or one of something else.
    @raises OSError: a file cannot be read.
    """
    try:
        with open(journal, encoding="utf-8") as file:
            found = json.load(file)
        place = Place(**found)
    except FileNotFoundError:
        return None
    except (ValueError, TypeError):
        raise BadRequest(f"{journal} is no journal of an import: name another file") from None
    if place.version != _VERSION:
        raise BadRequest(f"{journal} is of version {place.version}, and this knows {_VERSION} only")
    if place.run_name != run_name:
        raise BadRequest(f"{journal} belongs to the run named {place.run_name!r}")
    same = head_of(source, place.head_bytes) == (place.head, place.head_bytes)
    if not same or os.path.getsize(source) < place.offset:
        raise BadRequest(
            f"{journal} is of an import of another file than {source} is now: remove it to begin"
            " from the first line"
        )
    return place


def write_place(journal: str, place: Place) -> None:
    """
    Keep where an import is; the journal is whole at every moment.

    @raises OSError: it cannot be written.
    """
    written = f"{journal}.new"
    with open(written, "w", encoding="utf-8") as file:
        json.dump(asdict(place), file)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(written, journal)


class Bar:
    """
    A progress bar on the standard error; nothing where that is no terminal.

    @param total: bytes in all; C{None} where nobody knows.
    @ivar visible: whether anybody sees it.
    """

    def __init__(self, total: int | None) -> None:
        self.visible = sys.stderr.isatty()
        self._task: TaskID | None = None
        self._total = total
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[said]}"),
            console=Console(file=sys.stderr, highlight=False),
            disable=not self.visible,
        )

    def __enter__(self) -> Bar:
        self._progress.start()
        self._task = self._progress.add_task("Submitting", total=self._total, said="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show(self, place: Place, said: str = "") -> None:
        """Show how far it is, and why it does not go on where it waits."""
        if self._task is not None:
            counts = f"{place.accepted:,} tasks"
            if place.rejected:
                counts += f", {place.rejected:,} bad lines"
            self._say(completed=place.offset, said=f"{counts}  {said}".rstrip())

    def _say(self, **values: Any) -> None:
        if self._task is not None:
            self._progress.update(self._task, **values)
