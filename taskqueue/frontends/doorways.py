"""
What a connection passes before its protocol: the word of a proxy, then TLS.

What comes to nothing is counted, and told of now and then.
"""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address, ip_network
from typing import Any

from twisted.application.service import Service
from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocolFactory,
    IStreamServerEndpoint,
)
from twisted.protocols.haproxy import proxyEndpoint
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from zope.interface import implementer

from taskqueue.config import ListenConfig
from taskqueue.config.endpoints import parse_endpoint, unwrapped
from taskqueue.frontends.encrypting import SecureFactory
from taskqueue.frontends.refusals import NOT_A_PROXY, Refusals, describe, plain_host
from taskqueue.frontends.securing import ServerIdentity, below_tls, tls_files
from taskqueue.service import TaskQueueService


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
