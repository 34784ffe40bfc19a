"""The demonstration, with fewer files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from examples.census.handlers import HANDLERS, examine
from taskqueue.client import Delivery
from taskqueue.worker import PermanentFailure, Task

ROOT = Path(__file__).resolve().parents[2]


class Nobody:
    """Hears what a task says."""

    def progress(self, *said: Any) -> None:
        """Forget it."""

    log = progress


class Census(SynchronousTestCase):
    def task(self, name: bytes) -> Task:
        delivery = Delivery("id", "census", "q", 150, name, 1, 1, 30.0, 1.0, 0, 0, {})
        return Task.of(delivery, Nobody())

    def test_one_file(self) -> None:
        found = HANDLERS["census"](self.task(b"this.py"))
        self.assertEqual(found, examine("this.py"))
        self.assertTrue(found["compiles"])
        self.assertGreater(found["words"], found["lines"])

    def test_nothing_outside_of_the_library(self) -> None:
        for name in (b"/etc/passwd", b"../secret.py"):
            self.assertRaises(PermanentFailure, HANDLERS["census"], self.task(name))

    def test_the_demonstration(self) -> None:
        child = subprocess.run(
            [sys.executable, str(ROOT / "examples/census/demo.py"), "300"],
            capture_output=True,
            check=False,
            cwd=self.mktemp_folder(),
            timeout=100,
        )
        shown = child.stdout.decode()
        self.assertEqual(child.returncode, 0, shown + child.stderr.decode())
        self.assertIn("killed with", shown)
        self.assertRegex(shown, r"results that differ from a direct computation *│ *0 ")
        self.assertNotIn("Traceback", child.stderr.decode())

    def mktemp_folder(self) -> str:
        folder = self.mktemp()
        os.makedirs(folder)
        return folder
