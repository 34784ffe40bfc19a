"""
Listening on an endpoint, as a service.
"""

from __future__ import annotations

from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.logger import Logger
from twisted.python.failure import Failure

from taskqueue.errors import TaskQueueError


class CannotListen(TaskQueueError):
    """An endpoint cannot be listened on."""

    code = "CANNOT_LISTEN"


class EndpointService(Service):
    """
    Listens on one endpoint while it runs.

    @ivar port: the port that is listened on, C{None} before and after.
    """

    _log = Logger()

    def __init__(
        self, description: str, factory: IProtocolFactory, reactor: Any, what: str
    ) -> None:
        """
        @param description: a server endpoint string, such as C{tcp:7780}.
        @param what: what is offered there, for messages.
        """
        self.description = description
        self.factory = factory
        self.reactor = reactor
        self.what = what
        self.port: IListeningPort | None = None

    def startService(self) -> None:
        """
        @raises CannotListen: at once, where that is known at once.
        """
        super().startService()
        problems: list[Failure] = []
        try:
            endpoint = serverFromString(self.reactor, self.description)
            endpoint.listen(self.factory).addCallbacks(self._listening, problems.append)
        except Exception:
            problems.append(Failure())
        if problems:
            reason = str(problems[0].value) or type(problems[0].value).__name__
            raise CannotListen(f"cannot listen on {self.description} for {self.what}: {reason}")

    def _listening(self, port: IListeningPort) -> None:
        self.port = port
        self._log.info("{what} on {address}", what=self.what, address=port.getHost())

    def stopService(self) -> Deferred[None] | None:
        super().stopService()
        port, self.port = self.port, None
        return port.stopListening() if port is not None else None
