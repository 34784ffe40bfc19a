"""The keyring on disk."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.access import file as module
from taskqueue.access.editing import add_key
from taskqueue.access.file import KeyringFile, KeyringUnusable
from taskqueue.access.keyring import Keyring
from taskqueue.errors import BadRequest
from tests.access.entries import HASHED, MADE_AT, a_certificate, a_key, a_user, at

given_always = settings(derandomize=True, deadline=None)

_NAMES = st.text("abcAB09._@/+-", min_size=1, max_size=12)
_WORDS = st.lists(st.sampled_from(["submit:a", "read:a-*", "metrics", "admin"]), max_size=3)
_MOMENTS = st.none() | st.floats(-1e6, 1e8).map(at)
_NOTES = st.none() | st.text(max_size=10).filter(str.isprintable)


@st.composite
def _keyrings(draw: Any) -> Keyring:
    def more() -> dict[str, Any]:
        return {"allow": tuple(draw(_WORDS)), "note": draw(_NOTES)}

    def names() -> list[str]:
        found: list[str] = draw(st.lists(_NAMES, max_size=3, unique=True))
        return found

    return Keyring(
        keys=tuple(
            a_key(name, expires_at=draw(_MOMENTS), revoked_at=draw(_MOMENTS), **more())[0]
            for name in draw(st.lists(_NAMES, max_size=3))
        ),
        users=tuple(a_user(name, **more()) for name in names()),
        certificates=tuple(
            a_certificate(name, subject="CN=*", expires_at=draw(_MOMENTS), **more())
            for name in names()
        ),
    )


def adding(name: str) -> Callable[[Keyring], Keyring]:
    """What adds a key."""
    return lambda old: add_key(old, name, now=MADE_AT, role="admin")[0]


class FileCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = os.path.abspath(self.mktemp())
        os.mkdir(self.directory, 0o700)
        self.path = os.path.join(self.directory, "access.json")
        self.file = KeyringFile(self.path)

    def write(self, content: str | bytes, mode: int = 0o600) -> None:
        data = content if isinstance(content, bytes) else content.encode()
        Path(self.path).write_bytes(data)
        os.chmod(self.path, mode)

    def why(self) -> str:
        """Why it cannot be used."""
        said = str(self.assertRaises(KeyringUnusable, self.file.read))
        self.assertTrue(said.startswith(f"The file of keys and users, {self.path}, "), said)
        self.assertTrue(said.endswith("."), said)
        return said

    def read(self) -> Keyring:
        reading = self.file.read()
        assert reading is not None
        return reading.keyring


class ReadAndWriteTests(FileCase):
    def test_none(self) -> None:
        self.assertIsNone(self.file.read())
        self.assertIsNone(self.file.signature())
        beneath = KeyringFile(os.path.join(self.path, "x"))
        self.write("")
        self.assertIsNone(beneath.read())

    @given_always
    @given(_keyrings())
    def test_what_was_written_is_read(self, keyring: Keyring) -> None:
        self.assertEqual(self.file.change(lambda _: keyring), keyring)
        self.assertEqual(self.read(), keyring)

    def test_each_change_sees_the_one_before(self) -> None:
        for name in ("a", "b", "c"):
            self.file.change(adding(name))
        self.assertEqual([one.name for one in self.read().keys], ["a", "b", "c"])

    def test_the_signature_tells(self) -> None:
        seen = set()
        for name in ("a", "b"):
            self.file.change(adding(name))
            reading = self.file.read()
            assert reading is not None
            self.assertEqual(reading.signature, self.file.signature())
            seen.add(reading.signature)
        self.assertEqual(len(seen), 2)

    def test_a_change_that_fails_leaves_all_as_it_was(self) -> None:
        entry, _ = a_key()
        self.file.change(lambda _: Keyring(keys=(entry,)))
        before = Path(self.path).read_bytes()
        with self.assertRaises(ZeroDivisionError):
            self.file.change(lambda _: 1 / 0)  # type: ignore[arg-type,return-value]
        self.patch(os, "fsync", self.no_space)
        error = self.assertRaises(KeyringUnusable, self.file.change, lambda _: Keyring())
        self.assertIn("cannot be written: No space left", str(error))
        self.assertEqual(Path(self.path).read_bytes(), before)
        self.assertEqual(sorted(os.listdir(self.directory)), ["access.json", "access.json.lock"])

    def no_space(self, descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    def test_what_no_broker_could_use_is_not_written(self) -> None:
        entry, _ = a_key(role="boss")
        error = self.assertRaises(BadRequest, self.file.change, lambda _: Keyring(keys=(entry,)))
        self.assertIn("There is no role 'boss'", str(error))
        self.assertIsNone(self.file.read())

    def test_where_nothing_can_be_written(self) -> None:
        self.write("")
        beneath = KeyringFile(os.path.join(self.path, "x", "access.json"))
        error = self.assertRaises(KeyringUnusable, beneath.change, lambda _: Keyring())
        self.assertIn("cannot be written: Not a directory", str(error))

    def test_a_link_stays_one(self) -> None:
        target = os.path.join(self.directory, "real.json")
        os.symlink(target, self.path)
        self.file.change(lambda _: Keyring())
        self.assertTrue(os.path.islink(self.path))
        self.file.change(lambda _: Keyring())
        self.assertTrue(os.path.islink(self.path))
        self.assertTrue(os.path.isfile(target))

    def test_two_at_a_time(self) -> None:
        """The second one waits for the first, and sees what that has made."""
        inside, done = threading.Event(), threading.Event()

        def slow(old: Keyring) -> Keyring:
            inside.set()
            # While this has the lock nobody else has.
            with open(f"{self.path}.lock", "rb") as lock, self.assertRaises(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            done.wait(30)
            return adding("first")(old)

        first = threading.Thread(target=self.file.change, args=(slow,))
        first.start()
        inside.wait(30)
        second = threading.Thread(target=KeyringFile(self.path).change, args=(adding("second"),))
        second.start()
        done.set()
        for thread in (first, second):
            thread.join(30)
        self.assertEqual([one.name for one in self.read().keys], ["first", "second"])

    def test_killed_in_the_middle(self) -> None:
        """Whenever a command is killed, what stands there is whole."""
        entry, _ = a_key()
        self.file.change(lambda _: Keyring(keys=(entry,)))
        script = (
            "import os, sys\n"
            "from taskqueue.access import file\n"
            "from taskqueue.access.keyring import Keyring\n"
            "def killed(*arguments): os.kill(os.getpid(), 9)\n"
            "setattr(os, sys.argv[2], killed)\n"
            "file.KeyringFile(sys.argv[1]).change(lambda _: Keyring())\n"
        )
        for where in ("fsync", "replace"):
            child = subprocess.run(
                [sys.executable, "-c", script, self.path, where],
                env={"PYTHONPATH": os.pathsep.join(sys.path)},
                capture_output=True,
                check=False,
            )
            self.assertEqual(child.returncode, -9, child.stderr)
            self.assertEqual(self.read().keys, (entry,))
        self.file.change(lambda _: Keyring())
        self.assertEqual(self.read(), Keyring())
        self.assertEqual(sorted(os.listdir(self.directory)), ["access.json", "access.json.lock"])


class OwnerTests(FileCase):
    def test_others_could_change_it(self) -> None:
        for mode in (0o620, 0o602, 0o666):
            self.write('{"version": 1}', mode)
            self.assertIn(f"chmod 600 {self.path}", self.why())

    def test_others_can_read_it(self) -> None:
        for mode in (0o640, 0o604):
            self.write('{"version": 1}', mode)
            reading = self.file.read()
            assert reading is not None
            (warning,) = reading.warnings
            self.assertIn(f"chmod 600 {self.path}", warning)

    def test_it_belongs_to_somebody_else(self) -> None:
        self.write('{"version": 1}')
        owner = os.stat(self.path).st_uid
        self.patch(os, "geteuid", lambda: owner + 1)
        if owner != 0:
            self.assertIn(f"belongs to another user (uid {owner})", self.why())
        os.chmod(self.path, 0o600)
        self.patch(os, "geteuid", lambda: owner)
        self.read()

    def test_a_stranger_owns_it(self) -> None:
        self.write('{"version": 1}')
        found = os.stat(self.path)
        stranger = os.stat_result((*found[:4], 4711, *found[5:]))
        self.patch(os, "fstat", lambda descriptor: stranger)
        self.patch(os, "geteuid", lambda: 1234)
        self.assertIn("belongs to another user (uid 4711)", self.why())

    def test_what_root_writes_belongs_to_the_broker(self) -> None:
        given: list[tuple[int, int]] = []
        self.patch(os, "geteuid", lambda: 0)
        self.patch(os, "fchown", lambda _, uid, gid: given.append((uid, gid)))
        owner = os.stat(self.directory)
        self.file.change(lambda _: Keyring())
        self.assertEqual(given, [(owner.st_uid, owner.st_gid)] * 2)

    def test_root_gives_away_nothing_else(self) -> None:
        """The directory is the broker's, who may put links there, but must get no file by it."""
        self.patch(os, "geteuid", lambda: 0)
        self.patch(os, "fchown", lambda *_: self.fail("given away"))
        other = Path(self.directory, "shadow")
        other.write_text("root's")
        lock = f"{self.path}.lock"
        for kind, make in (
            ("is a link", lambda: os.symlink(other, lock)),
            ("is a link", lambda: os.symlink(other.with_name("nowhere"), lock)),
            ("is no file of its own", lambda: os.link(other, lock)),
            ("is no file of its own", lambda: os.mkfifo(lock)),
        ):
            make()
            error = self.assertRaises(KeyringUnusable, self.file.change, lambda _: Keyring())
            self.assertIn(f"cannot be locked: {lock} {kind}", str(error))
            os.unlink(lock)
        self.assertEqual(os.listdir(self.directory), ["shadow"])
        self.assertEqual(other.read_text(), "root's")

    def test_root_follows_its_own_links_only(self) -> None:
        target = Path(self.directory, "profile.sh")
        os.symlink(target, self.path)
        if os.getuid() == 0:
            os.lchown(self.path, 4711, -1)
        self.patch(os, "geteuid", lambda: 0)
        error = self.assertRaises(KeyringUnusable, self.file.change, lambda _: Keyring())
        self.assertIn("is a link that belongs to another user (uid ", str(error))
        self.assertFalse(target.exists())

    def test_it_may_not_be_read(self) -> None:
        """As by root, into a directory that is root's, for a broker that is not."""

        def denied(*arguments: Any, **more: Any) -> int:
            raise PermissionError(13, os.strerror(13), self.path)

        self.patch(os, "open", denied)
        self.assertIn("Permission denied; it must belong to the user that the broker", self.why())

    def test_no_file(self) -> None:
        os.mkdir(self.path)
        self.assertIn("is no file", self.why())
        os.rmdir(self.path)
        os.mkfifo(self.path, 0o600)
        self.assertIn("is no file", self.why())


class BrokenFileTests(FileCase):
    def document(self, **values: Any) -> str:
        return json.dumps({"version": 1, **values})

    def test_what_is_wrong_is_said(self) -> None:
        key = {
            "name": "a",
            "id": "x" * 12,
            "sha256": "0" * 64,
            "allow": ["admin"],
            "created_at": "2026-01-01T00:00:00Z",
        }
        user = {"name": "u", "password": HASHED, "created_at": "2026-01-01T00:00:00Z"}
        certificate = {"name": "c", "id": "c", "created_at": "2026-01-01T00:00:00Z"}
        for content, why in (
            ("", "is not what the commands have written"),
            ("nonsense", "is not what the commands have written"),
            ("[]", "Expected `object`, got `array`"),
            ("{}", "missing required field `version`"),
            (b"\xff\xfe", "is not what the commands have written"),
            (self.document(version=2, rooms=[]), "has the form 2"),
            (self.document(rooms=[]), "unknown field `rooms`"),
            (self.document(keys=[{**key, "id": "short"}]), "`$.keys[0].id`"),
            (self.document(keys=[{**key, "sha256": "x"}]), "`$.keys[0].sha256`"),
            (self.document(keys=[{**key, "created_at": "2026-01-01T00:00:00"}]), "timezone"),
            (self.document(keys=[{**key, "allow": ["fly"]}]), "key 'a': 'fly': there is no action"),
            (self.document(keys=[{**key, "role": "boss"}]), "There is no role 'boss'"),
            (self.document(keys=[{**key, "name": "a b"}]), "cannot be a name"),
            (self.document(keys=[key, key]), "2 keys have the id 'xxxxxxxxxxxx'"),
            (self.document(users=[user, user]), "2 users have the name 'u'"),
            (self.document(users=[{**user, "password": "secret"}]), "no argon2id hash"),
            (self.document(certificates=[certificate]), "neither a subject nor"),
        ):
            self.write(content)
            said = self.why()
            self.assertIn(why, said)
            for secret in (HASHED, "'secret'", "0" * 64):
                self.assertNotIn(secret, said)

    def test_larger_than_any(self) -> None:
        self.patch(module, "_LONGEST", 10)
        self.write(self.document())
        self.assertIn("is longer than 10 bytes", self.why())

    @given_always
    @given(st.binary(max_size=200))
    def test_any_bytes_are_a_sentence(self, content: bytes) -> None:
        self.write(content)
        self.why()

    @given_always
    @given(st.data())
    def test_a_damaged_file_is_a_sentence_or_a_keyring(self, data: Any) -> None:
        """Nothing else comes of it, wherever it is cut or changed."""
        Path(self.path).unlink(missing_ok=True)
        entry, _ = a_key()
        self.file.change(lambda _: Keyring(keys=(entry,), users=(a_user(),)))
        content = bytearray(Path(self.path).read_bytes())
        # The content is another one each time, so what is drawn must not depend on it.
        content[data.draw(st.integers(0, 10_000)) % len(content)] = data.draw(st.integers(0, 255))
        cut = data.draw(st.integers(0, 10_000)) % len(content)
        self.write(bytes(content[: cut or None]))
        try:
            self.read()
        except KeyringUnusable as error:
            self.assertIn(self.path, str(error))
