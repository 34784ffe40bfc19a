"""
A broker process that Faktory's clients connect to, and programs that use them.
"""

from __future__ import annotations

import re
import signal
from typing import Any

from taskqueue.client.blocking import BlockingClient
from tests.process.children import Child, ProcessTestCase, until
from tests.process.programs import Program

DOOR = "taskqueue (faktory)"
_NATIVE = "taskqueue (framed)"


class FaktoryProcessTestCase(ProcessTestCase):
    """
    A test with a broker process and programs; what those do they say in the file C{done}.

    @ivar broker: the process.
    """

    password = ""

    def setUp(self) -> None:
        super().setUp()
        self.done = self.folder / "done"
        self.done.touch()
        self.begin()

    def begin(self, port: int = 0) -> None:
        """Start the broker."""
        settings = [f"listen.faktory=tcp:{port}:interface=127.0.0.1"]
        if self.password:
            (self.folder / "password").write_text(f"{self.password}\n")
            settings.append(f"faktory.password_file={self.folder / 'password'}")
        self.broker: Child = self.start(*[word for one in settings for word in ("--set", one)])
        self.port = self.broker.port(DOOR)

    def begin_again(self) -> None:
        """Kill the broker, and start another one at the same address on what it had stored."""
        self.broker.tell(signal.SIGKILL)
        self.broker.wait()
        self.begin(self.port)

    @property
    def url(self) -> str:
        """Where it is, as Faktory's clients want to know it."""
        secret = f":{self.password}@" if self.password else ""
        return f"tcp://{secret}127.0.0.1:{self.port}"

    def native(self) -> BlockingClient:
        """A client of ours, for looking on."""
        client = BlockingClient(f"tq://127.0.0.1:{self.broker.port(_NATIVE)}")
        self.addCleanup(client.close)
        return client

    def program(self, *arguments: str, **variables: str) -> Program:
        """Begin a program, which ends with the test at the latest."""
        variables = {"FAKTORY_URL": self.url, "DONE": str(self.done), **variables}
        program = Program(self.folder, list(arguments), variables)
        self.addCleanup(program.kill)
        return program

    def did(self, word: str) -> list[str]:
        """What was done of one kind, in order: each line is a word and what it was about."""
        return re.findall(rf"^{word} (.*)$", self.done.read_text(), re.MULTILINE)

    def wait_for(self, word: str, count: int, program: Program) -> None:
        """Until so much was done of one kind."""

        def look() -> bool:
            if program.process.poll() is not None:
                raise AssertionError(f"the program ended:\n{program.log}")
            return len(self.did(word)) >= count

        until(f"{count} times {word}: {program.log[-2000:]}", look)

    def wait_for_states(self, client: BlockingClient, **counts: int) -> None:
        """Until so many tasks are in these states, and none in any other live one."""

        def look() -> bool:
            states: dict[str, Any] = client.stats()["states"]
            return all(states[state] == count for state, count in counts.items())

        until(f"states {counts}, not {client.stats()['states']}", look)
