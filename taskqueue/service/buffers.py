"""
What peers have sent of messages that have not arrived whole, and how much of that there may
be.
"""

from __future__ import annotations

from typing import Protocol

from taskqueue.errors import FatalClientError, Overloaded


class Holder(Protocol):
    """Whoever holds the beginning of a message."""

    def end(self, error: FatalClientError) -> None:
        """Hold it no longer: the connection ends."""


class Buffers:
    """
    Bounds the memory that unfinished messages take, of all connections together: none can
    take it by itself, but many can.

    Where there would be more, whoever holds most is sent away, until the rest fits.  So who sends
    small messages is never in danger, and as nobody has to wait for anybody, nothing can
    lock up.

    @ivar held_bytes: what all hold together.
    """

    def __init__(self) -> None:
        self.held_bytes = 0
        self._holders: dict[Holder, int] = {}

    def note(self, holder: Holder, held_bytes: int, most_bytes: int) -> None:
        """
        C{holder} holds as much now.

        @param held_bytes: 0 for nothing any more.
        @param most_bytes: how much all may hold together.
        """
        self.held_bytes += held_bytes - self._holders.pop(holder, 0)
        if held_bytes:
            self._holders[holder] = held_bytes
        while self.held_bytes > most_bytes:
            self._send_away(max(self._holders, key=self._holders.__getitem__), most_bytes)

    def _send_away(self, holder: Holder, most_bytes: int) -> None:
        self.held_bytes -= self._holders.pop(holder)
        holder.end(
            Overloaded(
                f"all connections together have sent more than {most_bytes} bytes of messages "
                f"that are not complete (limits.max_buffered_bytes), and this one most; connect "
                f"again later",
                retry_after_s=1.0,
            )
        )
