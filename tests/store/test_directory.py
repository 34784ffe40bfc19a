"""Tests of the data directory and its lock."""

from __future__ import annotations

import os
import subprocess
import sys
from unittest import skipIf

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.errors import StoreFailed, StoreLocked
from taskqueue.store import SQLiteStore
from taskqueue.store.directory import DataDirectory

HOLD = """
import sys
from taskqueue.store import SQLiteStore
store = SQLiteStore(sys.argv[1])
store.open()
print("open", flush=True)
sys.stdin.read()
"""


class DataDirectoryTests(SynchronousTestCase):
    """One broker a directory, and nobody else may look into it."""

    def test_createdForItsOwnerOnly(self) -> None:
        path = os.path.join(self.mktemp(), "deep", "data")
        store = SQLiteStore(path)
        store.open()
        self.addCleanup(store.close)
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o700)
        for name in ("taskqueue.db", "lock"):
            self.assertEqual(os.stat(os.path.join(path, name)).st_mode & 0o777, 0o600)

    def test_secondOneIsRefused(self) -> None:
        """The message names the directory, who has it, and what to do."""
        path = self.mktemp()
        first, second = DataDirectory(path), DataDirectory(path)
        first.acquire()
        self.addCleanup(first.release)
        refused = self.assertRaises(StoreLocked, second.acquire)
        self.assertIn(os.path.abspath(path), str(refused))
        self.assertIn(f"process {os.getpid()}", str(refused))
        self.assertIn("[store] path", str(refused))
        first.release()
        second.acquire()
        second.release()
        second.release()

    def test_lockHoldsAcrossProcessesAndDiesWithThem(self) -> None:
        path = self.mktemp()
        with subprocess.Popen(
            [sys.executable, "-c", HOLD, path],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as child:
            assert child.stdout is not None
            self.assertEqual(child.stdout.readline(), b"open\n")
            store = SQLiteStore(path)
            refused = self.assertRaises(StoreLocked, store.open)
            self.assertEqual(refused.fields["pid"], str(child.pid))
            child.kill()
        store.open()
        store.close()

    def test_failedOpenGivesTheLockBack(self) -> None:
        path = self.mktemp()
        os.mkdir(path)
        os.mkdir(os.path.join(path, "taskqueue.db"))
        self.assertRaises(StoreFailed, SQLiteStore(path).open)
        directory = DataDirectory(path)
        directory.acquire()
        directory.release()

    def test_pathIsAFile(self) -> None:
        path = self.mktemp()
        with open(path, "w") as file:
            file.write("x")
        refused = self.assertRaises(StoreFailed, SQLiteStore(path).open)
        self.assertIn(path, str(refused))
        self.assertIn("[store] path", str(refused))

    @skipIf(os.geteuid() == 0, "permissions do not bind root")
    def test_forbidden(self) -> None:
        path = self.mktemp()
        os.mkdir(path, 0o500)
        with self.assertRaisesRegex(StoreFailed, "Permission denied"):
            SQLiteStore(path).open()

    def test_oddCharactersInThePath(self) -> None:
        path = os.path.join(self.mktemp(), "a?b#c%20 d&e")
        store = SQLiteStore(path)
        store.open()
        store.close()
        self.assertIn("taskqueue.db", os.listdir(path))
