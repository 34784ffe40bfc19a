"""
Who has something to send, and when it is sent: once for all that is said in one go.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger


class Sender(Protocol):
    """Whoever has something to send."""

    def flush(self) -> None:
        """Send it."""


class Outbox:
    """
    Those that have something to send: when many have been told something (L{collect}), or
    else when this turn of the reactor is over.

    @ivar at_once: nobody need stand here: what is to be sent can be.
    """

    _log = Logger()

    def __init__(self, reactor: IReactorTime) -> None:
        self._reactor = reactor
        self._senders: list[Sender] = []
        self._collecting = False
        self.at_once = False

    def add(self, sender: Sender) -> None:
        """Call L{Sender.flush} before the reactor waits again."""
        if not self._senders and not self._collecting:
            self._reactor.callLater(0, self.flush)
        self._senders.append(sender)

    def collect(self, *, at_once: bool = False) -> None:
        """
        Many are told something now: L{flush} is called after that.

        @param at_once: it is just one.
        """
        self._collecting = True
        self.at_once = at_once

    def flush(self) -> None:
        """Let everyone send."""
        self._collecting = self.at_once = False
        if not self._senders:
            return
        senders, self._senders = self._senders, []
        for sender in senders:
            try:
                sender.flush()
            except Exception:
                self._log.failure("one connection cannot be written to, the others are")
