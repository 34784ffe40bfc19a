"""
A broker in this process, asked as over a connection, but without one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from twisted.internet.task import Clock

from taskqueue.client.answers import error_from
from taskqueue.config import Config, HttpConfig, ListenConfig, StoreConfig
from taskqueue.core.moments import Now
from taskqueue.errors import AnswerTimedOut, FatalClientError
from taskqueue.frontends.native.session import Session
from taskqueue.service import TaskQueueService
from taskqueue.wire import Header, MessageType
from taskqueue.wire.typed import Message

#: A broker that keeps its tasks in memory and listens nowhere.
QUIET = Config(
    store=StoreConfig(kind="memory"),
    listen=ListenConfig(framed=()),
    http=HttpConfig(listen=()),
)

#: Long enough for the broker to write a group of changes, seconds; a sum of many is exact.
TURN_S = 1 / 256
TURNS = 64

#: Time passes in steps of so many seconds, but never in more steps than this.
STEP_S = 1.0
MOST_STEPS = 3600


class InProcess:
    """
    A broker whose clocks stand still until they are moved.

    @ivar clock: what it takes for a reactor.
    @ivar on_event: told of every event that the broker sends.
    """

    def __init__(self, now: float | None = None) -> None:
        """
        @param now: what time it is, seconds since the epoch; C{None}: it is now.
        """
        self.clock = Clock()
        self.on_event: Callable[[Header], None] = lambda event: None
        self._began_at = time.time() if now is None else now
        self._answers: dict[int, tuple[MessageType, Header]] = {}
        self._asked = 0
        self.service = TaskQueueService(QUIET, self.clock, moments=self._moments)
        self.service.startService()
        self._session = Session(
            self.service, "the test", self._take, self._fatal, hello_required=False
        )

    def _moments(self) -> Now:
        return Now(self.now, self.clock.seconds())

    @property
    def now(self) -> float:
        """What time it is for the broker, seconds since the epoch."""
        return self._began_at + self.clock.seconds()

    @property
    def next_at(self) -> float | None:
        """When the broker looks at a waiting task next, seconds since the epoch."""
        return self.service.broker.ledger.delayed.next_at()

    def ask(self, kind: MessageType, header: Header) -> Header:
        """
        Ask the broker for something.

        @return: its answer.
        @raises TaskQueueError: what it refuses it with.
        """
        self._asked += 1
        number = self._asked
        self._session.handle(kind, {**header, "id": number})
        for _ in range(TURNS):
            if number in self._answers:
                break
            self.clock.advance(TURN_S)
        else:
            raise AnswerTimedOut(f"the broker did not answer {kind.name}")
        answered, answer = self._answers.pop(number)
        if answered is MessageType.NACK:
            raise error_from(answer)
        return answer

    def _take(self, kind: MessageType, header: Message) -> None:
        assert isinstance(header, dict)  # as the request was
        if kind is MessageType.EVENT:
            for event in header["events"]:
                self.on_event(event)
        elif "id" in header:
            self._answers[header["id"]] = kind, header

    def _fatal(self, error: FatalClientError) -> None:
        raise error

    def advance(self, seconds: float) -> None:
        """Let time pass: in steps, so that what is due at intervals happens at each."""
        step_s = max(STEP_S, seconds / MOST_STEPS)
        while seconds > step_s:
            self.clock.advance(step_s)
            seconds -= step_s
        self.clock.advance(max(0.0, seconds))

    def close(self) -> None:
        """End the broker."""
        self._session.close()
        stopped: Any = self.service.stopService()
        for _ in range(TURNS):
            if stopped.called:
                break
            self.clock.advance(TURN_S)
