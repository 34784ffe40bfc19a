"""
A worker that starts anew when its code changes, for development.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from django.utils.autoreload import StatReloader
from twisted.internet.task import LoopingCall

from taskqueue.worker import WorkerService

#: How often files are looked at, seconds.
LOOK_S = 1.0

#: How long running tasks may take when the worker starts anew, seconds.
STOP_S = 2.0

_log = logging.getLogger("taskqueue")


class Reload:
    """
    Watches the files that C{manage.py runserver} watches too.

    @ivar wanted: one has changed, and the worker was told to stop.
    """

    def __init__(self, worker: WorkerService, reactor: Any) -> None:
        self.wanted = False
        self._worker = worker
        self._seen = _snapshot()
        self._loop = LoopingCall(self._look)
        self._loop.clock = reactor
        self._loop.start(LOOK_S, now=False)

    def _look(self) -> None:
        seen = _snapshot()
        changed = [path for path, at in seen.items() if self._seen.get(path, at) != at]
        self._seen |= seen
        if not changed or self.wanted or not all(map(_is_python, changed)):
            return
        self.wanted = True
        _log.info("%s has changed: the worker starts anew", changed[0])
        self._worker.stop_timeout_s = min(self._worker.stop_timeout_s, STOP_S)
        self._worker.stopService()

    def stop(self) -> None:
        """Watch no more."""
        if self._loop.running:
            self._loop.stop()


def _snapshot() -> dict[Path, float]:
    return dict(StatReloader().snapshot_files())


def _is_python(path: Path) -> bool:
    """Whether the worker could start with this file as it is: half of it may be written."""
    try:
        compile(path.read_bytes(), str(path), "exec")
    except (OSError, SyntaxError, ValueError) as error:
        _log.warning("%s has changed, but is no Python yet: %s", path, error)
        return False
    return True
