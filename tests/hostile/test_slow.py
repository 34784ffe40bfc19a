"""
Peers that are slow on purpose: what they begin they never finish, what they ask for they
never read.
"""

from __future__ import annotations

import threading

from taskqueue.wire import MessageType, encode
from tests.hostile.besieged import HELLO, KIB, MIB, Attacker, BesiegedTestCase
from tests.process.children import until
from tests.process.peer import Peer

#: How many of each kind there are.
CROWD = 3

_SUBMISSION = encode(MessageType.SUBMIT_TASK, {"tasks": [{"type": "t"}] * 1000})
_POST = b"POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"

#: What never ends, by door: what comes first, and then again and again.
_DRIBBLES = {
    "framed": ((b"\0\0\x10", b"\0"), (HELLO + _SUBMISSION[:10], b" ")),
    "lines": ((b'{"op": "', b"p"), (b'{"op": "ping"}\n[', b"1")),
    "http": (
        (b"GET /", b"a"),
        (b"GET / HTTP/1.1\r\n", b"a: b\r\n"),
        (_POST + b"Content-Length: 10000\r\n\r\n", b" "),
        (_POST + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    ),
}


class SlowTests(BesiegedTestCase):
    """Whatever comes a byte at a time."""

    settings = (
        "limits.message_timeout_s=1.5",
        "limits.handshake_timeout_s=1.5",
        "limits.slow_reader_timeout_s=1.5",
    )

    def test_dribbled(self) -> None:
        """A frame before and after HELLO, a line, each part of a request over HTTP."""
        crowd = [
            (self.attack(getattr(self, door), first), again)
            for door, forms in _DRIBBLES.items()
            for first, again in forms
            for _ in range(CROWD)
        ]
        pause = threading.Event()

        def dribble() -> bool:
            pause.wait(0.1)
            over = [not attacker.say(again) or attacker.is_over() for attacker, again in crowd]
            return all(over)

        until("all are sent away", dribble)
        self.assert_withstood()


class UnreadTests(BesiegedTestCase):
    """Whatever is asked for and not read."""

    settings = (
        "limits.slow_reader_timeout_s=2",
        f"limits.max_frame_bytes={2 * MIB}",
        f"limits.max_payload_bytes={MIB}",
        f"limits.max_outbound_bytes={4 * MIB}",
        "limits.max_requests_per_s=0",
    )

    def setUp(self) -> None:
        super().setUp()
        with Peer(self.framed) as peer:
            (self.task,) = peer.submit({"type": "t", "queue": "q", "payload": bytes(MIB // 2)})

    def test_frames_and_lines(self) -> None:
        """Who asks on and on, and reads nothing, is cut off."""
        frame = encode(MessageType.GET_PAYLOAD, {"task": self.task})
        line = b'{"op": "get_payload", "task": "%s"}\n' % self.task.encode()
        crowd = [
            (self.attack(port, first, buffer_bytes=4 * KIB), again)
            for port, first, again in ((self.framed, HELLO, frame), (self.lines, b"", line))
            for _ in range(CROWD)
        ]
        pause = threading.Event()

        def ask_on() -> bool:
            pause.wait(0.05)
            there = [_ask(attacker, again) for attacker, again in crowd]
            return not any(there)

        until("all are cut off", ask_on)
        self.assert_withstood(2 * CROWD * 6 * MIB)

    def test_requests_over_http(self) -> None:
        """Of what was asked for at once, as much is answered as is read."""
        request = f"GET /api/v1/tasks/{self.task}/payload HTTP/1.1\r\nHost: localhost\r\n\r\n"
        for _ in range(CROWD):
            self.attack(self.http, request.encode() * 200, buffer_bytes=4 * KIB)
        self.assert_withstood(CROWD * 10 * MIB)


def _ask(attacker: Attacker, again: bytes) -> bool:
    """Ask once more, without waiting; whether the connection is still there."""
    attacker.socket.setblocking(False)
    try:
        attacker.socket.send(again)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True
