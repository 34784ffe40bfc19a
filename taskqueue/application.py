"""
The whole broker, put together: the service with its front-ends.
"""

from __future__ import annotations

from typing import Any

from taskqueue.config import Config, LimitsConfig
from taskqueue.frontends.admission import Admission
from taskqueue.frontends.doorways import Doorways
from taskqueue.frontends.factory import BrokerFactory
from taskqueue.frontends.listening import EndpointService
from taskqueue.frontends.native.connection import FramedConnection, LineConnection
from taskqueue.frontends.reachability import Reachability
from taskqueue.service import TaskQueueService
from taskqueue.service.timers import Timer

#: How often connections are checked for silence, seconds.
CHECK_TIMES_S = 1.0

#: How often the files of certificates are looked at, seconds.
LOOK_TIMES_S = 1.0


def build(config: Config, reactor: Any) -> TaskQueueService:
    """
    The broker that C{config} describes, with everything that it listens on.

    An application that wants no network front-ends uses L{TaskQueueService}
    by itself.

    @param reactor: the reactor to run on.
    """
    service = TaskQueueService(config, reactor)
    admission = Admission()
    doorways = _make_doorways(service)
    for language, connect, endpoints in (
        ("framed", _framed, config.listen.framed),
        ("lines", _lines, config.listen.lines),
    ):
        for description in endpoints:
            doorway = doorways.make(description, config.listen)
            factory = BrokerFactory(
                service, admission, language, connect, behind_proxy=doorway.proxied
            )
            EndpointService(
                description, factory, reactor, f"taskqueue ({language})", doorway
            ).setServiceParent(service)
            Timer(
                f"time-outs of {language} on {description}",
                CHECK_TIMES_S,
                factory.check_times,
                reactor,
            ).setServiceParent(service)
    if config.http.listen:
        from taskqueue.web.site import make_site  # costs start-up time where it is not used

        site = make_site(service)
        for description in config.http.listen:
            doorway = doorways.make(description, config.listen, [b"http/1.1"])
            EndpointService(description, site, reactor, "HTTP", doorway).setServiceParent(service)
    Reachability(service).setServiceParent(service)
    return service


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
