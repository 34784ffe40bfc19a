"""
The programs on the page about tasks run.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import sys
import unittest
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.testing import app_broker

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "tasks.md"

_BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class PageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(sys, "path", list(sys.path))
        before = sys.modules.pop("tasks", None)
        if before is not None:
            self.addCleanup(sys.modules.__setitem__, "tasks", before)
        self.addCleanup(sys.modules.pop, "tasks")
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        blocks = _BLOCK.findall(PAGE.read_text(encoding="utf-8"))
        module = [block for block in blocks if block.startswith("# tasks.py\n")]
        self.program = [block for block in blocks if block not in module]
        (folder / "tasks.py").write_text("\n".join(module))
        sys.path.insert(0, str(folder))
        self.tasks: Any = importlib.import_module("tasks")

    def run_program(self) -> dict[str, Any]:
        names: dict[str, Any] = {"__name__": "page"}
        with contextlib.redirect_stdout(io.StringIO()):
            for block in self.program:
                exec(compile(block, str(PAGE), "exec"), names)
        return names

    def test_the_programs(self) -> None:
        with app_broker(self.tasks.app) as broker:
            names = self.run_program()
            self.assertEqual(len(broker.tasks()), 3)
            self.assertEqual([ran.state for ran in broker.run_all()], ["completed"] * 3)
        result = unittest.TestResult()
        names["MailTests"]("test_it_is_sent").run(result)
        self.assertEqual((result.testsRun, result.errors, result.failures), (1, [], []))
        with app_broker(self.tasks.app) as broker:
            names["test_it_is_sent"](broker)

    def test_the_schedules(self) -> None:
        first, second = self.tasks.app.periodics
        self.assertEqual((first.name, first.cron, first.overlap), ("report", "*/5 * * * *", False))
        self.assertEqual((second.name, second.every_s), ("report-north", 3600))
