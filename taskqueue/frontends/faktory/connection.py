"""
A connection of a client of Faktory: lines in, answers of RESP out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.internet.interfaces import ITCPTransport

from taskqueue.config import LimitsConfig
from taskqueue.errors import FatalClientError
from taskqueue.framing import LineDecoder
from taskqueue.frontends.connection import Connection
from taskqueue.frontends.faktory import resp
from taskqueue.frontends.faktory.greeting import challenge
from taskqueue.frontends.faktory.session import FaktorySession

if TYPE_CHECKING:
    from taskqueue.frontends.faktory.door import FaktoryDoor

#: How long a client may take to say HELLO, seconds: as Faktory's server has it.
HELLO_WITHIN_S = 2.0

#: Why no command is handed on.
UNDER_WAY = "a command is under way"


class FaktoryConnection(Connection):
    """
    One connection.  It may be silent for ever: pools of producers keep theirs open.
    """

    session: FaktorySession
    hello_required = True

    def __init__(self, door: FaktoryDoor, limits: LimitsConfig) -> None:
        super().__init__(LineDecoder(limits.max_frame_bytes))
        self._door = door

    def make_session(self) -> FaktorySession:
        return FaktorySession(self._door, self, self.end, challenge(self._door.password()))

    def connectionMade(self) -> None:
        super().connectionMade()
        if ITCPTransport.providedBy(self.transport):
            # Nobody else would notice that a silent peer is not there any more.
            self.transport.setTcpKeepAlive(True)
        if self.closing:
            return
        if self._door.unusable is not None:
            self.end(self._door.unusable)
        else:
            self.send_bytes(resp.simple(self.session.challenge.greeting()))

    def last_words(self, error: FatalClientError) -> bytes:
        return resp.error(error.message)

    @property
    def handshake_timeout_s(self) -> float:
        return min(HELLO_WITHIN_S, self.factory.limits.handshake_timeout_s)

    @property
    def idle_timeout_s(self) -> float | None:
        return None

    def message_received(self, message: bytes) -> None:
        self.session.handle(message)

    def wait(self) -> None:
        """Hand on no more commands until the one under way is answered; notice who hangs up."""
        self.pause_parsing(UNDER_WAY, reading=True)

    def go_on(self) -> None:
        """Hand on more commands."""
        self.resume_parsing(UNDER_WAY)
