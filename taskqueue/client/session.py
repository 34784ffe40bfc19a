"""
The native protocol as a client speaks it: requests and their answers, over one
connection after another.

Nothing here knows which event loop runs it, nor what carries the bytes.  A
connection says L{Session.connected}, L{Session.received} and
L{Session.disconnected}; on each one the session says HELLO, then what must be
said first (L{Session.opening}), then what is unanswered and can be repeated,
then what waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from itertools import count
from typing import Any

from twisted.logger import Logger

from taskqueue.client.answers import error_from
from taskqueue.client.credentials import ApiKey
from taskqueue.client.framework import Carrier, Delayed, Framework
from taskqueue.client.greeting import ends_for_good, hello
from taskqueue.client.limits import Limits
from taskqueue.client.messages import Outcome
from taskqueue.client.requests import Frame, Request, fits, into_future
from taskqueue.client.typed import read_message
from taskqueue.errors import (
    AnswerTimedOut,
    BadFrame,
    BadRequest,
    CannotConnect,
    ClientError,
    ConnectionLost,
    FatalClientError,
    FrameTooLarge,
    TaskQueueError,
    TooManyRequests,
)
from taskqueue.wire import Header, MessageType

#: Requests that may wait for a connection, or for room in the window.
MAX_QUEUED = 10_000

#: How often one request is sent before a lost connection is reported.
MAX_SENDS = 10


class Session:
    """
    @ivar welcome: the newest answer to HELLO, C{None} before the first.
    @ivar greeted: this connection's HELLO was answered.
    @ivar failure: why nothing can be asked any more, C{None} while it can.
    @ivar fruitless: connections in a row that ended before HELLO was answered.
    @ivar opening: each gives the requests to send first on a new connection.
    @ivar on_events: given the list of every EVENT.
    @ivar on_closed: given why nothing can be asked any more, once that is so.
    @ivar on_failed: called when the broker has refused for good.
    @ivar on_refused: called when a connection ended without an answer to HELLO.
    """

    _log = Logger()

    def __init__(
        self,
        framework: Framework,
        name: str,
        timeout_s: float,
        *,
        patient: bool = True,
        max_in_flight: int | None = None,
        key: ApiKey | None = None,
    ) -> None:
        """
        @param name: what this client calls itself.
        @param timeout_s: how long an answer may take, unless the request says.
        @param patient: to go on trying where the first connection fails.
        @param max_in_flight: most requests under way at a time; the broker's
            own bound holds all the same.
        @param key: by which the broker knows this client.
        """
        self.framework = framework
        self.timeout_s = timeout_s
        self.patient = patient
        self.welcome: Header | None = None
        self.limits = Limits()
        self.greeted = False
        self.failure: TaskQueueError | None = None
        self.fruitless = 0
        self.opening: list[Callable[[], Iterable[Request]]] = []
        self.on_events: Callable[[list[Header | Outcome]], None] = lambda events: None
        self.on_closed: Callable[[TaskQueueError], None] = lambda why: None
        self.on_failed: Callable[[], None] = lambda: None
        self.on_refused: Callable[[], None] = lambda: None
        self._bound = MAX_QUEUED if max_in_flight is None else max(1, max_in_flight)
        self._window = self._bound
        self._name = name
        self._key = key
        self._carrier: Carrier | None = None
        self._ids = count(1)
        self._queue: deque[Request] = deque()
        self._sent: dict[int, Request] = {}
        self._ready: list[Any] = []
        self._held_back = False
        self._complaint: TaskQueueError | None = None
        self._unreached: TaskQueueError | None = None
        self._timer: Delayed | None = None
        self._pinging = False

    # --- asking ---------------------------------------------------------------------

    def ready(self) -> Any:
        """
        A future of the answer to HELLO.  It fails with L{CannotConnect} or
        what the broker refused the connection with.
        """
        future = self.framework.create_future(self._not_waited_for)
        if self.failure is not None:
            self.framework.reject(future, self.failure)
        elif self.welcome is not None:
            self.framework.resolve(future, self.welcome)
        else:
            self._ready.append(future)
        return future

    def _not_waited_for(self, future: Any) -> None:
        if future in self._ready:
            self._ready.remove(future)

    def request(
        self,
        kind: MessageType,
        header: Header | Frame,
        *,
        timeout_s: float | None = None,
        repeatable: bool = False,
        late: Callable[[Header], None] | None = None,
        wait_s: float | None = None,
    ) -> Any:
        """
        Ask something.

        @param header: or what makes the whole frame, given the request's id.
        @param late: given an answer that comes when nobody waits for it.
        @param wait_s: how long the request asks the broker to wait.
        @return: a future of the answer's header.  It fails with what the NACK
            says, with L{AnswerTimedOut}, or with L{ConnectionLost} where the
            request could not be repeated; it may be cancelled.
        @raises BadRequest: the header holds what cannot be sent.
        @raises TooManyRequests: too many wait to be sent.
        """
        if self.failure is not None:
            raise self.failure
        if len(self._queue) >= MAX_QUEUED:
            raise TooManyRequests(
                f"{MAX_QUEUED} requests wait to be sent: wait for answers before asking more"
            )
        future = self.framework.create_future(lambda _: request.withdraw())
        request = Request(
            next(self._ids),
            kind,
            header,
            into_future(self.framework, future),
            repeatable=repeatable,
            late=late,
            wait_until=None if wait_s is None else self.framework.seconds() + wait_s,
            faithful=True,
        )
        limit_s = (self.timeout_s if timeout_s is None else timeout_s) + (wait_s or 0.0)
        request.timer = self.framework.call_later(limit_s, self._timed_out, request, limit_s)
        self._queue.append(request)
        self._flush()
        return future

    def make(
        self,
        kind: MessageType,
        header: Header,
        settle: Callable[[Header | Exception], None],
    ) -> Request:
        """A request for L{opening}; it ends with its connection."""
        return Request(next(self._ids), kind, header, settle)

    def send_now(
        self,
        kind: MessageType,
        header: Header,
        settle: Callable[[Header | Exception], None],
    ) -> None:
        """Ask on this connection, before all that waits; it ends with the connection."""
        self._send(self.make(kind, header, settle))

    def _timed_out(self, request: Request, limit_s: float) -> None:
        request.timer = None
        settle = request.forget()
        if settle is not None:
            settle(AnswerTimedOut(self._why_no_answer(limit_s)))

    def _why_no_answer(self, limit_s: float) -> str:
        if self.greeted:
            return f"the broker did not answer within {limit_s:g} s; it may yet do what was asked"
        why = "" if self._unreached is None else f": {self._unreached}"
        return f"there was no connection to the broker for {limit_s:g} s{why}"

    def _flush(self) -> None:
        while (
            self._queue and self.greeted and not self._held_back and len(self._sent) < self._window
        ):
            request = self._queue.popleft()
            if request.wanted and fits(request, self.limits.max_frame_bytes):
                self._send(request)

    def _send(self, request: Request) -> None:
        if self._carrier is not None:
            self._sent[request.id] = request
            frame = request.frame(self.framework.seconds())
            request.sends += 1
            self._carrier.write(frame)

    # --- what the connection says -------------------------------------------------------

    def connected(self, carrier: Carrier) -> None:
        """There is a connection."""
        self._carrier = carrier
        self._complaint = None
        self._timer = self.framework.call_later(self.timeout_s, self._silent)
        try:
            header = hello(self._name, self._key)
        except BadRequest as error:
            self._give_up_connection(CannotConnect(str(error)))
        else:
            self._send(self.make(MessageType.HELLO, header, self._hello_answered))

    def _silent(self) -> None:
        self._timer = None
        self._give_up_connection(
            CannotConnect(f"the broker did not answer HELLO within {self.timeout_s:g} s")
        )

    def _give_up_connection(self, why: TaskQueueError) -> None:
        self._complaint = self._complaint or why
        if self._carrier is not None:
            self._carrier.abort()

    def _hello_answered(self, answer: Header | Exception) -> None:
        if isinstance(answer, Exception):
            self._complaint = _as_ours(answer)
            self._give_up_connection(self._complaint)
            return
        self.welcome, self._unreached = answer, None
        self.limits = Limits.from_welcome(answer)
        self._window = min(self.limits.max_inflight_requests, self._bound)
        self.greeted = True
        self.fruitless = 0
        self._stop_timer()
        self._ping_later()
        for first in self.opening:
            for request in first():
                self._send(request)
        waiting, self._ready = self._ready, []
        for future in waiting:
            self.framework.resolve(future, answer)
        self._flush()

    def hold_back(self) -> None:
        """The connection takes no more for now."""
        self._held_back = True

    def go_on(self) -> None:
        """The connection takes more again."""
        self._held_back = False
        self._flush()

    def received(self, frame: bytes) -> None:
        """A whole frame came in, its length left out."""
        try:
            kind, header = read_message(frame)
        except ClientError as error:
            self._not_understood(error)
            return
        if kind is MessageType.ACK or kind is MessageType.NACK:
            self._answered(header, header if kind is MessageType.ACK else error_from(header))
        elif kind is MessageType.EVENT:
            self.on_events(header.get("events") or [])
        else:
            self._log.warn("the broker sent {kind}, which means nothing to a client", kind=kind)

    def _not_understood(self, error: ClientError) -> None:
        request = self._sent.pop(error.fields.get("id", 0), None)
        if request is not None:
            request.settle(BadFrame(f"The broker's answer cannot be read: {error}"))
        self._log.warn("a message of the broker cannot be read: {error}", error=error)

    def _answered(self, header: Header, answer: Header | Exception) -> None:
        request = self._sent.pop(header.get("id", 0), None)
        if request is not None:
            request.settle(answer)
            self._flush()
        elif isinstance(answer, Exception) and "id" not in header:
            # The last word before the broker closes the connection.
            self._complaint = _as_ours(answer)

    def refuse_broker(self, error: CannotConnect) -> None:
        """The broker is not spoken to; L{disconnected} follows."""
        self._complaint = self._complaint or error

    def broken(self, error: FatalClientError) -> None:
        """What came in is no stream of frames."""
        if self.greeted:
            self._give_up_connection(error)
        else:
            self._give_up_connection(CannotConnect(f"no taskqueue broker answers there: {error}"))

    def disconnected(self, reason: str) -> None:
        """The connection is gone."""
        error = self._complaint or ConnectionLost(
            f"the connection to the broker was lost ({reason}); it may or may not have"
            " done what was asked"
        )
        greeted = self.greeted
        if not greeted:
            self.fruitless += 1
            self.on_refused()
        elif self.failure is None:
            self._log.warn("{error}; connecting again", error=error)
        self._carrier, self.greeted, self._held_back = None, False, False
        self._stop_timer()
        self._pinging = False
        sent, self._sent = self._sent, {}
        self._requeue(sent.values(), error)
        if ends_for_good(error, greeted):
            self.close(error)
            self.on_failed()
        elif self.fruitless and self.failure is None:
            self.could_not_connect(error)

    def _requeue(self, sent: Iterable[Request], error: TaskQueueError) -> None:
        """Keep for the next connection what can be repeated of what was not answered."""
        hopeless = isinstance(error, (BadFrame, FrameTooLarge))
        again = []
        for request in sent:
            if request.repeatable and request.wanted and request.sends < MAX_SENDS and not hopeless:
                again.append(request)
            elif request.timer is not None:
                request.settle(error)
        self._queue.extendleft(reversed(again))

    def could_not_connect(self, error: TaskQueueError) -> None:
        """An attempt to connect came to nothing."""
        self._unreached = error
        if not self.patient and self.welcome is None:
            self._refuse_ready(error)
        else:
            self._log.warn("{error}; trying again", error=error)

    def _refuse_ready(self, error: TaskQueueError) -> None:
        waiting, self._ready = self._ready, []
        for future in waiting:
            self.framework.reject(future, error)

    # --- keeping it, ending it ------------------------------------------------------------

    def _ping_later(self) -> None:
        self._timer = self.framework.call_later(self.limits.idle_timeout_s / 2, self._ping)

    def _ping(self) -> None:
        if self._pinging:
            self._timer = None
            self._give_up_connection(ConnectionLost("the broker has stopped answering"))
            return
        self._pinging = True
        self._ping_later()
        self._send(self.make(MessageType.PING, {}, self._ponged))

    def _ponged(self, _: Header | Exception) -> None:
        self._pinging = False

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def close(self, error: TaskQueueError | None = None) -> None:
        """Ask nothing any more; what is unanswered fails with C{error}."""
        if self.failure is not None:
            return
        self.failure = error or ConnectionLost("this client is closed")
        self._stop_timer()
        left = [*self._sent.values(), *self._queue]
        self._sent, self._queue = {}, deque()
        for request in left:
            request.settle(self.failure)
        self._refuse_ready(self.failure)
        self.on_closed(self.failure)


def _as_ours(error: Exception) -> TaskQueueError:
    return error if isinstance(error, TaskQueueError) else TaskQueueError(str(error))
