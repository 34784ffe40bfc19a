"""What is deployed is pinned by hash, and what pip-audit says of it is told truly."""

from __future__ import annotations

import json
import re
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tools.audit import CLEAN, UNKNOWN, WEAK, judge

REQUIREMENTS = Path(__file__).resolve().parent.parent / "requirements"


def pinned(name: str) -> set[str]:
    """Name and version of every package in a file."""
    text = (REQUIREMENTS / name).read_text()
    found = re.findall(r"^([A-Za-z0-9._-]+)==([^\s\\]+)", text, re.MULTILINE)
    return {f"{re.sub('[-_.]+', '-', name).lower()}=={version}" for name, version in found}


class DeployedTests(SynchronousTestCase):
    def test_it_is_what_is_tested(self) -> None:
        self.assertEqual(pinned("deploy.txt"), pinned("runtime.txt") | pinned("build.txt"))

    def test_every_package_has_hashes_and_nothing_else_is_said(self) -> None:
        text = (REQUIREMENTS / "deploy.txt").read_text().replace("\\\n", "")
        for line in text.splitlines():
            if not line.startswith("#"):
                self.assertRegex(line, r"^\S+==\S+( +--hash=sha256:[0-9a-f]{64})+ *$")


class JudgingTests(SynchronousTestCase):
    def judge(self, *dependencies: object) -> tuple[int, str]:
        status, lines = judge(json.dumps({"dependencies": dependencies}), "")
        return status, "\n".join(lines)

    def test_clean(self) -> None:
        good = {"name": "a", "version": "1", "vulns": []}
        self.assertEqual(self.judge(good, good), (CLEAN, "no known weakness in 2 packages"))

    def test_weak(self) -> None:
        flaw = {"id": "PYSEC-1", "fix_versions": ["1.1"]}
        status, text = self.judge({"name": "a", "version": "1", "vulns": [flaw]})
        self.assertEqual((status, text), (WEAK, "a 1: PYSEC-1, mended in 1.1"))

    def test_not_known(self) -> None:
        """That something could not be looked at is never called clean."""
        status, text = self.judge({"name": "a", "skip_reason": "not found"})
        self.assertEqual(status, UNKNOWN)
        self.assertIn("NOT AUDITED: of 1 of 1 packages", text)
        for answer, complaint in (("", "Traceback\nConnectionError: no"), ("{}", "")):
            status, lines = judge(answer, complaint)
            self.assertEqual(status, UNKNOWN)
            self.assertIn("NOT AUDITED", lines[0])
