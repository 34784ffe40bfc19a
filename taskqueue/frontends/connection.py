"""
A connection to the broker, whatever language is spoken on it: a receiver, and its session.

A language has a decoder, a session and a subclass of L{Connection}; what those implement says
the note "Doors" in docs/architecture.md.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IHalfCloseableProtocol,
    ISSLTransport,
    ITCPTransport,
)
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from taskqueue.errors import FatalClientError, SlowReader, TaskQueueError, TimedOut
from taskqueue.frontends.door_session import DoorSession
from taskqueue.frontends.factory import BrokerFactory
from taskqueue.frontends.sending import (
    LONGEST_DIRECT_BYTES,
    keeps_nothing,
    send,
    takes_directly,
)
from taskqueue.frontends.unfinished import Unfinished

#: Why parsing is paused while too many requests wait for their answers.
TOO_MANY_UNANSWERED = "too many unanswered requests"

#: How long a peer that is sent away has to read why, seconds.
LINGER_S = 2.0


@implementer(IHalfCloseableProtocol)
class Connection(Unfinished):
    """
    One connection: limits, time-outs and back-pressure in both directions.

    @ivar session: what the connection has said, holds and waits for.
    @ivar host: the address by which it is counted; empty until it is known.
    @ivar heard_all: the peer sends no more, but may still read.
    @cvar greeting: what has to come first, for messages; of languages that have it.
    @cvar idle_advice: what a peer does that has nothing to say for long, for messages.
    """

    factory: BrokerFactory
    session: DoorSession
    greeting = "HELLO"
    idle_advice = "send something now and then"

    host = ""
    heard_all = False
    _admitted = False
    _lingering: IDelayedCall | None = None
    _unread_bytes = 0
    _unread_since: float | None = None

    # --- languages differ in these ----------------------------------------------------

    def make_session(self) -> DoorSession:
        """The session of this connection; called once, when it is made."""
        raise NotImplementedError

    def last_words(self, error: FatalClientError) -> bytes:
        """What to tell the peer before its connection ends, as bytes; empty for nothing."""
        raise NotImplementedError

    @property
    def handshake_timeout_s(self) -> float:
        """How long a peer may take to say what has to come first."""
        return self.factory.limits.handshake_timeout_s

    @property
    def idle_timeout_s(self) -> float | None:
        """How long a peer may be silent that waits for nothing; C{None}: for ever."""
        return self.factory.limits.idle_timeout_s

    # --- beginning and end --------------------------------------------------------

    def connectionMade(self) -> None:
        super().connectionMade()
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._direct = takes_directly(self.transport)
        self.connected_at = self.heard_at = self.factory.now()
        self.factory.connections.add(self)
        _send_at_once(self.transport)
        self.session = self.make_session()
        if not self.factory.behind_proxy:
            self._meet(self.transport.getPeer())
        if not self.closing:
            self.transport.registerProducer(self, True)

    def _meet(self, address: IAddress) -> None:
        """Who the peer is, is known: may it come in?"""
        self.host, peer = describe_peer(address)
        self.session.meet(self.host, peer)
        try:
            self.factory.admit(self.host)
        except TaskQueueError as error:
            assert isinstance(error, FatalClientError)
            self.end(error)
        else:
            self._admitted = True

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        super().connectionLost(reason)
        self._forget_unsent()
        self.let_go()
        if self._lingering is not None and self._lingering.active():
            self._lingering.cancel()
        if self._admitted:
            self._admitted = False
            self.factory.leave(self.host)
        self.session.close()
        self.factory.gone(self)

    def end(self, error: FatalClientError) -> None:
        """Tell the peer why, and close; one that does not go is cut off."""
        if self.closing:
            return
        self._end()
        self.let_go()
        self.fatal(error)

    def fatal(self, error: FatalClientError) -> None:
        """
        Say why and close: first our direction, so that a peer which is still
        sending gets to read it, then all.
        """
        self.factory.count_refused(error)
        self.flush()
        self.transport.unregisterProducer()
        words = self.last_words(error)
        if words:
            self.transport.write(words)
        self.linger()

    def linger(self) -> None:
        """Close once the peer has read what it was sent, or has had the time to."""
        self.flush()
        self._end()
        self._lingering = self.factory.reactor.callLater(LINGER_S, self.transport.abortConnection)
        self.transport.resumeProducing()
        close_ours = getattr(self.transport, "loseWriteConnection", None)
        # A TLS transport hands that to the TCP connection below, before its own last bytes.
        if close_ours is None or ISSLTransport.providedBy(self.transport):
            self.transport.loseConnection()
        else:
            close_ours()

    def readConnectionLost(self) -> None:
        """
        The peer sends no more, as a script does that has said all it has to say.
        It still gets the answers that it waits for; but its claims wait no more,
        for nobody could tell it from a peer that is dead.
        """
        if self.closing:
            self.transport.loseConnection()
            return
        self.heard_all = True
        self.session.withdraw_claims()
        self._close_if_answered()

    def _close_if_answered(self) -> None:
        """Close once a peer that sends no more has its answers."""
        if not (self.closing or self.waiting or self.session.unanswered):
            self.finish()

    def finish(self) -> None:
        """Close after what has been written, which the peer has its time to read."""
        if self.closing:
            return
        self.flush()
        self._end()
        self.let_go()
        self.transport.unregisterProducer()
        self.transport.loseConnection()
        self._lingering = self.factory.reactor.callLater(
            self.factory.limits.slow_reader_timeout_s, self.transport.abortConnection
        )

    def writeConnectionLost(self) -> None:
        """Our direction is closed; the peer's follows."""

    # --- receiving ------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        factory = self.factory
        factory.service.traffic.bytes_in += len(data)
        self.heard_at = factory.now()
        if not self._admitted:
            if self._lingering is not None:
                return
            self._meet(self.transport.getPeer())
        super().dataReceived(data)
        held = self._decoder.buffered
        if held or self._held_bytes:
            self.note_held(held, len(data))

    def pause_if_full(self) -> None:
        """Take no more requests while too many wait for their answers."""
        if self.session.unanswered >= self.factory.limits.max_inflight_requests:
            self.pause_parsing(TOO_MANY_UNANSWERED)

    # --- sending --------------------------------------------------------------------

    def send_bytes(self, data: bytes) -> None:
        """Send one message or more, in this turn of the reactor."""
        self.factory.service.traffic.bytes_out += len(data)
        if self._out:
            self._keep(data)
        elif self._direct and keeps_nothing(self.transport):
            self._collect(data)
        elif not self.closing:
            self.transport.write(data)
        if self._unread_since is not None:
            self._unread_bytes += len(data)
            if self._unread_bytes > self.factory.limits.max_outbound_bytes:
                self.cut(
                    SlowReader(f"more than {self.factory.limits.max_outbound_bytes} bytes wait")
                )
        if self.paused and self.session.unanswered < self.factory.limits.max_inflight_requests:
            self.resume_parsing(TOO_MANY_UNANSWERED)
        if self.heard_all:
            self._close_if_answered()

    def _collect(self, data: bytes) -> None:
        """Keep the first of what is to be sent when messages have been handed on, or later."""
        if self._ended or self.transport.disconnecting:
            return
        if not self._delivering:
            if self.factory.outbox.at_once:
                send(self.transport, data)
                return
            self.factory.outbox.add(self)
        self._keep(data)

    def _keep(self, data: bytes) -> None:
        self._out.append(data)
        self._out_bytes += len(data)
        if self._out_bytes > LONGEST_DIRECT_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what was collected."""
        if self._out:
            # Of a list of one, what is joined is that one itself.
            data = b"".join(self._out)
            self._out.clear()
            self._out_bytes = 0
            send(self.transport, data)

    delivered = flush

    def _forget_unsent(self) -> None:
        self._out.clear()
        self._out_bytes = 0

    def pauseProducing(self) -> None:
        if not getattr(self.transport, "_handshakeDone", True):
            # TLS of Twisted says so when something was written too early, such as the greeting of
            # a language in which the server speaks first.  Who read no more then would never
            # get through the handshake.
            return
        # Transports say it again with each write, until the peer has read what waits.
        if self._unread_since is None:
            self._unread_since = self.factory.now()
            self._unread_bytes = 0
        super().pauseProducing()

    def resumeProducing(self) -> None:
        self._unread_since = None
        super().resumeProducing()

    def cut(self, error: FatalClientError) -> None:
        """End the connection without a word: the peer would not read it."""
        if not self.closing:
            self.factory.count_refused(error)
            self.abort()

    def abort(self) -> None:
        self._forget_unsent()
        super().abort()

    # --- time -----------------------------------------------------------------------

    def check_time(self, now: float) -> None:
        """
        Has the peer kept silent, or not read, for too long?

        @param now: monotonic seconds.
        """
        limits, session = self.factory.limits, self.session
        if self.closing:
            return
        if self._unread_since is not None and self._is_over(
            self._unread_since, limits.slow_reader_timeout_s, now
        ):
            self.cut(SlowReader())
        elif not session.greeted and self._is_over(
            self.connected_at, self.handshake_timeout_s, now
        ):
            self.end(TimedOut(f"no {self.greeting} within {self.handshake_timeout_s:g} s"))
        elif (late := self.lateness(now)) is not None:
            self.end(late)
        elif session.busy:
            self.heard_at = now  # its silence begins when it has nothing to wait for
        else:
            self._check_silence(now)

    def _check_silence(self, now: float) -> None:
        limit_s = self.idle_timeout_s
        if limit_s is not None and self._is_over(self.heard_at, limit_s, now):
            self.end(
                TimedOut(
                    f"nothing was heard for {limit_s:g} s (idle_timeout_s): {self.idle_advice}"
                )
            )

    @staticmethod
    def _is_over(since: float, limit_s: float, now: float) -> bool:
        return now - since >= limit_s


def _send_at_once(transport: Any) -> None:
    """
    Switch Nagle's algorithm off: a small answer would otherwise wait for the
    peer's delayed acknowledgement of the one before it, 40 ms.
    """
    if ITCPTransport.providedBy(transport):
        transport.setTcpNoDelay(True)


def describe_peer(address: Any) -> tuple[str, str]:
    """
    Who is at the other end.

    @return: the host by which connections are counted, and what to call the
        connection.
    """
    if isinstance(address, IPv4Address | IPv6Address):
        return address.host, f"{address.host}:{address.port}"
    return "local", "local"
