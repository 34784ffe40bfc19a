"""
The TLS of connections: a time limit for the handshake, and one write for what is said in a
turn of the reactor.

Twisted's own transport hands on each record of 16 KiB by itself, keeps what is written for the
next turn of the reactor, and leaves what comes of that to the turn after it.  Here what has
come in is handed on together, and what L{taskqueue.frontends.sending} has collected is
encrypted and sent at once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from OpenSSL.SSL import Error, WantReadError, ZeroReturnError
from twisted.internet.error import ConnectionClosed
from twisted.internet.interfaces import IDelayedCall, IProtocolFactory
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from twisted.python.failure import Failure

from taskqueue.frontends import sending
from taskqueue.frontends.refusals import (
    HANDSHAKE_FAILED,
    HANDSHAKE_TIMED_OUT,
    Refusals,
    describe,
)
from taskqueue.frontends.securing import ServerIdentity
from taskqueue.transport.contexts import is_no_tls, words_of

#: An alert of TLS: what came in is not what it should be.
_UNEXPECTED = b"\x15\x03\x03\x00\x02\x02\x0a"


#: More than the largest record of TLS.
_RECORD_BYTES = 32 * 1024

#: What TLS adds to a record of 16 KiB at most.
_RECORD_OVERHEAD_BYTES = 256


def _overhead_bytes(size: int) -> int:
    """What TLS adds to so many bytes at most."""
    return (2 + size // (16 * 1024)) * _RECORD_OVERHEAD_BYTES


class SecureTransport(BufferingTLSTransport, sending.DirectTransport):
    """
    The TLS of one connection, which has a time to get through its handshake.
    """

    factory: SecureFactory
    _deadline: IDelayedCall | None = None
    _below: Any = None

    def makeConnection(self, transport: Any) -> None:
        """Begin the handshake."""
        self._below = transport if sending.takes_directly(transport) else None
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
            self._flushSendBIO()  # tickets of TLS 1.3

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

    # --- receiving ------------------------------------------------------------------------

    def _flushReceiveBIO(self) -> None:
        """Hand on what has come in, together, and then find out about the end."""
        received: list[bytes] = []
        over, failure = False, None
        while not (over or self._lostTLSConnection):
            try:
                received.append(self._tlsConnection.recv(_RECORD_BYTES))
            except WantReadError:
                break
            except ZeroReturnError:
                over = True
            except Error:
                over, failure = True, Failure()
        if received and not self._aborted:
            self.wrappedProtocol.dataReceived(b"".join(received))
        if over:
            self._has_ended(failure)
        elif not received and not self._lostTLSConnection:
            self._flushSendBIO()  # what the other side asked for was of TLS alone

    def _has_ended(self, failure: Failure | None) -> None:
        """The other side has closed, or what came in is no TLS."""
        if failure is None:
            self._shutdownTLS()
        self._tlsShutdownFinished(failure)

    # --- sending --------------------------------------------------------------------------

    @property
    def keeps_something(self) -> bool:
        """Whether what is sent now would overtake something, or has to wait."""
        below = self._below
        return (
            below is None
            or not self._handshakeDone
            or self._lostTLSConnection
            or bool(self._appSendBuffer)
            or bool(getattr(self._aggregator, "_buffer", ()))
            or not sending.keeps_nothing(below)
        )

    def send_directly(self, data: bytes) -> bool:
        """
        Encrypt, and send at once.

        @return: whether that was done; if not, nothing was, and it is to be written.
        """
        connection = self._tlsConnection
        try:
            connection.sendall(data)
        except Error:  # of which the usual way finds out again
            return False
        most = len(data) + _overhead_bytes(len(data))
        encrypted = connection.bio_read(most)
        if len(encrypted) == most:  # something of TLS's own came before it
            self._below.write(encrypted)
            self._flushSendBIO()
        else:
            sending.send(self._below, encrypted)
        return True

    def write_later(self, data: bytes) -> None:
        """Keep it until it can be sent."""
        self.write(data)

    # --- the end --------------------------------------------------------------------------

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
