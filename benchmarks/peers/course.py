"""
How load is put on: a closed loop with a bounded backlog, an open loop, and one
request at a time; and what each measures.

The same for everyone.  A peer's module brings the connections: bytes that were
made before, and as little parsing as its protocol allows.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import psutil

Numbers = dict[str, float]

#: What a task carries; an open loop writes the task's number into its first bytes.
PAYLOAD = b"x" * 100

#: Of Linux: how late timers may be, nanoseconds.
PR_SET_TIMERSLACK = 29

#: How long nothing may be done while there is something to do; and how long a first backlog
#: may take, seconds.
DRAIN_S = 30.0

#: How many connections submit, and how many work.
PRODUCERS = 2
WORKERS = 10


class LoadFailed(Exception):
    """A peer did not do what its protocol says, or lost a task."""


class Connection(asyncio.Protocol):
    """A connection of the generator; it speaks as soon as it is made."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]
        self.begin()

    def begin(self) -> None:
        """Say the first words."""

    def connection_lost(self, error: Exception | None) -> None:
        loop = asyncio.get_running_loop()
        loop.call_exception_handler({"message": f"the peer hung up on a {type(self).__name__}"})


def numbered(number: int) -> bytes:
    """A payload that says which task it is."""
    return b"%010d" % number + PAYLOAD[10:]


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which C{share} of C{values} lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


# --- a closed loop ----------------------------------------------------------------


class Course:
    """
    The books of a closed loop: producers submit while fewer than C{backlog} tasks
    are unfinished, so that neither side runs away from the other.

    @ivar sent: tasks that were submitted, acknowledged or not.
    @ivar done: tasks whose end was acknowledged.
    """

    def __init__(self, backlog: int) -> None:
        self.backlog = backlog
        self._idle: list[Callable[[], None]] = []
        self._open = True
        self.sent = 0
        self.put = 0
        self.done = 0

    def take(self, count: int, otherwise: Callable[[], None]) -> bool:
        """
        Whether C{count} tasks may be submitted now; if they may not, C{otherwise} is
        called when it is worth asking again.
        """
        if not self._open:
            return False
        if self.sent - self.done + count > self.backlog:
            self._idle.append(otherwise)
            return False
        self.sent += count
        return True

    def finished(self, count: int) -> None:
        """So many tasks have been done and deleted."""
        self.done += count
        if self._idle:
            idle, self._idle = self._idle, []
            for resume in idle:
                resume()

    def close(self) -> None:
        """No more tasks."""
        self._open = False
        self._idle.clear()


class Processors:
    """
    The processor time of this process and of a server, since it was made.

    @param pid: of the server, which may have children.
    """

    def __init__(self, pid: int) -> None:
        root = psutil.Process(pid)
        self._server = [root, *root.children(recursive=True)]
        self._began = time.perf_counter()
        self._before = self._times()

    def _times(self) -> tuple[float, float]:
        server = 0.0
        for process in self._server:
            with suppress(psutil.NoSuchProcess):  # a child that was about to end
                times = process.cpu_times()
                server += times.user + times.system
        return server, time.process_time()

    def numbers(self, tasks: float) -> Numbers:
        """Cores that were busy, and microseconds a task."""
        seconds = time.perf_counter() - self._began
        server, generator = (
            now - then for now, then in zip(self._times(), self._before, strict=True)
        )
        return {
            "server_cores": server / seconds,
            "generator_cores": generator / seconds,
            "server_us": 1e6 * server / max(tasks, 1),
            "generator_us": 1e6 * generator / max(tasks, 1),
        }


async def closed_loop(
    course: Course, pid: int, seconds: float, warm_up_s: float, failed: asyncio.Future[None]
) -> Numbers:
    """
    Measure for C{seconds} after C{warm_up_s}, and not before as many tasks have been
    done as are unfinished at a time; then see that every task gets done.

    @raises LoadFailed: if some did not.
    """

    async def during(period_s: float) -> None:
        await asyncio.wait([failed], timeout=period_s)
        if failed.done():
            failed.result()

    await during(warm_up_s)
    deadline = time.perf_counter() + DRAIN_S
    while course.done < course.backlog and time.perf_counter() < deadline:
        await during(0.02)
    processors, began, before = Processors(pid), time.perf_counter(), course.done
    await during(seconds)
    took, done = time.perf_counter() - began, course.done - before
    if not done:
        raise LoadFailed(f"nothing was done; {course.sent} tasks were submitted")
    numbers = {"tasks_per_s": done / took, **processors.numbers(done)}
    course.close()
    left, heard = course.sent - course.done, time.perf_counter()
    while course.done < course.sent:
        await during(0.02)
        if course.sent - course.done < left:
            left, heard = course.sent - course.done, time.perf_counter()
        elif time.perf_counter() - heard > DRAIN_S:
            raise LoadFailed(f"{left} of {course.sent} tasks were not done")
    if course.done > course.sent:
        raise LoadFailed(f"{course.done} tasks were done, but only {course.sent} submitted")
    return numbers


# --- an open loop -----------------------------------------------------------------


class Arrivals:
    """
    The books of an open loop: task I{n} is due at a fixed moment, whatever the
    answers do, and each time counts from that moment.

    @ivar submit: sends a task.
    """

    def __init__(self, rate: float) -> None:
        """
        @param rate: tasks a second.
        """
        self._rate = rate
        self.submit: Callable[[int], None] = lambda number: None

    def _since_due(self, number: int) -> float:
        return time.monotonic() - self._began - number / self._rate

    def start(self, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        """New books: the first task is due now, the last one after C{seconds}."""
        self.total = int(self._rate * seconds)
        self.sent = self.done = 0
        self.late: list[float] = []
        self.acks: list[float] = []
        self.claims: list[float] = []
        self._loop = loop
        self._began = time.monotonic()
        self._tick()

    def _tick(self) -> None:
        while self.sent < self.total and (late := self._since_due(self.sent)) >= 0:
            self.late.append(late)
            self.sent += 1
            self.submit(self.sent - 1)
        if self.sent < self.total:
            self._loop.call_at(self._began + self.sent / self._rate, self._tick)

    def acked(self, number: int) -> None:
        """Task C{number} was acknowledged to its producer."""
        self.acks.append(self._since_due(number))

    def claimed(self, payload: bytes) -> None:
        """A worker has the task with this payload."""
        self.claims.append(self._since_due(int(payload[:10])))

    def finished(self) -> None:
        """One was done and deleted."""
        self.done += 1

    def numbers(self, took: float) -> Numbers:
        """What came of it, milliseconds; C{late} is how far behind the generator itself was."""
        numbers: Numbers = {"done_per_s": self.done / took}
        times = {"ack": self.acks, "claimed": self.claims, "late": self.late}
        for name, values in times.items():
            for label, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999)):
                numbers[f"{name}_{label}_ms"] = 1000 * percentile(values, share)
        return numbers


async def open_loop(
    arrivals: Arrivals, seconds: float, pid: int, failed: asyncio.Future[None]
) -> Numbers:
    """
    Submit the tasks of C{seconds} as they are due, and wait until all are done.

    @raises LoadFailed: if some are not in the end.
    """
    processors, began = Processors(pid), time.perf_counter()
    arrivals.start(seconds, asyncio.get_running_loop())
    heard = began
    before = 0
    while arrivals.done < arrivals.total:
        await asyncio.wait([failed], timeout=0.01)
        if failed.done():
            failed.result()
        if arrivals.done > before:
            heard, before = time.perf_counter(), arrivals.done
        elif time.perf_counter() - heard > DRAIN_S:
            raise LoadFailed(f"only {arrivals.done} of {arrivals.total} tasks were done")
    numbers = arrivals.numbers(time.perf_counter() - began)
    return {**numbers, **processors.numbers(arrivals.done)}


# --- one request at a time --------------------------------------------------------


class Wire:
    """A blocking connection, which waits for each answer."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""

    def ask(self, request: bytes, ending: bytes = b"\r\n") -> bytes:
        """Send C{request}; everything up to C{ending}, which closes its answer."""
        self._socket.sendall(request)
        return self.until(ending)

    def until(self, ending: bytes) -> bytes:
        """What comes, up to C{ending}, without it."""
        data = self._rest
        while (at := data.find(ending)) < 0:
            more = self._socket.recv(65536)
            if not more:
                raise LoadFailed(f"the peer hung up after {data!r}")
            data += more
        self._rest = data[at + len(ending) :]
        return data[:at]

    def exactly(self, size: int) -> bytes:
        """The next C{size} bytes."""
        data = self._rest
        while len(data) < size:
            more = self._socket.recv(65536)
            if not more:
                raise LoadFailed(f"the peer hung up after {data!r}")
            data += more
        self._rest = data[size:]
        return data[:size]

    def send(self, request: bytes) -> None:
        """Send what has no answer, or one that is read later."""
        self._socket.sendall(request)


def apart(pid: int) -> None:
    """
    A core for this process and the others for a server, where there are two or more.
    Whether both share a core decides more than anything else about a round trip, and
    the system's choice changes from moment to moment.
    """
    first, *others = sorted(os.sched_getaffinity(0))
    if not others:
        return
    os.sched_setaffinity(0, {first})
    root = psutil.Process(pid)
    for process in (root, *root.children(recursive=True)):
        for thread in process.threads():
            with suppress(ProcessLookupError):
                os.sched_setaffinity(thread.id, others)


def one_at_a_time(cycle: Callable[[], None], pid: int, seconds: float, warm_up_s: float) -> Numbers:
    """
    Put, reserve and delete one task after another, the server on another core.

    @param cycle: the three requests of one task.
    """
    apart(pid)
    ready = time.perf_counter() + warm_up_s
    while time.perf_counter() < ready:
        cycle()
    processors, took = Processors(pid), []
    began = now = time.perf_counter()
    while now < began + seconds:
        then = now
        cycle()
        now = time.perf_counter()
        took.append(now - then)
    return {
        "tasks_per_s": len(took) / (now - began),
        "operation_us": 1e6 * (now - began) / len(took) / 3,
        "cycle_p50_us": 1e6 * percentile(took, 0.5),
        "cycle_p99_us": 1e6 * percentile(took, 0.99),
        **processors.numbers(len(took)),
    }


# --- the loop ---------------------------------------------------------------------


class Filling:
    """
    For a connection that submits: keeps C{window} batches under way.

    @ivar transport: of the connection.
    """

    transport: Any

    def __init__(self, course: Course, batch: int, window: int, submission: bytes) -> None:
        """
        @param submission: what submits one batch.
        """
        self._course = course
        self._batch = batch
        self._window = window
        self._bytes = submission

    def ready(self) -> None:
        """Send the first ones."""
        for _ in range(self._window):
            self._submit()

    def _submit(self) -> None:
        if self._course.take(self._batch, self._submit):
            self.transport.write(self._bytes)


async def connect(port: int, *made: Callable[[], Connection]) -> list[Any]:
    """A connection for each of C{made}, one after another."""
    loop = asyncio.get_running_loop()
    return [(await loop.create_connection(each, "127.0.0.1", port))[1] for each in made]


def watched() -> asyncio.Future[None]:
    """A future that fails as soon as anything in the loop does."""
    loop = asyncio.get_running_loop()
    failed: asyncio.Future[None] = loop.create_future()

    def fail(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not failed.done():
            failed.set_exception(context.get("exception") or LoadFailed(context["message"]))

    loop.set_exception_handler(fail)
    return failed


def run(main: Callable[[], Any]) -> Numbers:
    """
    Run a coroutine in a loop whose timers are exact: epoll's round up to whole
    milliseconds, which is longer than what is measured, and Linux adds 50 µs.
    """
    gc.freeze()
    ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1)
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    try:
        numbers: Numbers = loop.run_until_complete(main())
        return numbers
    finally:
        loop.close()
