"""
A connection that speaks frames: whatever it says, the broker goes on, and its books are
right.
"""

from __future__ import annotations

from fuzz.place import Place
from taskqueue.wire import MessageType, encode

_PREFIX = encode(MessageType.HELLO, {"id": 1})

#: What is sent as one frame, its length made right: most mutations of a length end there.
_WHOLE = 0x80


def run(data: bytes) -> None:
    """
    Greet, and send C{data}.

    Its first byte says how: its upper bit, whether the rest is the body of one frame or a
    stream as it is.
    """
    if not data:
        return
    body = data[1:]
    stream = len(body).to_bytes(4, "big") + body if data[0] & _WHOLE else body
    with Place("framed") as place:
        place.send(_PREFIX + stream)
