"""
Listening on an endpoint, as a service.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import AdoptedStreamServerEndpoint, serverFromString
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

from taskqueue.config.endpoints import parse_endpoint
from taskqueue.errors import TaskQueueError
from taskqueue.frontends.doorways import Doorway

#: How many connections may wait to be accepted, where the endpoint does not say;
#: Twisted's own default, 50, makes a burst of clients wait for seconds.
BACKLOG = 1024

#: Who may connect to a Unix socket, where the endpoint does not say; Twisted's own default
#: lets in every user of the machine.
SOCKET_MODE = "660"


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
        self,
        description: str,
        factory: IProtocolFactory,
        reactor: Any,
        what: str,
        doorway: Doorway | None = None,
        language: str = "",
        early: socket.socket | None = None,
    ) -> None:
        """
        @param description: a server endpoint string, such as C{tcp:7780}.
        @param what: what is offered there, for messages.
        @param doorway: what connections pass before the protocol; C{None}: nothing but
            what Twisted's own endpoint has.
        @param language: what is spoken there, as C{[listen]} calls it.
        @param early: a socket that listens there already, as of C{taskqueue.process.listen_early}.
        """
        self.description = description
        self.factory = factory
        self.reactor = reactor
        self.what = what
        self.language = language
        self._early = early
        self.doorway = doorway
        self.port: IListeningPort | None = None

    def startService(self) -> None:
        """
        @raises CannotListen: at once, where that is known at once.
        """
        super().startService()
        problems: list[Failure] = []
        try:
            listening = self._listen()
        except Exception:
            problems.append(Failure())
        else:
            listening.addCallbacks(self._listening, problems.append)
            if not listening.called:
                listening.addCallback(lambda _: self._log_late(problems))
        if problems:
            self.running = False
            raise CannotListen(self._explain(problems[0]))

    def _listen(self) -> Deferred[IListeningPort]:
        description, doorway = self.description, self.doorway
        if doorway is not None:
            doorway.open()
            description = doorway.below
        endpoint = self._endpoint(description)
        if doorway is not None:
            return doorway.listen(endpoint, self.factory)
        listening: Deferred[IListeningPort] = endpoint.listen(self.factory)
        return listening

    def _endpoint(self, description: str) -> IStreamServerEndpoint:
        early, self._early = self._early, None
        if early is not None:
            return AdoptedStreamServerEndpoint(self.reactor, early.detach(), early.family)
        remove_stale_socket(description)
        endpoint: IStreamServerEndpoint = serverFromString(self.reactor, completed(description))
        return endpoint

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


def completed(description: str) -> str:
    """
    An endpoint string that says how many connections may wait to be accepted, and, of a
    Unix socket, who may connect: only the broker's user and group, where it does not say.
    """
    kind = description.partition(":")[0]
    if kind in ("tcp", "unix") and "backlog=" not in description:
        description = f"{description}:backlog={BACKLOG}"
    if kind == "unix" and "mode" not in parse_endpoint(description).arguments:
        description = f"{description}:mode={SOCKET_MODE}"
    return description


def remove_stale_socket(description: str) -> None:
    """
    Remove the Unix socket of a broker that was killed.

    Twisted does so as well, unless the number of that broker's process has gone to
    another one: in a container that is started again, both have the number 1.

    @raises CannotListen: somebody listens there.
    """
    if not description.startswith("unix:"):
        return
    path = parse_endpoint(description).arguments["address"]
    if _listens(path):
        raise CannotListen("another process listens on this socket: the address is in use")
    with suppress(OSError):
        if stat.S_ISSOCK(os.lstat(path).st_mode):
            os.unlink(path)
            os.unlink(f"{path}.lock")


def _listens(path: str) -> bool:
    """Whether somebody listens on a Unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            return probe.connect_ex(path) in (0, errno.EAGAIN, errno.EINPROGRESS)
        except OSError:  # the path is too long for a socket's
            return False
