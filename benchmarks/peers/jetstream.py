"""
NATS JetStream: its text protocol by hand; a work queue in files, publishers that
pipeline, pull consumers, acknowledgements that are themselves acknowledged.

C{messages}: each message is answered.  C{atomic}: a batch is published, and answered,
as one.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

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

HELLO = b'CONNECT {"verbose":false,"headers":true,"no_responders":false,"protocol":1}\r\n'

STREAM = {
    "name": "T",
    "subjects": ["tasks"],
    "storage": "file",
    "retention": "workqueue",
    "allow_atomic": True,
}
CONSUMER = {"durable_name": "C", "ack_policy": "explicit", "max_ack_pending": 100_000}

#: A line and what it announces: subject, where to answer, sizes of the headers, if there are
#: any, and of all of a message; or another line.
LINE = re.compile(
    rb"(?:MSG (\S+) \S+ (?:(\S+) )?(\d+)|HMSG (\S+) \S+ (?:(\S+) )?(\d+) (\d+)|([^\r\n]*))\r\n"
)


class Line(NamedTuple):
    """
    What a line says.

    @ivar size: of the message that follows it; None where none does.
    """

    subject: bytes
    reply: bytes | None
    size: int | None
    other: bytes
    end: int


def line_at(buffer: bytes, at: int) -> Line | None:
    """The line that begins at C{at}, if it is whole."""
    found = LINE.match(buffer, at)
    if found is None:
        return None
    subject, reply, size, h_subject, h_reply, _, h_size, other = found.groups()
    if other is not None:
        return Line(b"", None, None, other, found.end())
    return Line(subject or h_subject, reply or h_reply, int(size or h_size), b"", found.end())


#: Where answers to what a connection publishes come, and where messages do.
ACKS, TASKS = b"acks", b"tasks_for"


def publication(subject: bytes, body: bytes, reply: bytes = b"") -> bytes:
    """A PUB."""
    return b"PUB %b %b %d\r\n%b\r\n" % (subject, reply, len(body), body)


def atomic(name: bytes, count: int, reply: bytes) -> bytes:
    """A batch that is published as a whole; C{name} tells it from others."""
    out = []
    for number in range(1, count + 1):
        head = b"NATS/1.0\r\nNats-Batch-Id: %b\r\nNats-Batch-Sequence: %d\r\n" % (name, number)
        head += b"Nats-Batch-Commit: 1\r\n\r\n" if number == count else b"\r\n"
        where = reply if number == count else b""
        sizes = b"%d %d" % (len(head), len(head) + len(PAYLOAD))
        out.append(b"HPUB tasks %b %b\r\n%b%b\r\n" % (where, sizes, head, PAYLOAD))
    return b"".join(out)


class Messages(Connection):
    """Whole messages to inboxes of its own."""

    def __init__(self, number: int) -> None:
        self.acks = b"%b.%d" % (ACKS, number)
        self.tasks = b"%b.%d" % (TASKS, number)

    def begin(self) -> None:
        self._buffer = b""
        self.transport.write(HELLO + b"SUB %b 1\r\nSUB %b 2\r\n" % (self.acks, self.tasks))
        self._informed = False

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        at, size = 0, len(buffer)
        while at < size and (line := line_at(buffer, at)):
            end = line.end + (0 if line.size is None else line.size + 2)
            if end > size:
                break
            if line.size is None:
                self._told(line.other)
            else:
                self.heard(line.subject, line.reply, buffer[line.end : end - 2])
            at = end
        self._buffer = buffer[at:]
        self.rest()

    def _told(self, line: bytes) -> None:
        if line == b"PING":
            self.transport.write(b"PONG\r\n")
        elif not line.startswith(b"INFO "):
            raise LoadFailed(f"not understood: {line[:200]!r}")
        elif not self._informed:
            self._informed = True
            self.ready()

    def ready(self) -> None:
        """The server has introduced itself."""

    def rest(self) -> None:
        """All that has come was heard."""

    def heard(self, subject: bytes, reply: bytes | None, body: bytes) -> None:
        """One message, with its headers."""
        raise NotImplementedError


class Producer(Messages):
    """Publishes C{window} batches and awaits what the stream says to each message, or batch."""

    def __init__(self, course: Course, style: str, batch: int, window: int, number: int) -> None:
        super().__init__(number)
        self._course = course
        self._batch = batch
        self._window = window
        self._names = (b"%d.%d" % (number, count) for count in itertools.count())
        self._atomic = style == "atomic"
        self._bytes = publication(b"tasks", PAYLOAD, self.acks) * batch
        self._waiting = 0

    def ready(self) -> None:
        for _ in range(self._window):
            self._publish()

    def _publish(self) -> None:
        if not self._course.take(self._batch, self._publish):
            return
        if self._atomic:
            self.transport.write(atomic(next(self._names), self._batch, self.acks))
        else:
            self.transport.write(self._bytes)

    def heard(self, subject: bytes, reply: bytes | None, body: bytes) -> None:
        if b'"error"' in body:
            raise LoadFailed(f"publish: {body!r}")
        self._waiting += self._batch if self._atomic else 1

    def rest(self) -> None:
        while self._waiting >= self._batch:
            self._waiting -= self._batch
            self._publish()


class Worker(Messages):
    """Pulls C{batch} messages, acknowledges each, and is told that this was heard."""

    def __init__(self, course: Course, batch: int, number: int) -> None:
        super().__init__(number)
        self._course = course
        self._batch = batch
        self._wanted = 0
        self._out: list[bytes] = []
        self._done = 0

    def heard(self, subject: bytes, reply: bytes | None, body: bytes) -> None:
        if subject == self.acks:
            self._done += 1
        elif reply is None:  # the pull is over
            self._wanted = 0
        else:
            self._wanted -= 1
            self._out.append(publication(reply, b"+ACK", self.acks))

    def rest(self) -> None:
        if self._wanted <= self._batch // 2:
            more = self._batch - self._wanted
            request = b'{"batch":%d,"expires":5000000000}' % more
            self._out.append(publication(b"$JS.API.CONSUMER.MSG.NEXT.T.C", request, self.tasks))
            self._wanted += more
        if self._out:
            self.transport.write(b"".join(self._out))
            self._out.clear()
        if self._done:
            done, self._done = self._done, 0
            self._course.finished(done)


class Requests(Wire):
    """A blocking connection whose requests are answered in an inbox."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self.until(b"\r\n")
        self.send(HELLO + b"SUB inbox 1\r\n")

    def request(self, subject: bytes, body: bytes) -> tuple[bytes | None, bytes]:
        """Publish C{body}; where the answer wants an answer, and what it says."""
        self.send(publication(subject, body, b"inbox"))
        while True:
            line = line_at(self.until(b"\r\n") + b"\r\n", 0)
            if line is None or line.other not in (b"", b"PING"):
                raise LoadFailed(f"not understood: {line!r}")
            if line.size is not None:
                return line.reply, self.exactly(line.size + 2)[:-2]
            self.send(b"PONG\r\n")

    def call(self, subject: bytes, request: dict[str, Any]) -> None:
        """A request of the JetStream API."""
        _, answer = self.request(subject, json.dumps(request).encode())
        if "error" in json.loads(answer):
            raise LoadFailed(f"{subject!r}: {answer!r}")


def prepare(port: int) -> Requests:
    """Make the stream and its consumer."""
    wire = Requests(port)
    wire.call(b"$JS.API.STREAM.CREATE.T", STREAM)
    wire.call(b"$JS.API.CONSUMER.DURABLE.CREATE.T.C", {"stream_name": "T", "config": CONSUMER})
    return wire


async def closed(
    course: Course, port: int, *, style: str = "messages", batch: int, window: int
) -> None:
    """Producers and workers of a closed loop."""
    prepare(port)
    producers = [partial(Producer, course, style, batch, window, n) for n in range(PRODUCERS)]
    workers = [partial(Worker, course, batch, PRODUCERS + n) for n in range(WORKERS)]
    await connect(port, *producers, *workers)


def one(port: int) -> Callable[[], None]:
    """The requests of one task, each of which waits for its answer."""
    wire = prepare(port)

    def cycle() -> None:
        wire.request(b"tasks", PAYLOAD)
        reply, _ = wire.request(b"$JS.API.CONSUMER.MSG.NEXT.T.C", b"1")
        if reply is None:
            raise LoadFailed("no message")
        wire.request(reply, b"+ACK")

    return cycle
