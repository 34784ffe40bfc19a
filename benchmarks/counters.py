"""
What a task costs in numbers that do not depend on the machine's mood: calls of
functions, writes, bytes, syncs, frames.

All of it is counted, nothing is timed, so that two runs of the same code on the
same version of Python come to the same, or nearly so.
"""

from __future__ import annotations

import gc
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock

from benchmarks.beanstalkd_path import calls_per_job
from benchmarks.groups import Groups
from benchmarks.wire_path import BATCHES, CONFIG, PAYLOAD, REQUESTS, Broker, calls, round_of
from taskqueue.client.all_calls import AllCalls
from taskqueue.client.codecs import codec_of
from taskqueue.client.deferreds import TwistedFramework
from taskqueue.client.session import Session
from taskqueue.frontends.admission import Admission
from taskqueue.frontends.factory import BrokerFactory
from taskqueue.frontends.native.connection import FramedConnection
from taskqueue.service import TaskQueueService
from taskqueue.store.files import Files
from taskqueue.store.logged import LoggedStore
from taskqueue.wire import MessageType, encode

Counters = dict[str, float]

#: Where Linux counts what a process writes.
_IO = Path("/proc/self/io")

#: Tasks of each kind in a commit, and how many commits.
GROUP, GROUPS = 50, 40

#: Requests that arrive together.
PIPELINED = 50

#: Tasks that a program submits with one call.
SUBMITTED = 1000


def counters() -> Counters:
    """All of them, by what they are called in a report."""
    calls = {**calls_per_task(), **calls_per_job()}
    return {**calls, **written_per_task(), **sends_per_request(), **frames()}


# --- calls of functions -------------------------------------------------------------


def calls_per_task() -> Counters:
    """From the bytes of a request to those of its answer, the store left out."""
    found = {}
    for batch in BATCHES:
        broker = Broker()
        for _ in range(2):  # what is made once and kept is made now
            round_of(broker, batch, lambda command: float(command() is None))
        gc.collect()
        gc.disable()  # what it finds may call functions too
        try:
            counted = round_of(broker, batch, calls)
        finally:
            gc.enable()
        broker.close()
        for name in REQUESTS:
            found[f"function calls a task: {name}, batches of {batch}"] = counted[name]
    return found


# --- the disk -----------------------------------------------------------------------


class CountingFiles(Files):
    """Counts what the log writes and syncs."""

    def __init__(self) -> None:
        self.writes = self.written = self.syncs = 0

    def write(self, descriptor: int, data: memoryview, offset: int) -> int:
        written = super().write(descriptor, data, offset)
        self.writes += 1
        self.written += written
        return written

    def sync(self, descriptor: int) -> None:
        super().sync(descriptor)
        self.syncs += 1


def written_by_process() -> int:
    """Bytes that this process has handed to C{write}; 0 where nobody counts them."""
    if not _IO.exists():
        return 0
    fields = dict(line.split(": ") for line in _IO.read_text().splitlines())
    return int(fields["wchar"])


def written_per_task() -> Counters:
    """Tasks that are submitted, claimed and completed, from commit to commit."""
    groups = Groups(GROUP).take(GROUPS)
    files = CountingFiles()
    with tempfile.TemporaryDirectory(prefix="taskqueue-counters-") as folder:
        store = LoggedStore(str(Path(folder) / "data"), True, "none", files)
        store.open()
        before, writes, written, syncs = (
            written_by_process(), files.writes, files.written, files.syncs
        )  # fmt: skip
        for batch in groups:
            store.commit(batch)
        logged = files.written - written
        found = {
            "log: writes a commit": (files.writes - writes) / GROUPS,
            "log: syncs a commit": (files.syncs - syncs) / GROUPS,
            "log: bytes a task (payload 100)": logged / (GROUP * GROUPS),
        }
        store.close()
        all_bytes = written_by_process() - before
    if all_bytes:
        found["disk: bytes a task (payload 100)"] = all_bytes / (GROUP * GROUPS)
    return found


# --- the network --------------------------------------------------------------------


@contextmanager
def listening() -> Iterator[tuple[Callable[[], None], socket.socket]]:
    """A broker in memory on a real port, and a connection to it; its clock stands still."""
    from twisted.internet import reactor

    clock = Clock()
    clock.advance(time.time())
    service = TaskQueueService(CONFIG, clock)
    factory = BrokerFactory(service, Admission(), "framed", lambda limits: FramedConnection(2**24))
    service.startService()
    port = reactor.listenTCP(0, factory, interface="127.0.0.1")  # type: ignore[attr-defined]
    client = socket.create_connection(("127.0.0.1", port.getHost().port))
    client.setblocking(False)

    def turn() -> None:
        reactor.iterate(0.001)  # type: ignore[attr-defined]
        clock.advance(0.001)

    try:
        yield turn, client
    finally:
        client.close()
        port.stopListening()
        service.stopService()
        clock.advance(1.0)
        turn()


class Sends:
    """
    Counts how often anything is sent with C{send}, by whatever socket, in a block.
    """

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Sends:
        self._send = send = socket.socket.send

        def counted(its: socket.socket, *args: Any) -> int:
            self.count += 1
            return send(its, *args)

        socket.socket.send = counted  # type: ignore[method-assign]
        return self

    def __exit__(self, *error: object) -> None:
        socket.socket.send = self._send  # type: ignore[method-assign]


def sends_per_request() -> Counters:
    """System calls that send answers: of requests one by one, and of many together."""
    requests = [submission(number) for number in range(PIPELINED)]
    found = {}
    with listening() as (turn, client):
        ask(turn, client, [encode(MessageType.HELLO, {"id": 0, "versions": [1]})])
        for how, together in (("one request at a time", 1), ("50 requests together", PIPELINED)):
            with Sends() as sends:
                for start in range(0, PIPELINED, together):
                    ask(turn, client, requests[start : start + together])
            found[f"sends an answer: {how}"] = sends.count / PIPELINED
    return found


def submission(number: int) -> bytes:
    """A request that submits a task."""
    header = {"id": number, "tasks": [{"type": "noop", "payload": PAYLOAD}]}
    return encode(MessageType.SUBMIT_TASK, header)


def ask(turn: Callable[[], None], client: socket.socket, requests: list[bytes]) -> None:
    """Send requests in one piece, and wait for all answers."""
    client.sendall(b"".join(requests))
    data, missing = b"", len(requests)
    deadline = time.monotonic() + 10
    while missing:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{missing} of {len(requests)} answers are missing")
        turn()
        try:
            data += client.recv(2**20)
        except BlockingIOError:
            continue
        while len(data) >= 4 and len(data) >= (end := 4 + int.from_bytes(data[:4], "big")):
            data, missing = data[end:], missing - 1


# --- frames -------------------------------------------------------------------------


def frames() -> Counters:
    """How many requests a client makes of many tasks that are submitted with one call."""
    session = Session(TwistedFramework(Clock()), "counters", 10.0)
    submitting = AllCalls(session, codec_of("json"), None)
    items: list[dict[str, Any]] = [{"type": "noop", "payload": PAYLOAD} for _ in range(SUBMITTED)]
    requests = sum(1 for _ in submitting.chunks(items))
    return {f"requests of a client that submits {SUBMITTED} tasks": requests}
