"""
Starting a worker anew when its code has changed, for development.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NoReturn

#: How often files are looked at, seconds.
LOOK_S = 0.5

#: Where nobody edits.
_NOT_OURS = frozenset({"site-packages", "dist-packages", "node_modules", "__pycache__"})


def imported_files(folder: Path) -> Iterator[Path]:
    """The source files below C{folder} of what is imported."""
    for module in list(sys.modules.values()):
        name = getattr(module, "__file__", None)
        if isinstance(name, str) and name.endswith(".py"):
            path = Path(name).resolve()
            if path.is_relative_to(folder) and is_ours(path.relative_to(folder)):
                yield path


def all_files(folder: Path) -> Iterator[Path]:
    """Every source file below C{folder}, but for what others have put there."""
    for where, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if is_ours(Path(name))]
        yield from (Path(where, name) for name in names if name.endswith(".py"))


def is_ours(path: Path) -> bool:
    """Whether a path has no part that is hidden, or where packages are installed."""
    return not any(part in _NOT_OURS or part.startswith(".") for part in path.parts)


class Watched:
    """Files, as they were when they were last looked at."""

    def __init__(self) -> None:
        self._seen: dict[Path, float | None] = {}

    def changed(self, files: Iterable[Path]) -> list[Path]:
        """Which of C{files} have changed or gone since the look before; a new one has not."""
        found = []
        for path in {*files, *self._seen}:
            modified_at = _modified_at(path)
            if self._seen.setdefault(path, modified_at) != modified_at:
                self._seen[path] = modified_at
                found.append(path)
        return found


def _modified_at(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def wait_for_change(folder: Path) -> None:
    """Wait until some source file below C{folder} has changed, or is there anew."""
    before = _snapshot(folder)
    pause = threading.Event()
    while _snapshot(folder) == before:
        pause.wait(LOOK_S)


def _snapshot(folder: Path) -> Mapping[Path, float | None]:
    return {path: _modified_at(path) for path in all_files(folder)}


def start_anew() -> NoReturn:
    """Let the same command begin again in this process, with the code as it is now."""
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])
