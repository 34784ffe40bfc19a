"""
How the tests' browser is found, and installed where that may be done.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tools import chromium


class ChromiumCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.folder = self.folder.resolve()
        self.patch(os, "environ", {"PATH": str(self.folder)})

    def put(self, name: str) -> str:
        path = self.folder / name
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
        return str(path)


class FindTests(ChromiumCase):
    def test_none(self) -> None:
        self.assertIsNone(chromium.find_chromium())

    def test_on_the_path(self) -> None:
        other = self.put("google-chrome")
        self.assertEqual(chromium.find_chromium(), other)
        self.assertEqual(
            (self.put("chromium"), chromium.find_chromium())[1], f"{self.folder}/chromium"
        )

    def test_named(self) -> None:
        self.put("chromium")
        os.environ["CHROMIUM"] = named = self.put("mine")
        self.assertEqual(chromium.find_chromium(), named)

    def test_a_wrong_name_is_not_replaced_by_another(self) -> None:
        self.put("chromium")
        os.environ["CHROMIUM"] = "/no/such/browser"
        self.assertIsNone(chromium.find_chromium())


class InstallTests(ChromiumCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(os, "geteuid", lambda: 0)
        self.called: list[list[str]] = []

    def call(self, command: list[str], status: int = 0) -> subprocess.CompletedProcess[str]:
        self.called.append(command)
        return subprocess.CompletedProcess(command, status, "E: a\nE: no mirror answers\n")

    def test_by_root(self) -> None:
        self.put("apt-get")
        self.assertIsNone(chromium.install(self.call))
        self.assertEqual(self.called[0][:2], ["apt-get", "update"])
        self.assertEqual(self.called[1][-1], "chromium")

    def test_without_apt(self) -> None:
        self.assertIn("apt-get", chromium.install(self.call) or "")
        self.assertEqual(self.called, [])

    def test_by_others(self) -> None:
        self.put("apt-get")
        self.patch(os, "geteuid", lambda: 1000)
        self.assertIn("only root", chromium.install(self.call) or "")
        self.assertEqual(self.called, [])

    def test_with_sudo(self) -> None:
        self.put("apt-get")
        self.put("sudo")
        self.patch(os, "geteuid", lambda: 1000)
        self.assertIsNone(chromium.install(self.call))
        self.assertEqual(self.called[0][:3], ["sudo", "-n", "apt-get"])

    def test_a_failure_is_told(self) -> None:
        self.put("apt-get")
        trouble = chromium.install(lambda command: self.call(command, 100))
        self.assertEqual(trouble, "apt-get update -qq failed: E: a E: no mirror answers")

    def test_a_time_out_is_told(self) -> None:
        self.put("apt-get")

        def hang(command: list[str]) -> subprocess.CompletedProcess[str]:
            raise subprocess.TimeoutExpired(command, 1)

        self.assertIn("longer than 600 s", chromium.install(hang) or "")
