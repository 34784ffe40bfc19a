"""
Load scenarios: what they do, what they measure.

Each is a coroutine that puts load on the broker at a port and returns numbers
by name.  The generator shares the machine with the broker; its own processor
time is reported beside the broker's.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import LoopingCall, deferLater, react

from benchmarks.peer import Peer, connect
from taskqueue.ids import new_task_id
from taskqueue.wire import MessageType

Numbers = dict[str, float]

PAYLOAD = b"x" * 100


def percentile(values: list[float], share: float) -> float:
    """The value below which C{share} of C{values} lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def _items(count: int, own_ids: bool, payload: bytes) -> list[dict[str, Any]]:
    if own_ids:
        return [{"payload": payload, "id": new_task_id()} for _ in range(count)]
    return [{"payload": payload} for _ in range(count)]


async def fill(
    peers: list[Peer],
    count: int,
    batch: int,
    window: int,
    *,
    types: int = 1,
    own_ids: bool = False,
    payload: bytes = PAYLOAD,
) -> None:
    """Submit C{count} tasks over all peers, C{window} requests of C{batch} each in flight."""
    done: Deferred[None] = Deferred()
    left = {"to_send": count, "to_hear": count}

    def send(peer: Peer) -> None:
        size = min(batch, left["to_send"])
        if size <= 0:
            return
        left["to_send"] -= size
        kind = f"t{(left['to_send'] // batch) % types}"
        header = {"tasks": _items(size, own_ids, payload), "common": {"type": kind}}
        peer.ask(MessageType.SUBMIT_TASK, header, lambda answer: heard(peer, size, answer))

    def heard(peer: Peer, size: int, answer: dict[str, Any]) -> None:
        if "tasks" not in answer or "errors" in answer:
            raise RuntimeError(f"refused: {answer}")
        left["to_hear"] -= size
        if left["to_hear"] == 0:
            done.callback(None)
        else:
            send(peer)

    for peer in peers:
        for _ in range(window):
            send(peer)
    await done


async def work(peers: list[Peer], count: int, batch: int) -> None:
    """Claim and complete C{count} tasks, every peer as a worker of its own."""
    done: Deferred[None] = Deferred()
    left = {"tasks": count}

    def claim(peer: Peer) -> None:
        peer.ask(
            MessageType.CLAIM_TASK,
            {"limit": batch, "wait_s": 5.0},
            lambda answer: claimed(peer, answer),
        )

    def claimed(peer: Peer, answer: dict[str, Any]) -> None:
        tasks = answer.get("tasks", [])
        if tasks:
            results = [
                {"task": t["id"], "lease": t["lease"], "status": "completed", "result": b"done"}
                for t in tasks
            ]
            peer.ask(
                MessageType.TASK_RESULT,
                {"results": results},
                lambda answer: completed(len(results), answer),
            )
        if not done.called:
            claim(peer)

    def completed(size: int, answer: dict[str, Any]) -> None:
        if "errors" in answer:
            raise RuntimeError(f"refused: {answer['errors'][0]}")
        left["tasks"] -= size
        if left["tasks"] <= 0 and not done.called:
            done.callback(None)

    for peer in peers:
        claim(peer)
    await done


# --- scenarios -------------------------------------------------------------------


async def submit(
    reactor: Any, port: int, *, batch: int, window: int, count: int, types: int = 1
) -> Numbers:
    """Producers alone."""
    peers = [await connect(reactor, port) for _ in range(4)]
    began = time.perf_counter()
    await fill(peers, count, batch, window, types=types)
    return {"submits_per_s": count / (time.perf_counter() - began)}


async def end_to_end(
    reactor: Any, port: int, *, batch: int, count: int, workers: int = 10
) -> Numbers:
    """Two producers and ten workers at once, until every result is stored."""
    producers = [await connect(reactor, port) for _ in range(2)]
    consumers = [await connect(reactor, port) for _ in range(workers)]
    began = time.perf_counter()
    window = max(2, 200 // batch)
    await DeferredList(
        [
            Deferred.fromCoroutine(fill(producers, count, batch, window)),
            Deferred.fromCoroutine(work(consumers, count, batch)),
        ],
        fireOnOneErrback=True,
    )
    return {"tasks_per_s": count / (time.perf_counter() - began)}


async def latency(reactor: Any, port: int, *, rate: float, seconds: float) -> Numbers:
    """
    An open loop: tasks are due at fixed moments, whatever the answers do, and
    each time is measured from the moment it was due.
    """
    producer = await connect(reactor, port)
    workers = [await connect(reactor, port) for _ in range(10)]
    due: dict[str, float] = {}
    acked: list[float] = []
    claimed: list[float] = []
    left = {"sent": 0, "completed": 0}
    total = int(rate * seconds)
    done: Deferred[None] = Deferred()

    def claim(peer: Peer) -> None:
        peer.ask(MessageType.CLAIM_TASK, {"wait_s": 5.0}, lambda answer: got(peer, answer))

    def got(peer: Peer, answer: dict[str, Any]) -> None:
        now = time.perf_counter()
        for task in answer.get("tasks", []):
            claimed.append(now - due.pop(task["id"]))
            peer.ask(
                MessageType.TASK_RESULT,
                {"results": [{"task": task["id"], "lease": task["lease"], "status": "completed"}]},
                finished,
            )
        if not done.called:
            claim(peer)

    def finished(answer: dict[str, Any]) -> None:
        left["completed"] += 1
        if left["completed"] == total:
            done.callback(None)

    began = time.perf_counter()

    def tick() -> None:
        now = time.perf_counter()
        while left["sent"] < total and began + left["sent"] / rate <= now:
            moment = began + left["sent"] / rate
            left["sent"] += 1
            task_id = str(uuid4())
            due[task_id] = moment
            producer.ask(
                MessageType.SUBMIT_TASK,
                {"tasks": [{"type": "t", "id": task_id, "payload": PAYLOAD}]},
                lambda _, moment=moment: acked.append(time.perf_counter() - moment),
            )

    for peer in workers:
        claim(peer)
    loop = LoopingCall(tick)
    loop.clock = reactor
    loop.start(0.001)
    await done
    loop.stop()
    numbers: Numbers = {}
    for name, values in (("ack", acked), ("claimed", claimed)):
        for label, share in (("p50", 0.5), ("p99", 0.99), ("p999", 0.999)):
            numbers[f"{name}_{label}_ms"] = 1000 * percentile(values, share)
    return numbers


async def connections(reactor: Any, port: int, *, count: int) -> Numbers:
    """Many connections at once, each of which submits and completes a task."""
    began = time.perf_counter()
    peers = [await connect(reactor, port) for _ in range(count)]
    connected = time.perf_counter()
    await fill(peers, count, 1, 1)
    await work(peers, count, 1)
    return {
        "connections": float(count),
        "connect_s": connected - began,
        "round_s": time.perf_counter() - connected,
    }


async def drain(reactor: Any, port: int, *, batch: int, count: int) -> Numbers:
    """Ten workers alone."""
    peers = [await connect(reactor, port) for _ in range(10)]
    began = time.perf_counter()
    await work(peers, count, batch)
    return {"tasks_per_s": count / (time.perf_counter() - began)}


async def waiting(
    reactor: Any, port: int, *, count: int, types: int = 1, batch: int = 500
) -> Numbers:
    """Fill the broker and leave it full."""
    peers = [await connect(reactor, port) for _ in range(4)]
    began = time.perf_counter()
    await fill(peers, count, batch, 4, types=types)
    await deferLater(reactor, 1.0)
    return {"fill_per_s": count / (time.perf_counter() - 1.0 - began)}


SCENARIOS: dict[str, Callable[..., Awaitable[Numbers]]] = {
    "submit": submit,
    "end_to_end": end_to_end,
    "latency": latency,
    "connections": connections,
    "drain": drain,
    "waiting": waiting,
}


def main(reactor: Any, name: str, port: str, arguments: str) -> Deferred[None]:
    """Run one scenario and print its numbers as JSON."""

    async def run() -> None:
        began_cpu = time.process_time()
        numbers = await SCENARIOS[name](reactor, int(port), **json.loads(arguments))
        numbers["generator_cpu_s"] = time.process_time() - began_cpu
        print(json.dumps(numbers))

    return Deferred.fromCoroutine(run())


if __name__ == "__main__":
    react(main, sys.argv[1:])
