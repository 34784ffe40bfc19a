"""
Workers that live, have room, and yet do not ask for the work that waits for them.

Their heartbeats come, so they are not evicted: but the part of them that claims
hangs, or has died.
"""

from __future__ import annotations

from typing import NamedTuple

from taskqueue.core.ledger import Ledger
from taskqueue.core.workers import Worker

#: What changes whenever a worker gets a task or reports one: its newest token, and counts.
Progress = tuple[int, int, int]


class _Suspicion(NamedTuple):
    """
    @ivar since: monotonic moment of the first look at which the worker could have claimed.
    @ivar progress: how far it was then.
    """

    since: float
    progress: Progress


class StalledWorkers:
    """
    Finds workers that do nothing about their work, from looks again and again.

    A worker that asks now and then, without waiting, gets a task whenever it does:
    so it is enough that nothing moved for a while.

    @ivar names: those that were stalled at the newest look.
    """

    def __init__(self) -> None:
        self._suspects: dict[Worker, _Suspicion] = {}
        self.names: frozenset[str] = frozenset()

    def look(self, ledger: Ledger, mono: float, after_s: float) -> list[Worker]:
        """
        Look at all workers at the monotonic moment C{mono}, and note of each whether
        it is stalled.

        @param after_s: for how long nothing must have moved, seconds.
        @return: the workers that are stalled, and were not at the look before.
        """
        known, self._suspects = self._suspects, {}
        newly: list[Worker] = []
        names: list[str] = []
        for worker in ledger.workers:
            was, worker.stalled = worker.stalled, False
            if not could_claim(ledger, worker):
                continue
            suspicion, progress = known.get(worker), _progress(worker)
            if suspicion is None or suspicion.progress != progress:
                suspicion = _Suspicion(mono, progress)
            self._suspects[worker] = suspicion
            if mono - suspicion.since >= after_s:
                worker.stalled = True
                names.append(worker.name)
                if not was:
                    newly.append(worker)
        self.names = frozenset(names)
        return newly


def could_claim(ledger: Ledger, worker: Worker) -> bool:
    """Whether a worker is there, has a free slot, does not ask, and a task waits for it."""
    return (
        worker.away_since is None
        and not worker.recovered
        and worker.order is None
        and not worker.claims
        and len(worker.leases) < worker.info.capacity
        and _work_waits(ledger, worker)
    )


def _work_waits(ledger: Ledger, worker: Worker) -> bool:
    types = worker.info.types
    for name in worker.info.queues:
        queue = ledger.queues.get(name)
        if queue is None or queue.paused or not queue.busy:
            continue
        if types is None or not types.isdisjoint(queue.busy):
            return True
    return False


def _progress(worker: Worker) -> Progress:
    return next(reversed(worker.leases), 0), worker.completed, worker.failed
