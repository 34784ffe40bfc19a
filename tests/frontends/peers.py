"""
Peers of the broker: connections over a transport in memory, and what must be
true when they are gone.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from taskqueue import strictjson
from taskqueue.config import LimitsConfig
from taskqueue.core.audit import audit
from taskqueue.frontends.admission import Admission
from taskqueue.frontends.connection import Connection
from taskqueue.frontends.factory import BrokerFactory
from taskqueue.frontends.native.connection import FramedConnection, LineConnection
from taskqueue.wire import FrameDecoder, Header, MessageType, decode, encode
from tests.service.running import ServiceTestCase


def framed(limits: LimitsConfig) -> FramedConnection:
    return FramedConnection(limits.max_frame_bytes)


def lines(limits: LimitsConfig) -> LineConnection:
    return LineConnection(limits.max_frame_bytes)


class Wire(StringTransport):
    """
    A TCP transport in memory, with a peer that reads only what it wants to.

    @ivar buffer_bytes: what it takes before it asks its producer to pause;
        C{None}: the peer reads everything at once.
    @ivar half_closed: our direction is closed.
    @ivar aborted: it was aborted.
    """

    buffer_bytes: int | None = None
    half_closed = False
    aborted = False
    connected = True
    protocol: Connection

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.buffer_bytes is None or self.producer is None:
            return
        if len(self.value()) > self.buffer_bytes:
            self.producer.pauseProducing()  # again with every write, as TCP transports do

    def read(self) -> None:
        """The peer reads all that there is."""
        self.clear()
        if self.producer is not None:
            self.producer.resumeProducing()

    def unregisterProducer(self) -> None:
        self.producer = None

    def pauseProducing(self) -> None:
        if self.connected:
            self.producerState = "paused"

    def resumeProducing(self) -> None:
        if self.connected:
            self.producerState = "producing"

    def loseWriteConnection(self) -> None:
        self.half_closed = True

    def abortConnection(self) -> None:
        self.aborted = True
        self.lose(ConnectionAborted())

    def lose(self, reason: Exception | None = None) -> None:
        """The connection is gone."""
        if self.connected:
            self.connected = False
            self.protocol.connectionLost(Failure(reason or ConnectionDone()))


class Peer:
    """
    A program at the other end of a connection.

    @ivar wire: the transport.
    @ivar connection: the broker's side.
    """

    def __init__(
        self,
        factory: BrokerFactory,
        host: str = "10.0.0.1",
        port: int = 4000,
        *,
        wire: type[Wire] = Wire,
    ) -> None:
        self.wire = wire(peerAddress=IPv4Address("TCP", host, port))
        self.connection: Any = factory.buildProtocol(self.wire.getPeer())
        self.wire.protocol = self.connection
        self._decoder = FrameDecoder()
        self._read = 0
        self._ids = 0
        self.connection.makeConnection(self.wire)

    def encode(self, message_type: MessageType, header: Header) -> bytes:
        return encode(message_type, header)

    def decode(self, data: bytes) -> list[tuple[MessageType, Header]]:
        return [decode(frame) for frame in self._decoder.feed(data)]

    def say(self, message_type: MessageType, **header: Any) -> int:
        """Send a request; return its id."""
        self._ids += 1
        self.say_raw(self.encode(message_type, {"id": self._ids, **header}))
        return self._ids

    def say_raw(self, data: bytes) -> None:
        """Send bytes, unless the broker reads none at the moment."""
        assert self.wire.producerState == "producing"
        self.connection.dataReceived(data)

    def hear(self) -> list[tuple[MessageType, Header]]:
        """What has arrived since the last time."""
        data = self.wire.value()[self._read :]
        self._read += len(data)
        return self.decode(data)

    def hear_one(self) -> tuple[MessageType, Header]:
        """The one message that has arrived."""
        [message] = self.hear()
        return message

    def hello(self, **header: Any) -> Header:
        """Introduce itself."""
        self.say(MessageType.HELLO, **header)
        message_type, answer = self.hear_one()
        assert message_type is MessageType.ACK, answer
        return answer

    def go(self) -> None:
        """Close the connection."""
        self.wire.lose()

    def vanish(self) -> None:
        """The connection breaks."""
        self.wire.lose(ConnectionLost())


class LinePeer(Peer):
    """The same in lines."""

    def encode(self, message_type: MessageType, header: Header) -> bytes:
        return strictjson.dumps({"op": message_type.name.lower(), **header}) + b"\n"

    def decode(self, data: bytes) -> list[tuple[MessageType, Header]]:
        found = []
        for line in data.splitlines():
            header = strictjson.loads_object(line)
            verdict = header.get("ok")
            kind = {True: MessageType.ACK, False: MessageType.NACK, None: MessageType.EVENT}
            found.append((kind[verdict], header))
        return found


class FrontendTestCase(ServiceTestCase):
    """
    A test of connections to a running service; when it is over, nothing of
    them may be left.
    """

    def setUp(self):
        super().setUp()
        self.admission = Admission()
        self.framed = BrokerFactory(self.service, self.admission, "framed", framed)
        self.lines = BrokerFactory(self.service, self.admission, "lines", lines)
        self.addCleanup(self.assertNothingLeft)
        self.peers = []
        self.addCleanup(self.let_all_go)

    def connect(self, host: str = "10.0.0.1", *, greeted: bool = True) -> Peer:
        peer = Peer(self.framed, host)
        self.peers.append(peer)
        if greeted:
            peer.hello()
        return peer

    def connect_lines(self, host: str = "10.0.0.1") -> LinePeer:
        peer = LinePeer(self.lines, host)
        self.peers.append(peer)
        return peer

    def let_all_go(self) -> None:
        for peer in self.peers:
            peer.go()

    def limit(self, **values: Any) -> None:
        """Go by other limits from now on."""
        self.service.reconfigure(self.adapt("limits", **values))

    def check_times(self) -> None:
        self.framed.check_times()
        self.lines.check_times()

    def assertNothingLeft(self) -> None:
        """Every resource that connections took was given back."""
        service, ledger = self.service, self.service.broker.ledger
        self.assertEqual((self.admission.count, len(self.admission._peers)), (0, 0))
        self.assertEqual(self.framed.connections | self.lines.connections, set())
        self.assertEqual(service.traffic.open.total(), 0)
        self.assertEqual(len(ledger.claims), 0)
        self.assertEqual(len(service.watches), 0)
        self.assertEqual(service.watches._watched, {})
        self.assertEqual(service.watches._by_queue, {})
        self.assertEqual(service.watches._watched_queues, {})
        for lease in ledger.leases.by_token.values():
            self.assertIn(lease.holder, list(ledger.workers))
        for worker in ledger.workers:
            self.assertIsNone(worker.link)
        self.assertEqual(audit(ledger), [])
