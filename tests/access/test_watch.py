"""How a running broker learns that the keyring has changed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from msgspec.structs import replace
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.access.editing import add_key, revoke_keys
from taskqueue.access.file import KeyringFile, KeyringUnusable
from taskqueue.access.keyring import Keyring
from taskqueue.access.watch import KeyringWatch
from tests.access.entries import MADE_AT, Keeper, at


class WatchTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())
        self.file = KeyringFile(self.path)
        self.keeper = Keeper()
        self.gate = self.keeper.gate
        self.watch = KeyringWatch(KeyringFile(self.path), self.gate)
        self.events: list[Any] = []
        observer: Any = self.events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def add(self, name: str, **values: Any) -> str:
        """Add a key to the file; returns the key."""
        made: list[str] = []

        def change(old: Keyring) -> Keyring:
            new, secret = add_key(old, name, now=MADE_AT, role="admin", **values)
            made.append(secret.text)
            return new

        self.file.change(change)
        return made[0]

    def said(self) -> list[tuple[str, str]]:
        """What was logged since, but for the audit log: level and text."""
        said = [
            (one["log_level"].name, str(formatEvent(one)))
            for one in self.events
            if one["log_namespace"] != "taskqueue.audit"
        ]
        self.events.clear()
        return said

    def test_from_none_to_one_to_another(self) -> None:
        self.watch.start()
        self.watch.look()
        self.assertTrue(self.gate.open)
        first = self.add("first")
        self.assertTrue(self.gate.open)
        self.watch.look()
        self.assertFalse(self.gate.open)
        identity = self.gate.by_key(first)
        self.add("second")
        self.watch.look()
        self.assertIs(self.gate.refresh(identity), identity)
        self.file.change(lambda old: revoke_keys(old, "first", now=at(1))[0])
        self.watch.look()
        self.assertIsNone(self.gate.refresh(identity))
        self.assertEqual({level for level, _ in self.said()}, {"info"})

    def test_nothing_is_read_that_has_not_changed(self) -> None:
        self.add("a")
        self.watch.start()
        self.patch(self.watch.file, "read", lambda: 1 / 0)
        for _ in range(3):
            self.watch.look()
        with self.assertRaises(ZeroDivisionError):
            self.watch.look(anew=True)

    def test_it_must_be_usable_at_the_start(self) -> None:
        Path(self.path).write_text("{}")
        with self.assertRaises(KeyringUnusable):
            self.watch.start()
        self.assertTrue(self.gate.open, "it is as it was before")

    def test_a_broken_one_changes_nothing(self) -> None:
        secret = self.add("a")
        self.watch.start()
        identity = self.gate.by_key(secret)
        before = Path(self.path).read_bytes()
        Path(self.path).write_text("{}")
        self.said()
        for _ in range(3):
            self.watch.look()
        self.assertIs(self.gate.refresh(identity), identity)
        ((level, text),) = self.said()
        self.assertEqual(level, "error")
        self.assertIn(self.path, text)
        self.assertIn("What it said before stays in force.", text)
        Path(self.path).write_bytes(before)
        self.watch.look()
        self.assertIs(self.gate.refresh(identity), identity)
        self.assertEqual([level for level, _ in self.said()], ["info"])

    def test_others_may_change_it(self) -> None:
        secret = self.add("a")
        self.watch.start()
        identity = self.gate.by_key(secret)
        self.add("b")
        os.chmod(self.path, 0o666)
        self.watch.look()
        self.assertIs(self.gate.refresh(identity), identity)
        self.assertIn("chmod 600", self.said()[-1][1])
        os.chmod(self.path, 0o600)  # which does not touch the time of its content
        self.watch.look()
        self.assertEqual(self.said()[-1][0], "info")

    def test_gone(self) -> None:
        """Nobody opens a broker to everybody by removing a file under it."""
        secret = self.add("a")
        self.watch.start()
        identity = self.gate.by_key(secret)
        os.unlink(self.path)
        self.said()
        for _ in range(3):
            self.watch.look()
        self.watch.look(anew=True)
        self.assertFalse(self.gate.open)
        self.assertIs(self.gate.refresh(identity), identity)
        ((level, text),) = self.said()
        self.assertEqual(level, "error")
        self.assertIn("is not there any more", text)
        self.add("b")
        self.watch.look()
        self.assertIsNone(self.gate.refresh(identity))

    def test_moved_away_and_back(self) -> None:
        self.add("a")
        self.watch.start()
        os.rename(self.path, self.path + ".away")
        self.watch.look()
        os.rename(self.path + ".away", self.path)
        self.watch.look()
        self.watch.look()
        self.assertEqual([level for level, _ in self.said()], ["error", "info"])

    def test_hung_up_where_there_is_none(self) -> None:
        self.watch.start()
        self.watch.look(anew=True)
        self.assertEqual(self.said(), [])

    def test_started_again_without_it(self) -> None:
        self.add("a")
        self.watch.start()
        os.unlink(self.path)
        self.watch.start()
        self.assertTrue(self.gate.open)

    def test_what_expires_is_told(self) -> None:
        self.add("a", expires_at=at(10))
        self.watch.start()
        self.watch.look()
        told = self.keeper.told
        self.keeper.passed = 10.0
        self.watch.look()
        self.assertEqual(self.keeper.told, told + 1)

    def test_warnings_are_told(self) -> None:
        self.add("a")
        os.chmod(self.path, 0o644)
        self.watch.start()
        ((level, text),) = self.said()
        self.assertEqual(level, "warn")
        self.assertIn("chmod 600", text)

    def test_an_entry_for_another_time(self) -> None:
        """The permissions of who is in change with the file."""
        secret = self.add("a")
        self.watch.start()
        identity = self.gate.by_key(secret)
        self.assertTrue(identity.unrestricted)
        self.file.change(
            lambda old: replace(old, keys=tuple(replace(one, role="viewer") for one in old.keys))
        )
        self.watch.look()
        current = self.gate.refresh(identity)
        assert current is not None
        self.assertFalse(current.unrestricted)
