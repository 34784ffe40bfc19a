"""
A broker's side in memory: it records what it is sent, and says what it is told to.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from taskqueue.client.all_calls import AllCalls
from taskqueue.client.deferreds import TwistedFramework
from taskqueue.client.session import Session
from taskqueue.wire import FrameDecoder, Header, MessageType, decode, encode

LIMITS = {"idle_timeout_s": 30.0}


class Peer:
    """One connection's other end."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.aborted = False
        self.got: list[tuple[MessageType, Header]] = []
        self._decoder = FrameDecoder()
        session.connected(self)

    def write(self, data: bytes) -> None:
        self.got.extend(decode(frame) for frame in self._decoder.feed(data))

    def abort(self) -> None:
        self.aborted = True

    def take(self) -> tuple[MessageType, Header]:
        """The oldest message that was not taken yet."""
        return self.got.pop(0)

    def expect(self, kind: MessageType) -> Header:
        """The oldest message, which must be of this kind."""
        found, header = self.take()
        if found is not kind:
            raise AssertionError(f"expected {kind.name}, got {found.name} {header}")
        return header

    def say(self, kind: MessageType, header: Header) -> None:
        self.session.received(encode(kind, header)[4:])

    def ack(self, request: Header, **answer: Any) -> None:
        self.say(MessageType.ACK, {"id": request["id"], **answer})

    def nack(self, request: Header, code: str, message: str = "no", **details: Any) -> None:
        self.say(
            MessageType.NACK, {"id": request["id"], "code": code, "message": message, **details}
        )

    def welcome(self, **limits: Any) -> Peer:
        """Answer HELLO."""
        hello = self.expect(MessageType.HELLO)
        self.ack(hello, version=1, heartbeat_s=15.0, limits={**LIMITS, **limits})
        return self

    def lose(self, reason: str = "gone") -> None:
        self.session.disconnected(reason)


class World:
    """A client without a network."""

    def __init__(
        self, timeout_s: float = 10.0, patient: bool = True, max_in_flight: int | None = None
    ) -> None:
        self.clock = Clock()
        self.framework = TwistedFramework(self.clock)
        self.session = Session(
            self.framework, "test", timeout_s, patient=patient, max_in_flight=max_in_flight
        )
        self.calls = AllCalls(self.session)

    def connect(self) -> Peer:
        """A new connection, on which HELLO has not been answered."""
        return Peer(self.session)

    def welcome(self, **limits: Any) -> Peer:
        """A new connection, on which it has."""
        return self.connect().welcome(**limits)

    def run(self, call: Any) -> Any:
        """Start one of the calls; a Deferred."""
        return self.framework.spawn(call)
