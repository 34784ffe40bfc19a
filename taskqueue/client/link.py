"""
The connection below a session, in Twisted: addresses, reconnecting, bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.application.internet import ClientService
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, clientFromString
from twisted.internet.interfaces import (
    IHandshakeListener,
    IPushProducer,
    ISSLTransport,
    IStreamClientEndpoint,
    ITCPTransport,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from taskqueue.client.addresses import (
    DEFAULT_ADDRESS,
    Place,
    Turns,
    no_address,
    pause_s,
    places_of,
)
from taskqueue.client.limits import MAX_ANSWER_BYTES
from taskqueue.client.session import Session
from taskqueue.client.tls import IT_SPEAKS_TLS, TLS, speaks_tls, tls_for, warn_where_insecure
from taskqueue.client.writing import write_at_once
from taskqueue.errors import BadFrame, CannotConnect, FatalClientError
from taskqueue.framing import FrameDecoder

__all__ = ["DEFAULT_ADDRESS", "Connection", "Link", "endpoints_of"]


def endpoints_of(
    address: str, reactor: Any, timeout_s: float, tls: TLS | bool | None = None
) -> list[IStreamClientEndpoint]:
    """
    Where C{address} is.

    @param address: C{tq://host:port}, with TLS C{tqs://host:port}, several of these with
        commas between, or the string of a Twisted client endpoint such as
        C{unix:/run/taskqueue.sock}.
    @raises BadRequest: it is neither, or TLS cannot be spoken there so.
    """
    if "://" in address or tls:
        places = places_of(address)
        settings = tls_for(places, tls)
        plain = [
            (HostnameEndpoint(reactor, place.host, place.port, timeout=timeout_s), place)
            for place in places
            if place.host is not None
        ]
        return [one for one, _ in plain] if settings is None else _secured(plain, settings)
    try:
        return [clientFromString(reactor, address)]
    except (ValueError, TypeError, LookupError) as error:
        raise no_address(address, error) from None


def _secured(
    plain: Sequence[tuple[IStreamClientEndpoint, Place]], settings: TLS
) -> list[IStreamClientEndpoint]:
    from taskqueue.client.tls_link import make_context, secured  # not needed without TLS

    context = make_context(settings)
    warn_where_insecure(settings)
    return [secured(endpoint, place, settings, context) for endpoint, place in plain]


@implementer(IStreamClientEndpoint)
class InTurn:
    """
    Several places as one: each is tried until one can be connected to.

    @param endpoints: at least one.
    """

    def __init__(self, endpoints: Sequence[IStreamClientEndpoint]) -> None:
        self._endpoints = endpoints
        self.turns = Turns(len(endpoints))

    def connect(self, factory: Any) -> Deferred[Any]:
        """
        Connect.

        @return: fires with the protocol; fails as the last place did.
        """
        return Deferred.fromCoroutine(self._connect(factory))

    async def _connect(self, factory: Any) -> Any:
        *others, last = self.turns.order()
        for index in others:
            try:
                return await self._reach(index, factory)
            except Exception:
                continue
        return await self._reach(last, factory)

    async def _reach(self, index: int, factory: Any) -> Any:
        protocol = await self._endpoints[index].connect(factory)
        self.turns.reached(index)
        return protocol


@implementer(IPushProducer, IHandshakeListener)
class Connection(Protocol):
    """
    Carries a session's bytes.  As a producer to its own transport it has the
    session wait while the broker does not read.
    """

    transport: Any

    def __init__(self, session: Session) -> None:
        self._session = session
        self._decoder = FrameDecoder(MAX_ANSWER_BYTES)

    def connectionMade(self) -> None:
        self._shaken = not ISSLTransport.providedBy(self.transport)
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        self.transport.registerProducer(self, True)
        self._session.connected(self)

    def dataReceived(self, data: bytes) -> None:
        try:
            frames = self._decoder.feed(data)
        except FatalClientError as error:
            self._session.broken(error if not speaks_tls(data) else BadFrame(IT_SPEAKS_TLS))
            return
        for frame in frames:
            self._session.received(frame)

    def handshakeCompleted(self) -> None:
        """The broker is the one that was meant."""
        self._shaken = True

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if not self._shaken:
            from taskqueue.client.tls_link import refusal

            self._session.refuse_broker(refusal(reason))
        self._session.disconnected(reason.getErrorMessage().rstrip("."))

    def write(self, data: bytes) -> None:
        """Send bytes."""
        write_at_once(self.transport, data)

    def abort(self) -> None:
        """End the connection at once."""
        self.transport.abortConnection()

    def end(self) -> None:
        """End the connection when everything is written."""
        # A transport waits for its producer before it closes.
        self.transport.unregisterProducer()
        self.transport.loseConnection()

    def pauseProducing(self) -> None:
        self._session.hold_back()

    def resumeProducing(self) -> None:
        self._session.go_on()

    def stopProducing(self) -> None:
        self._session.hold_back()


class _Connections(Factory):
    noisy = False

    def __init__(self, session: Session) -> None:
        self._session = session
        self.newest: Connection | None = None

    def buildProtocol(self, addr: Any) -> Connection:
        self.newest = Connection(self._session)
        return self.newest


class Link:
    """
    Keeps a session connected.

    @param address: see L{endpoints_of}.
    @raises BadRequest: the address is none.
    """

    def __init__(
        self, session: Session, address: str, reactor: Any, tls: TLS | bool | None = None
    ) -> None:
        self._session = session
        self._address = address
        self._reactor = reactor
        self._factory = _Connections(session)
        self._endpoint = InTurn(endpoints_of(address, reactor, session.timeout_s, tls))
        self._service = ClientService(
            self._endpoint, self._factory, retryPolicy=self._pause_s, clock=reactor
        )
        self._stopping = self._has_stopped = False
        self._waiting: list[Deferred[None]] = []
        session.on_failed = self._stop_trying
        session.on_refused = self._endpoint.turns.refused

    def _pause_s(self, attempt: int) -> float:
        # A connection that is refused at HELLO was a success to the service.
        return pause_s(max(attempt, self._session.fruitless))

    def start(self) -> None:
        """Connect, now and whenever the connection is lost."""
        self._service.whenConnected(failAfterFailures=1).addErrback(self._not_connected)
        self._service.startService()

    def _not_connected(self, failure: Failure) -> None:
        error = CannotConnect(f"cannot connect to {self._address}: {failure.getErrorMessage()}")
        # Not at once: whoever hears of it may stop the service, which is not ready for that.
        self._reactor.callLater(0, self._session.could_not_connect, error)

    def _stop_trying(self) -> None:
        self._reactor.callLater(0, self.stop)

    def stop(self) -> Deferred[None]:
        """Disconnect; fires when that is done, however often it is asked for."""
        done: Deferred[None] = Deferred()
        self._waiting.append(done)
        if not self._stopping:
            self._stopping = True
            connection = self._factory.newest
            if connection is not None and connection.connected:
                connection.end()
            self._service.stopService().addBoth(self._stopped)
        elif self._has_stopped:
            self._tell_stopped()
        return done

    def _stopped(self, _: object) -> None:
        # Not at once: the service cannot be asked anything while it says so.
        self._has_stopped = True
        self._reactor.callLater(0, self._tell_stopped)

    def _tell_stopped(self) -> None:
        waiting, self._waiting = self._waiting, []
        for done in waiting:
            done.callback(None)
