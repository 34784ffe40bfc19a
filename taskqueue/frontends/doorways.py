"""
What a connection passes before its protocol: the word of a proxy, then TLS.

A handshake has to be over within C{handshake_timeout_s}; until then the connection counts
like any other.  What comes to nothing is counted, and told of now and then.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionClosed
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IListeningPort,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.haproxy import proxyEndpoint
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from twisted.python.failure import Failure
from zope.interface import implementer

from taskqueue.config import ListenConfig
from taskqueue.config.endpoints import parse_endpoint, unwrapped
from taskqueue.frontends.securing import ServerIdentity, below_tls, tls_files
from taskqueue.service import TaskQueueService
from taskqueue.transport.contexts import is_no_tls, words_of

#: What connections that come to nothing are counted as, beside the codes of errors.
HANDSHAKE_FAILED = "TLS_HANDSHAKE_FAILED"
HANDSHAKE_TIMED_OUT = "TLS_HANDSHAKE_TIMED_OUT"
NOT_A_PROXY = "NOT_A_PROXY"

#: How often the log tells of peers that come to nothing, seconds.
TELL_EVERY_S = 10.0


#: An alert of TLS: what came in is not what it should be.
_UNEXPECTED = b"\x15\x03\x03\x00\x02\x02\x0a"


class Refusals:
    """
    Counts the connections that come to nothing, and tells of some of them: whoever sends
    many must not fill the log.
    """

    _log = Logger()

    def __init__(self, service: TaskQueueService) -> None:
        self._service = service
        self._silent_until: dict[str, float] = {}
        self._untold: dict[str, int] = {}

    def count(self, code: str, peer: str, why: str) -> None:
        """One more."""
        self._service.traffic.refused[code] += 1
        now = self._service.moments().mono
        if now < self._silent_until.get(code, now):
            self._untold[code] = self._untold.get(code, 0) + 1
            return
        self._silent_until[code] = now + TELL_EVERY_S
        more = self._untold.pop(code, 0)
        self._log.warn(
            "a connection from {peer} is refused: {why}{more}",
            peer=peer,
            why=why,
            more=f" (and {more} more like it since it was last told)" if more else "",
        )


class SecureTransport(BufferingTLSTransport):
    """
    The TLS of one connection, which has a time to get through its handshake.
    """

    factory: SecureFactory
    _deadline: IDelayedCall | None = None

    def makeConnection(self, transport: Any) -> None:
        """Begin the handshake."""
        limit_s = self.factory.limit_s()
        self._deadline = self.factory.reactor.callLater(limit_s, self._too_slow, limit_s)
        super().makeConnection(transport)

    def _too_slow(self, limit_s: float) -> None:
        self._deadline = None
        why = f"its TLS handshake was not over within {limit_s:g} s (handshake_timeout_s)"
        self.factory.refusals.count(HANDSHAKE_TIMED_OUT, describe(self.getPeer()), why)
        self.abortConnection()

    def _checkHandshakeStatus(self) -> None:
        # Twisted tells only protocols that ask for it, and HTTP's does not.
        super()._checkHandshakeStatus()
        if self._handshakeDone:
            self._stop_waiting()

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        # OpenSSL says nothing to a peer that speaks no TLS; ours knows an alert when it sees one.
        if reason is not None and not self._handshakeDone and is_no_tls(reason.value):
            assert self.transport is not None
            self.transport.write(_UNEXPECTED)
        super()._tlsShutdownFinished(reason)

    def _stop_waiting(self) -> None:
        deadline, self._deadline = self._deadline, None
        if deadline is not None:
            deadline.cancel()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """The connection is gone, perhaps before the handshake was over."""
        if self._deadline is not None and not self._aborted:
            cause: Failure = self._reason or reason
            if not cause.check(ConnectionClosed) and cause.value is not None:
                why = f"TLS: {words_of(cause.value)}"
                self.factory.refusals.count(HANDSHAKE_FAILED, describe(self.getPeer()), why)
        self._stop_waiting()
        super().connectionLost(reason)


class SecureFactory(TLSMemoryBIOFactory):
    """
    Puts TLS around the connections of a factory.

    @ivar limit_s: gives the time for a handshake, seconds.
    """

    protocol = SecureTransport

    def __init__(
        self,
        identity: ServerIdentity,
        factory: IProtocolFactory,
        reactor: Any,
        refusals: Refusals,
        limit_s: Callable[[], float],
    ) -> None:
        super().__init__(identity, False, factory, reactor)
        self.reactor = reactor
        self.refusals = refusals
        self.limit_s = limit_s


@implementer(IStreamServerEndpoint)
class ListedOnly:
    """
    An endpoint at which only listed peers may connect.
    """

    def __init__(
        self, endpoint: IStreamServerEndpoint, listed: Sequence[str], refusals: Refusals
    ) -> None:
        """
        @param listed: addresses, networks, C{"unix"}.
        """
        self._endpoint = endpoint
        self._listed = listed
        self._refusals = refusals

    def listen(self, factory: IProtocolFactory) -> Deferred[IListeningPort]:
        """Listen; what others try is counted."""
        listening: Deferred[IListeningPort] = self._endpoint.listen(
            Doorkeeper(factory, self._listed, self._refusals)
        )
        return listening


class Doorkeeper(WrappingFactory[ProtocolWrapper]):
    """Builds connections for listed peers only."""

    noisy = False

    def __init__(
        self, factory: IProtocolFactory, listed: Sequence[str], refusals: Refusals
    ) -> None:
        super().__init__(factory)
        self._networks = [ip_network(each) for each in listed if each != "unix"]
        self._unix = "unix" in listed
        self._refusals = refusals

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """A connection of a listed peer; C{None}, which ends it, of anybody else."""
        if self._is_listed(addr):
            return self.wrappedFactory.buildProtocol(addr)
        why = "it is none of [listen] proxy_peers, and may not say whom it speaks for"
        self._refusals.count(NOT_A_PROXY, describe(addr), why)
        return None

    def _is_listed(self, addr: Any) -> bool:
        if not isinstance(addr, IPv4Address | IPv6Address):
            return self._unix and isinstance(addr, UNIXAddress)
        host = ip_address(plain_host(addr.host))
        return any(host in network for network in self._networks)


def plain_host(host: str) -> str:
    """An address of IPv4 that came in through a socket of IPv6, as one of IPv4."""
    return host.removeprefix("::ffff:") if "." in host else host


def describe(address: Any) -> str:
    """What to call a peer in logs."""
    if isinstance(address, IPv4Address | IPv6Address):
        return f"{plain_host(address.host)}:{address.port}"
    return "a Unix socket"


class Doorway:
    """
    What stands between one endpoint and the protocol that is spoken there.

    @ivar below: the endpoint string of what carries the bytes.
    @ivar proxied: whether a proxy says who the peer is.
    @ivar identity: the certificate that is shown; C{None} without TLS.
    """

    def __init__(
        self,
        description: str,
        listen: ListenConfig,
        doorways: Doorways,
        protocols: Sequence[bytes] = (),
    ) -> None:
        """
        @param protocols: what may be spoken inside TLS, for ALPN.
        """
        self.proxied, self.below = unwrapped(description)
        self.identity: ServerIdentity | None = None
        endpoint = parse_endpoint(self.below)
        if endpoint.secure:
            self.below = below_tls(endpoint)
            self.identity = ServerIdentity(description, tls_files(endpoint, listen), protocols)
        self._listen = listen
        self._doorways = doorways

    def open(self) -> None:
        """
        Get ready for connections.

        @raises BadCertificate: there is no certificate that could be shown.
        """
        if self.identity is not None:
            self.identity.load(self._doorways.service.moments().wall)

    def listen(
        self, endpoint: IStreamServerEndpoint, factory: IProtocolFactory
    ) -> Deferred[IListeningPort]:
        """
        Listen, so that connections pass here before they come to C{factory}.

        @param endpoint: what carries the bytes.
        """
        service, refusals = self._doorways.service, self._doorways.refusals
        if self.identity is not None:
            factory = SecureFactory(
                self.identity,
                factory,
                service.reactor,
                refusals,
                lambda: service.config.limits.handshake_timeout_s,
            )
        if self.proxied:
            endpoint = proxyEndpoint(ListedOnly(endpoint, self._listen.proxy_peers, refusals))
        listening: Deferred[IListeningPort] = endpoint.listen(factory)
        return listening


class Doorways(Service):
    """
    All doorways of a broker; looks after their certificates.
    """

    def __init__(self, service: TaskQueueService) -> None:
        self.setName("doorways")
        self.service = service
        self.refusals = Refusals(service)
        self.doorways: list[Doorway] = []

    def make(
        self, description: str, listen: ListenConfig, protocols: Sequence[bytes] = ()
    ) -> Doorway:
        """The doorway of one more endpoint."""
        doorway = Doorway(description, listen, self, protocols)
        self.doorways.append(doorway)
        return doorway

    @property
    def identities(self) -> list[ServerIdentity]:
        """The certificates that are shown."""
        return [each.identity for each in self.doorways if each.identity is not None]

    def look(self) -> None:
        """Has any certificate changed, or not long to live?"""
        now = self.service.moments().wall
        for identity in self.identities:
            identity.look(now)

    def renew(self) -> None:
        """Read all certificates again."""
        now = self.service.moments().wall
        for identity in self.identities:
            identity.renew(now)
