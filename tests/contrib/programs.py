"""
A broker process that tests share, and programs of frameworks beside it.
"""

from __future__ import annotations

import atexit
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.client.blocking import BlockingClient
from tests.process.children import PATIENCE_S, Child, until
from tests.process.programs import Program

#: How long the broker waits for a worker that has lost its connection, seconds.
GRACE_S = 0.5

_numbers = count(1)


class SharedBroker:
    """A broker that is started when a test first needs it, and ends with this process."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="taskqueue-test-"))
        self.broker = begin_broker(self.folder, "tcp:0:interface=127.0.0.1")
        atexit.register(self._end)
        self.address = f"tq://127.0.0.1:{self.broker.port()}"

    def _end(self) -> None:
        self.broker.reap()
        shutil.rmtree(self.folder, ignore_errors=True)

    @classmethod
    @cache
    def one(cls) -> SharedBroker:
        """The same for all tests."""
        return cls()


def begin_broker(folder: Path, listen: str, *arguments: str) -> Child:
    """A broker on the data in a folder."""
    return Child(
        folder,
        *(f"--listen={listen}", "--http=", "--data-dir=data"),
        *("--set", f"workers.reconnect_grace_s={GRACE_S}", *arguments),
    )


class FrameworkTestCase(SynchronousTestCase):
    """
    Has a broker, which forgets nothing between tests: each takes names of its own.

    @ivar folder: where programs run; C{done} there is what they have said to have done.
    """

    def setUp(self) -> None:
        self.address = SharedBroker.one().address
        self.folder = Path(tempfile.mkdtemp(prefix="taskqueue-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.done = self.folder / "done"
        self.done.touch()
        #: Of every test another one.
        self.name = f"q{next(_numbers)}-{self.id().rpartition('.')[2].removeprefix('test_')}"

    @property
    def client(self) -> BlockingClient:
        """A client, for looking on."""
        if not hasattr(self, "_client"):
            self._client = BlockingClient(self.address)
            self.addCleanup(self._client.close)
        return self._client

    def module(self, name: str, text: str) -> None:
        """Write a module that programs can import."""
        (self.folder / f"{name}.py").write_text(text)

    def program(self, *arguments: str, **variables: str) -> Program:
        """Begin a program, which ends with the test at the latest."""
        variables = {
            "TASKQUEUE_BROKER": self.address,
            "DONE": str(self.done),
            "NAME": self.name,
            **variables,
        }
        program = Program(self.folder, [sys.executable, *arguments], variables)
        self.addCleanup(program.kill)
        return program

    def finished(self, *arguments: str, **variables: str) -> str:
        """Run a program to its end, which must be a good one; what it said."""
        program = self.program(*arguments, **variables)
        try:
            status = program.process.wait(2 * PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the program does not end:\n{program.log}") from None
        self.assertEqual(status, 0, program.log)
        return program.log

    # --- what programs have done ----------------------------------------------------------

    def lines(self) -> list[str]:
        """What programs have written to the file that C{DONE} names."""
        return self.done.read_text().splitlines()

    def until_done(self, count: int, word: str = "", program: Program | None = None) -> list[str]:
        """Wait until so many lines begin with C{word}; all lines."""

        def enough() -> bool:
            return sum(line.startswith(word) for line in self.lines()) >= count

        try:
            until(f"{count} lines {word!r}", enough)
        except AssertionError as error:
            log = program.log if program is not None else ""
            raise AssertionError(f"{error}; there are {self.lines()}\n{log}") from None
        return self.lines()

    # --- what the broker has --------------------------------------------------------------

    def states(self, queue: str | None = None) -> dict[str, int]:
        """How many tasks of a queue are in which state; those that nobody is in are left out."""
        found = self.client.queue(queue or self.name)
        return {} if found is None else {state: n for state, n in found["states"].items() if n}

    def until_states(self, queue: str | None = None, **wanted: int) -> None:
        """Wait until the tasks of a queue are in these states."""
        try:
            until(f"{wanted}", lambda: self.states(queue) == wanted)
        except AssertionError as error:
            raise AssertionError(f"{error}; they are {self.states(queue)}") from None

    def tasks(self, queue: str | None = None, *states: str) -> list[dict[str, Any]]:
        """The tasks of a queue, oldest first."""
        from taskqueue.client import Search

        search = Search(queue=queue or self.name, states=states or None, order="oldest")
        return list(self.client.search(search))
