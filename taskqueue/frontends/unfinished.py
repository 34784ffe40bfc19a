"""
The beginning of a message that has not arrived whole: how much of it may be held, and for how
long.
"""

from __future__ import annotations

from taskqueue.errors import FatalClientError, FrameTooLarge, TimedOut
from taskqueue.frontends.door_session import DoorSession
from taskqueue.frontends.factory import BrokerFactory
from taskqueue.frontends.receiving import Receiver

#: How long a message may be that comes before HELLO: nobody knows yet from whom.
MOST_BYTES_UNGREETED = 64 * 1024


class Unfinished(Receiver):
    """
    A receiver that bounds what its peer has it hold.

    @ivar heard_at: when anything arrived last, monotonic seconds.
    @cvar hello_required: nobody is known before the session was greeted, and may have little
        held.
    """

    factory: BrokerFactory
    session: DoorSession
    heard_at: float
    hello_required = False

    _held_bytes = 0
    _begun_at = 0.0

    def end(self, error: FatalClientError) -> None:
        """Tell the peer why, and close."""
        raise NotImplementedError

    def note_held(self, held_bytes: int, received_bytes: int) -> None:
        """
        The beginning of a message is held, or was.

        @param held_bytes: as much now.
        @param received_bytes: as much has arrived since this was noted last.
        """
        if not self._held_bytes or held_bytes != self._held_bytes + received_bytes:
            self._begun_at = self.heard_at  # it is another message
        self._held_bytes = held_bytes
        self.factory.service.buffers.note(self, held_bytes, self.factory.limits.max_buffered_bytes)
        unknown = self.hello_required and not self.session.greeted
        if unknown and held_bytes > MOST_BYTES_UNGREETED:
            self.end(
                FrameTooLarge(
                    f"before HELLO, a message may have {MOST_BYTES_UNGREETED} bytes",
                    limit=MOST_BYTES_UNGREETED,
                )
            )

    def let_go(self) -> None:
        """Nothing is held any more."""
        if self._held_bytes:
            self._held_bytes = 0
            self.factory.service.buffers.note(self, 0, self.factory.limits.max_buffered_bytes)

    def lateness(self, now: float) -> TimedOut | None:
        """
        What is wrong where a message should be complete by now.

        @param now: monotonic seconds.
        """
        if self.paused:
            self._begun_at = now  # what is not read cannot be complete
        limit_s = self.factory.limits.message_timeout_s
        if not self._held_bytes or now - self._begun_at < limit_s:
            return None
        return TimedOut(
            f"a message was begun and not completed within {limit_s:g} s (message_timeout_s): "
            f"send less at a time"
        )
