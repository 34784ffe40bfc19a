"""
A program that forks again and again while its threads ask without pause.

Each child asks by what it inherited, and by what it makes itself.  What is printed at the end:
how many tasks were submitted, by how many processes.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import threading
import traceback
from collections.abc import Callable
from functools import partial

from taskqueue.client.blocking import BlockingClient
from taskqueue.contrib.celery.clients import shared_clients
from taskqueue.contrib.claiming import BlockingWorker
from taskqueue.contrib.connecting import Connecting
from taskqueue.contrib.kombu.direct import DirectClient

#: How long a child may take before it says where it hangs, seconds.
PATIENCE_S = 60.0

#: How many children there are at a time.
AT_A_TIME = 6


class Asking:
    """Whatever asks a broker."""

    def __init__(self, address: str, queue: str) -> None:
        self.address = address
        self.queue = queue
        self.client = BlockingClient(address)
        self.connecting = Connecting(address)
        self.direct = DirectClient(address, {})
        self.shared = shared_clients(address, {})
        self.worker = BlockingWorker(self.connecting, "forking")

    def by_client(self) -> int:
        self.client.submit("t", queue=self.queue)
        return 1

    def by_connecting(self) -> int:
        self.connecting.run(lambda calls: calls.submit("t", queue=self.queue))
        return 1

    def by_direct(self) -> int:
        self.direct.run(lambda calls: calls.submit("t", queue=self.queue))
        return 1

    def by_shared(self) -> int:
        clients = shared_clients(self.address, {})
        clients.wait(lambda calls: calls.submit("t", queue=self.queue))
        return 1

    def by_another(self) -> int:
        with BlockingClient(self.address) as client:
            client.submit("t", queue=self.queue)
        return 1

    def by_worker(self) -> int:
        for delivery in self.worker.claim([f"{self.queue}-other"], 1, 0.01):
            self.worker.release([delivery.holding])
        return 0

    def ways(self) -> list[Callable[[], int]]:
        return [
            *(self.by_client, self.by_connecting, self.by_direct),
            *(self.by_shared, self.by_another, self.by_worker),
        ]


class Threads:
    """Ask in every way, each in a thread of its own."""

    def __init__(self, asking: Asking) -> None:
        self.ended = threading.Event()
        self.submitted: list[int] = []
        self._threads = [
            threading.Thread(target=partial(self._ask, way), daemon=True)
            for way in (*asking.ways(), asking.by_client)
        ]
        for thread in self._threads:
            thread.start()

    def _ask(self, way: Callable[[], int]) -> None:
        count = 0
        while not self.ended.is_set():
            count += way()
        self.submitted.append(count)

    def end(self) -> None:
        self.ended.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        if len(self.submitted) < len(self._threads):
            faulthandler.dump_traceback()
            raise AssertionError("a thread of the parent hangs")


def fork(asking: Asking, quick_end: bool) -> int:
    """Begin a child; its process id."""
    pid = os.fork()
    if pid:
        return pid
    faulthandler.dump_traceback_later(PATIENCE_S, exit=True)
    try:
        for way in asking.ways():
            way()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    if quick_end:
        os._exit(0)
    sys.exit()  # with all that is done when an interpreter ends


def main(address: str, queue: str, children: int) -> None:
    asking = Asking(address, queue)
    threads = Threads(asking)
    left: set[int] = set()
    failed = 0
    for number in range(children):
        left.add(fork(asking, number % 2 == 0))
        while left and (len(left) >= AT_A_TIME or number == children - 1):
            pid, status = os.wait()
            left.discard(pid)
            failed += status != 0
        threads.ended.wait(number % 7 / 1000)  # at another moment each time
    threads.end()
    if failed:
        raise AssertionError(f"{failed} of {children} children failed")
    print(sum(threads.submitted) + children * (len(asking.ways()) - 1))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
