"""
Programs that tests run beside a broker.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from pathlib import Path

from tests.process.children import PATIENCE_S, environment


class Program:
    """
    A process that is no broker's, and all that it begins.

    @ivar log: everything that was said so far, as text.
    """

    def __init__(self, folder: Path, command: list[str], variables: dict[str, str]) -> None:
        self._path = folder / f"program-{len(list(folder.iterdir()))}.log"
        with self._path.open("wb") as out:
            # Its own process group, so that all of it can be ended, and nothing else is.
            self.process = subprocess.Popen(
                command,
                cwd=folder,
                env=environment(**variables),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def log(self) -> str:
        return self._path.read_text(errors="replace")

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal to its first process; its exit status."""
        self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait until it ends by itself, and return its exit status."""
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the program does not end:\n{self.log}") from None

    def kill(self) -> None:
        """Let nothing of it remain."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
