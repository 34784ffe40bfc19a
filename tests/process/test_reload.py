"""
C{taskqueue worker --reload}: a developer edits, and the worker follows.
"""

from __future__ import annotations

import signal
import subprocess
import sys

import taskqueue
from tests.process.children import PATIENCE_S, ProcessTestCase, environment, until

MODULE = """
from taskqueue import App
from wording import WORDS

app = App()

@app.task
def say():
    return WORDS
"""


class ReloadTests(ProcessTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.address = f"tq://127.0.0.1:{self.start().port()}"
        self.client = taskqueue.connect(self.address)
        self.addCleanup(self.client.close)
        (self.folder / "speaking.py").write_text(MODULE)
        self.write("'as it was'")
        self.log = self.folder / "worker.log"
        with self.log.open("wb") as log:
            self.worker = subprocess.Popen(
                [
                    *(sys.executable, "-m", "taskqueue.cli", "--broker", self.address),
                    *("worker", "speaking:app", "--reload"),
                ],
                cwd=self.folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        self.addCleanup(self.reap)

    def reap(self) -> None:
        if self.worker.poll() is None:
            self.worker.kill()
        self.worker.wait()

    def write(self, words: str) -> None:
        (self.folder / "wording.py").write_text(f"WORDS = {words}\n")

    def said(self, words: str, times: int = 1) -> None:
        until(f"{words!r} is logged", lambda: self.log.read_text().count(words) >= times)

    def say(self) -> object:
        return self.client.submit("say").result(timeout=PATIENCE_S)

    def test_edits(self) -> None:
        self.assertEqual(self.say(), "as it was")
        self.write("'edited'")
        self.said("wording.py has changed: the worker starts anew")
        self.assertEqual(self.say(), "edited")
        self.write("'never closed")
        self.said("waiting for a change of the code")
        self.write("'mended at last'")
        self.assertEqual(self.say(), "mended at last")
        self.said("is registered", times=3)
        self.worker.send_signal(signal.SIGTERM)
        self.assertEqual(self.worker.wait(PATIENCE_S), 0)
        self.assertNotIn("Traceback", self.log.read_text())
