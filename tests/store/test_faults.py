"""What the errors of files and of SQLite mean, and what a person can do about them."""

from __future__ import annotations

import errno
import os
import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.errors import StoreFailed
from taskqueue.store.faults import translated


def _said(code: int) -> str:
    problem = translated(OSError(code, os.strerror(code)), "/data/taskqueue.db", "store a batch")
    assert type(problem) is StoreFailed, "the broker would not try again"
    return str(problem)


class Advice(SynchronousTestCase):
    """Whoever reads the message knows what to do."""

    def test_files_say_the_same_as_the_database(self) -> None:
        full = sqlite3.OperationalError("database or disk is full")
        full.sqlite_errorcode, full.sqlite_errorname = sqlite3.SQLITE_FULL, "SQLITE_FULL"
        advice = "Free some disk space; the broker goes on by itself."
        self.assertTrue(str(translated(full, "x", "store a batch")).endswith(advice))
        self.assertTrue(_said(errno.ENOSPC).endswith(advice))

    def test_every_likely_one(self) -> None:
        for code, advice in (
            (errno.EDQUOT, "raise its quota"),
            (errno.EFBIG, "ulimit -f"),
            (errno.EIO, "the kernel's log"),
            (errno.EROFS, "writable for this user"),
            (errno.EACCES, "writable for this user"),
            (errno.EPERM, "writable for this user"),
            (errno.EMFILE, "ulimit -n"),
        ):
            self.assertIn(advice, _said(code))

    def test_an_unlikely_one_says_what_happened(self) -> None:
        said = _said(errno.ENXIO)
        self.assertTrue(said.endswith(f"{os.strerror(errno.ENXIO)}."), said)
