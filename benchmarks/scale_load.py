"""
Load that shows how the broker's cost grows: connections, leases, payloads.

As L{benchmarks.load}, each scenario puts load on the broker at a port and returns
numbers by name; it is told the broker's process too, and looks at its memory and
processor time at the right moments.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import psutil
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react

from benchmarks.load import Numbers, fill, work
from benchmarks.peer import Peer, connect
from taskqueue.wire import MessageType

#: How long the broker is left alone before its memory is looked at, seconds.
QUIET_S = 0.5

#: Tasks claimed in one request.
CLAIMED = 100

#: About so many bytes of payloads are in one request.
REQUEST_BYTES = 4_000_000


class Usage:
    """What a process has used."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)

    def cpu_s(self) -> float:
        """Seconds of processor time."""
        times = self._process.cpu_times()
        return float(times.user + times.system)

    def rss_bytes(self) -> int:
        """Resident memory."""
        return int(self._process.memory_info().rss)


def asked(peer: Peer, kind: MessageType, header: dict[str, Any]) -> Deferred[dict[str, Any]]:
    """Ask, and wait for the answer's header."""
    answered: Deferred[dict[str, Any]] = Deferred()
    peer.ask(kind, header, answered.callback)
    return answered


async def connections(reactor: Any, port: int, usage: Usage, *, count: int, tasks: int) -> Numbers:
    """Connections that do nothing, and then each submits and completes tasks, one by one."""
    before = usage.rss_bytes()
    began = time.perf_counter()
    peers = [await connect(reactor, port) for _ in range(count)]
    connect_s = time.perf_counter() - began
    await deferLater(reactor, QUIET_S)
    idle = usage.rss_bytes() - before
    began, cpu_s = time.perf_counter(), usage.cpu_s()
    await fill(peers, tasks, 1, 1)
    await work(peers, tasks, 1)
    seconds = time.perf_counter() - began
    return {
        "task_us": 1e6 * (usage.cpu_s() - cpu_s) / tasks,
        "tasks_per_s": tasks / seconds,
        "connect_us": 1e6 * connect_s / count,
        "idle_mb": idle / 1e6,
        "idle_kb_each": idle / 1e3 / count,
    }


async def leases(
    reactor: Any, port: int, usage: Usage, *, workers: int, each: int, beats: int
) -> Numbers:
    """Workers that hold many leases, and heartbeats of all of them."""
    peers = [await connect(reactor, port) for _ in range(workers)]
    await fill(peers[:4], workers * each, min(500, workers * each), 2)
    held = 0
    for number, peer in enumerate(peers):
        named = {"worker": f"worker-{number}", "incarnation": 1}
        await asked(peer, MessageType.REGISTER_WORKER, {**named, "queues": ["default"]})
        for start in range(0, each, CLAIMED):
            limit = min(CLAIMED, each - start)
            answer = await asked(peer, MessageType.CLAIM_TASK, {"limit": limit, "lease_s": 600})
            held += len(answer["tasks"])
    cpu_s, began = usage.cpu_s(), time.perf_counter()
    for _ in range(beats):
        for number, peer in enumerate(peers):
            named = {"worker": f"worker-{number}", "incarnation": 1, "in_hand": each}
            await asked(peer, MessageType.HEARTBEAT, named)
    count = beats * workers
    return {
        "heartbeat_us": 1e6 * (usage.cpu_s() - cpu_s) / count,
        "round_trip_us": 1e6 * (time.perf_counter() - began) / count,
        "leases": held,
    }


async def payloads(reactor: Any, port: int, usage: Usage, *, size: int, count: int) -> Numbers:
    """Tasks with payloads of C{size} bytes, from submission to their end."""
    batch = max(1, min(100, REQUEST_BYTES // size))
    payload = b"x" * size
    producers = [await connect(reactor, port) for _ in range(2)]
    workers = [await connect(reactor, port) for _ in range(4)]
    began, cpu_s = time.perf_counter(), usage.cpu_s()
    worked = Deferred.fromCoroutine(work(workers, count, batch))
    await fill(producers, count, batch, 2, payload=payload)
    await worked
    seconds = time.perf_counter() - began
    return {
        "mb_per_s": size * count / 1e6 / seconds,
        "tasks_per_s": count / seconds,
        "task_us": 1e6 * (usage.cpu_s() - cpu_s) / count,
    }


SCENARIOS: dict[str, Callable[..., Awaitable[Numbers]]] = {
    "connections": connections,
    "leases": leases,
    "payloads": payloads,
}


def main(reactor: Any, name: str, port: str, pid: str, arguments: str) -> Deferred[None]:
    """Run one scenario and print its numbers as JSON."""

    async def run() -> None:
        numbers = await SCENARIOS[name](
            reactor, int(port), Usage(int(pid)), **json.loads(arguments)
        )
        print(json.dumps(numbers))

    return Deferred.fromCoroutine(run())


if __name__ == "__main__":
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    react(main, sys.argv[1:])
