"""
Registered workers: who they are, whether they live.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from taskqueue.core.leases import Holder
from taskqueue.core.moments import Now
from taskqueue.errors import BadRequest, StaleIncarnation, UnknownWorker, WorkerExists

#: What a worker may be told to do; it never goes back (running, quiet, terminate).
ORDERS = ("quiet", "terminate")


class Registration(NamedTuple):
    """
    How a worker introduces itself.

    @ivar id: its name, chosen by whoever runs it.
    @ivar incarnation: a positive integer that grows with every start of the
        process (milliseconds since the epoch serve well): of two processes
        with one id, the larger one is the worker.
    @ivar queues: the queues it claims from, in order of preference.
    @ivar types: the types it can run, C{None} for any.
    @ivar capacity: how many tasks it runs at once, as far as it says.
    @ivar reserves: its leases run for as long as they were given, as reservations do: its
        heartbeats do not renew them, and they stay when it falls silent.
    @ivar stale_after_s: after how long without a heartbeat it counts as dead; C{None}: as the
        policy says.
    """

    id: str
    incarnation: int
    queues: tuple[str, ...] = ("default",)
    types: frozenset[str] | None = None
    capacity: int = 1
    host: str | None = None
    pid: int | None = None
    reserves: bool = False
    stale_after_s: float | None = None


class Worker(Holder):
    """
    A registered worker.

    @ivar beat_at: wall-clock moment of the newest heartbeat.
    @ivar heard_at: the same as a monotonic moment.
    @ivar away_since: monotonic moment at which its connection dropped,
        C{None} while it is connected (or never had one).
    @ivar recovered: known only from leases that a restart found; it has not
        reported to this broker yet.
    @ivar order: C{None}, or one of L{ORDERS}.
    @ivar stalled: it lives and has room, but does not ask for the work that waits; see
        L{taskqueue.core.stalls}.
    """

    __slots__ = (
        "away_since",
        "beat_at",
        "completed",
        "cpu_percent",
        "failed",
        "heard_at",
        "in_hand",
        "info",
        "lost",
        "order",
        "recovered",
        "registered_at",
        "rss_bytes",
        "stalled",
    )

    def __init__(self, info: Registration, now: Now, link: Any = None) -> None:
        super().__init__(info.id, info.incarnation)
        self.info = info
        self.link = link
        self.registered_at = now.wall
        self.beat(now)
        self.away_since: float | None = None
        self.recovered = False
        self.cpu_percent: float | None = None
        self.rss_bytes: int | None = None
        self.in_hand: int | None = None
        self.order: str | None = None
        self.stalled = False
        self.completed = self.failed = self.lost = 0

    def beat(self, now: Now) -> None:
        """It lives: its leases run anew, unless it reserves."""
        self.beat_at = now.wall
        self.heard_at = now.mono
        if not self.info.reserves:
            self.renewed_at = now.mono


class Workers:
    """The registry: at most one worker, of one incarnation, for each id."""

    def __init__(self, max_workers: int) -> None:
        self.max_workers = max_workers
        self._by_id: dict[str, Worker] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __iter__(self) -> Iterator[Worker]:
        return iter(list(self._by_id.values()))

    def get(self, worker_id: str) -> Worker:
        """
        The worker with this id.

        @raises UnknownWorker: there is none.
        """
        worker = self._by_id.get(worker_id)
        if worker is None:
            raise unknown_worker(worker_id)
        return worker

    def find(self, worker_id: str) -> Worker | None:
        """The worker with this id, C{None} where there is none."""
        return self._by_id.get(worker_id)

    def add(self, worker: Worker) -> None:
        """
        Enter a worker whose id is free.

        @raises BadRequest: there are as many workers as there may be.
        """
        if len(self._by_id) >= self.max_workers:
            raise BadRequest(f"{self.max_workers} workers are registered, which is the limit")
        self._by_id[worker.name] = worker

    def restore(self, worker: Worker) -> None:
        """Enter a worker that an earlier broker knew, whatever the limit is now."""
        self._by_id[worker.name] = worker

    def remove(self, worker: Worker) -> None:
        """Strike a worker out."""
        del self._by_id[worker.name]

    def stale(self, mono: float, silent_s: float, away_s: float) -> list[tuple[Worker, str]]:
        """
        Workers that count as dead, each with the reason.

        @param silent_s: how long one may go without a heartbeat that does not say itself.
        @param away_s: how long one may go without a connection.
        """
        found: list[tuple[Worker, str]] = []
        for worker in self._by_id.values():
            own_s = worker.info.stale_after_s
            if worker.heard_at + (silent_s if own_s is None else own_s) <= mono:
                found.append((worker, "no heartbeat"))
            elif worker.away_since is not None and worker.away_since + away_s <= mono:
                found.append((worker, "disconnected"))
        return found


def unknown_worker(worker_id: str) -> UnknownWorker:
    """The error for a worker that is not registered."""
    return UnknownWorker(
        f"no worker {worker_id!r} is registered: register it, or send a heartbeat",
        worker=worker_id,
    )


def check_succession(known: Worker, info: Registration, link: Any) -> bool:
    """
    May a process that introduces itself as C{info} take the place of C{known}?

    @return: True where it is a new incarnation, False where it is the same
        process again (on the same connection, or after its connection dropped).
    @raises StaleIncarnation: a newer incarnation is registered.
    @raises WorkerExists: this very incarnation is connected elsewhere.
    """
    if info.incarnation > known.incarnation:
        return True
    if info.incarnation < known.incarnation:
        raise StaleIncarnation(
            f"incarnation {known.incarnation} of worker {info.id!r} is registered, which is newer "
            f"than {info.incarnation}: this process should stop, or take another worker id",
            worker=info.id,
            incarnation=known.incarnation,
        )
    if known.link is not None and known.link is not link:
        raise WorkerExists(
            f"worker {info.id!r} (incarnation {info.incarnation}) is connected already: give every "
            f"process its own worker id, or a larger incarnation at each start",
            worker=info.id,
        )
    return False
