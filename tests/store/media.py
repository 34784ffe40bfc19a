"""
Media that do as they are told: fail at a call, lose what was not synced, come back
after a power cut.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Callable
from random import Random
from typing import Any

from taskqueue.errors import StoreFailed
from taskqueue.store import Filter, LoggedStore, Page
from taskqueue.store.files import Files


class FaultyFiles(Files):
    """
    Files that fail when they are told to.

    @ivar calls: the names of the calls made, in order.
    @ivar fail_at: the number of the call, from now on, that fails; or C{None}.
    @ivar code: with which error.
    @ivar keep_failing: whether all later calls of that kind fail as well.
    @ivar synced: what the medium has of each file, by path.
    @ivar removed: the same of files whose removal it may not have.
    """

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fail_at: int | None = None
        self.code = errno.EIO
        self.keep_failing = False
        self._failing: set[str] = set()
        self._paths: dict[int, str] = {}
        self._lost: dict[str, list[slice]] = {}
        self.synced: dict[str, bytes] = {}
        self.removed: dict[str, bytes] = {}

    def fail(self, at: int, code: int = errno.EIO, keep_failing: bool = False) -> None:
        """Let the call after C{at} others fail."""
        self.fail_at, self.code, self.keep_failing = at, code, keep_failing

    def work(self) -> None:
        """Let everything work again."""
        self.fail_at = None
        self._failing.clear()

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self._failing:
            raise OSError(self.code, os.strerror(self.code))
        if self.fail_at is not None:
            self.fail_at -= 1
            if self.fail_at < 0:
                self.fail_at = None
                if self.keep_failing:
                    self._failing.add(name)
                raise OSError(self.code, os.strerror(self.code))

    def create(self, path: str) -> int:
        self._call("create")
        descriptor = super().create(path)
        self._paths[descriptor] = path
        return descriptor

    def write(self, descriptor: int, data: memoryview, offset: int) -> int:
        try:
            self._call("write")
        except OSError:
            super().write(descriptor, data[: len(data) // 2], offset)  # as much as there was room
            raise
        return super().write(descriptor, data, offset)

    def allocate(self, descriptor: int, offset: int, length: int) -> None:
        self._call("allocate")
        super().allocate(descriptor, offset, length)

    def truncate(self, descriptor: int, length: int) -> None:
        self._call("truncate")
        super().truncate(descriptor, length)

    def sync(self, descriptor: int) -> None:
        path = self._paths[descriptor]
        written = bytearray(self.read(path))
        try:
            self._call("sync")
        except OSError:
            # The kernel forgets what it could not write, and says so once.
            safe = len(self.synced.get(path, b""))
            self._lost.setdefault(path, []).append(slice(safe, len(written)))
            raise
        for part in self._lost.get(path, ()):
            written[part] = bytes(len(written[part]))
        self.synced[path] = bytes(written)

    def sync_directory(self, path: str) -> None:
        self._call("sync_directory")
        self.removed.clear()

    def remove(self, path: str) -> None:
        self._call("remove")
        if os.path.exists(path):
            self.removed[path] = self.synced.pop(path, b"")
        super().remove(path)


class Medium:
    """
    A store on files that may fail, and what a crash or a power cut leaves of it.

    @ivar files: the files of its log.
    @ivar directory: where it is at the moment; another one after each crash.
    """

    def __init__(self, make: Callable[[], str]) -> None:
        """
        @param make: names a new directory each time.
        """
        self._make = lambda: os.path.abspath(make())
        self.directory = self._make()
        self._database: dict[str, bytes] = {}
        self.store = self._open({})

    def _open(self, log: dict[str, bytes], fail_at: int | None = None) -> LoggedStore:
        self.files = FaultyFiles()
        self.files.synced = {os.path.join(self.directory, name): log[name] for name in log}
        self.files.fail_at = fail_at
        store = LoggedStore(self.directory, files=self.files)

        def synced() -> None:
            self._database = self._copied()

        # What is safe is what was copied: there is no need to wait for a real medium.
        store._database._synchronous = False
        store._database.sync = synced  # type: ignore[method-assign]
        try:
            store.open()
        except StoreFailed:
            return store
        finally:
            self.files.work()
        return store

    def _copied(self) -> dict[str, bytes]:
        """The database's files as they are now."""
        found = {}
        for name in ("taskqueue.db", "taskqueue.db-wal"):
            path = os.path.join(self.directory, name)
            if os.path.exists(path):
                with open(path, "rb") as file:
                    found[name] = file.read()
        return found

    def reopen(self) -> None:
        """Stop in order, and start again."""
        self.store.close()
        self.store = self._open({})

    def kill(self, fail_at: int | None = None) -> None:
        """
        The process dies; what it wrote is there.

        @param fail_at: which call of the next start fails, and so the start.
        """
        left = {name: self._read(name) for name in self._log_names()}
        self._begin_with(self._copied(), left, fail_at)

    def cut_power(self, random: Random) -> None:
        """
        What was not synced is there, or not, or in part; names that were removed may be
        back.
        """
        left = {}
        for name in self._log_names():
            path = os.path.join(self.directory, name)
            safe, written = self.files.synced.get(path, b""), self._read(name)
            kept = random.randrange(len(safe), len(written) + 1) if len(written) > len(safe) else 0
            left[name] = safe + written[len(safe) : kept]
        for path, data in self.files.removed.items():
            if random.random() < 0.5:
                left[os.path.basename(path)] = data
        self._begin_with(self._database, left)

    def _log_names(self) -> list[str]:
        return [name for name in os.listdir(self.directory) if name.startswith("taskqueue.log.")]

    def _read(self, name: str) -> bytes:
        with open(os.path.join(self.directory, name), "rb") as file:
            return file.read()

    def _begin_with(
        self, database: dict[str, bytes], log: dict[str, bytes], fail_at: int | None = None
    ) -> None:
        before, self.directory = self.directory, self._make()
        os.mkdir(self.directory, 0o700)
        for name, data in {**database, **log}.items():
            with open(os.path.join(self.directory, name), "wb") as file:
                file.write(data)
        self._database = database
        self.files.work()
        self.store.close()
        shutil.rmtree(before)
        self.store = self._open(log, fail_at)

    def close(self) -> None:
        """No more is to come."""
        self.files.work()
        self.store.close()
        shutil.rmtree(self.directory)


def everything(store: Any) -> list[Any]:
    """All that a store tells, for comparing it with another."""

    found = store.find(Filter(), Page(limit=10**6, descending=False))
    payloads = store.payloads([row.seq for row in found])
    records = store.records([row.id for row in found])
    assert [row.seq for row in found] == [row.seq for row in records], (found, records)
    return [
        [record._replace(payload=payloads.get(record.seq)) for record in records],
        [store.history(row.seq) for row in found],
    ]
