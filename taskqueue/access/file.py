"""
The keyring on disk: one JSON file, replaced as a whole.

Only the commands C{taskqueue keys}, C{users} and C{certificates} write it, one at a time; a
broker reads it.  What a reader finds is always one whole keyring.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple

import msgspec

from taskqueue.access.keyring import CertificateEntry, KeyEntry, Keyring, UserEntry
from taskqueue.access.soundness import problems_of
from taskqueue.config import Config
from taskqueue.errors import BadRequest, TaskQueueError

#: What the file is called in a data directory.
NAME = "access.json"

#: Of the form of the file; a newer one is refused.
VERSION = 1

#: A larger file is something else.
_LONGEST = 64 * 1024 * 1024

#: Enough to tell one file from another that took its place, and from itself before a change.
Signature = tuple[int, int, int, int]


def path_of(config: Config) -> str | None:
    """
    Where a broker's keyring is.

    @return: C{None} for nowhere: tasks are kept in memory, and nothing was said of a file.
    """
    if config.access.file:
        return config.access.file
    return None if config.store.kind == "memory" else os.path.join(config.store.path, NAME)


class KeyringUnusable(TaskQueueError):
    """The file of keys and users cannot be used."""

    code = "KEYRING"


class Reading(NamedTuple):
    """
    What a file said when it was read.

    @ivar signature: of the very file that was read.
    @ivar warnings: what should be otherwise, but keeps nobody from using it.
    """

    keyring: Keyring
    signature: Signature
    warnings: tuple[str, ...]


class _Document(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    version: int
    keys: tuple[KeyEntry, ...] = ()
    users: tuple[UserEntry, ...] = ()
    certificates: tuple[CertificateEntry, ...] = ()


class _Version(msgspec.Struct):
    """All that is known of a file before its form is."""

    version: int


class KeyringFile:
    """The file of a keyring."""

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)

    # --- reading -----------------------------------------------------------------------

    def signature(self) -> Signature | None:
        """
        What tells whether the file has changed; C{None} where there is none.

        @raises KeyringUnusable: it cannot be looked at.
        """
        try:
            return _signature(os.stat(self.path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as problem:
            raise self._unreadable(problem) from problem

    def read(self) -> Reading | None:
        """
        Read the file.

        @return: C{None} where there is none.
        @raises KeyringUnusable: it cannot be read, is no keyring, or others could change it.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as problem:
            raise self._unreadable(problem) from problem
        try:
            found = os.fstat(descriptor)
            warnings = tuple(self._judge(found))
            with open(descriptor, "rb", closefd=False) as file:
                data = file.read(_LONGEST + 1)
        except OSError as problem:
            raise self._unreadable(problem) from problem
        finally:
            os.close(descriptor)
        return Reading(self._keyring(data), _signature(found), warnings)

    def _judge(self, found: os.stat_result) -> Iterator[str]:
        """
        Who could read or change it.

        @raises KeyringUnusable: somebody could who must not.
        """
        if not stat.S_ISREG(found.st_mode):
            raise self._unusable("is no file")
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise self._unusable(
                "can be changed by others than its owner, who could give themselves every"
                f" permission: chmod 600 {self.path}"
            )
        me = os.geteuid()
        if me != 0 and found.st_uid not in (0, me):
            raise self._unusable(
                f"belongs to another user (uid {found.st_uid}), who could give themselves every"
                " permission: it must belong to the broker's user, or to root"
            )
        if found.st_mode & (stat.S_IRGRP | stat.S_IROTH):
            yield (
                f"{self.path} can be read by others than its owner, who could guess at the"
                f" passwords in it: chmod 600 {self.path}"
            )

    def _keyring(self, data: bytes) -> Keyring:
        if len(data) > _LONGEST:
            raise self._unusable(f"is longer than {_LONGEST} bytes, so no file of keys")
        try:
            version = msgspec.json.decode(data, type=_Version).version
            if version > VERSION:
                raise self._unusable(
                    f"has the form {version}, and this version of taskqueue knows {VERSION}: it was"
                    " written by a newer one; run that"
                )
            document = msgspec.json.decode(data, type=_Document)
        except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
            raise self._unusable(
                f"is not what the commands have written: {problem}. Restore it from a backup, or"
                " remove it and make the keys and users anew"
            ) from problem
        keyring = Keyring(
            keys=document.keys, users=document.users, certificates=document.certificates
        )
        if problems := list(problems_of(keyring)):
            raise self._unusable(f"cannot be used: {'; '.join(problems)}")
        return keyring

    def _unreadable(self, problem: OSError) -> KeyringUnusable:
        hint = "; it must belong to the user that the broker runs as"
        denied = isinstance(problem, PermissionError)
        return self._unusable(f"cannot be read: {problem.strerror}{hint if denied else ''}")

    def _unusable(self, why: str) -> KeyringUnusable:
        return KeyringUnusable(f"The file of keys and users, {self.path}, {why}.", path=self.path)

    # --- writing -----------------------------------------------------------------------

    def change(self, function: Callable[[Keyring], Keyring]) -> Keyring:
        """
        Put what C{function} makes of the keyring in its place, on disk when this returns.
        Nobody else changes it meanwhile.

        @return: the new keyring.
        @raises BadRequest: no broker could use what C{function} made; the file is as it was.
        @raises KeyringUnusable: the file cannot be read or written; it is as it was.
        """
        try:
            with self._locked():
                reading = self.read()
                keyring = function(reading.keyring if reading else Keyring())
                if problems := list(problems_of(keyring)):
                    raise BadRequest(f"No broker could use that: {'; '.join(problems)}.")
                self._replace(keyring)
        except OSError as problem:
            raise self._unusable(f"cannot be written: {problem.strerror}") from problem
        return keyring

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """The lock is a file of its own: the other one is replaced while it is held."""
        directory = os.path.dirname(self.path)
        if not os.path.isdir(directory):
            os.makedirs(directory, mode=0o700)
            _sync_directory(os.path.dirname(directory))
        descriptor = self._open_lock()
        try:
            self._give_away(descriptor)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _open_lock(self) -> int:
        """
        Whoever owns the directory could put something else in its place, and have root give
        that away.

        @raises KeyringUnusable: somebody has.
        """
        path = f"{self.path}.lock"
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            descriptor = os.open(path, flags, 0o600)
        except OSError as problem:
            if problem.errno == errno.ELOOP:
                raise self._unusable(f"cannot be locked: {path} is a link; remove it") from None
            raise
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            os.close(descriptor)
            raise self._unusable(f"cannot be locked: {path} is no file of its own; remove it")
        return descriptor

    def _target(self) -> str:
        """
        What to replace: where the path is a link, what that leads to.

        @raises KeyringUnusable: root would write where somebody else leads it.
        """
        try:
            found = os.lstat(self.path)
        except FileNotFoundError:
            return self.path
        if not stat.S_ISLNK(found.st_mode):
            return self.path
        if os.geteuid() == 0 != found.st_uid:
            raise self._unusable(
                f"is a link that belongs to another user (uid {found.st_uid}), who could have root"
                " write anywhere: name what it leads to, with --file"
            )
        return os.path.realpath(self.path)

    def _replace(self, keyring: Keyring) -> None:
        document = _Document(
            version=VERSION,
            keys=keyring.keys,
            users=keyring.users,
            certificates=keyring.certificates,
        )
        data = msgspec.json.format(msgspec.json.encode(document)) + b"\n"
        target = self._target()
        # One name: whoever has the lock writes it, and removes what one that was killed left.
        temporary = f"{target}.new"
        with suppress(FileNotFoundError):
            os.unlink(temporary)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with os.fdopen(os.open(temporary, flags, 0o600), "wb") as file:
                self._give_away(file.fileno())
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        _sync_directory(os.path.dirname(target))

    def _give_away(self, descriptor: int) -> None:
        """What root writes must belong to whom the old file, or else the directory, belongs to."""
        if os.geteuid() != 0:
            return
        try:
            owner = os.stat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            owner = os.stat(os.path.dirname(self.path))
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _signature(found: os.stat_result) -> Signature:
    return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size


def _sync_directory(path: str) -> None:
    """As the store's does; to import that takes a command longer than all it has to do."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
