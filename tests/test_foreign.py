"""How the clients of other brokers are found, and installed where that may be done."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tools import foreign

LOCK = foreign.LOCKED / "package-lock.json"


class ForeignTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = Path(self.mktemp()).resolve()
        self.path.mkdir()
        self.into = self.path / "foreign"
        self.patch(os, "environ", {"PATH": str(self.path), foreign.VARIABLE: str(self.into)})
        self.patch(os, "geteuid", lambda: 0)
        self.called: list[list[str]] = []

    def put(self, *names: str) -> None:
        for name in names:
            (self.path / name).write_text("#!/bin/sh\n")
            (self.path / name).chmod(0o755)

    def call(self, command: list[str], status: int = 0) -> subprocess.CompletedProcess[str]:
        """In place of npm, and of what installs it."""
        self.called.append(command)
        if command[0] == "npm" and not status:
            (self.into / "node_modules").mkdir()
        return subprocess.CompletedProcess(command, status, "npm ERR! nowhere\n")

    def test_installed(self) -> None:
        self.put("node", "npm")
        self.assertIsNone(foreign.install(self.call))
        self.assertEqual(self.called, [["npm", "ci", "--silent", "--prefix", str(self.into)]])
        self.assertIsNone(foreign.missing())
        self.assertEqual((self.into / ".npmrc").read_text(), (LOCK.parent / ".npmrc").read_text())

    def test_what_is_pinned_has_changed(self) -> None:
        self.put("node", "npm")
        foreign.install(self.call)
        (self.into / "package-lock.json").write_text("{}")
        self.assertIn("old ones", foreign.missing() or "")

    def test_no_node(self) -> None:
        self.put("apt-get")
        self.assertIn("node is not here", foreign.missing() or "")
        foreign.install(self.call)
        self.assertEqual(self.called[1][-2:], ["nodejs", "npm"])

    def test_neither_node_nor_the_right_to_install_it(self) -> None:
        self.assertIn("apt-get", foreign.install(self.call) or "")
        self.assertEqual(self.called, [])

    def test_a_failure_is_told_and_leaves_nothing_half(self) -> None:
        self.put("node", "npm")
        trouble = foreign.install(lambda command: self.call(command, 1))
        self.assertEqual(trouble, "npm ci failed: npm ERR! nowhere")
        self.assertIsNotNone(foreign.missing())

        def hang(command: list[str]) -> subprocess.CompletedProcess[str]:
            raise subprocess.TimeoutExpired(command, 1)

        self.assertIn("npm ci: ", foreign.install(hang) or "")
        self.assertIsNotNone(foreign.missing())

    def test_the_lock_file_names_no_host(self) -> None:
        packages = json.loads(LOCK.read_text())["packages"]
        self.assertTrue(all("resolved" not in each for each in packages.values()))
        self.assertTrue(all("integrity" in each for name, each in packages.items() if name))
