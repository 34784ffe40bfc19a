"""What is said goes out in the same turn, in one write, and nothing of it is lost."""

from functools import partial
from types import SimpleNamespace

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.intake import Submission
from taskqueue.errors import SlowReader
from taskqueue.frontends import sending
from taskqueue.frontends.connection import LINGER_S
from taskqueue.frontends.listening import EndpointService
from taskqueue.frontends.sending import (
    LONGEST_DIRECT_BYTES,
    keeps_nothing,
    send,
    takes_directly,
)
from taskqueue.service.outbox import Outbox
from taskqueue.wire import MessageType, encode
from tests.client.broker import flow
from tests.frontends.peers import FrontendTestCase, Peer, Wire
from tests.frontends.talking import BrokerTestCase

PING = MessageType.PING


class Socket:
    """
    A socket that takes what a test allows.

    @ivar room_bytes: how much it takes yet; C{None} for any number.
    @ivar broken: the peer is gone.
    @ivar sent: what it took, write by write.
    """

    def __init__(self):
        self.sent = []
        self.room_bytes = None
        self.broken = False

    def send(self, data):
        if self.broken:
            raise ConnectionResetError
        taken = data if self.room_bytes is None else data[: self.room_bytes]
        if not taken:
            raise BlockingIOError
        if self.room_bytes is not None:
            self.room_bytes -= len(taken)
        self.sent.append(taken)
        return len(taken)


class PlainWire(Wire):
    """A transport as Twisted's for TCP: what is written is kept until it is told to send it."""

    TLS = False

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.socket = Socket()
        self._tempDataBuffer = []
        self.dataBuffer = b""

    def write(self, data):
        self._tempDataBuffer.append(data)
        if self.producer is not None and self.kept > 2 * LONGEST_DIRECT_BYTES:
            self.producer.pauseProducing()

    @property
    def kept(self):
        return sum(map(len, self._tempDataBuffer))

    def value(self):
        """All that was sent, as the peer reads it."""
        return b"".join(self.socket.sent)

    def turn(self):
        """The socket takes what is kept."""
        self.socket.sent += self._tempDataBuffer
        self._tempDataBuffer = []


class OutboxTests(SynchronousTestCase):
    def test_everybody_sends_when_the_turn_is_over(self):
        said = []

        class Sender:
            def __init__(self, name):
                self.name = name

            def flush(self):
                said.append(self.name)
                if self.name == "b":
                    outbox.add(Sender("d"))
                    raise ZeroDivisionError

        clock = Clock()
        outbox = Outbox(clock)
        for name in "abc":
            outbox.add(Sender(name))
        self.assertEqual((said, len(clock.getDelayedCalls())), ([], 1))
        clock.advance(0)
        self.assertEqual(said, ["a", "b", "c", "d"])
        self.assertEqual(clock.getDelayedCalls(), [])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_what_many_are_told_is_sent_right_after(self):
        said = []
        clock = Clock()
        outbox = Outbox(clock)
        outbox.collect()
        for name in "ab":
            outbox.add(SimpleNamespace(flush=partial(said.append, name)))
        self.assertEqual((said, clock.getDelayedCalls()), ([], []))
        outbox.flush()
        self.assertEqual(said, ["a", "b"])
        outbox.flush()
        outbox.add(SimpleNamespace(flush=partial(said.append, "c")))
        clock.advance(0)
        self.assertEqual(said, ["a", "b", "c"])

    def test_one_who_is_told_alone_need_not_stand_there(self):
        outbox = Outbox(Clock())
        self.assertFalse(outbox.at_once)
        outbox.collect(at_once=True)
        self.assertTrue(outbox.at_once)
        outbox.flush()
        self.assertFalse(outbox.at_once)
        outbox.collect()
        self.assertFalse(outbox.at_once)


class SendTests(SynchronousTestCase):
    def setUp(self):
        self.wire = PlainWire()

    def test_the_socket_takes_it(self):
        send(self.wire, b"abc")
        self.assertEqual((self.wire.socket.sent, self.wire.kept), ([b"abc"], 0))

    def test_the_socket_takes_a_part_of_it(self):
        self.wire.socket.room_bytes = 2
        send(self.wire, b"abc")
        send(self.wire, b"def")
        self.assertEqual(self.wire.socket.sent, [b"ab"])
        self.wire.turn()
        self.assertEqual(self.wire.value(), b"abcdef")

    def test_the_socket_takes_nothing(self):
        for name, value in (("room_bytes", 0), ("broken", True)):
            wire = PlainWire()
            setattr(wire.socket, name, value)
            send(wire, b"abc")
            self.assertEqual(wire._tempDataBuffer, [b"abc"])

    def test_order_is_kept(self):
        """What is kept by the transport goes first."""
        for kept in ("_tempDataBuffer", "dataBuffer"):
            wire = PlainWire()
            setattr(wire, kept, [b"first"] if kept == "_tempDataBuffer" else b"first")
            self.assertFalse(keeps_nothing(wire))
            send(wire, b"second")
            self.assertEqual(wire.socket.sent, [])

    def test_what_is_long_is_left_to_the_transport(self):
        send(self.wire, bytes(LONGEST_DIRECT_BYTES + 1))
        self.assertEqual(self.wire.socket.sent, [])


class TransportTests(BrokerTestCase):
    """Twisted's transports are what is believed of them."""

    @flow
    async def test_of_twisted(self):
        broker = self.start()
        talker = await self.connect(broker)
        await talker.ask(MessageType.HELLO)
        factory = next(child.factory for child in broker if isinstance(child, EndpointService))
        [connection] = factory.connections
        transport = connection.transport
        self.assertTrue(takes_directly(transport))
        transport.write(encode(MessageType.EVENT, {"events": []}))
        self.assertFalse(keeps_nothing(transport))
        await talker.hear()
        self.assertTrue(keeps_nothing(transport))
        send(transport, encode(MessageType.EVENT, {"events": []}))
        self.assertTrue(keeps_nothing(transport))
        await talker.hear()

    def test_others(self):
        self.assertFalse(takes_directly(StringTransport()))
        self.assertFalse(takes_directly(PlainWire()))


class ConnectionTests(FrontendTestCase):
    def setUp(self):
        super().setUp()
        self.patch(sending, "_PLAIN", (PlainWire,))

    def connect(self):
        """A peer that reads from here on."""
        peer = Peer(self.framed, wire=PlainWire)
        self.peers.append(peer)
        peer.hello()
        peer.wire.socket.sent.clear()
        peer._read = 0
        return peer

    def serve(self, peer, count=1):
        """Let so many claims of the peer wait, and be served."""
        types = [f"{len(self.peers)}.{number}" for number in range(count)]
        for name in types:
            peer.say(MessageType.CLAIM_TASK, wait_s=30, types=[name])
        for name in types:
            self.service.submit([Submission(name)])

    def test_pipelined_requests_are_answered_in_one_write(self):
        peer = self.connect()
        before = len(self.clock.getDelayedCalls())
        peer.say_raw(encode(PING, {"id": 1}) * 50)
        self.assertEqual((len(peer.wire.socket.sent), peer.wire.kept), (1, 0))
        self.assertEqual(len(peer.hear()), 50)
        self.assertEqual(len(self.clock.getDelayedCalls()), before)

    def test_what_comes_from_elsewhere_goes_out_when_the_turn_is_over(self):
        peer, other = self.connect(), self.connect()
        before = self.service.traffic.bytes_out
        self.serve(peer, 3)
        self.serve(other)
        self.assertEqual(peer.wire.socket.sent, [])
        self.turn(0)
        for one, count in ((peer, 3), (other, 1)):
            self.assertEqual(len(one.wire.socket.sent), 1)
            self.assertEqual([len(header["tasks"]) for _, header in one.hear()], [1] * count)
        sent = len(peer.wire.value()) + len(other.wire.value())
        self.assertEqual(self.service.traffic.bytes_out - before, sent)

    def test_much_is_written_as_it_comes(self):
        """So that the transport can ask for a pause."""
        peer = self.connect()
        for _ in range(20):
            self.submit(payload=bytes(LONGEST_DIRECT_BYTES // 2))
        peer.say_raw(encode(MessageType.CLAIM_TASK, {"wait_s": 0}) * 20)
        self.assertEqual(peer.wire.producerState, "paused")
        self.assertLess(self.service.traffic.requests["claim_task"], 10)
        peer.wire.turn()
        self.assertLess(len(peer.hear()), 10)

    def test_a_peer_that_does_not_read_is_written_to_message_by_message(self):
        peer = self.connect()
        peer.wire.socket.room_bytes = 10
        peer.say_raw(encode(PING, {"id": 1}) * 3)
        self.assertEqual(len(peer.wire._tempDataBuffer), 1)
        peer.say_raw(encode(PING, {"id": 2}) * 3)
        self.assertEqual(len(peer.wire._tempDataBuffer), 4)
        peer.wire.turn()
        self.assertEqual([header["id"] for _, header in peer.hear()], [1, 1, 1, 2, 2, 2])

    def test_what_was_said_is_sent_before_a_connection_is_ended(self):
        peer = self.connect()
        peer.say_raw(encode(PING, {"id": 1}) + b"\x7f\xff\xff\xff")
        peer.wire.turn()
        self.assertEqual([kind.name for kind, _ in peer.hear()], ["ACK", "NACK"])
        self.turn(LINGER_S)

    def test_what_was_said_is_sent_before_a_connection_is_closed(self):
        for end in (
            lambda peer: peer.connection.readConnectionLost(),
            lambda peer: self.framed.close_connections(),
        ):
            peer = self.connect()
            self.serve(peer)
            end(peer)
            self.assertTrue(peer.wire.half_closed or peer.wire.disconnecting)
            self.assertEqual([len(header["tasks"]) for _, header in peer.hear()], [1])
            peer.go()
            self.turn(0)

    def test_nothing_is_sent_after_the_end(self):
        for end in (
            lambda peer: peer.connection.abort(),
            lambda peer: peer.connection.cut(SlowReader()),
            lambda peer: peer.vanish(),
        ):
            peer = self.connect()
            peer.wire.abortConnection = lambda: None  # it is lost a turn later
            self.serve(peer)
            end(peer)
            self.turn(0)
            self.assertEqual((peer.wire.socket.sent, peer.wire.kept), ([], 0))
