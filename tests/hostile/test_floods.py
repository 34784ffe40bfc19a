"""
Too much at once: connections, half messages, whole payloads, requests, names.
"""

from __future__ import annotations

import socket
from typing import Any

from taskqueue.wire import Header, MessageType, encode
from tests.hostile.besieged import HELLO, KIB, MIB, BesiegedTestCase, messages
from tests.process.children import until
from tests.process.peer import Gone, Peer, Refused


class ConnectionTests(BesiegedTestCase):
    """More connections than there may be."""

    settings = ("limits.max_connections=20",)

    def test_flood(self) -> None:
        """Those that are too many are told so; who is in works on."""
        codes = [self.refusal(self.attack(self.framed, HELLO)) for _ in range(100)]
        self.assertEqual(codes[:19], [None] * 19)
        self.assertEqual(set(codes[19:]), {"TOO_MANY_CONNECTIONS"})
        self.assert_withstood()

    def refusal(self, attacker: Any) -> str | None:
        """The code with which it is refused."""
        ((kind, answer),) = messages(attacker.socket.recv(64 * KIB))
        return answer["code"] if kind is MessageType.NACK else None

    def test_flood_over_http(self) -> None:
        for _ in range(20):
            self.attack(self.http, b"GET /live HTTP/1.1\r\n")
        for _ in range(50):
            self.assertIn(b"TOO_MANY_CONNECTIONS", self.attack(self.http).read_all())
        self.assert_withstood()


class HalfMessageTests(BesiegedTestCase):
    """Large messages that never come to their end."""

    settings = (f"limits.max_buffered_bytes={32 * MIB}",)

    def storm(self, port: int, begin: bytes) -> None:
        """More of them than may be held: whoever holds most is sent away, so none may stay."""
        crowd = [self.attack(port, begin) for _ in range(20)]
        half = b" " * MIB
        alive = crowd
        for _ in range(5):
            alive = [each for each in alive if each.say(half)]
        until("some are sent away", lambda: sum(each.is_over() for each in crowd) >= 12)
        self.assert_withstood(32 * MIB)

    def test_storms(self) -> None:
        self.storm(self.framed, HELLO + (10 * MIB).to_bytes(4, "big") + b"\x02")
        self.storm(self.lines, b'{"op": "ping"}\n{')
        self.storm(
            self.http,
            b"POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % (10 * MIB),
        )


class PayloadTests(BesiegedTestCase):
    """Large messages that are all right, but for being so many."""

    settings = (f"broker.max_held_bytes={64 * MIB}",)

    def test_storm(self) -> None:
        """What does not fit is refused, and what was accepted stays."""
        accepted, refused = 0, set()
        task = {"type": "t", "queue": "storm", "payload": bytes(10 * MIB)}
        with Peer(self.framed) as peer:
            for _ in range(20):
                answer = peer.ask(MessageType.SUBMIT_TASK, tasks=[task])
                accepted += len([each for each in answer["tasks"] if each])
                refused |= {error["code"] for error in answer.get("errors") or ()}
            self.assertEqual(refused, {"QUEUE_FULL"})
            (storm,) = [
                queue
                for queue in peer.ask(MessageType.LIST_QUEUES)["queues"]
                if queue["name"] == "storm"
            ]
            self.assertEqual(storm["depth"], accepted)
        self.assertLess(accepted, 7)
        self.assert_withstood(3 * 64 * MIB)  # on their way to the store too


class RequestTests(BesiegedTestCase):
    """Requests that nobody waits for the answers of."""

    settings = (
        "limits.max_inflight_requests=100",
        "limits.max_waiting_claims=150",
        "limits.max_watches=1000",
        "limits.max_queues=50",
        "limits.max_types=80",
    )

    def test_pipelined(self) -> None:
        """All of them are answered, in their time."""
        ping = [encode(MessageType.PING, {"id": number}) for number in range(20_000)]
        crowd = [self.attack(self.framed, HELLO, b"".join(ping)) for _ in range(3)]
        for attacker in crowd:
            attacker.socket.shutdown(socket.SHUT_WR)
            self.assertEqual(len(messages(attacker.read_all())), 20_001)
        self.assert_withstood()

    def test_waiting_claims(self) -> None:
        """Of one connection as many as it may have unanswered; of all as many as may wait."""
        claim = encode(MessageType.CLAIM_TASK, {"wait_s": 30, "queues": ["nothing"]})
        for _ in range(10):
            self.attack(self.framed, HELLO, claim * 1000)
        self.assertIn("TOO_MANY_REQUESTS", self.refused("claims_waiting"))
        self.assert_withstood()

    def refused(self, _: str) -> set[str]:
        """With what somebody else's waiting claim is refused."""
        found: set[str] = set()

        def look() -> bool:
            try:
                with Peer(self.framed) as peer:
                    peer.ask(MessageType.CLAIM_TASK, wait_s=0.01, queues=["nothing"])
            except Refused as refusal:
                found.add(refusal.code)
            return bool(found)

        until("one more claim is refused", look)
        return found

    def test_names(self) -> None:
        """As long as they may be, and ever new ones."""
        name = "n" * 124
        batch = [{"type": "t", "queue": f"{name}{n:04}"} for n in range(1000)]
        kinds = [{"type": f"{name}{n:04}", "queue": "kinds"} for n in range(1000)]
        with Peer(self.framed) as peer:
            for tasks in (kinds, batch):
                answer = self.ask(peer, MessageType.SUBMIT_TASK, tasks=tasks)
                self.assertEqual({each["code"] for each in answer["errors"]}, {"QUEUE_FULL"})
            queues = self.ask(peer, MessageType.LIST_QUEUES)["queues"]
            self.assertLessEqual(len(queues), 50)
        self.assert_withstood()

    def ask(self, peer: Peer, kind: MessageType, **header: Any) -> Header:
        return peer.ask(kind, **header)

    def test_watches(self) -> None:
        with Peer(self.framed) as peer:
            ids = peer.submit(*[{"type": "t", "queue": "watched"}] * 900)
            peer.ask(MessageType.WATCH, tasks=ids)
            with Peer(self.framed) as other:
                caught = self.assertRaises(Refused, other.ask, MessageType.WATCH, tasks=ids)
                self.assertEqual(caught.code, "TOO_MANY_REQUESTS")
                self.assertRaises((Refused, Gone), other.ask, MessageType.WATCH, queues=ids * 2)
        self.assert_withstood()
