"""
The factory: one per endpoint; builds a connection for each peer, and caps their
number.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, Protocol

from taskqueue.config import LimitsConfig
from taskqueue.errors import FatalClientError
from taskqueue.frontends.admission import Admission
from taskqueue.service import TaskQueueService
from taskqueue.service.clock import monotonic_of

if TYPE_CHECKING:
    from taskqueue.frontends.connection import Connection


#: How many connections are checked in one turn of the reactor: some 0.2 ms.
CHECKED_AT_A_TIME = 500


class BrokerFactory(Factory):
    """
    Builds connections of one wire language for one endpoint.

    @ivar connections: those that are open, refused ones included while they
        are told why.
    @ivar outbox: where connections stand that have something to send.
    @ivar now: gives monotonic seconds.
    @ivar behind_proxy: the peer is known only when its first bytes arrive.
    """

    noisy = False

    def __init__(
        self,
        service: TaskQueueService,
        admission: Admission,
        language: str,
        connect: Callable[[LimitsConfig], Connection],
        *,
        behind_proxy: bool = False,
    ) -> None:
        """
        @param admission: shared by all endpoints, so that the cap is of all.
        @param language: what to call the front-end in numbers and logs.
        @param connect: makes the protocol of a new connection.
        """
        self.service = service
        self.reactor: Any = service.reactor
        self.language = language
        self.behind_proxy = behind_proxy
        self.connections: set[Connection] = set()
        self.outbox = service.outbox
        self.now = monotonic_of(service.moments)
        self._unchecked: list[Connection] = []
        self._admission = admission
        self._connect = connect
        self._all_gone: Deferred[None] | None = None
        service.at_close(self.close_connections)
        service.gate.when_changed(self.check_identities)

    @property
    def limits(self) -> LimitsConfig:
        """The limits in force: they can change while the broker runs."""
        return self.service.config.limits

    def buildProtocol(self, addr: IAddress | None) -> Protocol:
        connection = self._connect(self.limits)
        connection.factory = self
        return connection

    def admit(self, host: str) -> None:
        """
        Count one more connection.

        @raises TooManyConnections: there are enough.
        """
        self._admission.admit(host, self.limits)
        self.service.traffic.accepted[self.language] += 1
        self.service.traffic.open[self.language] += 1

    def leave(self, host: str) -> None:
        """A connection that was admitted is gone."""
        self._admission.leave(host)
        self.service.traffic.open[self.language] -= 1

    def count_refused(self, error: FatalClientError) -> None:
        """A connection is ended by the broker."""
        self.service.traffic.refused[error.code] += 1

    def check_identities(self) -> None:
        """Permissions have changed: of whom, the connections look themselves."""
        for connection in list(self.connections):
            connection.session.check_identity()

    def check_times(self) -> bool:
        """
        Send away the peers that are silent, or do not read, for too long.

        @return: whether there are more to be looked at, in the next turn.
        """
        if not self._unchecked:
            self._unchecked = list(self.connections)
        now = self.now()
        for connection in self._unchecked[-CHECKED_AT_A_TIME:]:
            connection.check_time(now)
        del self._unchecked[-CHECKED_AT_A_TIME:]
        return bool(self._unchecked)

    def close_connections(self) -> Deferred[None]:
        """
        Close every connection, after what has been written to it.

        @return: fires when all are gone; cancelling it cuts off those that are not.
        """
        for connection in list(self.connections):
            if not connection.closing:
                connection.transport.unregisterProducer()
                connection.linger()
        if not self.connections:
            return succeed(None)
        self._all_gone = Deferred(self._cut_off)
        return self._all_gone

    def _cut_off(self, all_gone: Deferred[None]) -> None:
        for connection in list(self.connections):
            connection.transport.abortConnection()
        self._all_gone = None
        if not all_gone.called:
            all_gone.callback(None)

    def gone(self, connection: Connection) -> None:
        """A connection is no more."""
        self.connections.discard(connection)
        if self._all_gone is not None and not self.connections:
            all_gone, self._all_gone = self._all_gone, None
            all_gone.callback(None)
