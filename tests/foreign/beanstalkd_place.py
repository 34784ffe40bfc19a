"""
A broker process that is started as beanstalkd is, and programs that use it.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.process.children import ROOT, Child, ProcessTestCase, environment
from tools import foreign

DOOR = "taskqueue (beanstalkd)"

#: How long a program may take, seconds: suites of clients wait for whole seconds on purpose.
PATIENCE_S = 120.0

HERE = ROOT / "tests" / "foreign"


class BeanstalkdProcessTestCase(ProcessTestCase):
    """
    A test with a broker that was started as beanstalkd is.

    @ivar port: where it listens.
    """

    arguments = ()

    def setUp(self) -> None:
        super().setUp()
        self.begin()

    def begin(self, *arguments: str, port: int = 0) -> Child:
        """Start the broker, with more of beanstalkd's options."""
        self.broker = self.start("--beanstalkd", "-V", "-p", str(port), *arguments)
        self.port = self.broker.port(DOOR)
        return self.broker

    def node(self, *arguments: str, folder: Path | None = None) -> tuple[int, str]:
        """
        Run a program by node, to its end.

        @param folder: where it runs.
        @return: its exit status, and what it has said.
        """
        command = ["node", "-r", str(HERE / "redirect.js"), *arguments]
        variables = {
            "BEANSTALKD_PORT": str(self.port),
            "NODE_PATH": str(foreign.folder() / "node_modules"),
        }
        return self._run_to_its_end(command, folder or self.folder, variables)

    def _run_to_its_end(
        self, command: Sequence[str], folder: Path, variables: dict[str, str]
    ) -> tuple[int, str]:
        # Its own process group, so that all of it can be ended, and nothing else is.
        program = subprocess.Popen(
            command,
            cwd=folder,
            env=environment(**variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            said, _ = program.communicate(timeout=PATIENCE_S)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(program.pid, signal.SIGKILL)
            program.wait()
        return program.returncode, said
