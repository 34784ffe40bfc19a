"""
Messages that do not arrive whole: how much of them is held, and for how long.
"""

from taskqueue.frontends.unfinished import MOST_BYTES_UNGREETED
from taskqueue.wire import MessageType, encode
from tests.frontends.peers import FrontendTestCase

KIB = 1024


def beginning(size: int, sent: int) -> bytes:
    """The first C{sent} bytes of a frame of C{size}."""
    return (size.to_bytes(4, "big") + b"\x01" + b" " * size)[:sent]


class UnfinishedTests(FrontendTestCase):
    """What holds for every connection, and for all of them together."""

    def assertEnded(self, peer, code: str) -> None:
        kind, answer = peer.hear_one()
        self.assertEqual((kind, answer["code"]), (MessageType.NACK, code), answer)
        self.assertTrue(peer.wire.half_closed)

    def test_dribbled(self):
        """A byte now and then keeps no connection alive."""
        for peer in (self.connect(), self.connect_lines()):
            data = beginning(1000, 1000) if peer is self.peers[0] else b"x" * 1000
            for at in range(0, 59, 10):
                peer.say_raw(data[at : at + 10])
                self.pass_time(10)
                self.check_times()
            self.assertEnded(peer, "TIMEOUT")
            self.assertEqual(self.service.buffers.held_bytes, 0)

    def test_oneAfterTheOther(self):
        """Who completes message after message, though never at the end of a read, may stay."""
        peer = self.connect()
        ping = encode(MessageType.PING, {"id": 1})
        peer.say_raw(ping[:7])
        for _ in range(20):
            self.pass_time(10)
            self.check_times()
            peer.say_raw(ping[7:] + ping[:7])
        heard = peer.hear()
        self.assertEqual([kind for kind, _ in heard], [MessageType.ACK] * 20)

    def test_notRead(self):
        """What the broker does not read cannot be complete."""
        peer = self.connect()
        peer.say_raw(beginning(1000, 10))
        peer.connection.pause_parsing("a test")
        self.pass_time(25)
        peer.connection.heard_at = peer.connection.factory.now()
        self.pass_time(25)
        self.check_times()
        peer.connection.resume_parsing("a test")
        peer.connection.heard_at = peer.connection.factory.now()
        self.pass_time(25)
        self.check_times()
        self.assertEqual(peer.hear(), [])

    def test_largestGoes(self):
        """Where all hold too much together, whoever holds most is sent away."""
        self.limit(
            max_frame_bytes=100 * KIB, max_payload_bytes=50 * KIB, max_buffered_bytes=100 * KIB
        )
        small, large, other = (self.connect(f"10.0.0.{n}") for n in range(3))
        small.say_raw(beginning(90 * KIB, 10 * KIB))
        large.say_raw(beginning(90 * KIB, 60 * KIB))
        self.assertEqual(self.service.buffers.held_bytes, 70 * KIB)
        other.say_raw(beginning(90 * KIB, 40 * KIB))
        self.assertEnded(large, "OVERLOADED")
        self.assertEqual(self.service.buffers.held_bytes, 50 * KIB)
        self.assertEqual((small.hear(), other.hear()), ([], []))
        other.go()
        self.assertEqual(self.service.buffers.held_bytes, 10 * KIB)
        self.assertEqual(self.service.traffic.refused["OVERLOADED"], 1)

    def test_beforeHello(self):
        """Nobody knows who it is: it may send as much as HELLO takes."""
        peer = self.connect(greeted=False)
        peer.say_raw(beginning(200 * KIB, MOST_BYTES_UNGREETED))
        self.assertEqual(peer.hear(), [])
        peer.say_raw(b" ")
        self.assertEnded(peer, "FRAME_TOO_LARGE")
        self.assertEqual(self.service.buffers.held_bytes, 0)

    def test_complete(self):
        """What has arrived whole is not held."""
        peer = self.connect()
        ping = encode(MessageType.PING, {"id": 1})
        peer.say_raw(ping[:7])
        self.assertEqual(self.service.buffers.held_bytes, 7)
        peer.say_raw(ping[7:])
        self.assertEqual(self.service.buffers.held_bytes, 0)
