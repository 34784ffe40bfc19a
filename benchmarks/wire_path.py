"""
What a task costs on its way through the broker: the bytes of a request, typed
values, the service, the answer's bytes.

One connection without a network, over a broker in memory, is given batches of
submissions, claims and results.  Printed are, for each of the three requests,
microseconds of processor time for one task (the best of many rounds, which other
programs on the machine disturb least) and calls of functions, which are exact:

 - C{whole}: from the received bytes to the written ones, with the service and the
   core, without a store;
 - C{wire}: the same with a service that answers at once what it is asked, so that
   reading, checking and writing is all there is.

Run: C{python -m benchmarks.wire_path [rounds] [batch ...]}
"""

from __future__ import annotations

import gc
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, NamedTuple
from unittest.mock import patch

from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from taskqueue import ids
from taskqueue.config import Config, HttpConfig, ListenConfig, StoreConfig
from taskqueue.core.intake import Accepted
from taskqueue.core.task import State
from taskqueue.frontends.admission import Admission
from taskqueue.frontends.factory import BrokerFactory
from taskqueue.frontends.native.connection import FramedConnection
from taskqueue.ids import new_task_id
from taskqueue.service import TaskQueueService
from taskqueue.wire import FrameDecoder, MessageType, decode, encode

PAYLOAD = b"x" * 100
REQUESTS = ("submit", "submit ids", "claim", "result")
BATCHES = (50, 1)

#: How many batches are in flight at a time: what one round times.
DEPTH = 20

CONFIG = Config(
    store=StoreConfig(kind="memory", durability="none"),
    listen=ListenConfig(framed=(), lines=()),
    http=HttpConfig(listen=()),
)


class Cost(NamedTuple):
    """
    What one task costs.

    @ivar cpu_us: processor time, microseconds.
    @ivar calls: calls of functions, those of C included.
    """

    cpu_us: float
    calls: float


class Broker:
    """A broker in memory and one connection to it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.clock.advance(time.time())
        self.service = TaskQueueService(replace(CONFIG), self.clock)
        factory = BrokerFactory(
            self.service, Admission(), "framed", lambda limits: FramedConnection(2**24)
        )
        self.service.startService()
        self.connection: Any = factory.buildProtocol(None)
        self.transport = StringTransport()
        self.connection.makeConnection(self.transport)
        self._decoder = FrameDecoder(2**24)
        self.ask(encode(MessageType.HELLO, {"id": 0, "versions": [1]}))

    def ask(self, requests: bytes) -> list[dict[str, Any]]:
        """The headers of the answers to these requests."""
        self.connection.dataReceived(requests)
        self.clock.advance(0.01)
        data = self.transport.value()
        self.transport.clear()
        return [decode(body)[1] for body in self._decoder.feed(data)]

    def close(self) -> None:
        """Stop it."""
        self.service.stopService()
        self.clock.advance(1.0)


def submissions(batch: int, own_ids: bool) -> bytes:
    """Requests that submit L{DEPTH} batches."""
    requests = []
    for number in range(DEPTH):
        items: list[dict[str, Any]] = [{"payload": PAYLOAD} for _ in range(batch)]
        if own_ids:
            for item in items:
                item["id"] = new_task_id()
        header = {"id": number, "tasks": items, "common": {"type": "resize"}}
        requests.append(encode(MessageType.SUBMIT_TASK, header))
    return b"".join(requests)


def claims(batch: int) -> bytes:
    """Requests that claim L{DEPTH} batches."""
    header = {"limit": batch, "wait_s": 5.0}
    return b"".join(encode(MessageType.CLAIM_TASK, {"id": n, **header}) for n in range(DEPTH))


def results(claimed: list[dict[str, Any]]) -> bytes:
    """Requests that complete what was claimed."""
    requests = []
    for number, answer in enumerate(claimed):
        items = [
            {"task": t["id"], "lease": t["lease"], "status": "completed", "result": b"done"}
            for t in answer["tasks"]
        ]
        requests.append(encode(MessageType.TASK_RESULT, {"id": number, "results": items}))
    return b"".join(requests)


def round_of(broker: Broker, batch: int, measure: Callable[[Callable[[], Any]], float]) -> Any:
    """What C{measure} finds for each of the requests, per task."""
    found = {}

    def measured(name: str, requests: bytes) -> list[dict[str, Any]]:
        receive = broker.connection.dataReceived
        found[name] = measure(lambda: receive(requests)) / (DEPTH * batch)
        return broker.ask(b"")

    measured("submit", submissions(batch, own_ids=False))
    claimed = measured("claim", claims(batch))
    broker.ask(results(claimed))
    measured("submit ids", submissions(batch, own_ids=True))
    measured("result", results(broker.ask(claims(batch))))
    return found


def cpu_us(command: Callable[[], Any]) -> float:
    """Processor time of a command, microseconds."""
    began = time.process_time_ns()
    command()
    return (time.process_time_ns() - began) / 1000


def calls(command: Callable[[], Any]) -> float:
    """How many functions a command calls."""
    count = 0

    def note(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    # What an id costs depends on the milliseconds that pass.
    with patch.object(ids, "time", SimpleNamespace(time=lambda: 1.0)):
        new_task_id()
        collects = gc.isenabled()
        gc.disable()  # what it finds may call functions too
        sys.setprofile(note)
        try:
            command()
        finally:
            sys.setprofile(None)
            if collects:
                gc.enable()
    return count


class Echo:
    """Stands for the service's commands: each answers at once, and does nothing."""

    def __init__(self, broker: Broker, batch: int) -> None:
        self._accepted = Accepted(new_task_id(), State.PENDING)
        broker.ask(submissions(batch, own_ids=False))
        holder = broker.connection.session.holder
        self._deliveries = broker.service.claim(holder, limit=batch).result

    def submit_new(self, items: Any) -> Any:
        return [self._accepted] * len(items)

    def take(self, claim: Any, wait_s: float, reply: Any) -> Any:
        return self._deliveries

    def report_now(self, outcomes: Any) -> Any:
        return [State.COMPLETED] * len(outcomes), []


def costs(batch: int, rounds: int, *, wire_alone: bool) -> dict[str, Cost]:
    """What each request costs per task, in batches of C{batch}."""
    broker = Broker()
    if wire_alone:
        echo = Echo(broker, batch)
        for name in ("submit_new", "take", "report_now"):
            setattr(broker.service, name, getattr(echo, name))
    found = [round_of(broker, batch, cpu_us) for _ in range(rounds)]
    counted = round_of(broker, batch, calls)
    broker.close()
    return {name: Cost(min(numbers[name] for numbers in found), counted[name]) for name in REQUESTS}


def main() -> None:
    """Print the table."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    batches = [int(argument) for argument in sys.argv[2:]] or BATCHES
    print(f"{platform.platform()}, Python {platform.python_version()}")
    print(f"processor time (us) and calls for one task, the best of {rounds} rounds\n")
    print(f"{'batch':>6}{'':>7}" + "".join(f"{name:>18}" for name in REQUESTS))
    gc.disable()
    for batch in batches:
        for wire_alone in (False, True):
            found = costs(batch, rounds, wire_alone=wire_alone)
            gc.collect()
            cells = [f"{cost.cpu_us:>9.2f} {cost.calls:>8.2f}" for cost in found.values()]
            print(f"{batch:>6}{'wire' if wire_alone else 'whole':>7}" + "".join(cells))


if __name__ == "__main__":
    main()
