"""
Keys and users of a broker, as the command writes them.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.process.children import environment

PASSWORD = "correct horse battery staple"


class Guard:
    """
    A file of keys and users, for brokers that want to know who asks.

    @ivar arguments: have a broker go by it.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "access.json"
        self.arguments = (
            f"--set=access.file={self._path}",
            "--set=access.authentication=required",
        )

    def _command(self, *arguments: str, stdin: str = "") -> str:
        done = subprocess.run(
            [sys.executable, "-m", "taskqueue.cli", *arguments, "--file", str(self._path)],
            env=environment(),
            input=stdin,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    def key(self, name: str, role: str = "admin", allow: str | None = None) -> str:
        """A new key, which allows only C{allow} where that is given."""
        what = ("--role", role) if allow is None else ("--allow", allow)
        return self._command("keys", "create", "--name", name, *what)

    def user(self, name: str, role: str) -> None:
        """Somebody who may sign in with L{PASSWORD}."""
        self._command("users", "add", name, "--role", role, "--password-stdin", stdin=PASSWORD)
