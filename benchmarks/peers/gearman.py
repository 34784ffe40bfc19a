"""gearmand: background jobs; nothing answers a C{WORK_COMPLETE}, so none is awaited."""

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
    Filling,
    LoadFailed,
    Wire,
    connect,
)

CAN_DO, PRE_SLEEP, NOOP, CREATED, GRAB, NO_JOB, ASSIGN, COMPLETE, SUBMIT = (
    1, 4, 6, 8, 9, 10, 11, 13, 18,
)  # fmt: skip

_HEAD = struct.Struct(">4sII")


def packet(kind: int, *words: bytes) -> bytes:
    """A request."""
    body = b"\0".join(words)
    return _HEAD.pack(b"\0REQ", kind, len(body)) + body


PUT = packet(SUBMIT, b"noop", b"", PAYLOAD)


class Packets(Connection):
    """Whole packets."""

    def begin(self) -> None:
        self._buffer = b""
        self.ready()

    def ready(self) -> None:
        """Say the first words."""

    def data_received(self, data: bytes) -> None:
        buffer = self._buffer + data
        at, size = 0, len(buffer)
        while size - at >= 12:
            magic, kind, length = _HEAD.unpack_from(buffer, at)
            if magic != b"\0RES":
                raise LoadFailed(f"no packet: {buffer[at : at + 12]!r}")
            if size - at < 12 + length:
                break
            self.heard(kind, buffer[at + 12 : at + 12 + length])
            at += 12 + length
        self._buffer = buffer[at:]

    def heard(self, kind: int, body: bytes) -> None:
        """One packet."""
        raise NotImplementedError


class Producer(Filling, Packets):
    """Submits C{window} batches and awaits the jobs' handles."""

    def __init__(self, course: Course, batch: int, window: int) -> None:
        super().__init__(course, batch, window, PUT * batch)
        self._waiting = 0

    def heard(self, kind: int, body: bytes) -> None:
        if kind != CREATED:
            raise LoadFailed(f"packet {kind}: {body!r}")
        self._waiting += 1
        if self._waiting == self._batch:
            self._waiting = 0
            self._submit()


class Worker(Packets):
    """Grabs up to C{batch} jobs and completes them; sleeps where there is none."""

    def __init__(self, course: Course, batch: int) -> None:
        self._course = course
        self._batch = batch
        self._grabs = packet(GRAB) * batch

    def ready(self) -> None:
        self._handles: list[bytes] = []
        self._expected = self._batch
        self.transport.write(packet(CAN_DO, b"noop") + self._grabs)

    def heard(self, kind: int, body: bytes) -> None:
        if kind == NOOP:  # awake; one that comes while there are grabs under way says nothing new
            if not self._expected:
                self._grab()
            return
        if kind == ASSIGN:
            self._handles.append(body.split(b"\0", 1)[0])
        elif kind != NO_JOB:
            raise LoadFailed(f"packet {kind}: {body!r}")
        self._expected -= 1
        if not self._expected:
            self._end()

    def _end(self) -> None:
        if not self._handles:
            self.transport.write(packet(PRE_SLEEP))
            return
        done, self._handles = self._handles, []
        self._grab(b"".join([packet(COMPLETE, handle, b"") for handle in done]))
        self._course.finished(len(done))

    def _grab(self, before: bytes = b"") -> None:
        self._expected = self._batch
        self.transport.write(before + self._grabs)


async def closed(course: Course, port: int, *, batch: int, window: int) -> None:
    """Producers and workers of a closed loop."""
    await connect(
        port,
        *[partial(Producer, course, batch, window)] * PRODUCERS,
        *[partial(Worker, course, batch)] * WORKERS,
    )


def one(port: int) -> Callable[[], None]:
    """The requests of one task; the last one has no answer."""
    wire = Wire(port)
    wire.send(packet(CAN_DO, b"noop"))
    grab = packet(GRAB)

    def ask(request: bytes, expected: int) -> bytes:
        wire.send(request)
        _, kind, length = _HEAD.unpack(wire.exactly(12))
        body = wire.exactly(length)
        if kind != expected:
            raise LoadFailed(f"packet {kind}: {body!r}")
        return body

    def cycle() -> None:
        ask(PUT, CREATED)
        job = ask(grab, ASSIGN)
        wire.send(packet(COMPLETE, job.split(b"\0", 1)[0], b""))

    return cycle
