"""
The codec: what can be read can be written, and then says the same; a stream means the
same however it is cut up.
"""

from __future__ import annotations

from taskqueue.errors import FatalClientError, TaskQueueError
from taskqueue.wire import FrameDecoder, LineDecoder, decode, decode_line, encode, encode_line

#: Small, so that its being exceeded is within reach.
MOST_BYTES = 4096


def run(data: bytes) -> None:
    """Read C{data} as a frame's body, as a line, and as streams of both."""
    _check_frame(data)
    _check_line(data)
    for decoder in (FrameDecoder, LineDecoder):
        whole = _read_all(decoder(MOST_BYTES), [data])
        pieces = _read_all(decoder(MOST_BYTES), [data[at : at + 1] for at in range(len(data))])
        if whole != pieces:
            raise AssertionError(f"{decoder.__name__}: {whole!r}, but in pieces {pieces!r}")


def _check_frame(body: bytes) -> None:
    try:
        kind, header = decode(body)
    except TaskQueueError:
        return
    again = decode(encode(kind, header)[4:])
    if again != (kind, header):
        raise AssertionError(f"{(kind, header)!r} was read again as {again!r}")


def _check_line(line: bytes) -> None:
    try:
        kind, header = decode_line(line)
    except TaskQueueError:
        return
    again = decode_line(encode_line(kind, header).rstrip(b"\n"))
    if again != (kind, header):
        raise AssertionError(f"{(kind, header)!r} was read again as {again!r}")


def _read_all(decoder: FrameDecoder | LineDecoder, pieces: list[bytes]) -> list[bytes | str]:
    """The messages of a stream, and the code of the error that ends it."""
    found: list[bytes | str] = []
    try:
        # What is broken after a message is told when it is asked for the next one.
        for piece in (*pieces, b""):
            found += [bytes(one) for one in decoder.feed(piece)]
    except FatalClientError as error:
        found.append(error.code)
    return found
