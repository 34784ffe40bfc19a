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

#: How many connections may wait to be accepted, where the endpoint does not say;
#: Twisted's own default, 50, makes a burst of clients wait for seconds.
BACKLOG = 1024


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
            endpoint = serverFromString(self.reactor, with_backlog(self.description))
            listening = endpoint.listen(self.factory)
        except Exception:
            problems.append(Failure())
        else:
            listening.addCallbacks(self._listening, problems.append)
            if not listening.called:
                listening.addCallback(lambda _: self._log_late(problems))
        if problems:
            self.running = False
            raise CannotListen(self._explain(problems[0]))

    def _listening(self, port: IListeningPort) -> Deferred[None] | None:
        if not self.running:  # stopped before this was known
            return port.stopListening()
        self.port = port
        self._log.info("{what} on {address}", what=self.what, address=port.getHost())
        return None

    def _explain(self, problem: Failure) -> str:
        reason = str(problem.value) or type(problem.value).__name__
        return f"cannot listen on {self.description} for {self.what}: {reason}"

    def _log_late(self, problems: list[Failure]) -> None:
        for problem in problems:
            self._log.failure("{problem}", problem, problem=self._explain(problem))

    def stopService(self) -> Deferred[None] | None:
        super().stopService()
        port, self.port = self.port, None
        return port.stopListening() if port is not None else None


def with_backlog(description: str) -> str:
    """An endpoint string that says how many connections may wait to be accepted."""
    plain = description.startswith(("tcp:", "unix:"))
    return (
        f"{description}:backlog={BACKLOG}"
        if plain and "backlog=" not in description
        else description
    )
