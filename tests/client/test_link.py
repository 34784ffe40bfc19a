"""Addresses, and connections to a real broker."""

from __future__ import annotations

import os
import tempfile

from twisted.internet import reactor
from twisted.internet.endpoints import HostnameEndpoint, UNIXClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.trial.unittest import SynchronousTestCase

from taskqueue import errors
from taskqueue.client import Client, Report, connect
from taskqueue.client.deferreds import TwistedFramework
from taskqueue.client.link import Connection, Link, endpoints_of
from taskqueue.client.session import Session
from taskqueue.core.task import State
from tests.client.broker import BrokerCase, flow


class Addresses(SynchronousTestCase):
    def where(self, address: str) -> tuple[str, int]:
        (endpoint,) = endpoints_of(address, MemoryReactorClock(), 5)
        self.assertIsInstance(endpoint, HostnameEndpoint)
        return endpoint._hostText, endpoint._port

    def test_host_and_port(self) -> None:
        self.assertEqual(self.where("tq://broker.example:9"), ("broker.example", 9))
        self.assertEqual(self.where("tq://10.0.0.1/"), ("10.0.0.1", 7780))
        self.assertEqual(self.where("tq://[::1]:5"), ("::1", 5))

    def test_endpoints_of_twisted(self) -> None:
        (endpoint,) = endpoints_of("unix:/run/a.sock", MemoryReactorClock(), 5)
        self.assertIsInstance(endpoint, UNIXClientEndpoint)

    def test_what_is_no_address_is_explained(self) -> None:
        for address, why in (
            ("http://host", "scheme must be tq"),
            ("tq://", "names no host"),
            ("tq://host:99999", "range"),
            ("tq://host:x", "Port"),
            ("tq://user@host", "nothing but host and port"),
            ("tq://host/path", "nothing but host and port"),
            ("tq://host?x=1", "nothing but host and port"),
            ("nonsense", "nonsense"),
            ("tcp:host", "tcp"),
        ):
            error = self.assertRaises(
                errors.BadRequest, endpoints_of, address, MemoryReactorClock(), 5
            )
            self.assertIn(why, str(error))
            self.assertIn("write tq://host:port", str(error))


class Pauses(SynchronousTestCase):
    def test_they_grow_for_connections_that_are_refused_at_hello(self) -> None:
        session = Session(TwistedFramework(Clock()), "test", 5)
        link = Link(session, "tq://h", MemoryReactorClock())
        early = max(link._pause_s(0) for _ in range(50))
        session.fruitless = 8
        late = min(link._pause_s(0) for _ in range(50))
        self.assertLess(early, 0.2)
        self.assertGreater(late, 2)

    def test_no_two_clients_come_back_together(self) -> None:
        link = Link(Session(TwistedFramework(Clock()), "t", 5), "tq://h", MemoryReactorClock())
        self.assertGreater(len({link._pause_s(3) for _ in range(10)}), 5)


class Carrying(SynchronousTestCase):
    def setUp(self) -> None:
        self.session = Session(TwistedFramework(Clock()), "test", 5)
        self.connection = Connection(self.session)
        self.transport = StringTransport()
        self.transport.abortConnection = self.transport.loseConnection
        self.connection.makeConnection(self.transport)

    def test_the_session_waits_while_the_broker_does_not_read(self) -> None:
        self.assertIs(self.transport.producer, self.connection)
        self.connection.pauseProducing()
        self.assertTrue(self.session._held_back)
        self.connection.resumeProducing()
        self.assertFalse(self.session._held_back)

    def test_what_is_no_frame_ends_the_connection(self) -> None:
        self.connection.dataReceived(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        self.assertTrue(self.transport.disconnecting)


class Connecting(BrokerCase):
    @flow
    async def test_from_submit_to_result(self) -> None:
        client = await self.connect(name="tester")
        self.assertTrue(client.connected)
        self.assertEqual(client.broker["version"], 1)
        task = await client.submit("greet", b"you", headers={"lang": "en"})
        (delivery,) = await client.claim(wait_s=5)
        self.assertEqual((delivery.id, delivery.payload), (task, b"you"))
        self.assertEqual(delivery.headers, {"lang": "en"})
        result = client.result(task)
        await client.complete(delivery.holding, b"hello you")
        self.assertEqual(await result, b"hello you")
        self.assertEqual(await client.result(task), b"hello you")
        self.assertEqual(await client.payload(task), b"you")
        (view,) = await client.status([task], result=True)
        self.assertEqual((view["state"], view["result"]), ("completed", b"hello you"))

    @flow
    async def test_a_request_is_sent_in_the_turn_in_which_it_is_made(self) -> None:
        client = await self.connect()
        transport = client._link._factory.newest.transport
        for size in (10, 1_000_000):
            answer = client.submit("t", b"x" * size)
            kept = bool(transport._tempDataBuffer or transport.dataBuffer)
            self.assertEqual(kept, size > 10)
            self.assertEqual(await client.payload(await answer), b"x" * size)

    @flow
    async def test_what_is_said_after_the_end_is_not_sent(self) -> None:
        client = await self.connect()
        connection = client._link._factory.newest
        sent: list[bytes] = []
        connection.transport.writeSomeData = lambda data: sent.append(data) or len(data)
        connection.write(b"\0\0\0\1\x12")
        connection.end()
        connection.write(b"late")
        self.assertEqual(len(sent), 1)

    @flow
    async def test_nobody_there(self) -> None:
        address = self.address()
        await self.broker.stopService()
        error = await self.assertFailure(connect(address, reactor=reactor), errors.CannotConnect)
        self.assertIn(address, str(error))

    @flow
    async def test_one_connection_too_many(self) -> None:
        broker = self.start_broker(max_connections=1)
        await self.connect(self.address(broker))
        refused = connect(self.address(broker), reactor=reactor)
        await self.assertFailure(refused, errors.TooManyConnections)

    @flow
    async def test_somebody_else_there(self) -> None:
        class Web(Protocol):
            def dataReceived(self, data: bytes) -> None:
                self.transport.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        port = reactor.listenTCP(0, Factory.forProtocol(Web), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        address = f"tq://127.0.0.1:{port.getHost().port}"
        error = await self.assertFailure(connect(address, reactor=reactor), errors.CannotConnect)
        self.assertIn("no taskqueue broker answers", str(error))

    @flow
    async def test_a_silent_peer(self) -> None:
        port = reactor.listenTCP(0, Factory.forProtocol(Protocol), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        address = f"tq://127.0.0.1:{port.getHost().port}"
        silent = connect(address, reactor=reactor, timeout_s=0.2)
        await self.assertFailure(silent, errors.CannotConnect)

    @flow
    async def test_over_a_unix_socket(self) -> None:
        folder = tempfile.mkdtemp()  # trial's own paths are too long for a socket
        self.addCleanup(os.rmdir, folder)
        self.start_broker(f"unix:{folder}/s")
        client = await self.connect(f"unix:{folder}/s")
        self.assertGreater(await client.ping(), 0)
        await client.close()

    @flow
    async def test_a_closed_client(self) -> None:
        client = await self.connect()
        waiting = client.claim(wait_s=10)
        await client.close()
        await self.assertFailure(waiting, errors.ConnectionLost)
        await self.assertFailure(client.stats(), errors.ConnectionLost)
        await client.close()

    @flow
    async def test_the_broker_restarts(self) -> None:
        """What was asked, watched and waited for goes on with the broker that comes back."""
        path = self.mktemp()
        broker = self.start_broker(path=path)
        address = self.address(broker)
        client = await self.connect(address)
        claimer = self.client(address)
        claimer.start()
        self.addCleanup(claimer.close)
        task = await client.submit("t", b"x", queue="q")
        result = client.result(task)
        claim = claimer.claim(["q2"], wait_s=10)
        await self.until(lambda: len(broker.broker.ledger.claims) == 1)
        await broker.stopService()
        await self.until(lambda: not client.connected)
        again = client.submit("t", b"y", queue="q2")
        self.start_broker(f"tcp:{address.rpartition(':')[2]}:interface=127.0.0.1", path)
        await again
        # A broker that stops may answer who waits for tasks, and with none.
        (other,) = await claim or await claimer.claim(["q2"], wait_s=5)
        self.assertEqual(other.payload, b"y")
        (delivery,) = await client.claim(["q"], wait_s=5)
        await client.complete(delivery.holding, b"done")
        self.assertEqual(await result, b"done")

    @flow
    async def test_many(self) -> None:
        client = await self.connect()
        ended: list = []
        answers = await client.submit_many(
            ({"type": "t", "payload": b"%d" % n} for n in range(2500)), ended.append
        )
        self.assertEqual(len(set(answers)), 2500)
        done = 0
        while done < 2500:
            deliveries = await client.claim(limit=500, wait_s=5)
            await client.report(
                [Report(*d.holding, State.COMPLETED, d.payload) for d in deliveries]
            )
            done += len(deliveries)
        await self.until(lambda: len(ended) == 2500)
        self.assertEqual({int(o.result) for o in ended}, set(range(2500)))


class Typing(SynchronousTestCase):
    def test_the_methods_tell_what_they_do(self) -> None:
        self.assertIn("Submit one task", Client.submit.__doc__)
        self.assertEqual(Client.submit.__name__, "submit")
