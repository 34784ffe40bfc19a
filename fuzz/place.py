"""
A broker for one run of a target: in memory, with a clock that stands still, so that the
same bytes lead to the same.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Any

from twisted.internet.protocol import Factory
from twisted.internet.task import Clock

from fuzz.watching import nothing_unforeseen
from taskqueue.config import Config, LimitsConfig, StoreConfig
from taskqueue.core.audit import audit
from taskqueue.frontends.admission import Admission
from taskqueue.frontends.beanstalkd import BeanstalkdDoor
from taskqueue.frontends.factory import BrokerFactory
from taskqueue.frontends.faktory import FaktoryDoor
from taskqueue.service import TaskQueueService
from taskqueue.web.site import make_site
from tests.frontends.peers import Wire, framed, lines

#: Small, so that exceeding them is within reach.
_LIMITS = LimitsConfig(max_frame_bytes=64 * 1024, max_payload_bytes=16 * 1024)

#: More turns of the reactor than any answer takes.
_TURNS = 20


def _framed(service: TaskQueueService) -> Factory:
    return BrokerFactory(service, Admission(), "framed", framed)


def _lines(service: TaskQueueService) -> Factory:
    return BrokerFactory(service, Admission(), "lines", lines)


def _beanstalkd(service: TaskQueueService) -> Factory:
    door = BeanstalkdDoor(service)
    return BrokerFactory(service, Admission(), "beanstalkd", door.connect)


def _faktory(service: TaskQueueService) -> Factory:
    return BrokerFactory(service, Admission(), "faktory", FaktoryDoor(service).connect)


_DOORS: Mapping[str, Callable[[TaskQueueService], Factory]] = {
    "framed": _framed,
    "lines": _lines,
    "beanstalkd": _beanstalkd,
    "faktory": _faktory,
    "http": make_site,
}


class Place:
    """
    The broker and one connection to it, for a C{with} statement.

    At its end the connection is gone, nothing that it took is left, and the books are
    right.
    """

    def __init__(self, door: str) -> None:
        """
        @param door: one of C{framed}, C{lines}, C{beanstalkd}, C{faktory} and C{http}.
        """
        self._clock = Clock()
        config = Config(store=StoreConfig(kind="memory"), limits=_LIMITS)
        self._service = TaskQueueService(config, self._clock)
        self._factory = _DOORS[door](self._service)
        self._foreseen = ExitStack()

    def __enter__(self) -> Place:
        self._foreseen.enter_context(nothing_unforeseen())
        self._service.startService()
        self._wire = Wire()
        protocol: Any = self._factory.buildProtocol(self._wire.getPeer())
        self._wire.protocol = protocol
        protocol.makeConnection(self._wire)
        return self

    def send(self, data: bytes) -> bytes:
        """
        Let the peer send C{data}.

        @return: what it is answered at once.
        """
        self._wire.protocol.dataReceived(data)
        self._clock.pump([0] * _TURNS)
        answered: bytes = self._wire.value()
        return answered

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with self._foreseen:
            self._wire.lose()
            self._clock.pump([0] * _TURNS)
            problems = audit(self._service.broker.ledger)
            stopping = self._service.stopService()
            self._clock.pump([0] * _TURNS)
        if error is None and (problems or stopping is None):
            raise AssertionError(f"the books are wrong: {problems}")
