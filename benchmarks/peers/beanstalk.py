"""beanstalkd: pipelined commands on several connections; a job is deleted on the one it came by."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from functools import partial

from benchmarks.peers.course import (
    PAYLOAD,
    PRODUCERS,
    WORKERS,
    Arrivals,
    Connection,
    Course,
    Filling,
    LoadFailed,
    Wire,
    connect,
    numbered,
)

#: Priority, delay, time to run: a minute.
PUT = b"put 0 0 60 %d\r\n" % len(PAYLOAD)

RESERVED = re.compile(rb"RESERVED (\d+) ")


class Lines(Connection):
    """Whole lines; payloads hold no line ends, so they are lines too."""

    def begin(self) -> None:
        self._rest = b""
        self.ready()

    def ready(self) -> None:
        """Say the first words."""

    def data_received(self, data: bytes) -> None:
        lines, ending, self._rest = (self._rest + data).rpartition(b"\r\n")
        if ending:
            self.heard(lines + ending)

    def heard(self, lines: bytes) -> None:
        """Lines that have come, each with its end."""
        raise NotImplementedError


class Producer(Filling, Lines):
    """Puts C{window} batches and awaits their ids."""

    def __init__(self, course: Course, batch: int, window: int) -> None:
        super().__init__(course, batch, window, (PUT + PAYLOAD + b"\r\n") * batch)
        self._waiting = 0

    def heard(self, lines: bytes) -> None:
        count = lines.count(b"\r\n")
        if lines.count(b"INSERTED ") != count:
            raise LoadFailed(f"put: {lines!r}")
        self._waiting += count
        while self._waiting >= self._batch:
            self._waiting -= self._batch
            self._submit()


class Worker(Lines):
    """
    Reserves up to C{batch} jobs and deletes them.  A C{reserve} that waits holds up
    what follows it on its connection: so only a single one ever does.
    """

    def __init__(self, course: Course, batch: int) -> None:
        self._course = course
        self._batch = batch
        self._reserves = b"reserve-with-timeout 0\r\n" * batch

    def ready(self) -> None:
        self._ids: list[bytes] = []
        self._ask(waits=True)

    def _ask(self, waits: bool) -> None:
        self._deletes = len(self._ids)
        deletes = b"".join([b"delete %b\r\n" % each for each in self._ids])
        self._ids = []
        self._lines = 0
        self._expected = self._deletes + (1 if waits else self._batch)
        self.transport.write(deletes + (b"reserve-with-timeout 1\r\n" if waits else self._reserves))

    def heard(self, lines: bytes) -> None:
        self._ids += RESERVED.findall(lines)
        self._lines += lines.count(b"\r\n")
        if self._lines == self._expected + len(self._ids):  # a payload is a line of its own
            done = self._deletes
            self._ask(waits=not self._ids)
            self._course.finished(done)
        elif b"NOT_FOUND" in lines or b"ERROR" in lines:
            raise LoadFailed(f"reserve: {lines[:200]!r}")


async def closed(course: Course, port: int, *, batch: int, window: int) -> None:
    """Producers and workers of a closed loop."""
    await connect(
        port,
        *[partial(Producer, course, batch, window)] * PRODUCERS,
        *[partial(Worker, course, batch)] * WORKERS,
    )


# --- an open loop -----------------------------------------------------------------


class Submitter(Lines):
    """Puts single jobs; ids come in the order of the jobs."""

    def __init__(self, arrivals: Arrivals) -> None:
        self.arrivals = arrivals
        self._waiting: deque[int] = deque()

    def submit(self, number: int) -> None:
        """Put task C{number}."""
        self._waiting.append(number)
        self.transport.write(PUT + numbered(number) + b"\r\n")

    def heard(self, lines: bytes) -> None:
        for line in lines.split(b"\r\n")[:-1]:
            if not line.startswith(b"INSERTED "):
                raise LoadFailed(f"put: {line!r}")
            self.arrivals.acked(self._waiting.popleft())


class Waiter(Lines):
    """Waits for one job, deletes it, and waits for the next."""

    def __init__(self, arrivals: Arrivals) -> None:
        self.arrivals = arrivals

    def ready(self) -> None:
        self.transport.write(b"reserve\r\n")

    def heard(self, lines: bytes) -> None:
        for line in lines.split(b"\r\n")[:-1]:
            if line.startswith(b"RESERVED "):
                self._job = line.split()[1]
            elif line == b"DELETED":
                self.arrivals.finished()
            elif len(line) == len(PAYLOAD):
                self.arrivals.claimed(line)
                self.transport.write(b"delete %b\r\nreserve\r\n" % self._job)
            else:
                raise LoadFailed(f"reserve: {line!r}")


async def opened(arrivals: Arrivals, port: int) -> Callable[[int], None]:
    """The workers and a producer of an open loop; how it submits."""
    waiters = [partial(Waiter, arrivals)] * WORKERS
    submitter: Submitter = (await connect(port, *waiters, partial(Submitter, arrivals)))[-1]
    return submitter.submit


# --- one at a time ----------------------------------------------------------------


def one(port: int) -> Callable[[], None]:
    """The requests of one task, each of which waits for its answer."""
    wire = Wire(port)
    put = PUT + PAYLOAD + b"\r\n"

    def cycle() -> None:
        wire.ask(put)
        job = wire.ask(b"reserve\r\n").split()[1]
        wire.exactly(len(PAYLOAD) + 2)
        answer = wire.ask(b"delete %b\r\n" % job)
        if answer != b"DELETED":
            raise LoadFailed(f"delete: {answer!r}")

    return cycle
