"""
The whole broker, put together: the service with its front-ends.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from socket import socket
from types import MappingProxyType
from typing import Any

from taskqueue.config import Config, LimitsConfig
from taskqueue.config.doors import FOREIGN
from taskqueue.frontends.admission import Admission
from taskqueue.frontends.connection import Connection
from taskqueue.frontends.doorways import Doorway, Doorways
from taskqueue.frontends.factory import BrokerFactory
from taskqueue.frontends.listening import EndpointService
from taskqueue.frontends.native.connection import FramedConnection, LineConnection
from taskqueue.frontends.reachability import Reachability
from taskqueue.service import TaskQueueService
from taskqueue.service.timers import Timer

NONE_EARLY: Mapping[str, socket] = MappingProxyType({})

#: Makes the protocol of a new connection.
Connect = Callable[[LimitsConfig], Connection]

#: How often connections are checked for silence, seconds.
CHECK_TIMES_S = 1.0

#: How often the files of certificates are looked at, seconds.
LOOK_TIMES_S = 1.0


def build(
    config: Config, reactor: Any, early: Mapping[str, socket] = NONE_EARLY
) -> TaskQueueService:
    """
    The broker that C{config} describes, with everything that it listens on.

    An application that wants no network front-ends uses L{TaskQueueService}
    by itself.

    @param reactor: the reactor to run on.
    @param early: sockets that listen already, by the endpoints that they stand for.
    """
    service = TaskQueueService(config, reactor)
    doorways = _make_doorways(service)
    _make_doors(service, doorways, early)
    if config.http.listen:
        from taskqueue.web.site import make_site  # costs start-up time where it is not used

        site = make_site(service)
        for description in config.http.listen:
            doorway = doorways.make(description, config.listen, [b"http/1.1"])
            EndpointService(description, site, reactor, "HTTP", doorway).setServiceParent(service)
    Reachability(service).setServiceParent(service)
    return service


def _make_doors(service: TaskQueueService, doorways: Doorways, early: Mapping[str, socket]) -> None:
    """All that is listened on, HTTP left out."""
    listen = service.config.listen
    doors: list[tuple[str, Connect, Sequence[str]]] = [
        ("framed", _framed, listen.framed),
        ("lines", _lines, listen.lines),
    ]
    if any(getattr(listen, language) for language in FOREIGN):
        from taskqueue.frontends.foreign import DoorKeys, open_doors  # not used by most

        doors += [
            (each.language, each.door.connect, each.endpoints) for each in open_doors(service)
        ]
        DoorKeys(service).setServiceParent(service)
    admission = Admission()
    for language, connect, endpoints in doors:
        for description in endpoints:
            doorway = doorways.make(description, listen)
            factory = BrokerFactory(
                service, admission, language, connect, behind_proxy=doorway.proxied
            )
            _listen(service, factory, description, doorway, early.get(description))


def _listen(
    service: TaskQueueService,
    factory: BrokerFactory,
    description: str,
    doorway: Doorway,
    early: socket | None,
) -> None:
    language, reactor = factory.language, service.reactor
    what = f"taskqueue ({language})"
    endpoint = EndpointService(description, factory, reactor, what, doorway, language, early)
    endpoint.setServiceParent(service)
    Timer(
        f"time-outs of {language} on {description}", CHECK_TIMES_S, factory.check_times, reactor
    ).setServiceParent(service)


def _make_doorways(service: TaskQueueService) -> Doorways:
    """What stands before all endpoints, and looks after its certificates."""
    doorways = Doorways(service)
    doorways.setServiceParent(service)
    service.at_hangup(doorways.renew)
    Timer("certificates", LOOK_TIMES_S, doorways.look, service.reactor).setServiceParent(service)
    return doorways


def _framed(limits: LimitsConfig) -> FramedConnection:
    return FramedConnection(limits.max_frame_bytes)


def _lines(limits: LimitsConfig) -> LineConnection:
    return LineConnection(limits.max_frame_bytes)
