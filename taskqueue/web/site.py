"""
The web site of a broker: its pages, and what a peer may take of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.server import Request, Site

from taskqueue.access.permissions import Action
from taskqueue.errors import TaskQueueError
from taskqueue.service import TaskQueueService
from taskqueue.strictjson import dumps
from taskqueue.web.api.endpoints import ROOT
from taskqueue.web.api.problems import MEDIA, Problem
from taskqueue.web.api.root import make_api
from taskqueue.web.credentials import check
from taskqueue.web.dashboard.shell import DashboardRoot
from taskqueue.web.exposition import MetricsPage
from taskqueue.web.health import HealthPage, LivePage, ReadyPage
from taskqueue.web.index import FrontPage, IndexPage
from taskqueue.web.metrics import make_registry
from taskqueue.web.pages import Page, refuse
from taskqueue.web.scaling import ScalingPage

#: How long a peer may be silent in the middle of a request, or between two, seconds.
IDLE_S = 30.0

#: What the web site is called where connections are counted.
FRONTEND = "http"

#: What the pages are, for those who look around.
_PAGES = {
    "/health": "whether all is well: 200, or 503 with the reason",
    "/ready": "whether work is taken: 200, or 503 with the reason",
    "/api": "the REST API: where it is described",
    "/live": "whether the reactor turns: 200",
    "/metrics": "for Prometheus",
    "/scaling": "how many workers there should be, for KEDA and its kind",
}


#: Where the API is described.
_API_PAGES = {
    "/api/v1/docs": "the REST API, for people",
    "/api/v1/openapi.json": "the REST API, for programs",
}


def make_site(service: TaskQueueService) -> BrokerSite:
    """The web site of C{service}, to be listened with."""
    pages = dict(_PAGES)
    if service.config.http.api == "off":
        del pages["/api"]
    root = make_root(service, pages)
    root.putChild(b"health", HealthPage(service))
    root.putChild(b"ready", ReadyPage(service))
    if "/api" in pages:
        root.putChild(b"api", _make_api_page(service))
    root.putChild(b"live", LivePage(service))
    root.putChild(b"scaling", ScalingPage(service))
    root.putChild(b"metrics", _make_metrics_page(service))
    return BrokerSite(root, service)


def make_root(service: TaskQueueService, pages: Mapping[str, str]) -> Page:
    """
    What stands at the root: the dashboard, where there is one, and an index.

    @param pages: path to what is found there, for the index.
    """
    http = service.config.http
    if http.api == "off" or not http.dashboard:
        root = Page()
        root.putChild(b"", IndexPage(service, pages))
        return root
    root = DashboardRoot(service)
    root.putChild(b"", FrontPage(service, pages))
    return root


def _make_metrics_page(service: TaskQueueService) -> Page:
    def why_not(request: Any) -> TaskQueueError | None:
        return check(service, request, Action.METRICS)

    return MetricsPage(make_registry(service), service.reactor, why_not)


def _make_api_page(service: TaskQueueService) -> Page:
    page = IndexPage(service, _API_PAGES)
    page.putChild(b"v1", make_api(service))
    return page


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
        if length is not None and length > self.channel.site.max_body_bytes:
            self._refuse_body()

    def handleContentChunk(self, data: bytes) -> None:
        """Refuse a body that has become too large."""
        if self._refused:
            return
        self._received_bytes += len(data)
        if self._received_bytes > self.channel.site.max_body_bytes:
            self._refuse_body()
        else:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """The request is complete; one that was refused is not looked at."""
        if not self._refused:
            super().requestReceived(command, path, version)

    def _refuse_body(self) -> None:
        """Say so and hang up: the rest of the body is not read."""
        self._refused = True
        self.requestHeaders.removeHeader(b"expect")  # nobody waits for it any more
        limit = self.channel.site.max_body_bytes
        message = f"the body is larger than {limit} bytes (limits.max_frame_bytes)"
        status = b"413 Content Too Large"
        if self.channel.path.startswith(f"{ROOT}/".encode()):
            problem = Problem(413, "PAYLOAD_TOO_LARGE", message, limit=limit)
            answer = whole_answer(status, problem.view, MEDIA)
        else:
            answer = bare_answer(status, "PAYLOAD_TOO_LARGE", message)
        self.channel.transport.write(answer)
        self.channel.loseConnection()

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
    """A connection, which the site counts."""

    site: BrokerSite
    transport: Any

    @property
    def path(self) -> bytes:
        """The address that the request that is read asks for."""
        return bytes(getattr(self, "_path", b""))

    def connectionMade(self) -> None:
        self.site.entered()
        super().connectionMade()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.site.left()
        super().connectionLost(reason)


class OneTooMany(Protocol):
    """A connection that is refused."""

    transport: Any

    def connectionMade(self) -> None:
        message = "there are as many HTTP connections as there may be (limits.max_connections)"
        self.transport.write(
            bare_answer(b"503 Service Unavailable", "TOO_MANY_CONNECTIONS", message)
        )
        self.transport.loseConnection()


class BrokerSite(Site):
    """
    A site that bounds what peers take, and logs requests at debug level only.

    @ivar connections: how many are open.
    @ivar max_body_bytes: the bound on the body of a request, which may hold as
        much as a frame of the native protocol.
    """

    _log = Logger()
    noisy = False
    displayTracebacks = False
    protocol: Any = BrokerChannel
    requestFactory: Any = BrokerRequest

    def __init__(self, root: Page, service: TaskQueueService) -> None:
        super().__init__(
            root, timeout=IDLE_S, reactor=service.reactor, parsePOSTFormSubmission=False
        )
        self._service = service
        self.connections = 0

    @property
    def max_body_bytes(self) -> int:
        return self._service.config.limits.max_frame_bytes

    def buildProtocol(self, addr: IAddress | None) -> Any:
        if self.connections >= self._service.config.limits.max_connections:
            self._service.traffic.refused["TOO_MANY_CONNECTIONS"] += 1
            return OneTooMany()
        return super().buildProtocol(addr)

    def entered(self) -> None:
        """One more connection is open."""
        self.connections += 1
        self._service.traffic.accepted[FRONTEND] += 1
        self._service.traffic.open[FRONTEND] += 1

    def left(self) -> None:
        """A connection is gone."""
        self.connections -= 1
        self._service.traffic.open[FRONTEND] -= 1

    def startFactory(self) -> None:
        """Nothing: there is no access log, nor a clock for it."""

    def stopFactory(self) -> None:
        """Nothing."""

    def log(self, request: Any) -> None:
        """Note one request, without what its query may carry."""
        self._log.debug(
            "{method} {path} answered with {status}",
            method=request.method.decode("ascii", "replace"),
            path=request.path.decode("utf-8", "replace"),
            status=request.code,
        )


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
