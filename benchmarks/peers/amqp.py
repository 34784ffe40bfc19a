"""
RabbitMQ: AMQP 0-9-1 by hand; a durable queue, persistent messages, publisher
confirms, deliveries that are acknowledged many at a time.

Nothing answers an acknowledgement of a delivery, so none is awaited.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import partial

from benchmarks.peers.course import (
    PAYLOAD,
    PRODUCERS,
    WORKERS,
    Connection,
    Course,
    LoadFailed,
    Wire,
    connect,
)

_FRAME = struct.Struct(">BHI")
_METHOD = struct.Struct(">HH")

#: What is heard, as (class, method).
START, TUNE, OPENED, CHANNEL = (10, 10), (10, 30), (10, 41), (20, 11)
DECLARED, LIMITED, CONSUMING, DELIVERED, CONFIRMED, CONFIRMING, GOT = (
    (50, 11), (60, 11), (60, 21), (60, 60), (60, 80), (85, 11), (60, 71),
)  # fmt: skip

METHOD, HEADER, BODY, END = 1, 2, 3, b"\xce"


def frame(kind: int, channel: int, body: bytes) -> bytes:
    """A frame."""
    return _FRAME.pack(kind, channel, len(body)) + body + END


def method(which: tuple[int, int], arguments: bytes = b"", channel: int = 1) -> bytes:
    """A method's frame."""
    return frame(METHOD, channel, _METHOD.pack(*which) + arguments)


def short(text: bytes) -> bytes:
    """A short string."""
    return bytes([len(text)]) + text


def long(text: bytes) -> bytes:
    """A long string, or a table's bytes."""
    return len(text).to_bytes(4, "big") + text


#: Persistent: delivery mode 2, which is property flag 12.
MESSAGE = (
    method((60, 40), b"\0\0" + short(b"") + short(b"tasks") + b"\0")
    + frame(HEADER, 1, struct.pack(">HHQHB", 60, 0, len(PAYLOAD), 1 << 12, 2))
    + frame(BODY, 1, PAYLOAD)
)


def greeting() -> list[tuple[bytes, tuple[int, int]]]:
    """What is said first, and what answers each."""
    login = long(b"") + short(b"PLAIN") + long(b"\0guest\0guest") + short(b"en_US")
    tuned = method((10, 31), struct.pack(">HIH", 2047, 131072, 0), 0)
    opened = method((10, 40), short(b"/") + short(b"") + b"\0", 0)
    return [
        (b"AMQP\0\0\x09\x01", START),
        (method((10, 11), login, 0), TUNE),
        (tuned + opened, OPENED),
        (method((20, 10), short(b"")), CHANNEL),
    ]


def declaration(kind: str) -> tuple[bytes, tuple[int, int]]:
    """
    The queue.

    @param kind: C{"classic"} or C{"quorum"}.
    """
    table = short(b"x-queue-type") + b"S" + long(kind.encode())
    return method((50, 10), b"\0\0" + short(b"tasks") + b"\x02" + long(table)), DECLARED


CONFIRM = (method((85, 10), b"\0"), CONFIRMING)


def consume(prefetch: int) -> list[tuple[bytes, tuple[int, int]]]:
    """What a worker says to get at most C{prefetch} unacknowledged messages."""
    limit = method((60, 10), struct.pack(">IHB", 0, prefetch, 0))
    begin = method((60, 20), b"\0\0" + short(b"tasks") + short(b"worker") + b"\0" + long(b""))
    return [(limit, LIMITED), (begin, CONSUMING)]


def acknowledgement(tag: int, multiple: bool = True) -> bytes:
    """All deliveries up to the one with this tag are done."""
    return method((60, 80), struct.pack(">QB", tag, multiple))


class Frames(Connection):
    """Whole frames, once what is said first has been answered."""

    def __init__(self, first: list[tuple[bytes, tuple[int, int]]]) -> None:
        self._first = first
        self._step = 0

    def begin(self) -> None:
        self._buffer = b""
        self.transport.write(self._first[0][0])

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        at, size = 0, len(buffer)
        while size - at >= 8:
            kind, _, length = _FRAME.unpack_from(buffer, at)
            if size - at < length + 8:
                break
            if kind == METHOD:
                self._method(_METHOD.unpack_from(buffer, at + 7), buffer, at + 11)
            at += length + 8
        self._buffer = buffer[at:]
        if self._step == len(self._first):
            self.rest()

    def _method(self, which: tuple[int, ...], buffer: bytes, at: int) -> None:
        if self._step == len(self._first):
            self.heard(which, buffer, at)
            return
        if which != self._first[self._step][1]:
            raise LoadFailed(f"method {which}: {buffer[at : at + 200]!r}")
        self._step += 1
        if self._step == len(self._first):
            self.ready()
        else:
            self.transport.write(self._first[self._step][0])

    def ready(self) -> None:
        """All that is said first was answered."""

    def rest(self) -> None:
        """All that has come was heard."""

    def heard(self, which: tuple[int, ...], buffer: bytes, at: int) -> None:
        """One method, whose arguments begin at C{at}."""
        raise NotImplementedError


class Producer(Frames):
    """Publishes C{window} batches and awaits their confirms."""

    def __init__(self, course: Course, batch: int, window: int) -> None:
        super().__init__([*greeting(), CONFIRM])
        self._course = course
        self._batch = batch
        self._window = window
        self._bytes = MESSAGE * batch

    def ready(self) -> None:
        self._confirmed = self._single = self._heard = 0
        for _ in range(self._window):
            self._publish()

    def _publish(self) -> None:
        if self._course.take(self._batch, self._publish):
            self.transport.write(self._bytes)

    def heard(self, which: tuple[int, ...], buffer: bytes, at: int) -> None:
        if which != CONFIRMED:
            raise LoadFailed(f"method {which}: {buffer[at : at + 200]!r}")
        tag, multiple = struct.unpack_from(">QB", buffer, at)
        if multiple:  # everything up to this one, also what came before it out of order
            self._confirmed, self._single = tag, 0
        else:
            self._single += 1

    def rest(self) -> None:
        while self._confirmed + self._single - self._heard >= self._batch:
            self._heard += self._batch
            self._publish()


class Worker(Frames):
    """Acknowledges what has come, all at once."""

    def __init__(self, course: Course, prefetch: int) -> None:
        super().__init__([*greeting(), *consume(prefetch)])
        self._course = course
        self._delivered = self._acknowledged = 0

    def heard(self, which: tuple[int, ...], buffer: bytes, at: int) -> None:
        if which != DELIVERED:
            raise LoadFailed(f"method {which}: {buffer[at : at + 200]!r}")
        self._delivered += 1  # as the tags count, which begin at 1

    def rest(self) -> None:
        count = self._delivered - self._acknowledged
        if count:
            self._acknowledged = self._delivered
            self.transport.write(acknowledgement(self._delivered))
            self._course.finished(count)


class Requests(Wire):
    """A blocking connection, which looks at methods only."""

    def method(self, said: bytes, expected: tuple[int, int]) -> bytes:
        """Say something; the method that answers it."""
        self.send(said)
        while True:
            kind, body = self.frame()
            if kind == METHOD:
                if _METHOD.unpack_from(body) != expected:
                    raise LoadFailed(f"method: {body!r}")
                return body

    def frame(self) -> tuple[int, bytes]:
        """The next frame: its kind and its body."""
        kind, _, length = _FRAME.unpack(self.exactly(7))
        return kind, self.exactly(length + 1)


def prepare(port: int, kind: str) -> Requests:
    """A channel with confirms, and the queue."""
    wire = Requests(port)
    for said, answer in [*greeting(), declaration(kind), CONFIRM]:
        wire.method(said, answer)
    return wire


async def closed(course: Course, port: int, *, kind: str, batch: int, window: int) -> None:
    """Producers and workers of a closed loop."""
    prepare(port, kind)
    await connect(
        port,
        *[partial(Producer, course, batch, window)] * PRODUCERS,
        *[partial(Worker, course, batch)] * WORKERS,
    )


def one(port: int, *, kind: str) -> Callable[[], None]:
    """The requests of one task; the last one has no answer."""
    wire = prepare(port, kind)
    get = method((60, 70), b"\0\0" + short(b"tasks") + b"\0")

    def cycle() -> None:
        wire.method(MESSAGE, CONFIRMED)
        (tag,) = struct.unpack_from(">Q", wire.method(get, GOT), 4)
        wire.frame()  # its header
        wire.frame()  # its body
        wire.send(acknowledgement(tag, multiple=False))

    return cycle
