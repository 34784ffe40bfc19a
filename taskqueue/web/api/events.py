"""
Events as a stream: server-sent events, as browsers read them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import LoopingCall
from zope.interface import implementer

from taskqueue.access.permissions import Action
from taskqueue.operations.authorization import forbidden, require_each
from taskqueue.operations.fields import Form, any_queue, list_of, name_text, one_of, task_id, text
from taskqueue.operations.visibility import readable
from taskqueue.service import TaskQueueService
from taskqueue.service.event_words import KINDS, Event, Wanted
from taskqueue.service.events import MOST_LISTENERS, TooManyListeners
from taskqueue.web.api.answers import Reply
from taskqueue.web.api.endpoints import Content, Endpoint
from taskqueue.web.api.problems import Problem
from taskqueue.web.api.visits import Visit
from taskqueue.wire import MessageType

MEDIA = "text/event-stream"

#: How soon a browser comes back when the connection is lost, milliseconds.
RETRY_MS = 2000

#: How often something is said where nothing happens, seconds.
BEAT_S = 15.0

#: How far a reader may fall behind before it is cut, bytes.
MOST_BEHIND_BYTES = 1024 * 1024

QUERY = Form(
    {
        "kind": list_of(one_of(*KINDS), len(KINDS)),
        "queue": list_of(any_queue, 100),
        "type": list_of(name_text, 100),
        "task": list_of(task_id, 100),
        "last_event_id": text(64),
    }
)


@implementer(IPushProducer)
class Stream:
    """
    One reader of events.
    """

    def __init__(
        self, service: TaskQueueService, request: Any, check: Callable[[], None] = lambda: None
    ) -> None:
        """
        @param check: looks whether the reader may still hear this, and calls L{over} where not.
        """
        self._service = service
        self._check = check
        self._request = request
        self._paused = False
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._beat = LoopingCall(self._say_something)
        self._beat.clock = service.reactor

    def begin(self, missed: Sequence[Event] | None) -> None:
        """
        Begin the answer.

        @param missed: what is told first; C{None} where that is not known.
        """
        request = self._request
        request.setHeader(b"content-type", f"{MEDIA}; charset=utf-8".encode())
        request.setHeader(b"cache-control", b"no-store")
        request.setHeader(b"x-accel-buffering", b"no")  # proxies that know nginx's word
        request.registerProducer(self, True)
        self._write(b"retry: %d\n\n" % RETRY_MS)
        if missed is None:
            self._write(b"event: reset\ndata: {}\n\n")
        else:
            self.hear(missed)
        self._beat.start(BEAT_S, now=False)

    def hear(self, events: Sequence[Event]) -> None:
        """These happened."""
        if events:
            epoch = self._service.events.epoch
            self._write(b"".join([_frame(epoch, event) for event in events]))

    def over(self) -> None:
        """The broker stops, or the reader may hear no more."""
        self.end()
        self._request.unregisterProducer()
        self._request.finish()

    def end(self) -> None:
        """Nothing more is said."""
        self._service.events.leave(self)
        if self._beat.running:
            self._beat.stop()
        self._waiting.clear()

    def _say_something(self) -> None:
        self._check()
        if not self._beat.running:
            return
        if not self._paused:
            self._write(b":\n\n")

    def _write(self, data: bytes) -> None:
        if not self._paused:
            self._request.write(data)
            return
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes > MOST_BEHIND_BYTES:
            self._service.traffic.refused["SLOW_READER"] += 1
            self.end()
            self._request.channel.transport.abortConnection()

    # --- the transport's wishes ----------------------------------------------------

    def pauseProducing(self) -> None:
        """The peer does not read as fast as is written."""
        self._paused = True

    def resumeProducing(self) -> None:
        """It does again."""
        self._paused = False
        waiting, self._waiting = b"".join(self._waiting), []
        self._waiting_bytes = 0
        if waiting:
            self._request.write(waiting)

    def stopProducing(self) -> None:
        """The connection is gone."""
        self.end()


def _frame(epoch: str, event: Event) -> bytes:
    return b"id: %s-%d\nevent: %s\ndata: %s\n\n" % (
        epoch.encode("ascii"),
        event.number,
        event.kind.encode("ascii"),
        event.data,
    )


def _last_of(given: str) -> tuple[str, int]:
    """The epoch and number of an id; those of no event, where it is no id."""
    epoch, _, number = given.partition("-")
    return (epoch, int(number)) if number.isascii() and number.isdigit() else ("", 0)


#: What is about queues, each by itself; the other kinds are for who may read all of them.
_BY_QUEUE = frozenset(("task", "queue", "periodic"))


def _wanted(visit: Visit) -> Wanted:
    """
    What the visitor wants to hear of, and may.

    @raises Forbidden: it asks for what it may not read.
    """
    query, visitor = visit.query, visit.visitor

    def some(name: str) -> frozenset[str] | None:
        return frozenset(query[name]) if query.get(name) else None

    kinds, permissions = some("kind"), visitor.restricted
    asked = Wanted(kinds or frozenset(KINDS), some("queue"), some("type"), some("task"))
    if permissions is None or permissions.everywhere(Action.READ):
        return asked
    if kinds is not None and not kinds <= _BY_QUEUE:
        raise forbidden(visitor, Action.READ, "*")
    require_each(visitor, Action.READ, asked.queues or ())
    own = asked.kinds & _BY_QUEUE
    return asked._replace(kinds=own, may_read=lambda queue: readable(visitor, queue))


async def stream_events(visit: Visit) -> Reply | None:
    """Tell what happens, as it happens."""
    visit.admit(MessageType.WATCH)
    wanted = _wanted(visit)
    if visit.request.method == b"HEAD":
        return Reply(200, b"", media=MEDIA)
    last = visit.request.getHeader("last-event-id") or visit.query.get("last_event_id")
    stream = Stream(visit.service, visit.request, visit.check_identity)
    try:
        missed = visit.service.events.listen(stream, wanted, None if not last else _last_of(last))
    except TooManyListeners:
        detail = f"{MOST_LISTENERS} listen already, which is the limit"
        raise Problem(503, "TOO_MANY_STREAMS", detail, retry_after_s=10.0) from None
    visit.wait(stream.end)
    visit.when_dismissed(stream.over)
    stream.begin(missed)
    return None


ENDPOINTS = (
    Endpoint(
        "GET",
        "/events",
        "Events",
        stream_events,
        "Hear what happens",
        {200: Content("Server-sent events, without end.", {"type": "string"}, MEDIA)},
        query=QUERY,
    ),
)
