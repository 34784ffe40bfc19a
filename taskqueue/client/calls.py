"""
What every group of calls is built on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taskqueue.client.codecs import JSON, Codec
from taskqueue.client.messages import Lost, Outcome
from taskqueue.client.outcomes import Outcomes
from taskqueue.client.requests import Frame
from taskqueue.client.session import Session
from taskqueue.errors import BadRequest
from taskqueue.wire import Header, MessageType


class Calls:
    """
    What can be asked of a broker, as coroutines that run on the event loop of
    their session.

    Every call fails with one of L{taskqueue.errors}: what the broker refused it
    with, L{AnswerTimedOut} after the client's time-out, L{ConnectionLost} where
    the connection broke and asking again might do something twice.  Of a batch,
    each item is answered by itself: an error stands in the place of an item
    that was refused.
    """

    def __init__(self, session: Session, codec: Codec = JSON, face: Any = None) -> None:
        """
        @param codec: for payloads that are no bytes, and for their results.
        @param face: the client that whoever holds a task's handle calls; it has
            C{perform(name, ...)}, which makes one of these calls its own way.
        """
        self._session = session
        self._codec = codec
        self._face = self if face is None else face
        self._outcomes = Outcomes(session)
        self._listeners: dict[str, list[Callable[[Lost], None]]] = {"cancel": [], "lease_lost": []}
        session.on_events = self._events
        session.on_closed = self._outcomes.close
        session.opening.append(self._outcomes.again)

    def perform(self, name: str, *args: Any, **how: Any) -> Any:
        """The coroutine of the call with this name."""
        return getattr(self, name)(*args, **how)

    def must_be_open(self) -> None:
        """
        Check that something can be asked.

        @raises ConnectionLost: the client is closed; or why the broker refused it.
        """
        if self._session.failure is not None:
            raise self._session.failure

    async def reached(self) -> None:
        """Wait, no longer than for an answer, until the broker has said what it accepts."""
        if self._session.welcome is None:
            await self._ask(MessageType.PING, {}, repeatable=True)

    async def _ask(self, kind: MessageType, header: Header | Frame, **how: Any) -> Header:
        asked = self._session.request(kind, header, **how)
        try:
            answer: Header = await asked
        except BaseException:
            self._came_too_late(asked, how.get("late"))
            raise
        return answer

    def _came_too_late(self, asked: Any, late: Callable[[Header], None] | None) -> None:
        """The caller may have been cancelled when the answer had just come."""
        answer = None if late is None else self._session.framework.value_of(asked)
        if late is not None and answer is not None:
            late(answer)

    def on_lost(self, event: str, listener: Callable[[Lost], None]) -> None:
        """
        Tell C{listener} of every delivery that this connection should give up.

        @param event: C{"cancel"} (somebody asked for it) or C{"lease_lost"}.
        """
        if event not in self._listeners:
            raise BadRequest(f"there is no event {event!r}; there are 'cancel' and 'lease_lost'")
        self._listeners[event].append(listener)

    def _events(self, events: list[Header | Outcome]) -> None:
        for event in events:
            if isinstance(event, Outcome):
                self._outcomes.ended(event)
            elif (kind := event.get("event")) == "outcome":
                self._outcomes.ended(Outcome.from_wire(event))
            else:
                for listener in self._listeners.get(str(kind), ()):
                    listener(Lost(event["task"], event["lease"], event.get("reason") or ""))


def given(**values: Any) -> Header:
    """The values that are not C{None}, by their names."""
    return {name: value for name, value in values.items() if value is not None}
