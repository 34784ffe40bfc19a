"""
Clients that are known by their certificates, at every door, over real sockets; and keys and
cookies under TLS.
"""

from __future__ import annotations

import json
import ssl
from typing import Any

from taskqueue.access.keyring import CertificateEntry, KeyEntry, Keyring, digest_of, new_secret
from taskqueue.wire import MessageType, decode, encode
from tests.client.broker import flow
from tests.frontends.securely import TLS, SecureCase, talk, trusting
from tests.operations.keys import MADE_AT

#: What a worker's certificate allows.
ALLOWED = ("claim:mail", "metrics")

HELLO = encode(MessageType.HELLO, {"id": 1})
CLAIM_MAIL = encode(MessageType.CLAIM_TASK, {"id": 2, "queues": ["mail"], "wait_s": 0})
CLAIM_SMS = encode(MessageType.CLAIM_TASK, {"id": 3, "queues": ["sms"], "wait_s": 0})


def asked(path: str, method: str = "GET", body: Any = None, **headers: str) -> bytes:
    """A request after which the connection ends."""
    data = b"" if body is None else json.dumps(body).encode()
    lines = [f"{method} {path} HTTP/1.1", "host: localhost", "connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None:
        lines += ["content-type: application/json", f"content-length: {len(data)}"]
    return "\r\n".join([*lines, "", ""]).encode() + data


class CertificateTests(SecureCase):
    def setUp(self) -> None:
        super().setUp()
        self.shown = self.files.issue("worker1.example", to="worker1", common_name="worker 1")
        self.other = self.files.issue("worker9.example", to="worker9", common_name="worker 9")
        self.secret = new_secret()

    def start_knowing(self) -> Any:
        """A broker with all doors, which knows one certificate and one key."""
        broker = self.start(
            framed=(TLS,),
            lines=(TLS,),
            http=(TLS,),
            tls_client="optional",
            tls_client_ca=self.files.ca,
        )
        worker = CertificateEntry(
            name="worker", id="c1", san="DNS:worker1.example", allow=ALLOWED, created_at=MADE_AT
        )
        admin = KeyEntry(
            name="admin",
            allow=("admin",),
            created_at=MADE_AT,
            id=self.secret.id,
            sha256=digest_of(self.secret.text),
        )
        self.keyring = Keyring(keys=(admin,), certificates=(worker,))
        broker.gate.adopt(self.keyring)
        return broker

    async def say(self, broker: Any, door: int, said: bytes, sign: bytes, shown: str = "") -> bytes:
        context: ssl.SSLContext = trusting(self.files, shown)
        heard: bytes = await self.in_thread(talk, self.port(broker, door), context, said, sign)
        return heard

    @flow
    async def test_frames(self) -> None:
        broker = self.start_knowing()
        heard = await self.say(broker, 0, HELLO + CLAIM_MAIL + CLAIM_SMS, b'"id":3', self.shown)
        self.assertIn(b'"kind":"certificate"', heard)
        self.assertIn(b'"tasks":[]', heard)
        self.assertIn(b"claim:sms", heard)
        for shown in ("", self.other):
            heard = await self.say(broker, 0, HELLO, b"UNAUTHENTICATED", shown)
            self.assertEqual(decode(heard[4:])[1]["code"], "UNAUTHENTICATED")

    @flow
    async def test_lines(self) -> None:
        """Without HELLO too: who it is, is known."""
        broker = self.start_knowing()
        said = b'{"op":"claim","queues":["mail"],"wait_s":0}\n'
        heard = await self.say(broker, 1, said, b"\n", self.shown)
        self.assertIn(b'"tasks":[]', heard)
        heard = await self.say(broker, 1, said.replace(b"mail", b"sms"), b"\n", self.shown)
        self.assertIn(b"FORBIDDEN", heard)
        for shown in ("", self.other):
            heard = await self.say(broker, 1, said, b"\n", shown)
            self.assertIn(b"UNAUTHENTICATED", heard)

    @flow
    async def test_http(self) -> None:
        broker = self.start_knowing()
        for path, shown, status in (
            ("/metrics", self.shown, b"200"),
            ("/api/v1/session", self.shown, b"200"),
            ("/api/v1/tasks", self.shown, b"403"),
            ("/metrics", self.other, b"401"),
            ("/metrics", "", b"401"),
            ("/live", "", b"200"),
        ):
            heard = await self.say(broker, 2, asked(path), b"no such sign", shown)
            self.assertEqual(heard.split()[1], status, (path, shown))
            self.assertEqual(b"stands for nobody here" in heard, shown == self.other)

    @flow
    async def test_a_key_comes_before_a_certificate(self) -> None:
        broker = self.start_knowing()
        said = asked("/api/v1/stats", authorization=f"Bearer {self.secret.text}")
        heard = await self.say(broker, 2, said, b"no such sign", self.shown)
        self.assertEqual(heard.split()[1], b"200")
        hello = encode(MessageType.HELLO, {"id": 1, "key": self.secret.text})
        heard = await self.say(broker, 0, hello, b'"id":1', self.shown)
        self.assertIn(b'"name":"admin"', heard)

    @flow
    async def test_the_cookie_is_for_tls_only(self) -> None:
        broker = self.start_knowing()
        said = asked("/api/v1/session", "POST", {"key": self.secret.text})
        heard = await self.say(broker, 2, said, b"no such sign")
        [cookie] = [line for line in heard.split(b"\r\n") if line.lower().startswith(b"set-cookie")]
        for attribute in (b"HttpOnly", b"SameSite=Strict", b"Secure", b"Path=/"):
            self.assertIn(b"; " + attribute, cookie)
        value = cookie.partition(b": ")[2].partition(b";")[0].decode()
        heard = await self.say(broker, 2, asked("/api/v1/stats", cookie=value), b"no such sign")
        self.assertEqual(heard.split()[1], b"200")

    @flow
    async def test_revoked_while_it_waits(self) -> None:
        """The entry of a certificate is removed: a claim that waits is answered, then it ends."""
        broker = self.start_knowing()
        waiting = encode(MessageType.CLAIM_TASK, {"id": 2, "queues": ["mail"], "wait_s": 30})
        heard = self.say(broker, 0, HELLO + waiting, b"UNAUTHENTICATED", self.shown)

        def revoke() -> None:
            if broker.broker.ledger.claims:
                broker.gate.adopt(Keyring(keys=self.keyring.keys))
            else:
                broker.reactor.callLater(0.01, revoke)

        revoke()
        said = await heard
        self.assertLess(said.index(b'"tasks":[]'), said.index(b"UNAUTHENTICATED"))
