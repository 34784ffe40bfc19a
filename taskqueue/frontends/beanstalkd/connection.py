"""
A connection of beanstalkd's protocol.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from taskqueue.errors import FatalClientError
from taskqueue.frontends.beanstalkd.commands import Command
from taskqueue.frontends.beanstalkd.decoding import CommandDecoder
from taskqueue.frontends.beanstalkd.dispatch import carry_out, carry_out_only
from taskqueue.frontends.beanstalkd.session import Session
from taskqueue.frontends.connection import LINGER_S, Connection

if TYPE_CHECKING:
    from taskqueue.frontends.beanstalkd.door import BeanstalkdDoor


class BeanstalkdConnection(Connection):
    """
    Commands in, replies out.  Nobody has to greet, and whoever has sent whole commands may be
    silent for ever after: programs hold connections open for days until they have a job to put.
    """

    session: Session
    hello_required = False

    def __init__(self, door: BeanstalkdDoor) -> None:
        super().__init__(CommandDecoder(lambda: door.service.config.beanstalkd.max_job_bytes))
        self._door = door

    def make_session(self) -> Session:
        return Session(self._door, self)

    @property
    def idle_timeout_s(self) -> float | None:
        return None

    def message_received(self, message: Command) -> None:
        carry_out_only(self.session, message)

    def messages_received(self, waiting: deque[Command]) -> None:
        carry_out(self.session, waiting)

    def last_words(self, error: FatalClientError) -> bytes:
        """There is no reply for why a connection ends; the log tells it."""
        return b""

    def linger(self) -> None:
        """
        Close.  When the broker stops, that is as soon as what was replied is on its way, as
        beanstalkd does: whoever waits, or is silent for hours, does not keep it from stopping.
        """
        if not self.factory.service.stopping:
            super().linger()
            return
        self.flush()
        self._end()
        self._lingering = self.factory.reactor.callLater(LINGER_S, self.transport.abortConnection)
        self.transport.loseConnection()
