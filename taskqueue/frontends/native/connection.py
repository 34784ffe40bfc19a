"""
Connections of the native protocol: frames for programs, lines for people and scripts.
"""

from __future__ import annotations

from taskqueue.errors import ClientError, FatalClientError
from taskqueue.frontends.connection import TOO_MANY_UNANSWERED, Connection
from taskqueue.frontends.native.framed import FramedReceiver
from taskqueue.frontends.native.lines import JSONLineReceiver
from taskqueue.frontends.native.session import Session, nack
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


class NativeConnection(Connection):
    """
    A connection on which messages have a type and a header.
    """

    session: Session
    hello_required = True
    idle_advice = "send PING now and then"

    #: Whether messages are frames, so that some can be read, and answered, as typed values.
    typed = False

    # --- the two forms differ in these --------------------------------------------------

    def encode(self, message_type: MessageType, header: Header) -> bytes:
        """A message as bytes."""
        raise NotImplementedError

    def decode(self, message: bytes) -> tuple[MessageType, Header]:
        """
        @raises ClientError: it cannot be understood.
        """
        raise NotImplementedError

    # --- what a language has --------------------------------------------------------

    def make_session(self) -> Session:
        return Session(
            self.factory.service,
            "",
            self.send,
            self.end,
            hello_required=self.hello_required,
            typed=self.typed,
            door=self.factory.language,
            certificate=lambda: certificate_of(self.transport),
        )

    def last_words(self, error: FatalClientError) -> bytes:
        return self.encode(MessageType.NACK, nack(error))

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
        if self.heard_all:
            session.withdraw_claims()
        # As pause_if_full does, without the call.
        if session.unanswered >= self.factory.service.config.limits.max_inflight_requests:
            self.pause_parsing(TOO_MANY_UNANSWERED)

    def send(self, message_type: MessageType, message: Message) -> None:
        """Send one message, in this turn of the reactor."""
        if isinstance(message, Reply):
            self.send_bytes(encode_reply(message_type, message, MAX_HEADER_BYTES))
        else:
            self.send_bytes(self.encode(message_type, message))


class FramedConnection(NativeConnection, FramedReceiver):
    """A connection of a program: frames, beginning with HELLO."""

    typed = True

    def __init__(self, max_frame_bytes: int) -> None:
        FramedReceiver.__init__(self, max_frame_bytes)

    message_received = NativeConnection.request_received  # without a detour: a frame is a request

    def stringReceived(self, string: bytes) -> None:
        self.request_received(string)

    def encode(self, message_type: MessageType, header: Header) -> bytes:
        return encode(message_type, header, MAX_HEADER_BYTES)

    def decode(self, message: bytes) -> tuple[MessageType, Header]:
        return decode(message)


class LineConnection(NativeConnection, JSONLineReceiver):
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
