"""
taskqueue: its framed protocol, as raw as everyone else's: frames that were made
before, and no more of an answer is looked at than must be.
"""

from __future__ import annotations

import json
import re
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

SUBMIT, CLAIM, RESULT, ACK, HELLO = 1, 2, 3, 5, 12

DELIVERY = re.compile(rb'"id":"([^"]+)"[^}]*?"lease":(\d+)')
REQUEST_ID = re.compile(rb'"id":(\d+)}')

#: How an open loop's requests are told apart where they share a connection.
RESULT_ID = 1


def frame(kind: int, header: bytes, attachments: bytes = b"") -> bytes:
    """A message."""
    body = bytes([kind]) + header + (b"\n" + attachments if attachments else b"")
    return len(body).to_bytes(4, "big") + body


def submission(payloads: list[bytes], number: int = 0) -> bytes:
    """A SUBMIT_TASK of C{payloads}, all of one size."""
    tasks = [{"size": len(payload)} for payload in payloads]
    header = {"id": number, "tasks": tasks, "common": {"type": "noop"}}
    return frame(SUBMIT, json.dumps(header, separators=(",", ":")).encode(), b"".join(payloads))


def results(deliveries: list[tuple[bytes, bytes]]) -> bytes:
    """A TASK_RESULT that completes them all."""
    items = [b'{"task":"%b","lease":%b,"status":"completed"}' % each for each in deliveries]
    return frame(RESULT, b'{"id":%d,"results":[%b]}' % (RESULT_ID, b",".join(items)))


GREETING = frame(HELLO, b'{"id":0,"versions":[1],"client":"race"}')


class Frames(Connection):
    """Whole answers, after the one to HELLO."""

    def begin(self) -> None:
        self._buffer = b""
        self._greeted = False
        self.transport.write(GREETING)

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data if self._buffer else data
        at, size = 0, len(buffer)
        while size - at > 4:
            end = at + 4 + int.from_bytes(buffer[at : at + 4], "big")
            if end > size:
                break
            self._frame(buffer[at + 4], buffer[at + 5 : end])
            at = end
        self._buffer = buffer[at:]

    def _frame(self, kind: int, body: bytes) -> None:
        header, _, attachments = body.partition(b"\n")
        if kind != ACK or b'"errors"' in header:
            raise LoadFailed(f"refused: {header[:500]!r}")
        if self._greeted:
            self.heard(header, attachments)
        else:
            self._greeted = True
            self.ready()

    def ready(self) -> None:
        """HELLO was answered."""

    def heard(self, header: bytes, attachments: bytes) -> None:
        """One answer."""
        raise NotImplementedError


class Producer(Filling, Frames):
    """Submits C{window} batches and awaits their answers."""

    def __init__(self, course: Course, batch: int, window: int) -> None:
        super().__init__(course, batch, window, submission([PAYLOAD] * batch))

    def heard(self, header: bytes, attachments: bytes) -> None:
        self._submit()


class Worker(Frames):
    """Claims up to C{batch} tasks, completes them all, and claims again at once."""

    def __init__(self, course: Course, batch: int) -> None:
        self._course = course
        self._claim = frame(CLAIM, b'{"id":0,"limit":%d,"wait_s":5}' % batch)

    def ready(self) -> None:
        self._ending: list[int] = []
        self.transport.write(self._claim)

    def heard(self, header: bytes, attachments: bytes) -> None:
        if header.startswith(b'{"states"'):
            self._course.finished(self._ending.pop(0))
            return
        deliveries = DELIVERY.findall(header)
        if not deliveries:
            self.transport.write(self._claim)
            return
        self._ending.append(len(deliveries))
        self.transport.write(results(deliveries) + self._claim)


async def closed(course: Course, port: int, *, batch: int, window: int) -> None:
    """Producers and workers of a closed loop."""
    await connect(
        port,
        *[partial(Producer, course, batch, window)] * PRODUCERS,
        *[partial(Worker, course, batch)] * WORKERS,
    )


# --- an open loop -----------------------------------------------------------------


class Submitter(Frames):
    """Submits single tasks; the answer has the request's number."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals

    def submit(self, number: int) -> None:
        """Submit task C{number}."""
        self.transport.write(submission([numbered(number)], number))

    def heard(self, header: bytes, attachments: bytes) -> None:
        found = REQUEST_ID.search(header)
        if found is None:
            raise LoadFailed(f"no id: {header!r}")
        self._arrivals.acked(int(found[1]))


class Waiter(Frames):
    """Waits for one task, completes it, and waits for the next."""

    def __init__(self, arrivals: Arrivals) -> None:
        self._arrivals = arrivals
        self._claim = frame(CLAIM, b'{"id":0,"wait_s":300}')

    def ready(self) -> None:
        self.transport.write(self._claim)

    def heard(self, header: bytes, attachments: bytes) -> None:
        if header.startswith(b'{"states"'):
            self._arrivals.finished()
            return
        self._arrivals.claimed(attachments)
        self.transport.write(results(DELIVERY.findall(header)) + self._claim)


async def opened(arrivals: Arrivals, port: int) -> Callable[[int], None]:
    """The workers and a producer of an open loop; how it submits."""
    waiters = [partial(Waiter, arrivals)] * WORKERS
    submitter: Submitter = (await connect(port, *waiters, partial(Submitter, arrivals)))[-1]
    return submitter.submit


# --- one at a time ----------------------------------------------------------------


def one(port: int) -> Callable[[], None]:
    """The requests of one task, each of which waits for its answer."""
    wire = Wire(port)
    put = submission([PAYLOAD])
    claim = frame(CLAIM, b'{"id":0,"limit":1,"wait_s":5}')

    def ask(request: bytes) -> bytes:
        wire.send(request)
        answer = wire.exactly(int.from_bytes(wire.exactly(4), "big"))
        if answer[0] != ACK or b'"errors"' in answer:
            raise LoadFailed(f"refused: {answer!r}")
        return answer

    def cycle() -> None:
        ask(put)
        ask(results(DELIVERY.findall(ask(claim))))

    ask(GREETING)
    return cycle
