"""
The connection below a session, in Twisted: addresses, reconnecting, bytes.
"""

from __future__ import annotations

import random
from typing import Any
from urllib.parse import urlsplit

from twisted.application.internet import ClientService, backoffPolicy
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, clientFromString
from twisted.internet.interfaces import IPushProducer, IStreamClientEndpoint, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from taskqueue.client.session import Session
from taskqueue.errors import BadRequest, CannotConnect, FatalClientError
from taskqueue.framing import FrameDecoder

DEFAULT_PORT = 7780
DEFAULT_ADDRESS = f"tq://127.0.0.1:{DEFAULT_PORT}"

#: Longest answer that is taken: a claim of many tasks may exceed the broker's
#: own bound on requests.
MAX_ANSWER_BYTES = 256 * 1024 * 1024

#: Pauses between attempts, seconds.
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 15.0


def endpoint_of(address: str, reactor: Any, timeout_s: float) -> IStreamClientEndpoint:
    """
    Where C{address} is.

    @param address: C{tq://host}, C{tq://host:port}, or the string of a Twisted
        client endpoint such as C{unix:/run/taskqueue.sock}.
    @raises BadRequest: it is neither.
    """
    try:
        if "://" in address:
            host, port = _host_and_port(address)
            return HostnameEndpoint(reactor, host, port, timeout=timeout_s)
        endpoint: IStreamClientEndpoint = clientFromString(reactor, address)
    except (ValueError, TypeError, LookupError) as error:
        raise BadRequest(
            f"{address!r} is no address of a broker ({error}): write tq://host:port, or a Twisted"
            " client endpoint such as tcp:host:port or unix:/run/taskqueue.sock"
        ) from None
    return endpoint


def _host_and_port(address: str) -> tuple[str, int]:
    url = urlsplit(address)
    if url.scheme != "tq":
        raise ValueError(f"its scheme must be tq, not {url.scheme}")
    if url.hostname is None:
        raise ValueError("it names no host")
    if url.path not in ("", "/") or url.query or url.fragment or url.username is not None:
        raise ValueError("nothing but host and port may stand in it")
    return url.hostname, DEFAULT_PORT if url.port is None else url.port


@implementer(IPushProducer)
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
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            self.transport.setTcpKeepAlive(True)
        self.transport.registerProducer(self, True)
        self._session.connected(self)

    def dataReceived(self, data: bytes) -> None:
        try:
            frames = self._decoder.feed(data)
        except FatalClientError as error:
            self._session.broken(error)
            return
        for frame in frames:
            self._session.received(frame)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._session.disconnected(reason.getErrorMessage().rstrip("."))

    def write(self, data: bytes) -> None:
        """Send bytes."""
        self.transport.write(data)

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

    @param address: see L{endpoint_of}.
    @raises BadRequest: the address is none.
    """

    def __init__(self, session: Session, address: str, reactor: Any) -> None:
        self._session = session
        self._address = address
        self._reactor = reactor
        self._factory = _Connections(session)
        self._pauses = backoffPolicy(FIRST_PAUSE_S, LONGEST_PAUSE_S, 1.6, lambda: 0.0)
        self._service = ClientService(
            endpoint_of(address, reactor, session.timeout_s),
            self._factory,
            retryPolicy=self._pause_s,
            clock=reactor,
        )
        self._stopping = self._has_stopped = False
        self._waiting: list[Deferred[None]] = []
        session.on_failed = self._stop_trying

    def _pause_s(self, attempt: int) -> float:
        # A connection that is refused at HELLO was a success to the service.
        pause_s = self._pauses(max(attempt, self._session.fruitless))
        # Clients that lost their broker together must not come back together.
        return pause_s * random.uniform(0.5, 1.5)

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
