"""
Answers that come later, for what is asked most: they cost less than Deferreds.
"""

from __future__ import annotations

from typing import Any, Protocol

from msgspec import Struct
from twisted.python.failure import Failure

from taskqueue.wire.typed import Message

Header = dict[str, Any]


class WhenStored(Struct, frozen=True):
    """
    An answer that is known, and is given when all that has changed so far is stored.
    """

    header: Message


class Asker(Protocol):
    """Whoever sends the answers of a connection."""

    def answered(self, answer: Message, request_id: Any) -> None:
        """Send an answer that a request has waited for."""

    def refused(self, error: Failure | Exception, request_id: Any) -> None:
        """Say why a request that has waited gets none."""


class Pending:
    """
    A request that waits for its answer.

    @ivar asker: C{None} until the operation has returned this.
    """

    __slots__ = ("asker", "request_id")

    def __init__(self, asker: Asker | None = None, request_id: Any = None) -> None:
        self.asker = asker
        self.request_id = request_id

    def callback(self, result: Any) -> None:
        """This is the answer's header; raises nothing."""
        assert self.asker is not None
        self.asker.answered(result, self.request_id)

    def errback(self, fail: Failure | Exception) -> None:
        """There is no answer, but a reason; raises nothing."""
        assert self.asker is not None
        self.asker.refused(fail, self.request_id)
