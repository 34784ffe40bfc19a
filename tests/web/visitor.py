"""
A broker with its web site, and someone who visits it, without a network.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.web.http_headers import Headers

from taskqueue.config import Config, HttpConfig, LimitsConfig, StoreConfig
from taskqueue.core.delivery import Delivery, Outcome
from taskqueue.core.intake import Submission
from taskqueue.core.leases import Holder
from taskqueue.core.task import State
from taskqueue.service import TaskQueueService
from taskqueue.web.site import BrokerSite, make_site

#: More turns of the reactor than the metrics take.
MANY_TURNS = 200


class Answer(NamedTuple):
    status: int
    headers: Headers
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        return self.headers.getRawHeaders(name, [None])[0]


def read_answer(data: bytes, *, has_body: bool = True) -> tuple[Answer, bytes]:
    """The first answer in C{data}, and what follows it."""
    head, _, rest = data.partition(b"\r\n\r\n")
    status_line, *lines = head.decode("latin-1").split("\r\n")
    headers = Headers()
    for line in lines:
        name, _, value = line.partition(": ")
        headers.addRawHeader(name, value)
    length = int(headers.getRawHeaders("content-length", ["0"])[0]) if has_body else 0
    return Answer(int(status_line.split()[1]), headers, rest[:length]), rest[length:]


class Visit:
    """One connection to a site."""

    def __init__(self, site: BrokerSite, host: str = "192.168.1.1") -> None:
        address = IPv4Address("TCP", host, 40000)
        self.protocol = site.buildProtocol(address)
        self.transport = StringTransportWithDisconnection(peerAddress=address)
        self.transport.protocol = self.protocol
        self.protocol.makeConnection(self.transport)

    def send(self, data: bytes) -> None:
        self.protocol.dataReceived(data)

    def received(self) -> bytes:
        data: bytes = self.transport.value()
        self.transport.clear()
        return data

    def hang_up(self) -> None:
        self.transport.loseConnection()


class Place:
    """
    A broker that keeps its tasks in memory, at second 1000, with its site.
    """

    def __init__(
        self, http: HttpConfig | None = None, limits: LimitsConfig | None = None, **given: Any
    ) -> None:
        config = Config(
            store=StoreConfig(kind="memory"),
            http=http or HttpConfig(),
            limits=limits or LimitsConfig(),
        )
        self.clock = Clock()
        self.clock.advance(1000)
        self.service = TaskQueueService(config, self.clock, **given)
        self.ledger = self.service.broker.ledger
        self.site = make_site(self.service)

    def started(self) -> Place:
        self.service.startService()
        return self

    def turns(self, count: int = MANY_TURNS) -> None:
        """Let the reactor turn, without time going by."""
        self.clock.pump([0] * count)

    def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        visit = Visit(self.site)
        lines = [f"{method} {path} HTTP/1.1", "Host: broker"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        visit.send("\r\n".join([*lines, "", ""]).encode("latin-1"))
        self.turns()
        answer, rest = read_answer(visit.received(), has_body=method != "HEAD")
        assert rest == b"", rest
        visit.hang_up()
        return answer

    # --- work ---------------------------------------------------------------------

    def submit(self, *items: Submission) -> None:
        self.service.submit(items)
        self.turns(3)

    def claim(self, queue: str = "default", limit: int = 1, **more: Any) -> list[Delivery]:
        found: list[list[Delivery]] = []
        self.service.claim(Holder("someone"), [queue], limit=limit, **more).addCallback(
            found.append
        )
        self.turns(3)
        return found[0] if found else []

    def report(self, delivery: Delivery, status: State, **more: Any) -> None:
        self.service.report([Outcome(delivery.id, delivery.lease, status, **more)])
        self.turns(3)
