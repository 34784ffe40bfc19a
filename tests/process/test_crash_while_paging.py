"""
A broker that is killed under load while payloads are on disk only: what it acknowledged
stays true, every payload included.
"""

from __future__ import annotations

import signal

from taskqueue.wire import Header
from tests.process.children import PATIENCE_S, until
from tests.process.load import Producer
from tests.process.peer import Peer
from tests.process.test_crash import SETTINGS, Ends

#: The smallest limit there may be: it leaves 20 MiB to payloads.
LIMITED = (*SETTINGS, "--set=broker.memory_limit=384MiB")

PAYLOAD_BYTES = 60_000

#: So many tasks have far more than may stay in memory.
BACKLOG = 600


class Bulk(Producer):
    """Submits large tasks."""

    def _task(self) -> Header:
        task = super()._task()
        task["payload"] = payload = self.random.randbytes(PAYLOAD_BYTES)
        with self.book:
            self.book.payloads[task["id"]] = payload
        return task


class CrashWhilePaging(Ends):
    number = signal.SIGKILL
    measured = False
    settings = LIMITED
    producer = Bulk

    def test_nothing_acknowledged_is_lost(self) -> None:
        producers, workers = self.actors[:3], self.actors[3:]
        child = self.start(*self.settings)
        self._open(child)
        for actor in producers:
            actor.start()
        until("there is a backlog", lambda: len(self.book.accepted) >= BACKLOG, 4 * PATIENCE_S)
        with Peer(self.port) as peer:
            held = peer.stats()["held_bytes"]
        self.assertLess(held, BACKLOG * PAYLOAD_BYTES * 3 // 4)
        child.end(self.number)
        self.port = 0
        self.stop_producing.set()
        for actor in workers:
            actor.start()
        for _ in range(4):
            self._end_at_random(0.8, early=False)
        self._check(BACKLOG // 2)
