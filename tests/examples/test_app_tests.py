"""
The tests that show how to test tasks pass, and can fail.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.process.children import ROOT, environment

FOLDER = ROOT / "examples" / "app_tests"


class ExampleTests(SynchronousTestCase):
    def run_them(self, *arguments: str, more_time: str = "901") -> tuple[int, str]:
        """The exit status and what is printed, with another pause in one of the tests."""
        with tempfile.TemporaryDirectory() as folder:
            copy = Path(folder) / "examples" / "app_tests"
            copy.mkdir(parents=True)
            (copy.parent / "__init__.py").touch()
            for path in FOLDER.glob("*.py"):
                (copy / path.name).write_text(path.read_text().replace("901", more_time))
            done = subprocess.run(
                [sys.executable, "-m", *arguments],
                cwd=folder,
                env=environment(measured=False, PYTHONPATH=f"{folder}{os.pathsep}{ROOT}"),
                check=False,
                capture_output=True,
                text=True,
            )
        return done.returncode, done.stdout + done.stderr

    def test_with_trial(self) -> None:
        command = ("twisted.trial", "examples.app_tests.test_with_trial")
        status, printed = self.run_them(*command)
        self.assertEqual(status, 0, printed)
        self.assertIn("PASSED (successes=5)", printed)
        status, printed = self.run_them(*command, more_time="890")
        self.assertNotEqual(status, 0, printed)

    def test_with_pytest(self) -> None:
        path = "examples/app_tests/test_with_pytest.py"
        command = ("pytest", "-q", "-p", "no:cacheprovider", path)
        status, printed = self.run_them(*command)
        self.assertEqual(status, 0, printed)
        status, printed = self.run_them(*command, more_time="890")
        self.assertEqual(status, 1, printed)
        self.assertIn("1 failed", printed)
