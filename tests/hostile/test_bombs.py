"""
JSON that is made to be expensive, or to mean something else to each who reads it.
"""

from __future__ import annotations

from taskqueue.wire import MessageType
from tests.hostile.besieged import HELLO, MIB, BesiegedTestCase, messages

#: Texts, none of which may be accepted as a request.
BOMBS = {
    "depth of lists": b"[" * 100_000,
    "depth of objects": b'{"a":' * 100_000,
    "depth within a request": b'{"op":"ping","id":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "a huge integer": b'{"op":"ping","id":' + b"9" * 1_000_000 + b"}",
    "a huge exponent": b'{"op":"ping","id":1e999999999}',
    "no number": b'{"op":"ping","id":NaN}',
    "infinity": b'{"op":"ping","id":-Infinity}',
    "a lone surrogate": rb'{"op":"ping","id":"\ud800"}',
    "a lone surrogate in UTF-8": b'{"op":"ping","id":"\xed\xa0\x80"}',
    "no UTF-8": b'{"op":"ping","id":"\xff"}',
    "too many names": b'{"op":"ping",' + b",".join(b'"%d":0' % n for n in range(100_000)) + b"}",
    "too many values": b'{"op":"ping","id":[' + b"{}," * 1_200_000 + b"0]}",
    "long escapes": b'{"op":"ping","id":"' + rb"\u0041" * 100_000 + b'"}',
    "a name twice, the last one wrong": b'{"op":"ping","id":1,"id":[]}',
}


class BombTests(BesiegedTestCase):
    """Each is refused in words, at each door, and costs nobody else anything."""

    settings = ("limits.max_requests_per_s=0",)

    def test_lines(self) -> None:
        for what, bomb in BOMBS.items():
            attacker = self.attack(self.lines, bomb + b"\n")
            answer = attacker.socket.recv(MIB)
            self.assertIn(b'"ok":false', answer, what)
            self.assertIn(b'"BAD_REQUEST"', answer, what)
        self.assert_withstood()

    def test_frames(self) -> None:
        for what, bomb in BOMBS.items():
            header = bomb.replace(b'"op":"ping",', b"")
            body = bytes([MessageType.PING]) + len(header).to_bytes(4, "big") + header
            attacker = self.attack(self.framed, HELLO, len(body).to_bytes(4, "big") + body)
            attacker.socket.shutdown(1)
            kinds = [(kind, answer.get("code")) for kind, answer in messages(attacker.read_all())]
            self.assertEqual(kinds[0][0], MessageType.ACK, what)
            self.assertEqual(kinds[1], (MessageType.NACK, "BAD_REQUEST"), what)
        self.assert_withstood()

    def test_bodies(self) -> None:
        for what, bomb in BOMBS.items():
            attacker = self.attack(
                self.http,
                b"POST /api/v1/tasks HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(bomb) + bomb,
            )
            answer = attacker.read_all()
            self.assertRegex(answer, rb"^HTTP/1\.1 4(00|22) ", what)
            self.assertIn(b'"BAD_REQUEST"', answer, what)
        self.assert_withstood()
