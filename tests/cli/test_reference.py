"""The reference of the command is the one that the command makes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.cli import exits

ROOT = Path(__file__).resolve().parents[2]


class Reference(SynchronousTestCase):
    def test_it_is_not_stale(self) -> None:
        found = subprocess.run(
            [sys.executable, "tools/cli_reference.py", "--check"],
            cwd=ROOT,
            env={"PYTHONPATH": str(ROOT), "PATH": ""},
            capture_output=True,
            check=False,
            text=True,
        )
        self.assertEqual((found.returncode, found.stderr), (0, ""))

    def test_every_exit_status_is_explained(self) -> None:
        named = {
            (value, name)
            for name, value in vars(exits).items()
            if name.isupper() and isinstance(value, int)
        }
        self.assertEqual({(number, name) for number, name, _ in exits.MEANINGS}, named)
        page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
        for number, name, _ in exits.MEANINGS:
            self.assertIn(f"| {number} | `{name}` |", page)
