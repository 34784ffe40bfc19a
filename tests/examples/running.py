"""
Examples as a user runs them: a broker, a worker, and the example's own program.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Any

from tests.process.children import PATIENCE_S, ProcessTestCase, environment


class ExampleTestCase(ProcessTestCase):
    """
    A broker, and a worker with the tasks of an example.

    @ivar variables: the environment of all that runs.
    """

    def begin(self, tasks: str, queues: str, concurrency: int = 2, **variables: str) -> None:
        """Start both; C{tasks} is the example's C{MODULE:APP}."""
        self.begin_broker(**variables)
        self.begin_worker(tasks, queues, concurrency)

    def begin_broker(self, **variables: str) -> None:
        """Start a broker."""
        self.address = f"tq://127.0.0.1:{self.start().port()}"
        self.variables = {"TASKQUEUE_BROKER": self.address, **variables}

    def begin_worker(self, tasks: str, queues: str, concurrency: int = 2) -> None:
        """Start a worker."""
        self.log = self.folder / "worker.log"
        with self.log.open("wb") as log:
            worker = subprocess.Popen(
                [
                    *(sys.executable, "-m", "taskqueue.cli", "worker", tasks),
                    *("--queues", queues, "--concurrency", str(concurrency)),
                ],
                cwd=self.folder,
                env=environment(**self.variables),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        # Cleaned up before the broker is, from which a worker signs off at its end.
        self.addCleanup(self.end, worker)

    def end(self, worker: subprocess.Popen[bytes]) -> None:
        """End the worker as a supervisor does."""
        worker.terminate()
        try:
            worker.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            worker.kill()
            worker.wait()
            raise AssertionError(f"the worker does not end:\n{self.log.read_text()}") from None

    def program(self, module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a module to its end, within C{PATIENCE_S} twice."""
        try:
            return subprocess.run(
                [sys.executable, "-m", module, *arguments],
                cwd=self.folder,
                env=environment(**self.variables),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
                timeout=2 * PATIENCE_S,
            )
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{module} does not end; the worker: {self.worker_said()}"
            ) from None

    def worker_said(self) -> str:
        """The worker's log, where there is a worker."""
        return self.log.read_text() if hasattr(self, "log") else "none"

    def succeeded(self, module: str, *arguments: str) -> str:
        """Run a module, which must succeed; what it printed."""
        done = self.program(module, *arguments)
        told = f"{done.stdout}\n{done.stderr}\nthe worker: {self.worker_said()}"
        self.assertEqual(done.returncode, 0, told)
        return done.stdout


def context(**described: Any) -> Any:
    """A context for calling a task's function here, whose sink keeps what it is told."""
    from taskqueue import Context

    given = {
        "id": "6f1c6a50-0000-4000-8000-000000000001",
        "type": "example",
        "queue": "default",
        "priority": 150,
        "attempt": 1,
        "failures": 0,
        "losses": 0,
        "lease": 7,
        "headers": {},
        "submitted_at": 0.0,
    }
    return Context(Said(), {**given, **described})


class Said:
    """
    What a task says while it runs.

    @ivar progressed: every progress, in order.
    @ivar logged: every line.
    """

    def __init__(self) -> None:
        self.progressed: list[Any] = []
        self.logged: list[str] = []

    def progress(self, context: Any, value: Any) -> None:
        self.progressed.append(value)

    def log(self, context: Any, message: str, fields: Any) -> None:
        self.logged.append(message)
