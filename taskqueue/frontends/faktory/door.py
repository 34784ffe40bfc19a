"""
The door: what all connections of Faktory's clients share.
"""

from __future__ import annotations

from twisted.logger import Logger

from taskqueue.access.throttle import FailedAttempts
from taskqueue.config import LimitsConfig
from taskqueue.config.doors import read_password
from taskqueue.errors import ConfigError, Unauthenticated
from taskqueue.frontends.connection import Connection
from taskqueue.frontends.faktory.connection import FaktoryConnection
from taskqueue.frontends.faktory.greeting import Challenge, too_many_failed
from taskqueue.frontends.faktory.processes import WorkerProcesses
from taskqueue.service import TaskQueueService

#: What an unknown client is told who does not know the password.
_WRONG = "Invalid password"

#: How often the file of the password is read at most, seconds.
_READ_EVERY_S = 1.0


class FaktoryDoor:
    """
    One for each broker, shared by all its endpoints.

    @ivar processes: the worker processes that are connected.
    @ivar commands: how many commands were given since it was made.
    @ivar removed: queues that somebody removed, and that no job came to since.
    @ivar unusable: why nobody can come in at the moment, C{None} where all is well.
    """

    _log = Logger()

    def __init__(self, service: TaskQueueService) -> None:
        """
        @raises ConfigError: the password cannot be read.
        """
        self.service = service
        self.processes = WorkerProcesses(service)
        self.commands = 0
        self.removed: set[str] = set()
        self.unusable: Unauthenticated | None = None
        self._failed = FailedAttempts()
        self._password = read_password(service.config.faktory.password_file)
        self._read_at = service.moments().mono

    def connect(self, limits: LimitsConfig) -> Connection:
        """The protocol of a new connection."""
        return FaktoryConnection(self, limits)

    def password(self) -> bytes | None:
        """
        The password that clients have to know, as its file has it now; C{None}: they need none.
        """
        now = self.service.moments().mono
        if now - self._read_at >= _READ_EVERY_S:
            self._read_at = now
            self._read()
        return self._password

    def _read(self) -> None:
        self.unusable = None
        try:
            self._password = read_password(self.service.config.faktory.password_file)
        except ConfigError as error:
            self.unusable = Unauthenticated(
                "nobody can come in here: the broker cannot read its password for this endpoint, "
                "and its log says why"
            )
            self._log.error("{problem}", problem=error.message)

    def check_password(self, challenge: Challenge, said: dict[str, object], host: str) -> None:
        """
        Let in whoever knows the password.

        @param said: what HELLO said.
        @param host: the address that it came from.
        @raises Unauthenticated: it is a wrong one.
            Nothing is looked at where too many from there were.
        """
        if challenge.password is None:
            return
        now = self.service.moments().mono
        wait_s = self._failed.wait_s(host, now)
        if wait_s > 0:
            raise too_many_failed(wait_s)
        if challenge.is_met(said):
            self._failed.succeeded(host)
            return
        self._failed.failed(host, now)
        self.service.gate.audit.record(
            None,
            "authenticate",
            peer=host,
            door="faktory",
            what="password",
            outcome=Unauthenticated.code,
        )
        raise Unauthenticated(_WRONG)
