"""
The native protocol as bytes, without I/O.

A frame is C{length (4 bytes, big-endian) | message type (1 byte) | body}; the
length counts type and body.  The body is a JSON object on one line, the header;
then, where there are payloads, a line end and the raw bytes of all payloads one
after another.  Where a header lists items (see L{ATTACHED}), each item tells
how many of these bytes are its own: C{"size"} of its payload, C{"result_size"}
of its result.  In memory, the item has C{"payload"} and C{"result"} instead.

The same messages can be written as lines, one JSON object each: the operation
is its C{"op"}, a payload is text, or base64 as C{"payload_b64"}.

Only a length that cannot be right makes a stream untrustworthy
(L{FatalClientError}).  All else that is wrong with a message is a
L{ClientError} about this message, which carries the request's C{id} in its
fields where that could be read: the next message is found all the same.
"""

from taskqueue.framing import MAX_FRAME_BYTES, FrameDecoder, LineDecoder
from taskqueue.wire.frames import MAX_HEADER_BYTES, decode, encode, encode_request
from taskqueue.wire.lines import decode_line, encode_line
from taskqueue.wire.messages import ATTACHED, OPERATIONS, Header, MessageType, Part

__all__ = [
    "ATTACHED",
    "MAX_FRAME_BYTES",
    "MAX_HEADER_BYTES",
    "OPERATIONS",
    "FrameDecoder",
    "Header",
    "LineDecoder",
    "MessageType",
    "Part",
    "decode",
    "decode_line",
    "encode",
    "encode_line",
    "encode_request",
]
