"""
Requests that do not arrive whole, and answers that are not read: what a connection of the
web site takes of the broker meanwhile.
"""

from __future__ import annotations

from twisted.internet.address import IPv4Address
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.config import LimitsConfig
from taskqueue.web.channel import LINGER_S
from tests.web.visitor import Answer, Place, Visit, read_answer

KIB = 1024
GET = b"GET /health HTTP/1.1\r\nHost: broker\r\n\r\n"
TASKS = b"POST /api/v1/tasks HTTP/1.1\r\nHost: broker\r\nContent-Type: application/json\r\n"

#: Each form of a request that never ends: what comes first, and then again and again.
DRIBBLES = {
    "request line": (b"", b"G"),
    "headers": (b"GET / HTTP/1.1\r\n", b"a: b\r\n"),
    "one header": (b"GET / HTTP/1.1\r\na: ", b"b"),
    "body": (TASKS + b"Content-Length: 1000\r\n\r\n", b"["),
    "chunks": (TASKS + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n[\r\n"),
    "after another": (GET + b"GET", b"T"),
}


class ChannelTestCase(SynchronousTestCase):
    limits = LimitsConfig(
        message_timeout_s=50.0,
        max_frame_bytes=100 * KIB,
        max_payload_bytes=50 * KIB,
        max_buffered_bytes=120 * KIB,
    )

    def setUp(self) -> None:
        self.place = Place(limits=self.limits).started()
        self.buffers = self.place.service.buffers
        self.refused = self.place.service.traffic.refused

    def visit(self) -> Visit:
        return Visit(self.place.site)

    def last_answer(self, visit: Visit) -> Answer:
        """The only answer that has come, or the last of two."""
        answer, rest = read_answer(visit.received())
        return read_answer(rest)[0] if rest else answer


class UnfinishedTests(ChannelTestCase):
    def test_dribbled(self) -> None:
        """Whichever part of a request comes slowly, and goes on coming, is not waited for."""
        for what, (first, again) in DRIBBLES.items():
            visit = self.visit()
            visit.send(first)
            for _ in range(5):
                visit.send(again)
                self.place.clock.advance(10)
            answer = self.last_answer(visit)
            self.assertEqual((answer.status, answer.json["code"]), (408, "TIMEOUT"), what)
            self.assertIn("message_timeout_s", str(answer.json), what)
            self.assertFalse(visit.transport.connected, what)
        self.assertEqual(self.refused["TIMEOUT"], len(DRIBBLES))
        self.assertEqual((self.buffers.held_bytes, self.place.site.connections), (0, 0))

    def test_in_the_words_of_the_api(self) -> None:
        visit = self.visit()
        visit.send(TASKS + b"Content-Length: 1000\r\n\r\n")
        self.place.clock.advance(25)
        visit.send(b"[")
        self.place.clock.advance(25)
        answer, _ = read_answer(visit.received())
        self.assertEqual(answer.header("content-type"), "application/problem+json")

    def test_one_after_the_other(self) -> None:
        """Each request has the time for itself, and silence between two costs nothing of it."""
        visit = self.visit()
        for _ in range(10):
            visit.send(GET[:10])
            self.place.clock.advance(20)
            visit.send(GET[10:])
            self.assertEqual(read_answer(visit.received())[0].status, 200)
            self.place.clock.advance(20)
        self.assertTrue(visit.transport.connected)

    def test_late_ones_leave_nothing(self) -> None:
        """One that does not even go when it is told to."""
        visit = self.visit()
        closed: list[bool] = []
        visit.transport.loseConnection = lambda: closed.append(True)
        visit.send(b"G")
        self.place.clock.advance(25)
        visit.send(b"E")
        self.place.clock.advance(25)
        self.assertEqual(len(closed), 1)
        visit.send(b"T" * 100_000)
        self.place.clock.advance(LINGER_S)
        self.assertEqual(len(closed), 2)


class BuffersTests(ChannelTestCase):
    def begun(self, size: int, sent: int) -> Visit:
        visit = self.visit()
        visit.send(TASKS + b"Content-Length: %d\r\n\r\n" % size + b" " * sent)
        return visit

    def test_largest_goes(self) -> None:
        small, large = self.begun(90 * KIB, 20 * KIB), self.begun(90 * KIB, 60 * KIB)
        self.assertEqual(self.buffers.held_bytes, 80 * KIB)
        other = self.begun(90 * KIB, 50 * KIB)
        answer, _ = read_answer(large.received())
        self.assertEqual((answer.status, answer.json["code"]), (503, "OVERLOADED"))
        self.assertEqual(answer.header("retry-after"), "1")
        self.assertIn("max_buffered_bytes", answer.json["detail"])
        self.assertEqual((small.received(), other.received()), (b"", b""))
        self.assertEqual(self.buffers.held_bytes, 70 * KIB)
        small.hang_up()
        self.assertEqual(self.buffers.held_bytes, 50 * KIB)
        self.assertEqual(self.refused["OVERLOADED"], 1)

    def test_it_is_the_one_that_asks(self) -> None:
        """Who is refused while it sends is not heard any more."""
        self.begun(90 * KIB, 50 * KIB)
        large = self.begun(90 * KIB, 90 * KIB)
        answer, rest = read_answer(large.received())
        self.assertEqual((answer.status, rest), (503, b""))
        self.assertEqual(self.buffers.held_bytes, 50 * KIB)

    def test_complete(self) -> None:
        visit = self.begun(1000, 400)
        self.assertEqual(self.buffers.held_bytes, 400)
        visit.send(b" " * 600)
        self.assertEqual(read_answer(visit.received())[0].status, 400)
        self.assertEqual(self.buffers.held_bytes, 0)


class PeerTests(ChannelTestCase):
    limits = LimitsConfig(max_connections_per_peer=2)

    def visit(self, host: str = "192.0.2.1") -> Visit:
        return Visit(self.place.site, host)

    def test_too_many_of_one(self) -> None:
        """One more is told so; others are not concerned; one that goes makes room."""
        first, second, third = self.visit(), self.visit(), self.visit()
        answer, rest = read_answer(third.received())
        self.assertEqual((answer.status, answer.json["code"]), (503, "TOO_MANY_CONNECTIONS"))
        self.assertIn("max_connections_per_peer", answer.json["message"])
        self.assertEqual((rest, third.transport.connected), (b"", False))
        first.hang_up()
        for visit in (second, self.visit(), self.visit("192.0.2.2")):
            visit.send(GET)
            self.assertEqual(read_answer(visit.received())[0].status, 200)
            visit.hang_up()
        self.assertEqual(self.refused, {"TOO_MANY_CONNECTIONS": 1})
        self.assertEqual((self.place.site.connections, dict(self.place.site._peers)), (0, {}))

    def test_behind_a_proxy(self) -> None:
        """Who it is comes with the first bytes: from then on it counts as that."""
        visits = []
        for number in range(6):
            visits.append(self.visit("127.0.0.1"))
            host = f"192.0.2.{number // 2}"
            visits[-1].transport.peerAddr = IPv4Address("TCP", host, 40000)
            visits[-1].send(GET)
            self.assertEqual(read_answer(visits[-1].received())[0].status, 200)
        for visit in visits:
            visit.hang_up()
        self.assertEqual(dict(self.place.site._peers), {})


class UnreadTests(ChannelTestCase):
    def test_answers_that_are_not_read(self) -> None:
        """No request is looked at while answers wait to be read."""
        visit = self.visit()
        visit.send(GET[:-2])
        visit.protocol.pauseProducing()
        visit.send(GET[-2:] + 20 * GET)
        self.assertEqual(visit.transport.producerState, "paused")
        self.assertEqual(visit.received().count(b" 200 OK"), 0)
        visit.protocol.resumeProducing()
        self.assertEqual(visit.received().count(b" 200 OK"), 21)
        self.assertEqual(visit.transport.producerState, "producing")

    def test_they_are_not_late(self) -> None:
        """What the broker does not read cannot be complete."""
        visit = self.visit()
        visit.send(GET[:10])
        visit.protocol.pauseProducing()
        self.place.clock.advance(25)
        visit.protocol.resetTimeout()
        self.place.clock.advance(25)
        self.assertEqual(visit.received(), b"")
        visit.protocol.resumeProducing()
        visit.send(GET[10:])
        self.assertEqual(read_answer(visit.received())[0].status, 200)
