"""
Where messages end in a stream of bytes, without I/O.

Both decoders work in time linear in the bytes received, however those are cut
up: what arrives whole is sliced straight out of the received chunk; of what
does not, each byte is moved once into a buffer that grows by a fraction of its
size, and looked at once.  Neither ever holds more than one incomplete message.

A stream that breaks the rules cannot be trusted any more.  What was complete
before is still returned; C{failure} is set, and every L{feed <Decoder.feed>}
from then on, or this one if it had nothing to return, raises it.
"""

from __future__ import annotations

from struct import Struct
from typing import Generic, TypeVar

from taskqueue.errors import BadFrame, FatalClientError, FrameTooLarge

#: Longest frame, type and body, that is accepted unless told otherwise.
MAX_FRAME_BYTES = 16 * 1024 * 1024

_LENGTH = Struct(">I")
_PREFIX_BYTES = _LENGTH.size

#: What a decoder makes of a message.
_M = TypeVar("_M")


class Decoder(Generic[_M]):
    """
    What all decoders have alike.

    @ivar failure: what is wrong with the stream, or C{None}.
    """

    __slots__ = ("_held", "failure")

    def __init__(self) -> None:
        self._held = bytearray()
        self.failure: FatalClientError | None = None

    @property
    def buffered(self) -> int:
        """How many bytes of an incomplete message are held."""
        return len(self._held)

    def drop(self) -> None:
        """Hold nothing any more: nothing follows."""
        self._held = bytearray()

    def feed(self, data: bytes) -> list[_M]:
        """
        Take what was received.

        @return: the messages that this completes, in order.
        @raises FatalClientError: the stream is broken, and no message was
            complete before that.
        """
        messages = self._split(data) if self.failure is None else []
        if self.failure is not None and not messages:
            raise self.failure
        return messages

    def whole(self, data: bytes) -> _M | None:
        """
        What most often is received: the one message that C{data} consists of.

        @return: C{None}, and nothing is taken, where it may be anything else.
        """
        return None

    def _split(self, data: bytes) -> list[_M]:
        raise NotImplementedError

    def _fail(self, failure: FatalClientError) -> None:
        self.failure = failure
        self._held = bytearray()


class FrameDecoder(Decoder[bytes]):
    """
    Cuts a stream into frames, each after its length (4 bytes, big-endian).

    C{feed} returns frames without their length: type and body.  It fails with
    L{FrameTooLarge} (fields C{length} and C{limit}, in bytes) as soon as a
    length is over the limit, and with L{BadFrame} for a length of 0.

    @param max_frame_bytes: the longest frame, not counting its length.
    """

    __slots__ = ("_max_frame_bytes", "_missing")

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        super().__init__()
        self._max_frame_bytes = max_frame_bytes
        # Until the held bytes are a whole length, or a whole frame.
        self._missing = _PREFIX_BYTES

    def whole(self, data: bytes) -> bytes | None:
        length = len(data) - _PREFIX_BYTES
        if self._held or not 0 < length <= self._max_frame_bytes or self.failure is not None:
            return None
        return data[_PREFIX_BYTES:] if _LENGTH.unpack_from(data)[0] == length else None

    def _split(self, data: bytes) -> list[bytes]:
        if len(data) < self._missing:
            self._held += data
            self._missing -= len(data)
            return []
        frames: list[bytes] = []
        start = self._complete_held(data, frames) if self._held else 0
        if start >= 0:
            self._split_from(data, start, frames)
        return frames

    def _complete_held(self, data: bytes, frames: list[bytes]) -> int:
        """
        Complete what is held.

        @return: where in the data the next frame starts, -1 if not in there.
        """
        start = self._missing
        self._held += data[:start]
        end = start
        if len(self._held) == _PREFIX_BYTES:
            (length,) = _LENGTH.unpack(self._held)
            end += length
            if not 0 < length <= self._max_frame_bytes:
                self._refuse(length)
                return -1
            if end > len(data):
                self._held += memoryview(data)[start:]
                self._missing = end - len(data)
                return -1
            frames.append(data[start:end])
        else:
            frames.append(bytes(memoryview(self._held)[_PREFIX_BYTES:]))
        self._held = bytearray()
        return end

    def _split_from(self, data: bytes, start: int, frames: list[bytes]) -> None:
        """Take the frames that start in the data, and hold what is left of it."""
        size, limit, unpack_from = len(data), self._max_frame_bytes, _LENGTH.unpack_from
        self._missing = _PREFIX_BYTES
        while size - start >= _PREFIX_BYTES:
            begin = start + _PREFIX_BYTES
            (length,) = unpack_from(data, start)
            if not 0 < length <= limit:
                self._refuse(length)
                return
            end = begin + length
            if end > size:
                self._missing = end - start
                break
            frames.append(data[begin:end])
            start = end
        if start < size:
            self._held += memoryview(data)[start:]
            self._missing -= size - start

    def _refuse(self, length: int) -> None:
        limit = self._max_frame_bytes
        if length:
            self._fail(
                FrameTooLarge(
                    f"A frame of {length} bytes was announced; the limit is {limit}.",
                    length=length,
                    limit=limit,
                )
            )
        else:
            self._fail(BadFrame("A frame of length 0 was announced; it must hold a message."))


class LineDecoder(Decoder[bytes]):
    r"""
    Cuts a stream into lines that end with C{\n} or C{\r\n}.

    C{feed} returns lines without their end.  It fails with L{FrameTooLarge}
    (fields C{length}, of the line as far as it is known, and C{limit}, in
    bytes) as soon as a line is over the limit, its end seen or not.

    @param max_line_bytes: the longest line, not counting its end.
    """

    __slots__ = ("_max_line_bytes",)

    def __init__(self, max_line_bytes: int = MAX_FRAME_BYTES) -> None:
        super().__init__()
        self._max_line_bytes = max_line_bytes

    def _split(self, data: bytes) -> list[bytes]:
        # What is held has no line end in it, so only the new bytes are searched.
        if b"\n" not in data:
            self._hold(data)
            return []
        lines = data.split(b"\n")
        rest = lines.pop()
        if self._held:
            self._held += lines[0]
            lines[0] = bytes(self._held)
            self._held = bytearray()
        lines = [line[:-1] if line.endswith(b"\r") else line for line in lines]
        if max(map(len, lines)) > self._max_line_bytes:
            return self._before_too_long(lines)
        self._hold(rest)
        return lines

    def _hold(self, data: bytes) -> None:
        self._held += data
        length = len(self._held)
        # The last byte may belong to the line's end.
        if length > self._max_line_bytes and (
            length > self._max_line_bytes + 1 or self._held[-1:] != b"\r"
        ):
            self._fail_with(length)

    def _before_too_long(self, lines: list[bytes]) -> list[bytes]:
        limit = self._max_line_bytes
        bad = next(index for index, line in enumerate(lines) if len(line) > limit)
        self._fail_with(len(lines[bad]))
        return lines[:bad]

    def _fail_with(self, length: int) -> None:
        limit = self._max_line_bytes
        self._fail(
            FrameTooLarge(
                f"A line of at least {length} bytes was received; the limit is {limit}.",
                length=length,
                limit=limit,
            )
        )
