r"""
Where commands end in a stream of bytes, without I/O.

A command is a line that ends with C{\r\n}; a C{put} is followed by a body of as many bytes as its
line says, and by C{\r\n} again.  Nothing that a peer sends makes the stream unreadable: a line
that is too long is skipped to its end, and the body of a job that is too big by its size, so that
what follows is read as it was meant.
"""

from __future__ import annotations

from collections.abc import Callable

from taskqueue.framing import Decoder
from taskqueue.frontends.beanstalkd.commands import (
    BAD_FORMAT,
    EXPECTED_CRLF,
    JOB_TOO_BIG,
    MAX_LINE_BYTES,
    Command,
    read_line,
    refused,
)

#: Any number with fewer digits is small enough.
_FEW_DIGITS = 20

_MALFORMED = refused(BAD_FORMAT)
_MALFORMED_PUT = refused(BAD_FORMAT, "put")
_WITHOUT_END = refused(EXPECTED_CRLF, "put")
_TOO_BIG = refused(JOB_TOO_BIG, "put")

_new = tuple.__new__  # makes a named tuple without a call of a Python function


class CommandDecoder(Decoder[Command]):
    """
    Cuts a stream into commands.

    @param most_bytes: tells how long the body of a job may be.
    """

    __slots__ = ("_head", "_most_bytes", "_skipped_bytes", "_skips_line")

    def __init__(self, most_bytes: Callable[[], int]) -> None:
        super().__init__()
        self._most_bytes = most_bytes
        #: The C{put} whose body is awaited.
        self._head: Command | None = None
        #: So many bytes of a body that is too big are still to come.
        self._skipped_bytes = 0
        #: Whether the rest of a line that is too long is still to come.
        self._skips_line = False

    def whole(self, data: bytes) -> Command | None:
        if self._held or self._head is not None or self._skipped_bytes or self._skips_line:
            return None
        end, last = data.find(b"\r\n"), len(data) - 2
        if end < 0:
            return None
        if end == last:
            command = _read(data[:end])
            return None if command.verb == "put" else command
        if data[last:] != b"\r\n":
            return None
        head = _read(data[:end])
        if head.verb != "put" or end + 2 + head.number != last or head.body:
            return None
        if head.number > self._most_bytes():
            return None
        return _with_body(head, data[end + 2 : last], b"\r\n")

    def _split(self, data: bytes) -> list[Command]:
        if self._skipped_bytes:
            return self._skip(data)
        held = self._held
        if held:
            searched = len(held) - 1
            held += data
            if self._is_incomplete(searched):
                return []
            data = bytes(held)
            self._held = bytearray()
        return self._split_whole(data)

    def _skip(self, data: bytes) -> list[Command]:
        """Go on in the body of a job that is too big."""
        if len(data) < self._skipped_bytes:
            self._skipped_bytes -= len(data)
            return []
        start, self._skipped_bytes = self._skipped_bytes, 0
        return [_TOO_BIG, *self._split_whole(data[start:])]

    def _is_incomplete(self, searched: int) -> bool:
        """
        Whether what is held is still no whole command.

        @param searched: before this, no line ends.
        """
        if self._head is not None:
            return len(self._held) < self._head.number + 2
        if self._held.find(b"\r\n", searched) >= 0:
            return False
        self._bound_line()
        return True

    def _bound_line(self) -> None:
        """Of a line that is too long already, hold no more than what may be half of its end."""
        if len(self._held) > MAX_LINE_BYTES + 1:
            self._skips_line = True
            del self._held[:-1]

    def _split_whole(self, data: bytes) -> list[Command]:
        """Take the commands that begin and end in C{data}, and hold what is left of it."""
        commands: list[Command] = []
        start, size, head = 0, len(data), self._head
        if self._skips_line and (end := data.find(b"\r\n")) >= 0:
            self._skips_line = False
            commands.append(_MALFORMED)
            start = end + 2
        while not self._skips_line:
            if head is None:
                end = data.find(b"\r\n", start)
                if end < 0:
                    break
                command = _read(data[start:end])
                start = end + 2
                if command.verb != "put":
                    commands.append(command)
                    continue
                head = self._checked(command, commands)
                if head is None:
                    start = self._pass_by(start, size, commands)
                    continue
            end = start + head.number
            if end + 2 > size:
                break
            commands.append(_with_body(head, data[start:end], data[end : end + 2]))
            start, head = end + 2, None
        self._head = head
        if start < size:
            self._held += memoryview(data)[start:]
            if head is None:
                self._bound_line()
        return commands

    def _checked(self, head: Command, commands: list[Command]) -> Command | None:
        """The C{put} whose body follows; C{None} where no body is to be taken."""
        if head.number > self._most_bytes():
            self._skipped_bytes = head.number + 2
            return None
        if head.body:
            commands.append(_MALFORMED_PUT)
            return None
        return head

    def _pass_by(self, start: int, size: int, commands: list[Command]) -> int:
        """Where what is to be read goes on, behind what of a body that is too big is there."""
        if self._skipped_bytes > size - start:
            self._skipped_bytes -= size - start
            return size
        if self._skipped_bytes:
            start += self._skipped_bytes
            self._skipped_bytes = 0
            commands.append(_TOO_BIG)
        return start


def _read(line: bytes) -> Command:
    """What a line says; of a C{put}, the body is yet to come."""
    if line[:7] == b"delete ":  # different each time, and as frequent as any
        digits = line[7:]
        if digits.isdigit() and len(digits) < _FEW_DIGITS:
            return _new(Command, ("delete", int(digits), 0, 0, 0, "", b"", "delete"))
    return read_line(line) if len(line) <= MAX_LINE_BYTES else _MALFORMED


def _with_body(head: Command, body: bytes, end: bytes) -> Command:
    if end != b"\r\n":
        return _WITHOUT_END
    verb, size, priority, delay_s, ttr_s, tube, _, counted = head
    return _new(Command, (verb, size, priority, delay_s, ttr_s, tube, body, counted))
