"""TLS and proxies at every door, over real sockets."""

from __future__ import annotations

import os
import socket
import ssl
from datetime import UTC, datetime, timedelta
from typing import Any

from twisted.internet import endpoints, reactor
from twisted.internet.task import Clock, deferLater
from twisted.logger import globalLogPublisher
from twisted.python.systemd import ListenFDs
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.application import build
from taskqueue.errors import TaskQueueError
from taskqueue.frontends.connection import Connection
from taskqueue.frontends.doorways import Doorways
from taskqueue.frontends.listening import EndpointService
from taskqueue.frontends.refusals import TELL_EVERY_S, Refusals, describe
from taskqueue.strictjson import dumps
from taskqueue.transport.naming import certificate_of
from tests.client.broker import flow
from tests.frontends.securely import (
    FRAMES,
    HTTP,
    LINES,
    PLAIN,
    TLS,
    SecureCase,
    connected,
    outdated,
    read_until,
    renegotiate,
    talk,
    talk_plainly,
    trusting,
)
from tests.frontends.talking import LOOPBACK
from tests.transport.authority import stranger

DOORS = (FRAMES, LINES, HTTP)


class DoorwayCase(SecureCase):
    def start_all(self, **values: Any) -> Any:
        """A broker with all three doors, in the order of L{DOORS}."""
        self.hear_log()
        return self.start(**{"framed": (TLS,), "lines": (TLS,), "http": (TLS,), **values})

    def hear_log(self) -> None:
        """What doors say; clients that other tests left may still say something, too."""
        self.told: list[str] = []

        def hear(event: Any) -> None:
            if event.get("log_namespace", "").startswith("taskqueue.frontends"):
                self.told.append(event["log_format"].format(**event))

        globalLogPublisher.addObserver(hear)
        self.addCleanup(globalLogPublisher.removeObserver, hear)

    async def refusals(self, broker: Any, code: str, count: int) -> None:
        """Wait until so many connections were refused for this reason."""
        while broker.traffic.refused[code] < count:
            await deferLater(reactor, 0.01, lambda: None)
        self.assertEqual(broker.traffic.refused[code], count)

    def doorways(self, broker: Any) -> Doorways:
        found = broker.getServiceNamed("doorways")
        assert isinstance(found, Doorways)
        return found


class ServingTests(DoorwayCase):
    @flow
    async def test_every_door(self) -> None:
        broker = self.start_all()
        context = trusting(self.files)
        for number, (said, sign) in enumerate(DOORS):
            heard = await self.in_thread(talk, self.port(broker, number), context, said, sign)
            self.assertIn(sign, heard)
        self.assertEqual(broker.traffic.refused.total(), 0)

    @flow
    async def test_a_door_that_speaks_first(self) -> None:
        """What is said before the handshake is over is heard after it, and keeps nobody out."""
        pem = f"{self.files.directory}/server.pem"
        of_twisted = f"ssl:0:interface={LOOPBACK}:privateKey={pem}:certKey={pem}"
        for endpoint in (TLS, of_twisted):
            broker = self.start(framed=(TLS,), faktory=(endpoint,), http=())
            said = b'HELLO {"v":2}\r\nINFO\r\n'
            heard = await self.in_thread(
                talk, self.port(broker, 1), trusting(self.files), said, b"faktory_version"
            )
            self.assertTrue(heard.startswith(b'+HI {"v":2}\r\n+OK\r\n$'), heard)

    @flow
    async def test_plain_doors_beside_it(self) -> None:
        broker = self.start_all(lines=(PLAIN,))
        said, sign = LINES

        def ask() -> bytes:
            with connected(self.port(broker, 1)) as plain:
                plain.sendall(said)
                return read_until(plain, sign)

        self.assertIn(sign, await self.in_thread(ask))

    @flow
    async def test_versions_and_protocols(self) -> None:
        """TLS 1.3 where the client has it, 1.2 at least; HTTP/1.1 is chosen at its door."""
        broker = self.start_all()

        def shake(number: int, highest: ssl.TLSVersion, offered: list[str]) -> tuple[Any, ...]:
            context = trusting(self.files)
            context.maximum_version = highest
            context.set_alpn_protocols(offered)
            plain = connected(self.port(broker, number))
            with plain, context.wrap_socket(plain, server_hostname="localhost") as secure:
                cipher = secure.cipher() or ("",)
                return secure.version(), secure.selected_alpn_protocol(), cipher[0]

        newest, older = ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.TLSv1_2
        for number, highest, offered, expected in (
            (0, newest, ["h2"], ("TLSv1.3", None)),
            (2, newest, ["h2", "http/1.1"], ("TLSv1.3", "http/1.1")),
            (2, older, ["h2", "http/1.1"], ("TLSv1.2", "http/1.1")),
            (2, newest, ["h2"], ("TLSv1.3", None)),
        ):
            version, protocol, cipher = await self.in_thread(shake, number, highest, offered)
            self.assertEqual((version, protocol), expected)
            if version == "TLSv1.2":
                self.assertTrue(cipher.startswith("ECDHE-"), cipher)

    @flow
    async def test_long_messages_and_many(self) -> None:
        """What is longer than a record of TLS, and what is said in one breath, is whole."""
        broker = self.start_all(max_frame_bytes=2**20, max_payload_bytes=2**19)
        payload = "x" * 200_000
        tasks = [{"type": "t", "payload": payload}, {"type": "t", "payload": payload}]
        said = dumps({"op": "submit", "tasks": tasks}) + b"\n" + LINES[0] * 3
        heard = await self.in_thread(
            talk, self.port(broker, 1), trusting(self.files), said, b'"tasks":[]}\n'
        )
        self.assertEqual(heard.count(b"\n"), 4, heard[-300:])
        self.assertEqual(heard.count(payload.encode()), 2)

    @flow
    async def test_old_versions_are_refused(self) -> None:
        broker = self.start_all()
        context = outdated(self.files)
        for number, (said, sign) in enumerate(DOORS):
            port = self.port(broker, number)
            error = await self.failing(talk, port, context, said, sign)
            self.assertIsInstance(error, ssl.SSLError)
        await self.refusals(broker, "TLS_HANDSHAKE_FAILED", 3)
        self.assertIn("nothing newer than TLS 1.1", self.told[-1])

    @flow
    async def test_renegotiation_is_refused(self) -> None:
        broker = self.start_all()
        for number, (said, sign) in enumerate(DOORS):
            error = await self.failing(
                renegotiate, self.port(broker, number), self.files, said, sign
            )
            self.assertIn("no renegotiation", str(error))

    @flow
    async def test_plain_bytes_at_a_secure_door(self) -> None:
        """They are answered with an alert of TLS, counted and told of."""
        broker = self.start_all()
        for number, (said, _) in enumerate(DOORS):
            heard = await self.in_thread(talk_plainly, self.port(broker, number), said + bytes(9))
            self.assertEqual(heard[:2], b"\x15\x03", heard)
        await self.refusals(broker, "TLS_HANDSHAKE_FAILED", 3)
        self.assertEqual(broker.traffic.requests.total(), 0)
        self.assertTrue(any("is refused: TLS: it is not TLS" in told for told in self.told))

    @flow
    async def test_secure_bytes_at_a_plain_door(self) -> None:
        broker = self.start_all(framed=(PLAIN,), lines=(PLAIN,), http=(PLAIN,), tls_certificate="")
        for number, (said, sign) in enumerate(DOORS):
            port = self.port(broker, number)
            error = await self.failing(talk, port, trusting(self.files), said, sign)
            self.assertIsInstance(error, (ssl.SSLError, OSError))
        refused = broker.traffic.refused
        self.assertEqual(refused, {"FRAME_TOO_LARGE": 1, "BAD_FRAME": 1})
        self.assertEqual(broker.traffic.requests.total(), 0)

    @flow
    async def test_a_client_that_does_not_trust_us(self) -> None:
        broker = self.start_all()
        context = ssl.create_default_context()
        error = await self.failing(talk, self.port(broker), context, *FRAMES)
        self.assertIsInstance(error, ssl.SSLCertVerificationError)
        await self.refusals(broker, "TLS_HANDSHAKE_FAILED", 1)
        self.assertIn("does not know who signed our certificate", self.told[-1])

    @flow
    async def test_a_name_of_many(self) -> None:
        """Of a directory, the certificate for the host that the client names is shown."""
        directory = self.files.directory / "many"
        directory.mkdir()
        for name, host in (("many/a", "a.example.org"), ("many/b", "localhost")):
            self.files.issue(host, to=name)
        self.files.issue("*.example.net", to="many/c")
        broker = self.start(
            framed=(f"tls:{os.path.abspath(directory)}:port=0:interface={LOOPBACK}",),
            tls_certificate="",
        )

        def shown(host: str) -> Any:
            context = trusting(self.files)
            context.check_hostname = False
            plain = connected(self.port(broker))
            with plain, context.wrap_socket(plain, server_hostname=host) as secure:
                return secure.getpeercert()["subjectAltName"][0][1]

        for host, expected in (
            ("localhost", "localhost"),
            ("w1.example.net", "*.example.net"),
            ("a.example.org", "a.example.org"),
            ("else.example.com", "a.example.org"),
        ):
            self.assertEqual(await self.in_thread(shown, host), expected)

    @flow
    async def test_a_new_certificate(self) -> None:
        """Connections that are open go on; new ones see the new certificate."""
        broker = self.start_all()
        context = trusting(self.files)
        context.check_hostname = False

        def shown() -> Any:
            with connected(self.port(broker)) as plain, context.wrap_socket(plain) as secure:
                return secure.getpeercert()["subjectAltName"][0][1]

        plain = await self.in_thread(connected, self.port(broker))
        secure = await self.in_thread(context.wrap_socket, plain)
        self.addCleanup(secure.close)
        self.files.issue("new.example.org")
        while await self.in_thread(shown) != "new.example.org":
            await deferLater(reactor, 0.05, lambda: None)
        await self.in_thread(secure.sendall, FRAMES[0])
        self.assertIn(FRAMES[1], await self.in_thread(read_until, secure, FRAMES[1]))

    @flow
    async def test_a_socket_of_systemd(self) -> None:
        with socket.socket() as given:
            given.bind((LOOPBACK, 0))
            given.listen()
            given.setblocking(False)
            found = ListenFDs([os.dup(given.fileno())], ["framed"])
            self.patch(endpoints._SystemdParser, "_sddaemon", found)
            self.start_all(framed=("tls:systemd=framed",))
            port = given.getsockname()[1]
            heard = await self.in_thread(talk, port, trusting(self.files), *FRAMES)
        self.assertIn(FRAMES[1], heard)

    def test_sighup_renews_at_once(self) -> None:
        broker = self.start_all()
        [identity, *_] = self.doorways(broker).identities
        before = identity.expires_at
        self.files.issue(not_after=datetime.now(UTC) + timedelta(days=30))
        broker.hung_up()
        self.assertNotEqual(identity.expires_at, before)

    def test_no_certificate_no_start(self) -> None:
        for certificate, why in (
            ("/no/where.pem", "No such file"),
            (self.files.ca, "holds no private key"),
        ):
            broker = build(self.config(tls_certificate=certificate), reactor)
            error = self.assertRaises(TaskQueueError, broker.startService)
            self.assertIn(f"cannot listen on {TLS} for taskqueue (framed): ", str(error))
            self.assertIn(why, str(error))
            self.assertEqual(len(str(error).splitlines()), 1)


class UnfinishedTests(DoorwayCase):
    """Handshakes that do not come to their end."""

    @flow
    async def test_half_open(self) -> None:
        """At each door: nothing said at all, or half of a greeting."""
        broker = self.start_all(handshake_timeout_s=0.2, idle_timeout_s=60.0)
        greeting = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
        for number in range(3):
            for said in (b"", greeting):
                plain = await self.in_thread(connected, self.port(broker, number))
                self.addCleanup(plain.close)
                plain.sendall(said)
                plain.settimeout(20)
                with self.assertRaises(ConnectionResetError):
                    await self.in_thread(plain.recv, 1)
        await self.refusals(broker, "TLS_HANDSHAKE_TIMED_OUT", 6)
        self.assertIn("not over within 0.2 s (handshake_timeout_s)", self.told[-1])
        self.assertEqual(broker.traffic.open.total(), 0)

    @flow
    async def test_they_count(self) -> None:
        """One more than the cap is told so, once its own handshake is over."""
        broker = self.start_all(max_connections=1)
        half = await self.in_thread(connected, self.port(broker))
        self.addCleanup(half.close)
        while broker.traffic.open["framed"] < 1:
            await deferLater(reactor, 0.01, lambda: None)
        said, _ = FRAMES
        heard = await self.in_thread(
            talk, self.port(broker), trusting(self.files), said, b"TOO_MANY_CONNECTIONS"
        )
        self.assertIn(b"TOO_MANY_CONNECTIONS", heard)

    @flow
    async def test_whoever_is_through_has_time(self) -> None:
        broker = self.start_all(handshake_timeout_s=0.2)
        context = trusting(self.files)
        plain = await self.in_thread(connected, self.port(broker, 1))
        secure = await self.in_thread(context.wrap_socket, plain, False, True, True, "localhost")
        self.addCleanup(secure.close)
        await deferLater(reactor, 0.5, lambda: None)
        await self.in_thread(secure.sendall, LINES[0])
        self.assertIn(LINES[1], await self.in_thread(read_until, secure, LINES[1]))

    @flow
    async def test_whoever_goes_is_not_refused(self) -> None:
        broker = self.start_all()
        plain = await self.in_thread(connected, self.port(broker))
        while broker.traffic.open["framed"] < 1:
            await deferLater(reactor, 0.01, lambda: None)
        plain.close()
        while broker.traffic.open["framed"]:
            await deferLater(reactor, 0.01, lambda: None)
        self.assertEqual(broker.traffic.refused.total(), 0)


class ClientCertificateTests(DoorwayCase):
    def start_asking(self, word: str) -> Any:
        return self.start_all(tls_client_ca=self.files.ca, tls_client=word)

    def peer(self, broker: Any) -> Any:
        factory = next(child.factory for child in broker if isinstance(child, EndpointService))
        [connection] = factory.connections
        assert isinstance(connection, Connection)
        return certificate_of(connection.transport)

    @flow
    async def test_who_it_is(self) -> None:
        """The subject and the names that were verified; nothing where none was shown."""
        broker = self.start_asking("optional")
        shown = self.files.issue("w1.example.org", to="w1", common_name="worker 1")
        for own, subject, names in (
            (shown, "CN=worker 1", ("DNS:w1.example.org",)),
            ("", None, ()),
        ):
            plain = await self.in_thread(connected, self.port(broker))
            context = trusting(self.files, own)
            secure = await self.in_thread(
                context.wrap_socket, plain, False, True, True, "localhost"
            )
            await self.in_thread(secure.sendall, FRAMES[0])
            await self.in_thread(read_until, secure, FRAMES[1])
            found = self.peer(broker)
            if subject is None:
                self.assertIsNone(found)
            else:
                self.assertIn(subject, found.subject)
                self.assertEqual(found.names, names)
            secure.close()
            while broker.traffic.open.total():
                await deferLater(reactor, 0.01, lambda: None)

    @flow
    async def test_who_is_let_in(self) -> None:
        broker = self.start_asking("required")
        good = self.files.issue(to="good")
        for own, why in (
            ("", "showed no certificate"),
            (self.files.issue(to="old", expired=True), "expired"),
            (self.files.issue(to="foreign", ca=stranger()), "certificate verify failed"),
        ):
            for number, (said, sign) in enumerate(DOORS):
                before = broker.traffic.refused["TLS_HANDSHAKE_FAILED"]
                context = trusting(self.files, own)
                error = await self.failing(talk, self.port(broker, number), context, said, sign)
                self.assertIsInstance(error, OSError)
                await self.refusals(broker, "TLS_HANDSHAKE_FAILED", before + 1)
            del why
        for number, (said, sign) in enumerate(DOORS):
            context = trusting(self.files, good)
            heard = await self.in_thread(talk, self.port(broker, number), context, said, sign)
            self.assertIn(sign, heard)

    @flow
    async def test_optional_takes_no_bad_one(self) -> None:
        broker = self.start_asking("optional")
        context = trusting(self.files, self.files.issue(to="foreign", ca=stranger()))
        await self.failing(talk, self.port(broker), context, *FRAMES)
        await self.refusals(broker, "TLS_HANDSHAKE_FAILED", 1)


class ProxyTests(DoorwayCase):
    HEADER = b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 7780\r\n"

    def host(self, broker: Any) -> str:
        factory = next(child.factory for child in broker if isinstance(child, EndpointService))
        [connection] = factory.connections
        return str(connection.host)

    @flow
    async def test_listed(self) -> None:
        broker = self.start_all(framed=(f"haproxy:{PLAIN}",), proxy_peers=("127.0.0.0/8",))
        plain = await self.in_thread(connected, self.port(broker))
        self.addCleanup(plain.close)
        plain.sendall(self.HEADER + FRAMES[0])
        await self.in_thread(read_until, plain, FRAMES[1])
        self.assertEqual(self.host(broker), "192.0.2.7")

    @flow
    async def test_tls_behind_a_proxy(self) -> None:
        """The proxy's word comes first, then the handshake of whoever it speaks for."""
        broker = self.start_all(framed=(f"haproxy:{TLS}",))
        plain = await self.in_thread(connected, self.port(broker))
        plain.sendall(self.HEADER)
        context = trusting(self.files)
        secure = await self.in_thread(context.wrap_socket, plain, False, True, True, "localhost")
        self.addCleanup(secure.close)
        await self.in_thread(secure.sendall, FRAMES[0])
        await self.in_thread(read_until, secure, FRAMES[1])
        self.assertEqual(self.host(broker), "192.0.2.7")

    @flow
    async def test_any_other(self) -> None:
        """Neither may it say whom it speaks for, nor anything else."""
        proxied, others = f"haproxy:{PLAIN}", ("192.0.2.0/24", "unix", "2001:db8::1")
        broker = self.start_all(
            framed=(proxied,), lines=(proxied,), http=(proxied,), proxy_peers=others,
            tls_certificate="",
        )  # fmt: skip
        for number, (said, _) in enumerate(DOORS):
            plain = await self.in_thread(connected, self.port(broker, number))
            self.addCleanup(plain.close)
            try:
                plain.sendall(self.HEADER + said)
                heard = await self.in_thread(plain.recv, 1)
            except ConnectionError:
                heard = b""
            self.assertEqual(heard, b"")
        await self.refusals(broker, "NOT_A_PROXY", 3)
        self.assertEqual(broker.traffic.accepted.total(), 0)
        self.assertIn("none of [listen] proxy_peers", self.told[-1])

    @flow
    async def test_over_a_unix_socket(self) -> None:
        os.makedirs(directory := os.path.relpath(self.mktemp()))
        path = os.path.join(directory, "s")
        for listed, expected in ((("unix",), FRAMES[1]), (("127.0.0.1",), b"")):
            broker = self.start_all(framed=(f"haproxy:unix:{path}",), proxy_peers=listed)
            plain = socket.socket(socket.AF_UNIX)
            self.addCleanup(plain.close)
            plain.settimeout(20)
            plain.connect(path)
            try:
                plain.sendall(self.HEADER + FRAMES[0])
                heard = await self.in_thread(read_until, plain, FRAMES[1])
            except ConnectionError:
                heard = b""
            self.assertIn(expected, heard)
            self.assertEqual(bool(heard), bool(expected))
            await self.stop(broker)


class RefusalsTests(SynchronousTestCase):
    def test_many_are_told_of_together(self) -> None:
        clock, told = Clock(), []

        class Service:
            class traffic:
                refused: Any = __import__("collections").Counter()

            @staticmethod
            def moments() -> Any:
                return type("Now", (), {"mono": clock.seconds()})

        refusals = Refusals(Service)  # type: ignore[arg-type]
        hear = lambda event: told.append(event["log_format"].format(**event))  # noqa: E731
        globalLogPublisher.addObserver(hear)
        self.addCleanup(globalLogPublisher.removeObserver, hear)
        for _ in range(5):
            refusals.count("A", "192.0.2.1:1", "it is bad")
        refusals.count("B", "192.0.2.1:1", "it is worse")
        self.assertEqual(len(told), 2)
        clock.advance(TELL_EVERY_S)
        refusals.count("A", "192.0.2.1:1", "it is bad")
        self.assertIn("(and 4 more like it since it was last told)", told[-1])
        self.assertEqual(Service.traffic.refused, {"A": 6, "B": 1})

    def test_peers(self) -> None:
        self.assertEqual(describe(None), "a Unix socket")
