"""The gate of a running broker."""

from __future__ import annotations

import os
import threading
from dataclasses import replace
from typing import Any

from twisted.internet.task import Clock
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.access.editing import add_key, add_user
from taskqueue.access.file import KeyringFile, KeyringUnusable
from taskqueue.access.keyring import Keyring
from taskqueue.config import AccessConfig, Config, HttpConfig, ListenConfig, StoreConfig
from taskqueue.errors import ConfigError, Unauthenticated
from taskqueue.service import TaskQueueService
from taskqueue.service.gatekeeping import LOOK_S
from tests.access.entries import MADE_AT, PASSWORD
from tests.service.test_runner import FromThreads


class GateKeepingCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.path = os.path.abspath(self.mktemp())
        self.clock: Any = Clock()
        self.file = KeyringFile(self.path)

    def make(
        self, *framed: str, store: StoreConfig | None = None, **access: Any
    ) -> TaskQueueService:
        config = Config(
            store=store or StoreConfig(kind="memory"),
            listen=ListenConfig(framed=framed),
            http=HttpConfig(listen=()),
            access=AccessConfig(**{"file": self.path, **access}),
        )
        return TaskQueueService(config, self.clock)

    def start(self, *framed: str, **access: Any) -> TaskQueueService:
        service = self.make(*framed, **access)
        service.startService()
        self.addCleanup(service.stopService)
        return service

    def add(self, name: str = "a") -> str:
        """Add a key; returns it."""
        made: list[str] = []

        def change(old: Keyring) -> Keyring:
            new, secret = add_key(old, name, now=MADE_AT, role="admin")
            made.append(secret.text)
            return new

        self.file.change(change)
        return made[0]


class AuditLogTests(GateKeepingCase):
    def test_it_is_there_from_the_start_and_after_each_hangup(self) -> None:
        path = self.mktemp()
        service = self.start(audit_log=path)
        for _ in range(2):
            self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)
            os.rename(path, path + ".1")
            service.hung_up()

    def test_one_that_cannot_be_written_is_told_of_at_once(self) -> None:
        events: list[Any] = []
        observer: Any = events.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.start(audit_log=os.path.join(self.mktemp(), "audit.log"))
        (ours,) = [one for one in events if one.get("log_namespace") == "taskqueue.audit"]
        self.assertEqual((ours["log_level"].name, ours["reason"]), ("error", os.strerror(2)))


class WatchedTests(GateKeepingCase):
    def test_a_key_made_while_it_runs(self) -> None:
        service = self.start()
        self.assertTrue(service.gate.open)
        self.assertIsNotNone(service.gate.warning)
        secret = self.add()
        self.clock.advance(LOOK_S)
        self.assertFalse(service.gate.open)
        self.assertEqual(service.gate.by_key(secret).name, "a")

    def test_at_once_when_hung_up(self) -> None:
        service = self.start()
        self.add()
        service.hung_up()
        self.assertFalse(service.gate.open)

    def test_a_file_of_a_data_directory(self) -> None:
        directory = self.mktemp()
        self.file = KeyringFile(os.path.join(directory, "access.json"))
        self.add()
        service = self.make(file="", store=StoreConfig(path=directory))
        service.gatekeeping.open()
        self.assertFalse(service.gate.open)

    def test_in_memory_there_is_none(self) -> None:
        """Not that of a broker which happens to have the same working directory."""
        service = self.start(file="")
        self.assertTrue(service.gate.open)
        self.clock.advance(LOOK_S)
        service.hung_up()
        self.assertTrue(service.gate.open)

    def test_one_that_cannot_be_used(self) -> None:
        with open(self.path, "w") as file:
            file.write("nonsense")
        service = self.make()
        with self.assertRaises(KeyringUnusable):
            service.startService()
        self.assertFalse(service.running)

    def test_sessions_last_as_the_new_configuration_says(self) -> None:
        secret = self.add()
        service = self.start()
        token = service.gate.open_session(service.gate.by_key(secret))
        self.clock.advance(100)
        self.assertIsNotNone(service.gate.by_session(token))
        access = replace(service.config.access, session_idle_s=60.0)
        service.reconfigure(replace(service.config, access=access))
        self.clock.advance(61)
        self.assertIsNone(service.gate.by_session(token))

    def test_what_fails_at_a_hangup_keeps_nothing_else_from_it(self) -> None:
        service = self.start()
        called: list[int] = []
        service.at_hangup(lambda: 1 / 0)  # type: ignore[arg-type]
        service.at_hangup(lambda: called.append(1))
        service.hung_up()
        self.assertEqual(called, [1])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class ReachableTests(GateKeepingCase):
    """A broker that everybody could reach, and nobody has to be known to."""

    def test_it_does_not_start(self) -> None:
        service = self.make("tcp:7780")
        error = self.assertRaises(ConfigError, service.startService)
        (problem,) = error.problems
        self.assertIn("tcp:7780 can be reached from other machines", problem)
        self.assertIn(f"--file {self.path}", problem)
        self.assertFalse(service.running)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_the_ways_out(self) -> None:
        self.start("tcp:7780", authentication="open_to_everyone")
        service = self.start("tcp:7780", authentication="required")
        self.assertFalse(service.gate.open)
        self.add()
        self.start("tcp:7780")

    def test_nobody_else_can_reach_it(self) -> None:
        self.start("tcp:7780:interface=127.0.0.1", "unix:/run/a.sock")

    def test_the_sockets_tell(self) -> None:
        service = self.start("systemd:domain=INET:name=framed")
        service.gatekeeping.refuse([])
        with self.assertRaises(ConfigError):
            service.gatekeeping.refuse(["systemd:domain=INET:name=framed"])


class HashingTests(GateKeepingCase):
    """Passwords are checked in threads, as many as there may be."""

    def test_elsewhere(self) -> None:
        self.clock = FromThreads()
        self.file.change(lambda old: add_user(old, "ann", PASSWORD, now=MADE_AT, role="viewer"))
        service = self.start()
        threads: set[str] = set()
        verify = service.gatekeeping._hash

        def noting(function: Any, hashed: str, password: str) -> Any:
            def run(hashed: str, password: str) -> bool:
                threads.add(threading.current_thread().name)
                return bool(function(hashed, password))

            return verify(run, hashed, password)

        self.patch(service.gate, "_hashing", noting)
        answers = [
            service.gate.by_password("ann", password, f"192.0.2.{n}")
            for n, password in enumerate([PASSWORD, "wrong"] * 3)
        ]
        self.assertFalse(any(answer.called for answer in answers))
        while not all(answer.called for answer in answers):
            self.clock.wait()
            self.clock.advance(0)
        for answer in answers[::2]:
            self.assertEqual(self.successResultOf(answer).name, "ann")
        for answer in answers[1::2]:
            self.failureResultOf(answer, Unauthenticated)
        self.assertLessEqual(len(threads), 2)
        self.assertNotIn(threading.current_thread().name, threads)
        service.stopService()
        alive = {thread.name for thread in threading.enumerate()}
        self.assertEqual(alive & threads, set())
