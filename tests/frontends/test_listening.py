"""Endpoints of every kind, and what becomes of those that cannot be listened on."""

import gc
import os
import socket
import stat
import weakref
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from OpenSSL.crypto import X509, PKey
from OpenSSL.SSL import TLS_CLIENT_METHOD, Connection, Context
from twisted.internet import endpoints, reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import TCP4ClientEndpoint, UNIXClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.protocol import Factory
from twisted.internet.ssl import CertificateOptions
from twisted.internet.testing import MemoryReactorClock
from twisted.python.systemd import ListenFDs
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from taskqueue.config import StoreConfig
from taskqueue.frontends import listening
from taskqueue.frontends.listening import CannotListen, EndpointService
from taskqueue.wire import MessageType, encode
from tests.client.broker import flow
from tests.frontends.talking import ANY_PORT, LOOPBACK, BrokerTestCase


class EndpointServiceTests(SynchronousTestCase):
    def setUp(self):
        self.reactor = MemoryReactorClock()

    def make(self, description):
        return EndpointService(description, Factory(), self.reactor, "tests")

    def refusal(self, description):
        service = self.make(description)
        error = self.assertRaises(CannotListen, service.startService)
        self.assertFalse(service.running)
        self.assertIsNone(service.port)
        text = str(error)
        self.assertEqual(len(text.splitlines()), 1, text)
        self.assertIn(f"cannot listen on {description} for tests: ", text)
        return text

    def test_listens_while_it_runs(self):
        service = self.make("tcp:7780")
        service.startService()
        [(port, *_)] = self.reactor.tcpServers
        self.assertEqual(port, 7780)
        self.assertIsNotNone(service.port)
        self.successResultOf(service.stopService() or succeed(None))
        self.assertIsNone(service.port)
        self.assertIsNone(service.stopService())

    def test_a_burst_may_wait_to_be_accepted(self):
        service = self.make("tcp:7780")
        service.startService()
        self.make("tcp:7781:backlog=7").startService()
        backlogs = [backlog for _, _, backlog, _ in self.reactor.tcpServers]
        self.assertEqual(backlogs, [listening.BACKLOG, 7])

    def test_what_is_no_endpoint(self):
        self.refusal("tcp")
        self.refusal("nonsense:1")
        self.refusal("tcp:port")

    def slow(self):
        """A service whose endpoint answers late, and that answer."""
        answer = Deferred()

        class Slow:
            def listen(self, factory):
                return answer

        self.patch(listening, "serverFromString", lambda *_: Slow())
        service = self.make("slow:")
        service.startService()
        return service, answer

    def test_listens_late(self):
        service, answer = self.slow()
        port = self.reactor.listenTCP(1, Factory())
        answer.callback(port)
        self.assertIs(service.port, port)

    def test_listens_too_late(self):
        """An endpoint that was asked in time, but answers after the stop."""
        service, answer = self.slow()
        service.stopService()
        port = self.reactor.listenTCP(1, Factory())
        stopped = []
        port.stopListening = lambda: stopped.append(True)
        answer.callback(port)
        self.assertEqual((stopped, service.port), ([True], None))

    def test_fails_too_late(self):
        """What cannot be raised any more is logged."""
        _, answer = self.slow()
        answer.errback(OSError("no"))
        self.assertEqual(len(self.flushLoggedErrors(OSError)), 1)

    def test_systemd_without_a_socket(self):
        self.refusal("systemd:domain=INET:index=0")


class RealEndpointTests(BrokerTestCase):
    def greet(self, connecting):
        """Say HELLO on a connection, and return what the broker calls the peer."""

        async def play():
            talker = await connecting
            await talker.ask(MessageType.HELLO)
            return talker

        return Deferred.fromCoroutine(play())

    @flow
    async def test_a_connection_that_is_gone_leaves_nothing_to_collect(self):
        """So that its memory does not wait until the garbage collector comes by."""
        broker = self.start()
        gone = await self.connect(broker)
        await gone.ask(MessageType.HELLO, client="gone")
        await gone.ask(MessageType.SUBMIT_TASK, tasks=[{"type": "t"}])
        self.assertEqual(len((await gone.ask(MessageType.CLAIM_TASK))["tasks"]), 1)
        connection = self.only_peer(broker)
        parts = connection, connection.session, connection.transport
        left = [weakref.ref(part) for part in parts]
        other = await self.connect(broker)
        gc.disable()
        self.addCleanup(gc.enable)
        del connection, parts
        gone.transport.loseConnection()
        await gone.gone
        while broker.traffic.open.total() > 1:
            await other.ask(MessageType.HELLO)
        await other.ask(MessageType.HELLO)
        self.assertEqual([part() for part in left], [None] * 3)

    def only_peer(self, broker):
        factory = next(child.factory for child in broker if isinstance(child, EndpointService))
        [connection] = factory.connections
        return connection

    def test_busy_port(self):
        with socket.socket() as busy:
            busy.bind((LOOPBACK, 0))
            busy.listen()
            description = f"tcp:{busy.getsockname()[1]}:interface={LOOPBACK}"
            service = EndpointService(description, Factory(), reactor, "tests")
            text = str(self.assertRaises(CannotListen, service.startService))
        self.assertEqual(len(text.splitlines()), 1)
        self.assertIn(description, text)
        self.assertIn("in use", text)

    def test_unix(self):
        path = os.path.join(self.mktemp_short(), "socket")
        broker = self.start(framed=(f"unix:{path}",))

        async def play():
            await self.greet(self.connect_to(UNIXClientEndpoint(reactor, path)))
            self.assertEqual(self.only_peer(broker).host, "local")
            self.assertEqual(self.only_peer(broker).session.holder.name, "local")

        return Deferred.fromCoroutine(play())

    def test_who_may_use_a_unix_socket(self):
        """The broker's user and group, unless it says otherwise."""
        for mode, expected in (("", 0o660), (":mode=600", 0o600), (":666", 0o666)):
            path = os.path.join(self.mktemp_short(), "socket")
            self.start(framed=(f"unix:{path}{mode}",))
            found = os.stat(path)
            self.assertTrue(stat.S_ISSOCK(found.st_mode))
            self.assertEqual(stat.S_IMODE(found.st_mode), expected)

    def left_behind(self):
        """The socket of a broker that was killed, whose number this process has now."""
        path = os.path.join(self.mktemp_short(), "socket")
        with socket.socket(socket.AF_UNIX) as killed:
            killed.bind(path)
        os.symlink(str(os.getpid()), f"{path}.lock")
        return path

    def test_a_socket_that_was_left_behind(self):
        path = self.left_behind()
        self.start(framed=(f"unix:{path}",))

        async def play():
            await self.greet(self.connect_to(UNIXClientEndpoint(reactor, path)))

        return Deferred.fromCoroutine(play())

    def test_what_is_not_removed(self):
        """A socket where somebody listens, or no socket at all."""
        path = os.path.join(self.mktemp_short(), "socket")
        first = self.start(framed=(f"unix:{path}",))
        second = EndpointService(f"unix:{path}", Factory(), reactor, "tests")
        self.assertIn("in use", str(self.assertRaises(CannotListen, second.startService)))
        self.assertTrue(first.running)
        file = os.path.join(self.mktemp_short(), "file")
        with open(file, "w") as out:
            out.write("mine")
        third = EndpointService(f"unix:{file}", Factory(), reactor, "tests")
        self.assertRaises(CannotListen, third.startService)
        with open(file) as found:
            self.assertEqual(found.read(), "mine")

    def mktemp_short(self):
        """A new folder whose path is short enough for a socket's."""
        path = os.path.relpath(self.mktemp())
        os.makedirs(path)
        return path

    def test_systemd(self):
        with socket.socket() as given:
            given.bind((LOOPBACK, 0))
            given.listen()
            given.setblocking(False)
            found = ListenFDs([os.dup(given.fileno())], ["framed"])
            self.patch(endpoints._SystemdParser, "_sddaemon", found)
            broker = self.start(framed=("systemd:domain=INET:name=framed",))
            address = given.getsockname()

            async def play():
                await self.greet(self.connect_to(TCP4ClientEndpoint(reactor, *address)))
                self.assertEqual(self.only_peer(broker).host, LOOPBACK)

            return Deferred.fromCoroutine(play())

    def test_behind_a_proxy(self):
        broker = self.start(framed=(f"haproxy:{ANY_PORT}",))

        async def play():
            talker = await self.connect(broker)
            talker.transport.write(b"PROXY TCP4 192.0.2.7 192.0.2.1 5000 7780\r\n")
            await talker.ask(MessageType.HELLO)
            self.assertEqual(self.only_peer(broker).host, "192.0.2.7")
            self.assertEqual(self.only_peer(broker).session.holder.name, "192.0.2.7:5000")

        return Deferred.fromCoroutine(play())

    def test_client_that_closes_its_side(self):
        """As C{printf '...' | nc -N} does: every answer comes, then the end."""
        broker = self.start(framed=(), lines=(ANY_PORT,), store=self.sqlite())
        submit = b'{"op": "submit", "tasks": [{"type": "job"}]}\n'
        said = 3 * submit + b'{"op": "claim", "wait_s": 0}\n'

        async def play():
            heard = await self.say_and_read_all(broker, said, half_close=True)
            self.assertEqual(heard.count(b'"ok":true'), 4, heard)

        return Deferred.fromCoroutine(play())

    def sqlite(self):
        return StoreConfig(path=self.mktemp())

    def test_farewell_over_tls(self):
        """Whoever is sent away before the handshake is over reads why all the same."""
        broker = self.start(max_connections=1)
        factory = next(child.factory for child in broker if isinstance(child, EndpointService))
        key = ec.generate_private_key(ec.SECP256R1())
        options = CertificateOptions(
            privateKey=_openssl_key(key), certificate=_openssl_certificate(key)
        )
        server = endpoints.SSL4ServerEndpoint(reactor, 0, options, interface=LOOPBACK)

        async def play():
            port = await server.listen(factory)
            self.addCleanup(port.stopListening)
            there = TCP4ClientEndpoint(reactor, LOOPBACK, port.getHost().port)
            first = await self.greet(self.connect_to(wrapClientTLS(Trusting(), there)))
            second = await self.connect_to(wrapClientTLS(Trusting(), there))
            second.transport.write(encode(MessageType.HELLO, {}))
            message_type, header = await second.hear()
            self.assertEqual(message_type, MessageType.NACK)
            self.assertEqual(header["code"], "TOO_MANY_CONNECTIONS")
            await second.gone
            first.transport.write(bytes(4))
            message_type, header = await first.hear()
            self.assertEqual(header["code"], "BAD_FRAME")
            await first.gone

        return Deferred.fromCoroutine(play())


def _openssl_key(key):
    return PKey.from_cryptography_key(key)


def _openssl_certificate(key):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "broker")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    return X509.from_cryptography(certificate)


@implementer(IOpenSSLClientConnectionCreator)
class Trusting:
    """A client's side that takes any certificate."""

    def clientConnectionForTLS(self, protocol):
        connection = Connection(Context(TLS_CLIENT_METHOD), None)
        connection.set_connect_state()
        return connection
