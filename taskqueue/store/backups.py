"""
Writing a backup under a name that it gets only once it is whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress

from taskqueue.errors import StoreFailed
from taskqueue.store.directory import sync_directory


def write_backup(path: str, fill: Callable[[str], None]) -> int:
    """
    Make a database at C{path}.

    @param path: must not exist; C{path.partial} is used on the way, and what
        an interrupted backup left there is overwritten.
    @param fill: writes the content into the empty file that it is given.
    @return: the size in bytes.
    @raises StoreFailed: C{path} exists.  What else fails is raised as it is.
    """
    path = os.path.abspath(path)
    if os.path.lexists(path):
        raise StoreFailed(
            f"The backup {path} exists already; name a file that does not.", path=path
        )
    partial = path + ".partial"
    try:
        _remove(partial)
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        fill(partial)
        return _finish(partial, path)
    except BaseException:
        with suppress(OSError):
            _remove(partial)
        raise


def _finish(partial: str, path: str) -> int:
    descriptor = os.open(partial, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(partial, path)
    sync_directory(os.path.dirname(path))
    return os.path.getsize(path)


def _remove(partial: str) -> None:
    for suffix in ("", "-wal", "-shm", "-journal"):
        if os.path.lexists(partial + suffix):
            os.unlink(partial + suffix)
