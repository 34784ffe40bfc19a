"""Keys and certificates by which brokers know clients, from the side of each client."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import Clock, deferLater
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.access.editing import add_key, allow_certificate, remove_certificate, revoke_keys
from taskqueue.access.file import KeyringFile
from taskqueue.application import build
from taskqueue.client import TLS
from taskqueue.client.credentials import ApiKey, api_key_for, warn_where_readable
from taskqueue.client.deferreds import TwistedFramework
from taskqueue.client.options import ClientSettings
from taskqueue.client.session import Session
from taskqueue.config import AccessConfig, Config, HttpConfig, ListenConfig, StoreConfig
from taskqueue.errors import BadRequest, Forbidden, Unauthenticated
from taskqueue.wire import MessageType
from tests.client.broker import BrokerCase, flow
from tests.client.peer import Peer
from tests.client.test_tls import FACES
from tests.transport.authority import HOST, LOOPBACK, Files

SECRET = "tq_0123_secretsecretsecret"


class KeyTests(SynchronousTestCase):
    def file(self, content: str = SECRET, mode: int = 0o600) -> str:
        path = self.mktemp()
        Path(path).write_text(content)
        os.chmod(path, mode)
        return path

    def wrong(self, given: str | None = None, **environ: str) -> str:
        text = str(self.assertRaises(BadRequest, api_key_for, given, environ))
        self.assertNotIn("secret", text)
        return text

    def test_where_it_comes_from(self) -> None:
        path = self.file("tq_from_file\n")
        both = {"TASKQUEUE_API_KEY": "tq_from_environment", "TASKQUEUE_API_KEY_FILE": path}
        only = {"TASKQUEUE_API_KEY_FILE": path}
        for given, environ, expected in (
            ("tq_given", both, "tq_given"),
            ("", both, None),
            (None, both, "tq_from_environment"),
            (None, only, "tq_from_file"),
            (None, {}, None),
            (None, {"TASKQUEUE_API_KEY": "", "TASKQUEUE_API_KEY_FILE": ""}, None),
        ):
            self.assertEqual(api_key_for(given, environ).read(), expected)

    def test_who_may_read_the_file(self) -> None:
        for mode in (0o600, 0o400, 0o640, 0o440):
            self.assertEqual(ApiKey(path=self.file(mode=mode)).read(), SECRET)
        for mode in (0o644, 0o604, 0o660, 0o602):
            path = self.file(mode=mode)
            text = self.wrong(TASKQUEUE_API_KEY_FILE=path)
            self.assertIn(f"(mode {mode:o}): chmod 600 {path}", text)

    def test_what_is_no_key(self) -> None:
        self.assertIn("No such file", self.wrong(TASKQUEUE_API_KEY_FILE="/no/where"))
        self.assertIn("is empty", self.wrong(TASKQUEUE_API_KEY_FILE=self.file("\n")))
        self.assertIn("one word", self.wrong(TASKQUEUE_API_KEY_FILE=self.file("a secret")))
        for text in ("a secret", "secret\u20ac", "secret\x07", "secret" * 1000):
            self.assertIn("one word", self.wrong(text))

    def test_it_is_not_shown(self) -> None:
        settings = ClientSettings(api_key=SECRET)
        for shown in (ApiKey(SECRET), settings, api_key_for(SECRET)):
            self.assertNotIn("secret", repr(shown))
        self.assertNotIn("secret", repr(ApiKey(path=self.file())))

    def test_said_where_it_can_be_read_on_the_way(self) -> None:
        told: list[str] = []

        def hear(event: Any) -> None:
            told.append(event["log_format"].format(**event))

        globalLogPublisher.addObserver(hear)
        self.addCleanup(globalLogPublisher.removeObserver, hear)
        key = ApiKey(SECRET)
        for address, tls in (
            ("tq://127.0.0.1", None),
            ("tq://[::1]:1,localhost", None),
            ("unix:/run/a", None),
            ("tqs://queue.example.org", None),
            ("tq://queue.example.org", True),
            ("stdio:", None),
        ):
            warn_where_readable(key, address, tls)
        warn_where_readable(ApiKey(), "tq://queue.example.org", None)
        self.assertEqual(told, [])
        warn_where_readable(key, "tq://localhost,queue.example.org:1", None)
        self.assertIn("goes to tq://queue.example.org:1 unencrypted", told[0])
        self.assertNotIn("secret", told[0])


class GreetingTests(SynchronousTestCase):
    def session(self, key: ApiKey | None) -> Session:
        self.clock = Clock()
        return Session(TwistedFramework(self.clock), "tester", 10.0, key=key)

    def test_hello_has_it(self) -> None:
        for key, expected in ((ApiKey(SECRET), SECRET), (ApiKey(), None), (None, None)):
            hello = Peer(self.session(key)).expect(MessageType.HELLO)
            self.assertEqual(hello.get("key"), expected)

    def test_the_file_is_read_for_each_connection(self) -> None:
        path = self.mktemp()
        Path(path).write_text("tq_old")
        os.chmod(path, 0o600)
        session = self.session(ApiKey(path=path))
        Peer(session).welcome()
        Path(path).write_text("tq_new")
        session.disconnected("test")
        self.assertEqual(Peer(session).expect(MessageType.HELLO)["key"], "tq_new")

    def test_the_file_is_gone(self) -> None:
        """That connection comes to nothing; a later one may find it again."""
        path = self.mktemp()
        Path(path).write_text("tq_old")
        os.chmod(path, 0o600)
        session = self.session(ApiKey(path=path))
        os.rename(path, f"{path}.away")
        peer = Peer(session)
        self.assertEqual((peer.got, peer.aborted), ([], True))
        session.disconnected("test")
        os.rename(f"{path}.away", path)
        self.assertEqual(Peer(session).expect(MessageType.HELLO)["key"], "tq_old")

    def test_refused_at_hello(self) -> None:
        """No repetition would help: what was asked fails, and says why."""
        session = self.session(ApiKey(SECRET))
        peer = Peer(session)
        asked = session.request(MessageType.GET_STATS, {})
        peer.say(MessageType.NACK, {"code": "UNAUTHENTICATED", "message": "not known"})
        session.disconnected("closed")
        self.failureResultOf(asked, Unauthenticated)
        self.assertIsInstance(session.failure, Unauthenticated)

    def test_refused_later(self) -> None:
        """The key may have been replaced by another one: it connects anew."""
        session = self.session(ApiKey(SECRET))
        peer = Peer(session).welcome()
        peer.say(MessageType.NACK, {"code": "UNAUTHENTICATED", "message": "revoked"})
        session.disconnected("closed")
        self.assertIsNone(session.failure)
        Peer(session).welcome()
        self.assertTrue(session.greeted)


class KnowingCase(BrokerCase):
    """Has brokers that want to know who asks."""

    def setUp(self) -> None:
        self.files = Files(self.mktemp())
        self.keyring = KeyringFile(os.path.abspath(f"{self.files.directory}/access.json"))

    def start(self, **listen: Any) -> None:
        config = Config(
            listen=ListenConfig(**{"framed": (f"tcp:0:interface={LOOPBACK}",), **listen}),
            store=StoreConfig(kind="memory"),
            http=HttpConfig(listen=()),
            access=AccessConfig(authentication="required", file=self.keyring.path),
        )
        self.broker = build(config, reactor)
        self.broker.startService()
        self.addCleanup(self.broker.stopService)

    def add_key(self, *allow: str) -> str:
        made: list[str] = []

        def add(keyring: Any) -> Any:
            changed, secret = add_key(keyring, "tests", now=datetime.now(UTC), allow=allow)
            made.append(secret.text)
            return changed

        self.keyring.change(add)
        return made[0]


class KnownTests(KnowingCase):
    @flow
    async def test_every_face_with_a_key(self) -> None:
        key = self.add_key("submit:default", "read:*")
        self.start()
        for face in FACES:
            self.assertEqual(await face(self.address(), api_key=key), "pending")
            with self.assertRaises(Unauthenticated):
                await face(self.address(), api_key="tq_no_such")
            with self.assertRaises(Unauthenticated):
                await face(self.address(), api_key="")
            self.patch(os, "environ", {**os.environ, "TASKQUEUE_API_KEY": key})
            self.assertEqual(await face(self.address()), "pending")

    @flow
    async def test_what_it_may_not(self) -> None:
        key = self.add_key("submit:mail")
        self.start()
        client = await self.connect(api_key=key)
        with self.assertRaises(Forbidden):
            await client.claim(["mail"])
        self.assertNotIn(key, repr(client.broker))

    @flow
    async def test_a_revoked_key(self) -> None:
        """Within seconds the connection ends, and what is asked then says why."""
        key = self.add_key("submit", "read")
        self.start()
        client = await self.connect(api_key=key)
        await client.submit("t", b"")
        now = datetime.now(UTC)
        self.keyring.change(lambda keyring: revoke_keys(keyring, "tests", now=now)[0])
        with self.assertRaises(Unauthenticated):
            while True:
                await client.stats()
                await deferLater(reactor, 0.05, lambda: None)

    @flow
    async def test_a_certificate_that_is_known(self) -> None:
        """It is who the client is; when the entry is removed, its open connections end."""
        now = datetime.now(UTC)
        self.keyring.change(
            lambda keyring: allow_certificate(
                keyring, "workers", now=now, san="DNS:w*.example.org", allow=["admin"]
            )
        )
        self.start(
            framed=(f"tls:port=0:interface={LOOPBACK}",),
            tls_certificate=self.files.issue(),
            tls_client_ca=self.files.ca,
            tls_client="required",
        )
        address = self.address().replace("tq://127.0.0.1", f"tqs://{HOST}")
        known, other = (
            TLS(ca=self.files.ca, certificate=self.files.issue(f"{name}.example.org", to=name))
            for name in ("w1", "x1")
        )
        for face in FACES:
            self.assertEqual(await face(address, tls=known), "pending")
            with self.assertRaises(Unauthenticated):
                await face(address, tls=other)
        client = await self.connect(address, tls=known)
        await client.stats()
        self.keyring.change(lambda keyring: remove_certificate(keyring, "workers"))
        with self.assertRaises(Unauthenticated):
            while True:
                await client.stats()
                await deferLater(reactor, 0.05, lambda: None)
