"""
Asking the broker, until the worker wants nothing more of it.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from taskqueue.errors import (
    BadRequest,
    FatalClientError,
    StaleIncarnation,
    TaskQueueError,
    TimedOut,
    TooManyConnections,
    WorkerExists,
)

#: The pause after a refusal that names none, seconds.
PAUSE_S = 1.0

#: What goes away by itself, although it ends a connection.
_PASSING = (TimedOut, TooManyConnections)

#: What no second attempt can mend.
FATAL = (BadRequest, StaleIncarnation, WorkerExists, FatalClientError)


class Asking:
    """
    One question at a time, which can be withdrawn.

    @ivar quiet: no more is asked.
    """

    _log = Logger()

    def __init__(self, reactor: Any) -> None:
        self.quiet = False
        self._reactor = reactor
        self._asked: Deferred[Any] | None = None

    def withdraw(self) -> None:
        """Ask no more, and wait no longer for what is asked."""
        self.quiet = True
        if self._asked is not None:
            self._asked.cancel()

    async def ask(self, asked: Deferred[Any]) -> Any:
        """
        Wait for C{asked}.

        @raises CancelledError: it is withdrawn.
        """
        self._asked = asked
        try:
            return await asked
        finally:
            self._asked = None

    async def pause_after(self, what: str, error: TaskQueueError) -> None:
        """
        Wait before it is asked again.

        @raises TaskQueueError: C{error}, where no pause can mend it.
        """
        if self.quiet:
            return
        if isinstance(error, FATAL) and not isinstance(error, _PASSING):
            raise error
        pause_s = error.retry_after_s or PAUSE_S
        self._log.warn("{what}: {error}; again in {pause} s", what=what, error=error, pause=pause_s)
        try:
            await self.ask(deferLater(self._reactor, pause_s, lambda: None))
        except CancelledError:
            return
