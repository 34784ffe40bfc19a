"""
A broker in a world whose clocks stand still until a test moves them.
"""

from __future__ import annotations

from random import Random
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.audit import audit
from taskqueue.core.broker import Broker
from taskqueue.core.changes import Batch, TaskRow, row_of
from taskqueue.core.counters import Counters
from taskqueue.core.delivery import Delivery, Outcome
from taskqueue.core.intake import Accepted, Submission
from taskqueue.core.leases import Holder
from taskqueue.core.ledger import Ledger
from taskqueue.core.moments import Now
from taskqueue.core.overview import total_counts, total_times
from taskqueue.core.policy import Policy
from taskqueue.core.restore import Restoration
from taskqueue.core.task import State, Task
from taskqueue.core.waiting import Claim
from taskqueue.core.workers import Registration, Worker
from taskqueue.errors import TaskQueueError
from taskqueue.store import MemoryStore
from taskqueue.store.interface import Recovery

WALL = 1_800_000_000.0
MONO = 5000.0


class Middling(Random):
    """Always in the middle: no jitter."""

    def random(self) -> float:
        return 0.5


class World:
    """
    A broker, its two clocks, and shorthands for what tests do to it.

    @ivar holder: the unregistered claimer that claims unless another is named.
    """

    def __init__(self, policy: Policy | None = None, *, reserve: bool = True) -> None:
        self.wall, self.mono = WALL, MONO
        self._ids = 0
        self.broker = Broker(policy or Policy(), Middling(), self._new_id)
        self.ledger = self.broker.ledger
        self.holder = Holder("claimer")
        if reserve:
            self.ledger.tokens_reserved(1_000_000)

    def _new_id(self) -> str:
        self._ids += 1
        return f"made-{self._ids}"

    # --- time -------------------------------------------------------------------

    @property
    def now(self) -> Now:
        return Now(self.wall, self.mono)

    def pass_time(self, seconds: float) -> None:
        """Both clocks go on, and nothing else happens."""
        self.wall += seconds
        self.mono += seconds

    def tick(self, seconds: float = 0.0) -> None:
        """Time passes, and all upkeep is done."""
        self.pass_time(seconds)
        upkeep, now = self.broker.upkeep, self.now
        upkeep.expire_leases(now)
        upkeep.evict_stale(now)
        upkeep.release_due(now)
        upkeep.expire_tasks(now)
        upkeep.lapse_keys(now)
        upkeep.resume_queues(now)
        upkeep.time_out_claims(now)
        self.fire()

    def fire(self, **stored: State) -> list[tuple[str, TaskQueueError]]:
        """Submit the tasks of all ticks that are due."""
        refused: list[tuple[str, TaskQueueError]] = []
        more = True
        while more:
            ticks, more = self.broker.periodics.due(self.now)
            refused += self.broker.periodics.fire(ticks, self.now, stored)
        return refused

    # --- tasks ------------------------------------------------------------------

    def try_submit(self, *items: Submission, **stored: State) -> list[Accepted | TaskQueueError]:
        return self.broker.intake.submit(items, self.now, stored)

    def submit(self, task_id: str | None = None, task_type: str = "job", **fields: Any) -> str:
        """Submit one task that must be accepted; return its id."""
        [answer] = self.try_submit(Submission(task_type, id=task_id, **fields))
        if isinstance(answer, TaskQueueError):
            raise answer
        return answer.id

    def task(self, task_id: str) -> Task:
        found = self.ledger.find(task_id)
        assert found is not None, task_id
        return found

    def state(self, task_id: str) -> State:
        return self.task(task_id).state

    def row(self, task_id: str, payload: bytes = b"") -> TaskRow:
        """An ended task as the store would have it."""
        return row_of(self.task(task_id))._replace(payload=payload)

    # --- deliveries -------------------------------------------------------------

    def claim(
        self,
        limit: int = 1,
        *queues: str,
        types: frozenset[str] | None = None,
        holder: Holder | None = None,
        lease_s: float | None = None,
    ) -> list[Delivery]:
        return self.broker.desk.claim(
            Claim(holder or self.holder, queues or ("default",), types, limit, lease_s), self.now
        )

    def take(self, holder: Holder | None = None) -> Delivery:
        """Claim one task, which must be there."""
        [delivery] = self.claim(holder=holder)
        return delivery

    def wait(
        self,
        *queues: str,
        types: frozenset[str] | None = None,
        holder: Holder | None = None,
        limit: int = 1,
        for_s: float = 30.0,
        lease_s: float | None = None,
    ) -> Claim:
        """Add a claim that waits."""
        claim = Claim(
            holder or self.holder,
            queues or ("default",),
            types,
            limit,
            lease_s,
            self.mono + for_s,
        )
        self.ledger.claims.add(claim)
        return claim

    def serve(self) -> list[tuple[Claim, list[str]]]:
        """Serve waiting claims; each with the ids that it got."""
        return [(claim, [d.id for d in got]) for claim, got in self.broker.desk.serve(self.now)]

    def deliver(self, task_id: str) -> Delivery:
        """The delivery of a task in progress, as its holder has it."""
        task = self.task(task_id)
        assert task.lease is not None, task
        values = task.id, task.type, task.queue, task.priority, task.payload or b"", task.attempt
        return Delivery(*values, task.token, 0.0, None, 0.0, 0, 0)

    def complete(self, delivery: Delivery, result: bytes = b"") -> State:
        return self.report(delivery, State.COMPLETED, result=result)

    def fail(self, delivery: Delivery, error: str | None = "no luck", **fields: Any) -> State:
        return self.report(delivery, State.FAILED, error=error, **fields)

    def report(self, delivery: Delivery, status: State, **fields: Any) -> State:
        outcome = Outcome(delivery.id, delivery.lease, status, **fields)
        return self.broker.desk.report(outcome, self.now)

    # --- others -----------------------------------------------------------------

    def cancel(self, task_id: str, running: bool = False) -> State:
        return self.broker.control.cancel(task_id, running, self.now)

    def revive(self, task_id: str, **fields: Any) -> State:
        return self.broker.control.revive(self.row(task_id), self.now, **fields)

    def register(
        self, name: str = "w", incarnation: int = 1, link: Any = None, **fields: Any
    ) -> Worker:
        return self.broker.control.register(
            Registration(name, incarnation, **fields), self.now, link
        )

    def beat(self, name: str = "w", incarnation: int = 1, link: Any = None) -> Worker:
        return self.broker.control.heartbeat(Registration(name, incarnation), self.now, link)

    def drain(self) -> tuple[Batch, list[Task]]:
        return self.ledger.changes.drain(self.ledger.next_seq)

    def restore_windows(self, store: MemoryStore) -> None:
        """Then, who holds a key beyond its end."""
        Restoration(self.ledger, self.now).windows(store.open_windows(self.wall))

    def restore_values(self, store: MemoryStore) -> None:
        """Then, the values."""
        Restoration(self.ledger, self.now).values(store.key_values())

    def restore(self, recovery: Recovery) -> int:
        """Go on where another broker stopped; return how many tasks there were."""
        restoration = Restoration(self.ledger, self.now)
        restoration.numbers(recovery.next_seq, recovery.token_ceiling)
        restoration.queues(recovery.queues)
        restoration.ended(recovery.ended)
        restoration.periodics(recovery.periodics)
        return restoration.tasks(recovery.tasks)


def total_counters(ledger: Ledger) -> Counters:
    """All that the broker counted since it started, histograms too."""
    total = Counters()
    for name, count in total_counts(ledger).items():
        setattr(total, name, count)
    total.wait, total.processing = total_times(ledger)
    return total


class CoreTestCase(SynchronousTestCase):
    """A test with a world, whose books must be right when it is over."""

    policy = Policy()

    def setUp(self) -> None:
        self.world = World(self.policy)

    def tearDown(self) -> None:
        self.assertEqual(audit(self.world.ledger), [])
