"""
A broker process that is attacked while somebody goes on working with it.
"""

from __future__ import annotations

import socket
import threading
from pathlib import Path

from taskqueue.wire import FrameDecoder, Header, MessageType, decode, encode
from tests.process.children import PATIENCE_S, ProcessTestCase, until
from tests.process.peer import Gone, Peer

LOOPBACK = "127.0.0.1"
KIB = 1024
MIB = 1024 * KIB

#: What the allocator, the store's writes and legitimate traffic may add to what is bounded.
SLACK_BYTES = 48 * MIB

#: How many rounds of work are to be seen during an attack.
ROUNDS = 3

_WORKER = {"worker": "legitimate", "incarnation": 1}

HELLO = encode(MessageType.HELLO, {"versions": [1], "id": 0})


class Working(threading.Thread):
    """
    A registered worker, which submits tasks, claims and completes them over one connection.

    @ivar rounds: how often it has.
    @ivar problem: what ended it before its time.
    """

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.rounds = 0
        self.problem: Exception | None = None
        self._ended = threading.Event()
        self._peer = Peer(port)
        self._peer.ask(MessageType.REGISTER_WORKER, **_WORKER)

    def run(self) -> None:
        try:
            while not self._ended.is_set():
                self._work()
                self.rounds += 1
                self._ended.wait(0.005)
        except Exception as problem:
            self.problem = problem
        finally:
            self._peer.close()

    def _work(self) -> None:
        self._peer.ask(MessageType.HEARTBEAT, **_WORKER)
        ids = self._peer.submit(*[{"type": "t", "queue": "legitimate"}] * 5)
        done: set[str] = set()
        while not done.issuperset(ids):
            for task in self._peer.claim(5, wait_s=5, queues=["legitimate"]):
                assert self._peer.complete(task) == "completed"
                done.add(task["id"])

    def end(self) -> None:
        self._ended.set()
        self.join(PATIENCE_S)

    def goes_on(self) -> None:
        """
        Some more rounds are done.

        @raises AssertionError: they are not, or the connection was lost.
        """
        wanted = self.rounds + ROUNDS

        def look() -> bool:
            assert self.problem is None, f"the worker was disturbed: {self.problem!r}"
            return self.rounds >= wanted

        until("legitimate work goes on", look)


class Attacker:
    """A socket that does as it likes."""

    def __init__(self, port: int, *said: bytes, buffer_bytes: int = 0) -> None:
        """
        @param buffer_bytes: how little it takes of what it does not read; 0 for the usual.
        """
        self.socket = socket.socket()
        if buffer_bytes:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect((LOOPBACK, port))
        self.say(*said)

    def say(self, *said: bytes) -> bool:
        """Send; whether that can still be."""
        try:
            for data in said:
                self.socket.sendall(data)
        except OSError:
            return False
        return True

    def read_all(self) -> bytes:
        """All that comes until the broker ends the connection."""
        found = bytearray()
        try:
            while data := self.socket.recv(64 * KIB):
                found += data
        except ConnectionError:
            pass  # it ended it while something was on its way
        return bytes(found)

    def is_over(self) -> bool:
        """Whether the broker has ended the connection; what it said is thrown away."""
        self.socket.setblocking(False)
        try:
            while self.socket.recv(64 * KIB):
                pass
        except BlockingIOError:
            return False
        except OSError:
            pass
        finally:
            self.socket.settimeout(PATIENCE_S)
        return True

    def close(self) -> None:
        self.socket.close()


def messages(data: bytes) -> list[tuple[MessageType, Header]]:
    """The messages in a stream of frames."""
    return [decode(frame) for frame in FrameDecoder().feed(data)]


class BesiegedTestCase(ProcessTestCase):
    """
    A broker with its three doors, and a worker that must not be disturbed.
    """

    settings: tuple[str, ...] = ()

    def setUp(self) -> None:
        super().setUp()
        self.child = self.start(
            f"--lines=tcp:0:interface={LOOPBACK}",
            f"--http=tcp:0:interface={LOOPBACK}",
            "--durability=none",
            *(f"--set={setting}" for setting in self.settings),
        )
        self.framed = self.child.port()
        self.lines = self.child.port("taskqueue (lines)")
        self.http = self.child.port("HTTP")
        self.attackers: list[Attacker] = []
        self.working = Working(self.framed)
        self.working.start()
        self.addCleanup(self.working.end)
        self.addCleanup(self.let_go)
        self.working.goes_on()
        self.before_bytes = self.memory("VmRSS")

    def let_go(self) -> None:
        """No attacker is there any more."""
        for attacker in self.attackers:
            attacker.close()
        self.attackers.clear()

    def attack(self, port: int, *said: bytes, buffer_bytes: int = 0) -> Attacker:
        """One more attacker."""
        attacker = Attacker(port, *said, buffer_bytes=buffer_bytes)
        self.attackers.append(attacker)
        return attacker

    def memory(self, name: str) -> int:
        """What the broker takes (C{VmRSS}), or has taken at most (C{VmHWM}), bytes."""
        status = Path(f"/proc/{self.child.process.pid}/status").read_text()
        (line,) = [line for line in status.splitlines() if line.startswith(f"{name}:")]
        return int(line.split()[1]) * KIB

    def assert_withstood(self, bounded_bytes: int = 0) -> None:
        """
        The worker works on, everybody else is served, nothing unforeseen is in the log, and
        the broker took no more memory at any time than it may.

        @param bounded_bytes: what the attack may take, beside L{SLACK_BYTES}.
        """
        self.working.goes_on()
        self.let_go()
        until("somebody new is served", self.is_served)
        grown = self.memory("VmHWM") - self.before_bytes
        self.assertLess(grown, bounded_bytes + SLACK_BYTES)
        self.assertNotIn("Traceback", self.child.log)

    def is_served(self) -> bool:
        try:
            with Peer(self.framed) as peer:
                peer.ask(MessageType.PING)
        except Exception as problem:
            if isinstance(problem, Gone) or "TOO_MANY" in str(problem):
                return False
            raise
        return True
