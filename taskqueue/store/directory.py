"""
The directory that one broker keeps its data in, and the lock that makes it one.
"""

from __future__ import annotations

import fcntl
import os

from taskqueue.errors import StoreFailed, StoreLocked

#: What the store's files are called.  The database's write-ahead log stands beside it.
DATABASE_NAME = "taskqueue.db"
LOCK_NAME = "lock"


class DataDirectory:
    """
    A data directory and the claim of this process on it.

    The lock is C{flock}'s: the kernel gives it back when the process dies,
    however it dies, so no stale lock ever needs removing by hand.  It belongs
    to an open file, so it also tells two stores of one process apart.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self.database = os.path.join(self.path, DATABASE_NAME)
        self._lock: int | None = None

    def acquire(self) -> None:
        """
        Create the directory where there is none, readable for its owner only,
        and lock it.

        @raises StoreLocked: another process, or another store of this one, has it.
        @raises StoreFailed: it cannot be created, or not written to.
        """
        lock_path = os.path.join(self.path, LOCK_NAME)
        try:
            self._create()
            descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as problem:
            raise StoreFailed(
                f"The data directory {self.path} cannot be used: {problem.strerror}."
                " Name a directory that this user may create and write, in [store] path.",
                path=self.path,
            ) from problem
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            pid = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(descriptor)
            if not isinstance(problem, BlockingIOError):
                raise StoreFailed(
                    f"{lock_path} cannot be locked: {problem.strerror}."
                    " The data directory must be on a local file system.",
                    path=self.path,
                ) from problem
            raise StoreLocked(
                f"The data directory {self.path} is in use by another broker (process {pid})."
                " Stop that one first, or give this one its own directory in [store] path.",
                path=self.path,
                pid=pid,
            ) from problem
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode("ascii"), 0)
        self._lock = descriptor

    def release(self) -> None:
        """Unlock the directory; harmless when it is not locked."""
        if self._lock is None:
            return
        # The file stays: to remove it would let two processes lock two files of one name.
        os.ftruncate(self._lock, 0)
        os.close(self._lock)
        self._lock = None

    def _create(self) -> None:
        if os.path.isdir(self.path):
            return
        os.makedirs(self.path, mode=0o700)
        sync_directory(os.path.dirname(self.path))


def sync_directory(path: str) -> None:
    """Make the names in a directory durable: a new file's own sync does not."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
