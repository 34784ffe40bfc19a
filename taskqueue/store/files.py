"""
What the commit log asks of the operating system, in one place.

Tests put something else in its place: a medium that fails when it is told to.
"""

from __future__ import annotations

import os
from contextlib import suppress

from taskqueue.store.directory import sync_directory

#: Where there is no C{fdatasync} (macOS), C{fsync} does the same and more.
_sync = getattr(os, "fdatasync", os.fsync)


class Files:
    """
    Files of the operating system.  Whatever fails raises C{OSError}.
    """

    def names(self, directory: str) -> list[str]:
        """What stands in a directory; nothing in one that is not there."""
        try:
            return sorted(os.listdir(directory))
        except FileNotFoundError:
            return []

    def read(self, path: str) -> bytes:
        """All of a file."""
        with open(path, "rb") as file:
            return file.read()

    def create(self, path: str) -> int:
        """A descriptor of a new file, for its owner only."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)

    def write(self, descriptor: int, data: memoryview, offset: int) -> int:
        """Write what there is room for at C{offset}; how many bytes that were."""
        return os.pwrite(descriptor, data, offset)

    def allocate(self, descriptor: int, offset: int, length: int) -> None:
        """Make room ahead: a file with C{length} more bytes, which read as zero."""
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(descriptor, offset, length)

    def truncate(self, descriptor: int, length: int) -> None:
        """Cut a file to C{length} bytes."""
        os.ftruncate(descriptor, length)

    def sync(self, descriptor: int) -> None:
        """Return once the medium has what was written."""
        _sync(descriptor)

    def sync_directory(self, path: str) -> None:
        """Return once the medium has the names in a directory."""
        sync_directory(path)

    def close(self, descriptor: int) -> None:
        """Give a descriptor back."""
        os.close(descriptor)

    def remove(self, path: str) -> None:
        """Remove a file, if it is there."""
        with suppress(FileNotFoundError):
            os.unlink(path)
