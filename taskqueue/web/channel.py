"""
A connection of the web site: what a peer may send over it, and how slowly.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.server import Request

from taskqueue.errors import FatalClientError, TimedOut
from taskqueue.frontends.connection import describe_peer
from taskqueue.strictjson import dumps
from taskqueue.web.api.endpoints import ROOT
from taskqueue.web.api.problems import MEDIA, Problem
from taskqueue.web.pages import refuse

if TYPE_CHECKING:
    from taskqueue.web.site import BrokerSite

#: How long a peer that is sent away has to read why, seconds.
LINGER_S = 2

#: How the answers begin that end a connection.
_STATUS_LINES = {
    408: b"408 Request Timeout",
    413: b"413 Content Too Large",
    503: b"503 Service Unavailable",
}

#: Of the codes that end a connection, the statuses.
_STATUSES = {"TIMEOUT": 408, "OVERLOADED": 503}


class BrokerRequest(Request):
    """
    A request of bounded size, answered in JSON even where it goes wrong.
    """

    channel: BrokerChannel
    _log = Logger()
    _received_bytes = 0
    _refused = False

    def getHeader(self, key: Any) -> Any:
        """
        A header of the request.

        @param key: its name; as text where its value is wanted as text, in which what is
            no UTF-8 stands as U+FFFD: Twisted's own would raise.
        """
        if isinstance(key, bytes):
            return super().getHeader(key)
        value = super().getHeader(key.encode("ascii"))
        return None if value is None else value.decode("utf-8", "replace")

    def gotLength(self, length: int | None) -> None:
        """Refuse a body that says it is too large."""
        super().gotLength(length)
        if length is not None and length > self.channel.max_body_bytes:
            self._refuse_body()

    def handleContentChunk(self, data: bytes) -> None:
        """Refuse a body that has become too large, or too much beside all others."""
        if self._refused:
            return
        self._received_bytes += len(data)
        if self._received_bytes > self.channel.max_body_bytes:
            self._refuse_body()
        else:
            super().handleContentChunk(data)
            self.channel.note_held(self._received_bytes)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The request is complete; one that was refused is not looked at."""
        if not self._refused:
            super().requestReceived(command, path, version)

    def give_up(self) -> None:
        """It is refused: nothing that still comes of it counts."""
        self._refused = True
        self.requestHeaders.removeHeader(b"expect")  # nobody waits for it any more

    def _refuse_body(self) -> None:
        """Say so and hang up: the rest of the body is not read."""
        limit = self.channel.max_body_bytes
        message = f"the body is larger than {limit} bytes (limits.max_frame_bytes)"
        self.channel.hang_up(413, "PAYLOAD_TOO_LARGE", message, limit=limit)

    def render(self, resrc: Any) -> None:
        """Answer with a resource, and say no more about the server than its name."""
        self.setHeader(b"server", b"taskqueue")
        self.setHeader(b"x-content-type-options", b"nosniff")
        super().render(resrc)

    def processingFailed(self, reason: Failure) -> Failure:
        """Log what went wrong; tell the peer only that something did."""
        self._log.failure("a request failed", reason)
        self.setHeader(b"server", b"taskqueue")
        if self.startedWriting:
            self.loseConnection()
            return reason
        message = "the broker failed unexpectedly; its log says why"
        body = refuse(self, http.INTERNAL_SERVER_ERROR, "INTERNAL_ERROR", message)
        self.setHeader(b"content-length", b"%d" % len(body))
        self.write(body)
        self.finish()
        return reason


class BrokerChannel(http.HTTPChannel):
    """
    A connection, which the site counts.

    Twisted's own lets a request take for ever, as long as something of it arrives now and then;
    and it answers requests that came at once one after the other, whether or not
    answers are read.  Here a request has a time to arrive, and no request is looked at while
    answers wait to be read.
    """

    site: BrokerSite
    transport: Any

    _host = ""
    _deadline: IDelayedCall | None = None
    _ended = False
    _heard = False
    _held_bytes = 0

    @property
    def path(self) -> bytes:
        """The address that the request that is read asks for."""
        return bytes(getattr(self, "_path", b""))

    @property
    def max_body_bytes(self) -> int:
        """The bound on a body, which may hold as much as a frame of the native protocol."""
        return self.site.limits.max_frame_bytes

    def connectionMade(self) -> None:
        self.site.entered()
        super().connectionMade()
        self._meet()

    def _meet(self) -> None:
        """Count the connection for its peer; a proxy says who that is with its first bytes."""
        host, _ = describe_peer(self.transport.getPeer())
        if host == self._host:
            return
        self.site.leave(self._host)
        self._host = host
        self.site.enter(host)
        most = self.site.limits.max_connections_per_peer
        if self.site.connections_of(host) > most:
            code = "TOO_MANY_CONNECTIONS"
            self.site.service.traffic.refused[code] += 1
            message = (
                f"there are {most} HTTP connections from {host}, as many as there may be "
                f"(limits.max_connections_per_peer)"
            )
            self.hang_up(503, code, message)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._complete()
        self._ended = True
        self.site.leave(self._host)
        self.site.left()
        super().connectionLost(reason)

    # --- receiving ------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        if not self._heard:
            self._heard = True
            self._meet()
        if self._ended:
            return
        super().dataReceived(data)
        self._watch()

    def allContentReceived(self) -> None:
        """A request has arrived whole."""
        self._complete()
        super().allContentReceived()

    def pauseProducing(self) -> None:
        """The peer does not read: nothing more is read of it, and answered."""
        self.paused = True
        super().pauseProducing()
        self._networkProducer.pauseProducing()

    def resumeProducing(self) -> None:
        """It has read: what it has sent before is looked at."""
        self.paused = False
        super().resumeProducing()
        if not (self._handlingRequest or self._ended):
            super().dataReceived(b"")
            self._watch()

    # --- what has not arrived whole ---------------------------------------------------

    def note_held(self, held_bytes: int) -> None:
        """
        So much of a body is held.

        @param held_bytes: 0 for none any more.
        """
        if held_bytes != self._held_bytes:
            self._held_bytes = held_bytes
            buffers = self.site.service.buffers
            buffers.note(self, held_bytes, self.site.limits.max_buffered_bytes)

    def _watch(self) -> None:
        """Whatever was begun has its time to arrive."""
        begun = not self._handlingRequest and bool(self.requests or self._buffer)
        if begun and self._deadline is None and not self._ended:
            limit_s = self.site.limits.message_timeout_s
            self._deadline = self.site.service.reactor.callLater(limit_s, self._late, limit_s)

    def _complete(self) -> None:
        """What was begun has arrived, or never will."""
        deadline, self._deadline = self._deadline, None
        if deadline is not None and deadline.active():
            deadline.cancel()
        self.note_held(0)

    def _late(self, limit_s: float) -> None:
        self._deadline = None
        if self.paused:
            self._watch()  # what is not read cannot be complete
            return
        self.end(
            TimedOut(
                f"a request was begun and not completed within {limit_s:g} s "
                f"(limits.message_timeout_s): send less at a time"
            )
        )

    # --- end ------------------------------------------------------------------------

    def timeoutConnection(self) -> None:
        """Nothing was heard for too long; Twisted's own writes a line to the log for each."""
        self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
        self.loseConnection()

    def forceAbortClient(self) -> None:
        """It does not go by itself."""
        self._abortingCall = None
        self.transport.abortConnection()

    def end(self, error: FatalClientError) -> None:
        """Tell the peer why, and close."""
        self.site.service.traffic.refused[error.code] += 1
        self.hang_up(_STATUSES[error.code], error.code, error.message, **error.fields)

    def hang_up(self, status: int, code: str, message: str, **more: Any) -> None:
        """
        Answer what is being read, and close: the rest is not read.

        @param more: the answer has it beside the rest, where it is a problem of the API.
        """
        if self._ended:
            return
        self._ended = True
        self._complete()
        self.setTimeout(None)
        for request in self.requests:
            request.give_up()
        line = _STATUS_LINES[status]
        if self.path.startswith(f"{ROOT}/".encode()):
            problem = Problem(status, code, message, **more)
            answer = whole_answer(line, problem.view, MEDIA)
        else:
            answer = bare_answer(line, code, message)
        self.transport.write(answer)
        self._abortingCall = self.callLater(LINGER_S, self.forceAbortClient)
        self.loseConnection()


def bare_answer(status: bytes, code: str, message: str) -> bytes:
    """A whole answer, for a peer that is refused before there is a request to answer."""
    return whole_answer(status, {"code": code, "message": message}, "application/json")


def whole_answer(status: bytes, view: dict[str, Any], media: str) -> bytes:
    """A whole answer of this type, after which the connection ends."""
    body = dumps(view) + b"\n"
    head = (
        b"HTTP/1.1 " + status + b"\r\n"
        b"server: taskqueue\r\nconnection: close\r\n"
        b"content-type: %s\r\ncontent-length: %d\r\n" % (media.encode("ascii"), len(body))
    )
    if status.startswith(b"503"):
        head += b"retry-after: 1\r\n"
    return head + b"\r\n" + body
