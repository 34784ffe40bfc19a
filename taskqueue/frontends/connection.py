"""
A connection to the broker: a receiver of one wire language, and its session.
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

from taskqueue.errors import (
    ClientError,
    FatalClientError,
    SlowReader,
    TaskQueueError,
    TimedOut,
)
from taskqueue.frontends.factory import BrokerFactory
from taskqueue.frontends.framed import FramedReceiver
from taskqueue.frontends.lines import JSONLineReceiver
from taskqueue.frontends.sending import (
    LONGEST_DIRECT_BYTES,
    keeps_nothing,
    send,
    takes_directly,
)
from taskqueue.frontends.session import Session, nack
from taskqueue.frontends.unfinished import Unfinished
from taskqueue.transport.naming import certificate_of
from taskqueue.wire import (
    MAX_HEADER_BYTES,
    Header,
    MessageType,
    decode,
    decode_line,
    encode,
    encode_line,
)
from taskqueue.wire.typed import Message, Reply, encode_reply

#: Why parsing is paused while too many requests wait for their answers.
TOO_MANY_UNANSWERED = "too many unanswered requests"

#: How long a peer that is sent away has to read why, seconds.
LINGER_S = 2.0


@implementer(IHalfCloseableProtocol)
class Connection(Unfinished):
    """
    One connection: limits, time-outs and back-pressure in both directions.

    @ivar session: what the connection has said, holds and waits for.
    """

    factory: BrokerFactory
    session: Session
    hello_required = True

    #: Whether messages are frames, so that some can be read, and answered, as typed values.
    typed = False

    host = ""
    _admitted = False
    _lingering: IDelayedCall | None = None
    _heard_all = False
    _unread_bytes = 0
    _unread_since: float | None = None

    # --- the two languages differ in these --------------------------------------------

    def encode(self, message_type: MessageType, header: Header) -> bytes:
        """A message as bytes."""
        raise NotImplementedError

    def decode(self, message: bytes) -> tuple[MessageType, Header]:
        """
        @raises ClientError: it cannot be understood.
        """
        raise NotImplementedError

    # --- beginning and end --------------------------------------------------------

    def connectionMade(self) -> None:
        super().connectionMade()
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._direct = takes_directly(self.transport)
        self.connected_at = self.heard_at = self.factory.now()
        self.factory.connections.add(self)
        _send_at_once(self.transport)
        self.session = Session(
            self.factory.service,
            "",
            self.send,
            self.end,
            hello_required=self.hello_required,
            typed=self.typed,
            door=self.factory.language,
            certificate=lambda: certificate_of(self.transport),
        )
        if not self.factory.behind_proxy:
            self._meet(self.transport.getPeer())
        if not self.closing:
            self.transport.registerProducer(self, True)

    def _meet(self, address: IAddress) -> None:
        """Who the peer is, is known: may it come in?"""
        self.host, peer = describe_peer(address)
        self.session.peer = self.session.holder.name = peer
        self.session.host = self.host
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
        self.transport.write(self.encode(MessageType.NACK, nack(error)))
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
        self._heard_all = True
        self.session.withdraw_claims()
        self._close_if_answered()

    def _close_if_answered(self) -> None:
        """Close, after what has been written, once a peer that sends no more has its answers."""
        if self.closing or self.waiting or self.session.unanswered:
            return
        self.flush()
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

    def request_received(self, message: bytes) -> None:
        """Take one request, as bytes."""
        session = self.session
        if not (self.typed and session.handle_typed(message)):
            try:
                message_type, header = self.decode(message)
            except ClientError as error:
                session.refuse(error.fields.get("id"), error)
                return
            session.handle(message_type, header)
        if self._heard_all:
            session.withdraw_claims()
        limits = self.factory.service.config.limits
        if session.unanswered >= limits.max_inflight_requests:
            self.pause_parsing(TOO_MANY_UNANSWERED)

    # --- sending --------------------------------------------------------------------

    def send(self, message_type: MessageType, message: Message) -> None:
        """Send one message, in this turn of the reactor."""
        if isinstance(message, Reply):
            data = encode_reply(message_type, message, MAX_HEADER_BYTES)
        else:
            data = self.encode(message_type, message)
        self.factory.service.traffic.bytes_out += len(data)
        if self._out or (self._direct and keeps_nothing(self.transport)):
            self._collect(data)
        else:
            self.send_frame(data)
        if self._unread_since is not None:
            self._unread_bytes += len(data)
            if self._unread_bytes > self.factory.limits.max_outbound_bytes:
                self.cut(
                    SlowReader(f"more than {self.factory.limits.max_outbound_bytes} bytes wait")
                )
        if self.paused and self.session.unanswered < self.factory.limits.max_inflight_requests:
            self.resume_parsing(TOO_MANY_UNANSWERED)
        if self._heard_all:
            self._close_if_answered()

    def _collect(self, data: bytes) -> None:
        """Keep what is to be sent until messages have been handed on, or the turn is over."""
        if self._ended or self.transport.disconnecting:
            return
        if not (self._out or self._delivering):
            if self.factory.outbox.at_once:
                send(self.transport, data)
                return
            self.factory.outbox.add(self)
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
            self.connected_at, limits.handshake_timeout_s, now
        ):
            self.end(TimedOut(f"no HELLO within {limits.handshake_timeout_s:g} s"))
        elif (late := self.lateness(now)) is not None:
            self.end(late)
        elif session.busy:
            self.heard_at = now  # its silence begins when it has nothing to wait for
        elif self._is_over(self.heard_at, limits.idle_timeout_s, now):
            self.end(
                TimedOut(
                    f"nothing was heard for {limits.idle_timeout_s:g} s (idle_timeout_s): send "
                    f"PING now and then"
                )
            )

    @staticmethod
    def _is_over(since: float, limit_s: float, now: float) -> bool:
        return now - since >= limit_s


class FramedConnection(Connection, FramedReceiver):
    """A connection of a program: frames, beginning with HELLO."""

    typed = True

    def __init__(self, max_frame_bytes: int) -> None:
        FramedReceiver.__init__(self, max_frame_bytes)

    message_received = Connection.request_received  # without a detour: a frame is a request

    def stringReceived(self, string: bytes) -> None:
        self.request_received(string)

    def encode(self, message_type: MessageType, header: Header) -> bytes:
        return encode(message_type, header, MAX_HEADER_BYTES)

    def decode(self, message: bytes) -> tuple[MessageType, Header]:
        return decode(message)


class LineConnection(Connection, JSONLineReceiver):
    """A connection of a person or a script: JSON lines, HELLO if one likes."""

    hello_required = False

    def __init__(self, max_line_bytes: int) -> None:
        JSONLineReceiver.__init__(self, max_line_bytes)

    def lineReceived(self, line: bytes) -> None:
        if line.strip():
            self.request_received(line)

    def encode(self, message_type: MessageType, header: Header) -> bytes:
        return encode_line(message_type, header)

    def decode(self, message: bytes) -> tuple[MessageType, Header]:
        return decode_line(message)


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
