"""
The web site of a broker: its pages, and what a peer may take of it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Protocol
from twisted.logger import Logger
from twisted.web.server import Site

from taskqueue.access.permissions import Action
from taskqueue.config import LimitsConfig
from taskqueue.errors import TaskQueueError
from taskqueue.service import TaskQueueService
from taskqueue.web.api.root import make_api
from taskqueue.web.channel import BrokerChannel, BrokerRequest, bare_answer
from taskqueue.web.credentials import check
from taskqueue.web.dashboard.shell import DashboardRoot
from taskqueue.web.exposition import MetricsPage
from taskqueue.web.health import HealthPage, LivePage, ReadyPage
from taskqueue.web.index import FrontPage, IndexPage
from taskqueue.web.metrics import make_registry
from taskqueue.web.pages import Page
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
        self.service = service
        self.connections = 0
        self._peers: Counter[str] = Counter()

    @property
    def limits(self) -> LimitsConfig:
        """The limits in force: they can change while the broker runs."""
        return self.service.config.limits

    def buildProtocol(self, addr: IAddress | None) -> Any:
        if self.connections >= self.limits.max_connections:
            self.service.traffic.refused["TOO_MANY_CONNECTIONS"] += 1
            return OneTooMany()
        return super().buildProtocol(addr)

    def entered(self) -> None:
        """One more connection is open."""
        self.connections += 1
        self.service.traffic.accepted[FRONTEND] += 1
        self.service.traffic.open[FRONTEND] += 1

    def left(self) -> None:
        """A connection is gone."""
        self.connections -= 1
        self.service.traffic.open[FRONTEND] -= 1

    def enter(self, host: str) -> None:
        """One more connection comes from C{host}."""
        self._peers[host] += 1

    def leave(self, host: str) -> None:
        """One of C{host}, where that is known, is gone, or comes from elsewhere."""
        if host:
            self._peers[host] -= 1
            if not self._peers[host]:
                del self._peers[host]

    def connections_of(self, host: str) -> int:
        """How many come from C{host}."""
        return self._peers[host]

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
