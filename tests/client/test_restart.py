"""
A broker that is killed and started again under a client that waits: nothing is
lost, and the program that uses the client has no line for it.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from signal import SIGKILL, SIGTERM
from typing import Any

from taskqueue.client import Report
from taskqueue.client.blocking import BlockingClient, connect
from taskqueue.core.task import State
from tests.process.children import Child, ProcessTestCase, until

#: Tasks that are submitted, half of them one by one.
COUNT = 10_000
THREADS = 4


class Producer:
    """A program that submits, and waits for every result, and knows of no broker's end."""

    def __init__(self, client: BlockingClient) -> None:
        self._client = client
        self.submitted = 0
        self.results = 0

    def _one_by_one(self, numbers: range) -> list[Any]:
        handles = []
        for number in numbers:
            handles.append(self._client.submit("double", number))
            self.submitted += 1
        return handles

    def _at_once(self, numbers: range) -> list[Any]:
        def tasks() -> Any:
            for number in numbers:
                self.submitted += 1
                yield {"type": "double", "payload": number}

        return self._client.submit_many(tasks())

    def run(self) -> dict[int, Any]:
        """What each number gave."""
        half, step = COUNT // 2, COUNT // 2 // (THREADS - 1)
        parts = [range(start, min(start + step, half)) for start in range(0, half, step)]
        with ThreadPoolExecutor(THREADS) as pool:
            many = pool.submit(self._at_once, range(half, COUNT))
            handles = [h for some in pool.map(self._one_by_one, parts) for h in some]
            handles += many.result()
        found = {handle.id: number for number, handle in enumerate(handles)}
        doubled: dict[int, Any] = {}
        for outcome in self._client.as_completed(handles, timeout_s=60):
            self.results += 1
            doubled[found[outcome.task]] = int(outcome.value())
        return doubled


class Worker(threading.Thread):
    """Doubles numbers, for as long as it is let."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self._client = connect(address)
        self.allowed = threading.Event()
        self.over = False

    def run(self) -> None:
        while not self.over:
            self.allowed.wait()
            deliveries = self._client.claim(limit=50, wait_s=0.2)
            self._client.report(
                [
                    Report(*d.holding, State.COMPLETED, b"%d" % (2 * int(d.payload)))
                    for d in deliveries
                ]
            )
        self._client.close()

    def end(self) -> None:
        self.over = True
        self.allowed.set()
        self.join()


class Restarts(ProcessTestCase):
    def again(self, broker: Child, number: int) -> Child:
        """End a broker, and start another one at its port and with its store."""
        port = broker.port()
        broker.end(number)
        return self.start(f"--listen=tcp:{port}:interface=127.0.0.1")

    def restarted(self, number: int) -> None:
        broker = self.start("--set=broker.lease_s=2")
        address = f"tq://127.0.0.1:{broker.port()}"
        worker = Worker(address)
        worker.start()
        with ExitStack() as ends:
            ends.callback(worker.end)
            client = ends.enter_context(connect(address))
            pool = ends.enter_context(ThreadPoolExecutor(1))
            producer = Producer(client)
            doubled = pool.submit(producer.run)
            until("a third is submitted", lambda: producer.submitted > COUNT / 3)
            broker = self.again(broker, number)
            until("two thirds are submitted", lambda: producer.submitted > COUNT * 2 / 3)
            broker = self.again(broker, number)
            worker.allowed.set()
            until("half of the results are there", lambda: producer.results > COUNT / 2)
            broker = self.again(broker, number)
            self.assertEqual(doubled.result(60), {n: 2 * n for n in range(COUNT)})

    def test_killed(self) -> None:
        self.measured = False
        self.restarted(SIGKILL)

    def test_told_to_end(self) -> None:
        self.restarted(SIGTERM)
