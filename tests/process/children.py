"""
Broker processes, as C{twistd} and C{twist} run them.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).resolve().parent.parent.parent

#: How long a process may take to start, stop or do what it was told, seconds.
PATIENCE_S = 30.0

_T = TypeVar("_T")

_COMMANDS = {
    "twistd": "from twisted.scripts.twistd import run; run()",
    "twist": "from twisted.application.twist._twist import Twist; Twist.main()",
}

_LISTENING = re.compile(r"#info\] (.*?) on IPv4Address\(.*port=(\d+)\)")


def until(what: str, look: Callable[[], _T], patience_s: float = PATIENCE_S) -> _T:
    """What C{look} returns, as soon as that is true; fails when it takes too long."""
    pause = threading.Event()
    deadline = time.monotonic() + patience_s
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience_s:g} s: {what}")
        pause.wait(0.01)
    return found


def command(name: str, *arguments: str, script: str | None = None) -> list[str]:
    """
    The command line of C{twistd} or C{twist}, run by this interpreter.

    @param script: runs instead.
    """
    return [sys.executable, "-c", script or _COMMANDS[name], *arguments]


def environment(*, measured: bool = True, **more: str) -> dict[str, str]:
    """
    The environment of a child: the package is found wherever the child runs.

    @param measured: whether the child's coverage is, where that of this process is.  One
        that is killed leaves no figures, and one without the package has none: it would
        only take twice as long.
    """
    unwanted = ("TASKQUEUE_",) if measured else ("TASKQUEUE_", "COVERAGE_")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(unwanted)}
    return {**kept, "PYTHONPATH": str(ROOT), **more}


class Child:
    """
    A broker process.

    @ivar log: everything it has said so far, both streams, as text.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        name: str = "twistd",
        config: Path | None = None,
        script: str | None = None,
        measured: bool = True,
        **popen: Any,
    ) -> None:
        self._path = folder / f"log-{time.monotonic_ns()}"
        before = ("-n", "--pidfile=") if name == "twistd" else ("--log-format=text",)
        file = () if config is None else ("--config", str(config))
        with open(self._path, "wb") as out:
            self.process = subprocess.Popen(
                command(name, *before, "taskqueue", *file, *arguments, script=script),
                cwd=folder,
                env=environment(measured=measured),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                **popen,
            )

    @property
    def log(self) -> str:
        return self._path.read_text(errors="replace")

    def _listening(self) -> dict[str, int]:
        return {what: int(port) for what, port in _LISTENING.findall(self.log)}

    def port(self, what: str = "taskqueue (framed)") -> int:
        """The TCP port where C{what} is offered, once it is."""

        def look() -> int:
            found = self._listening().get(what, 0)
            if not found and self.process.poll() is not None:
                raise AssertionError(f"the broker ended instead of listening:\n{self.log}")
            return found

        return until(f"{what} is listened on", look)

    def said(self, words: str) -> None:
        """Wait until the log has C{words}."""
        until(f"{words!r} is logged", lambda: words in self.log)

    def tell(self, number: int) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self, number: int = signal.SIGTERM) -> int:
        """End it by a signal, and return its exit status."""
        self.tell(number)
        return self.wait()

    def lives_for(self, seconds: float) -> bool:
        """Whether it is still there after so many seconds."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return True
        return False

    def wait(self) -> int:
        """Wait until it ends by itself, and return its exit status."""
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the broker does not end:\n{self.log}") from None

    def reap(self) -> None:
        """Let nothing of it remain."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


class ProcessTestCase(SynchronousTestCase):
    """
    A folder and broker processes, which go when the test ends.

    @cvar measured: whether coverage is told of what the brokers run; see L{environment}.
    """

    measured = True

    #: What a broker needs beside this is given with L{start}.
    arguments = ("--listen=tcp:0:interface=127.0.0.1", "--http=", "--data-dir=data")

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="taskqueue-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def start(self, *arguments: str, **how: Any) -> Child:
        """Start a broker; later arguments win over those that all have."""
        how = {"measured": self.measured, **how}
        child = Child(self.folder, *self.arguments, *arguments, **how)
        self.addCleanup(child.reap)
        return child
