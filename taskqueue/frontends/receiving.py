"""
What a receiver of framed messages and one of lines have in common: when
messages are handed on, when they wait, and when no more of them are.

Twisted's own receivers copy their buffer for every message or chunk, so that a
large message takes quadratic time, and the framed one goes on handing over
messages after the connection was told to close.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from taskqueue.errors import FatalClientError
from taskqueue.framing import Decoder

#: Why parsing is paused when the transport asked for it through
#: L{IPushProducer}: what was written to the peer is not read by it.
PEER_DOES_NOT_READ = "the peer does not read"

#: How much is read, about, of what comes after a message that has to wait.
MOST_READ_AHEAD_BYTES = 64 * 1024


@implementer(IPushProducer)
class Receiver(Protocol):
    """
    Hands on complete messages, one at a time, while nothing speaks against it.

    Messages wait while there is any reason to pause (L{pause_parsing}), and then
    the transport is paused too, so that what waits is at most what one or two
    reads brought; a reason that lasts, so that a peer may go away meanwhile, lets
    the transport read on, up to L{MOST_READ_AHEAD_BYTES}.  As soon as the connection
    is closing, for whatever reason, messages that still wait are dropped and no more
    are handed on.

    A subclass implements L{message_received} and, where an abort without a word
    is not enough, L{fatal}.  As an L{IPushProducer} that is registered with its
    own transport, a receiver reads no more requests from a peer that does not
    read the answers.

    @ivar paused: whether there is any reason to pause.
    """

    _log = Logger()

    # In fact a TCP or TLS transport: ITCPTransport and IPushProducer, with the
    # attribute "disconnecting", for which Twisted has no common interface.
    transport: Any

    paused = False

    def __init__(self, decoder: Decoder[Any]) -> None:
        self._decoder = decoder
        self._waiting: deque[Any] | tuple[()] = ()
        self._pauses: set[str] = set()
        self._reading_on: set[str] | tuple[()] = ()
        self._read_ahead_bytes = 0
        self._delivering = False
        self._transport_paused = False
        self._ended = False

    def message_received(self, message: Any) -> None:
        """
        Take one message, as the decoder has made it.  What this raises ends the connection: a
        L{FatalClientError} by way of L{fatal}; anything else is logged, and the
        connection aborted.
        """
        raise NotImplementedError

    def messages_received(self, waiting: deque[Any]) -> None:
        """
        Take the messages that wait, from the left, for as long as nothing speaks
        against it; what is left there goes on waiting.  A language that takes many
        at once has a way of its own.
        """
        while waiting and not self.paused and not self.closing:
            self.message_received(waiting.popleft())

    def fatal(self, error: FatalClientError) -> None:
        """
        End a connection whose stream cannot be trusted any more; called at most
        once, after all messages before the fault were handed on.
        """
        self.transport.abortConnection()

    def abort(self) -> None:
        """End the connection at once, whatever waits to be sent."""
        self._end()
        self.transport.abortConnection()

    def delivered(self) -> None:
        """Messages were handed on; called when no more of them can be for now."""

    @property
    def waiting(self) -> int:
        """How many complete messages wait to be handed on."""
        return len(self._waiting)

    @property
    def closing(self) -> bool:
        """Whether the connection is closed or being closed."""
        return self._ended or self.transport.disconnecting

    def pause_parsing(self, reason: str, *, reading: bool = False) -> None:
        """
        Hand on no more messages, and read no more, until every reason that was
        given is taken back by L{resume_parsing}.

        @param reading: read on meanwhile, up to L{MOST_READ_AHEAD_BYTES}: a peer that
            goes away is noticed.
        """
        self._pauses.add(reason)
        if reading:
            self._reading_on = {reason, *self._reading_on}
        self.paused = True
        self._adjust_transport()

    def resume_parsing(self, reason: str) -> None:
        """
        Take back a reason to pause; unknown ones do not matter.  With the last
        one gone, what waits is handed on, before this returns unless it is
        called while a message is being handed on.
        """
        self._pauses.discard(reason)
        if self._reading_on:
            self._reading_on = {each for each in self._reading_on if each != reason} or ()
        self.paused = bool(self._pauses)
        self._deliver()

    def dataReceived(self, data: bytes) -> None:
        if self._ended or self.transport.disconnecting:
            return
        if not (self._waiting or self.paused or self._delivering):
            message = self._decoder.whole(data)
            if message is not None:
                self._deliver(message)
                return
        try:
            messages = self._decoder.feed(data)
        except FatalClientError:
            messages = []  # the decoder remembers what is wrong; messages that wait come first
        if self._waiting:
            self._read_ahead_bytes += len(data)
            self._waiting.extend(messages)
        elif messages:
            self._waiting = deque(messages)
        self._deliver()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._end()
        super().connectionLost(reason)

    def pauseProducing(self) -> None:
        self.pause_parsing(PEER_DOES_NOT_READ)

    def resumeProducing(self) -> None:
        self.resume_parsing(PEER_DOES_NOT_READ)

    def stopProducing(self) -> None:
        self._end()

    def _end(self) -> None:
        self._ended = True
        self._waiting = ()
        self._decoder.drop()

    def _deliver(self, only: bytes | None = None) -> None:
        """
        Hand on what waits as far as allowed; never nested, to keep the order.

        @param only: a message that may be handed on, where none waits.
        """
        if self._delivering:
            return
        self._delivering = True
        try:
            if only is None:
                self._deliver_waiting()
            else:
                self.message_received(only)
        except FatalClientError as error:
            if not self.closing:
                self._end()
                self.fatal(error)
        except Exception:
            self._log.failure("A connection failed and is aborted")
            self.abort()
        finally:
            self._delivering = False
        self.delivered()
        if self.paused or self._transport_paused:
            self._adjust_transport()

    def _deliver_waiting(self) -> None:
        failure: FatalClientError | None = None
        try:
            if self._waiting and not self.paused and not self.closing:
                self.messages_received(self._waiting)
        except FatalClientError as error:
            failure = error
        if not self.paused and failure is None:
            failure = self._decoder.failure
        if self.closing:
            self._end()
        elif failure is not None:
            self._end()
            self.fatal(failure)
        elif not self._waiting:
            self._waiting = ()  # an idle connection keeps no deque
            self._read_ahead_bytes = 0

    @property
    def _reads_on(self) -> bool:
        """Whether more may be read, although messages may have to wait."""
        if not self.paused:
            return True
        return (
            len(self._reading_on) == len(self._pauses)
            and self._read_ahead_bytes < MOST_READ_AHEAD_BYTES
        )

    def _adjust_transport(self) -> None:
        """Pause or resume the transport, once what is being handed on is through."""
        if self._delivering or self.closing or self._reads_on is not self._transport_paused:
            return
        self._transport_paused = not self._transport_paused
        if self._transport_paused:
            self.transport.pauseProducing()
        else:
            self.transport.resumeProducing()
