"""
Payloads that leave memory for the store, and come back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core import paging
from taskqueue.core.audit import audit
from taskqueue.core.changes import TaskRow
from taskqueue.core.delivery import Delivery
from taskqueue.core.intake import Submission
from taskqueue.core.paging import (
    PAYLOAD_BYTES,
    completed,
    page_in,
    payloads_to_read,
    read_ahead,
)
from taskqueue.core.policy import Policy
from taskqueue.core.sizes import ROW_BYTES, TASK_BYTES
from taskqueue.core.task import WAITING, State, TaskOptions
from taskqueue.core.waiting import Claim
from taskqueue.errors import LeaseLost, QueueFull
from taskqueue.store import MemoryStore
from tests.core.world import WALL, CoreTestCase, World

SIZE = 1000

#: Room for fifteen payloads: beyond that, others leave memory.
POLICY = Policy(memory_bytes=8 * 15 * SIZE)


class Stored:
    """A store beside a world, which is told of every change."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.store = MemoryStore()
        self.store.open()

    def settle(self) -> list[TaskRow]:
        """Store what has changed; the rows that were inserted."""
        batch, ended = self.world.drain()
        self.store.commit(batch)
        self.world.ledger.forget_stored(ended, prune=True)
        return batch.inserts

    def claim(self, limit: int = 1) -> list[Delivery]:
        """Claim, and read what is missing."""
        claim = Claim(self.world.holder, ("default",), None, limit)
        found = self.world.broker.desk.claim(claim, self.world.now)
        return completed(found, claim.absent, self.read(claim.absent))

    def read(self, absent: Mapping[int, int]) -> dict[int, bytes]:
        return self.store.payloads(list(absent.values()))


class PagingTestCase(CoreTestCase):
    policy = POLICY

    def setUp(self) -> None:
        super().setUp()
        self.stored = Stored(self.world)

    def payload(self, number: int) -> bytes:
        return b"%d " % number * (SIZE // len(b"%d " % number))

    def fill(self, count: int = 30, **fields: object) -> None:
        for number in range(count):
            self.world.submit(f"t{number}", payload=self.payload(number), **fields)
            self.stored.settle()

    def paged(self) -> list[str]:
        return [t.id for t in self.world.ledger.tasks.values() if isinstance(t.body, int)]


class LeavingTests(PagingTestCase):
    def test_the_latest_leave(self) -> None:
        self.fill(25)
        paged = self.paged()
        self.assertEqual(paged, [f"t{n}" for n in range(25 - len(paged), 25)])
        self.assertGreater(len(paged), 5)
        self.assertLess(self.world.ledger.memory_bytes, POLICY.memory_bytes or 0)

    def test_not_before_they_are_stored(self) -> None:
        for number in range(19):
            self.world.submit(payload=self.payload(number))
        inserts = self.world.drain()[0].inserts
        self.assertEqual(self.paged(), [])
        self.assertTrue(all(row.payload for row in inserts))
        self.world.ledger.forget_stored([], prune=True)
        self.assertNotEqual(self.paged(), [])

    def test_without_a_bound_none_does(self) -> None:
        self.world.broker.adopt(Policy())
        self.fill()
        self.assertEqual(self.paged(), [])

    def test_where_no_store_has_them_none_does(self) -> None:
        self.world.broker.adopt(Policy(memory_bytes=POLICY.memory_bytes, paging=False))
        with self.assertRaises(QueueFull):
            self.fill(120)
        self.assertEqual(self.paged(), [])

    def test_small_ones_stay(self) -> None:
        for _ in range(40):
            self.world.submit(payload=b"x" * (paging.SMALLEST_BYTES - 1))
            self.stored.settle()
        self.assertEqual(self.paged(), [])

    def test_tasks_alone_fill_the_memory_in_the_end(self) -> None:
        with self.assertRaises(QueueFull) as caught:
            self.fill(1000)
        self.assertIn("memory_limit", str(caught.exception))
        self.assertLessEqual(self.world.ledger.memory_bytes, POLICY.memory_bytes or 0)
        self.assertGreater(self.world.ledger.depth, 60)
        self.world.cancel("t5")
        self.world.cancel("t6")
        self.world.submit("again", payload=self.payload(1))

    def test_a_batch_that_does_not_fit(self) -> None:
        items = [Submission("job", self.payload(n)) for n in range(120)]
        answers = self.world.try_submit(*items)
        refused = [answer for answer in answers if isinstance(answer, QueueFull)]
        fitting = 120 * SIZE // (TASK_BYTES + PAYLOAD_BYTES + SIZE)
        self.assertEqual(len(refused), 120 - fitting)

    def test_what_waits_otherwise_leaves_too(self) -> None:
        self.fill(15)
        self.world.submit("later", payload=self.payload(1), run_at=WALL + 9)
        self.world.submit("blocked", payload=self.payload(2), depends_on=("t0",))
        self.stored.settle()
        self.assertIn("later", self.paged())
        self.assertIn("blocked", self.paged())
        self.world.tick(10)
        self.world.submit("urgent", payload=self.payload(3), priority=255)
        self.stored.settle()
        self.assertIn("urgent", self.paged())
        ids = [delivery.id for delivery in self.stored.claim(17)]
        self.assertEqual(ids, ["urgent", *(f"t{n}" for n in range(15)), "later"])

    def test_one_in_progress_stays(self) -> None:
        self.fill(15)
        self.world.submit("now", payload=self.payload(3), priority=255)
        self.world.take()
        self.stored.settle()
        self.assertNotIn("now", self.paged())


class LifeTests(PagingTestCase):
    """What can happen to a task whose payload is in the store only."""

    def setUp(self) -> None:
        super().setUp()
        self.fill(25)
        self.assertIn("t24", self.paged())

    def test_claims_are_in_order_and_complete(self) -> None:
        found = [self.stored.claim(7) for _ in range(4)]
        deliveries = [delivery for some in found for delivery in some]
        self.assertEqual([d.id for d in deliveries], [f"t{n}" for n in range(25)])
        self.assertEqual([d.payload for d in deliveries], [self.payload(n) for n in range(25)])

    def test_its_size_counts_in_a_claim(self) -> None:
        claim = Claim(self.world.holder, ("default",), None, 25, max_bytes=10 * (512 + SIZE))
        found = self.world.broker.desk.claim(claim, self.world.now)
        self.assertEqual(len(found), 10)
        self.assertEqual(len(self.world.claim(25)), 15)

    def test_a_retry(self) -> None:
        deliveries = self.stored.claim(25)
        self.world.fail(deliveries[24])
        self.stored.settle()
        self.world.tick(10)
        [again] = self.stored.claim()
        self.assertEqual((again.id, again.payload, again.attempt), ("t24", self.payload(24), 2))

    def test_the_end(self) -> None:
        deliveries = self.stored.claim(25)
        before = self.world.ledger.paged
        self.world.complete(deliveries[24])
        self.assertEqual(self.world.ledger.paged, before - 1)
        self.assertFalse(self.world.task("t24").is_settled)
        self.stored.settle()
        self.assertTrue(self.world.task("t24").is_settled)

    def test_ends_that_are_not_stored_are_not_forgotten(self) -> None:
        self.world.broker.adopt(Policy(memory_bytes=POLICY.memory_bytes, recent_ended=0))
        self.world.cancel("t24")
        self.world.ledger.prune_ended()
        self.assertIsNotNone(self.world.ledger.find("t24"))
        self.stored.settle()
        self.assertIsNone(self.world.ledger.find("t24"))

    def test_a_dead_letter_is_revived(self) -> None:
        deliveries = self.stored.claim(25)
        self.world.fail(deliveries[24], permanent=True)
        self.stored.settle()
        [row] = self.stored.store.records(["t24"])
        payload = self.stored.store.payloads([row.seq])[row.seq]
        self.world.broker.control.revive(row._replace(payload=payload), self.world.now)
        [insert] = self.stored.settle()
        self.assertEqual(insert.payload, self.payload(24))
        [again] = self.stored.claim()
        self.assertEqual((again.id, again.payload), ("t24", self.payload(24)))

    def test_the_store_keeps_it_through_all_changes(self) -> None:
        deliveries = self.stored.claim(25)
        self.world.broker.desk.release("t24", deliveries[24].lease, 5.0, self.world.now)
        self.stored.settle()
        self.world.tick(6)
        self.world.cancel("t24")
        self.stored.settle()
        seq = self.world.task("t24").seq
        self.assertEqual(self.stored.store.payloads([seq]), {seq: self.payload(24)})

    def test_a_restart_loads_what_fits(self) -> None:
        self.stored.claim(3)
        self.stored.settle()
        world = World(POLICY)
        wanted = payloads_to_read(POLICY)
        self.assertEqual(wanted, 15 * SIZE)
        self.assertEqual(world.restore(self.stored.store.recover(wanted)), 25)
        self.assertLess(world.ledger.memory_bytes, POLICY.memory_bytes or 0)
        self.assertGreater(world.ledger.paged, 5)
        world.ledger.next_token = self.world.ledger.next_token
        world.ledger.tokens_reserved(1_000_000)
        self.world = self.stored.world = world
        self.assertEqual([d.id for d in self.stored.claim(9)], [f"t{n}" for n in range(3, 12)])


class AheadTests(PagingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(paging, "AHEAD_TASKS", 10)
        self.patch(paging, "AHEAD_FROM", 5)
        self.fill(25)
        self.lane = self.world.ledger.queue("default").lane("job")

    def ahead(self) -> list[str]:
        return [task.id for task in read_ahead(self.world.ledger, self.lane)]

    def test_not_while_it_is_far_away(self) -> None:
        self.assertEqual(self.ahead(), [])

    def test_once_it_is_near(self) -> None:
        first = int(self.paged()[0][1:])
        for delivery in self.stored.claim(first - 5):
            self.world.complete(delivery)
        self.assertEqual(self.ahead(), [f"t{n}" for n in range(first, first + 5)])

    def test_what_was_read_is_there(self) -> None:
        first = int(self.paged()[0][1:])
        for delivery in self.stored.claim(first):
            self.world.complete(delivery)
        tasks = read_ahead(self.world.ledger, self.lane)
        self.world.cancel(tasks[0].id)
        page_in(
            self.world.ledger,
            tasks,
            self.stored.store.payloads([task.seq for task in tasks[:-1]]),
        )
        self.assertEqual([task.id for task in tasks if task.id in self.paged()], [tasks[-1].id])
        claim = Claim(self.world.holder, ("default",), None, 2)
        found = self.world.broker.desk.claim(claim, self.world.now)
        self.assertEqual(claim.absent, {})
        self.assertEqual(found[0].payload, self.payload(first + 1))

    def test_no_more_than_there_is_room_for(self) -> None:
        first = int(self.paged()[0][1:])
        self.stored.claim(first - 1)
        bound = self.world.ledger.memory_bytes + 2 * SIZE
        self.world.broker.adopt(Policy(memory_bytes=bound))
        self.assertEqual(self.ahead(), [f"t{n}" for n in range(first, first + 2)])

    def test_an_empty_lane(self) -> None:
        self.stored.claim(25)
        self.assertEqual(self.ahead(), [])


class EstimateTests(PagingTestCase):
    policy = Policy(memory_bytes=10**9)

    def test_what_only_some_tasks_have_counts(self) -> None:
        self.world.submit("plain")
        plain = self.world.ledger.memory_bytes
        self.assertGreaterEqual(plain, TASK_BYTES)
        for number, fields in enumerate(
            (
                {"headers": '{"a":"%s"}' % ("x" * 500)},
                {"depends_on": ("plain",)},
                {"unique": "key"},
                {"run_at": WALL + 9},
                {"expires_at": WALL + 9},
            )
        ):
            before = self.world.ledger.memory_bytes
            self.world.submit(f"t{number}", options=TaskOptions(max_retries=1), **fields)
            self.assertGreater(self.world.ledger.memory_bytes - before, plain + 100)
        for task_id in list(self.world.ledger.tasks):
            if self.world.state(task_id) is not State.DEAD_LETTER:
                self.world.cancel(task_id)
        self.assertEqual(self.world.ledger.memory_bytes, 0)

    def test_what_is_on_its_way_to_the_store_is_bounded(self) -> None:
        """It is in memory twice, and where nobody waits for it nothing else bounds it."""
        ledger, each = self.world.ledger, ROW_BYTES + SIZE
        self.world.broker.adopt(Policy(memory_bytes=40 * each))
        self.patch(paging, "LEAST_UNSTORED_BYTES", 0)
        items = [Submission("job", b"x" * SIZE) for _ in range(5)]
        self.world.try_submit(*items)
        self.assertEqual(ledger.unstored_bytes, 5 * each)
        [answer] = self.world.try_submit(items[0])
        self.assertIsInstance(answer, QueueFull)
        self.assertIn("come faster than the store takes them", str(answer))
        self.world.drain()
        self.assertIsInstance(self.world.try_submit(items[0])[0], QueueFull)
        ledger.forget_stored([], prune=True)
        self.assertEqual(ledger.unstored_bytes, 0)
        self.assertNotIsInstance(self.world.try_submit(items[0])[0], QueueFull)
        self.assertEqual(ledger.unstored_bytes, each)

    def test_one_batch_is_taken_however_long(self) -> None:
        self.world.broker.adopt(Policy(memory_bytes=40 * SIZE))
        self.patch(paging, "LEAST_UNSTORED_BYTES", 0)
        self.world.submit(payload=b"x" * (20 * SIZE))
        self.assertEqual(self.world.ledger.depth, 1)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.integers(0, 3), st.integers(0, 400)),
        st.tuples(st.just("settle"), st.just(0), st.just(0)),
        st.tuples(st.just("claim"), st.integers(1, 4), st.integers(0, 900)),
        st.tuples(st.sampled_from(("complete", "fail", "release")), st.integers(0, 99), st.just(0)),
        st.tuples(st.just("cancel"), st.integers(0, 99), st.just(0)),
        st.tuples(st.just("tick"), st.integers(1, 40), st.just(0)),
        st.tuples(st.sampled_from(("ahead", "restart")), st.just(0), st.just(0)),
    ),
    max_size=60,
)


class Twin:
    """A world and its store, to which steps are done; what it answers."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.stored = Stored(World(policy))
        self.delivered: list[Delivery] = []
        self.count = 0

    @property
    def world(self) -> World:
        return self.stored.world

    def do(self, name: str, first: int, second: int) -> object:
        answer: object = getattr(self, name)(first, second)
        assert audit(self.world.ledger) == [], audit(self.world.ledger)
        return answer

    def submit(self, priority: int, size: int) -> object:
        self.count += 1
        payload = b"%d" % self.count * size
        return self.world.submit(f"t{self.count}", priority=priority, payload=payload)

    def settle(self, _: int, __: int) -> object:
        return [row.payload for row in self.stored.settle()]

    def claim(self, limit: int, max_bytes: int) -> object:
        claim = Claim(self.world.holder, ("default",), None, limit, max_bytes=512 + max_bytes)
        found = self.world.broker.desk.claim(claim, self.world.now)
        found = completed(found, claim.absent, self.stored.read(claim.absent))
        self.delivered += found
        return found

    def _say(self, index: int, said: Callable[[Delivery], object]) -> object:
        if not self.delivered:
            return None
        delivery = self.delivered.pop(index % len(self.delivered))
        try:
            return said(delivery)
        except LeaseLost:
            return "lost"

    def complete(self, index: int, _: int) -> object:
        return self._say(index, self.world.complete)

    def fail(self, index: int, _: int) -> object:
        return self._say(index, self.world.fail)

    def release(self, index: int, _: int) -> object:
        release, now = self.world.broker.desk.release, self.world.now
        return self._say(index, lambda d: release(d.id, d.lease, 0.0, now))

    def cancel(self, index: int, _: int) -> object:
        waiting = sorted(t.id for t in self.world.ledger.tasks.values() if t.state in WAITING)
        return self.world.cancel(waiting[index % len(waiting)]) if waiting else None

    def tick(self, seconds: int, _: int) -> None:
        self.world.tick(seconds)

    def ahead(self, _: int, __: int) -> None:
        ledger = self.world.ledger
        tasks = read_ahead(ledger, ledger.queue("default").lane("job"))
        page_in(ledger, tasks, self.stored.store.payloads([task.seq for task in tasks]))

    def restart(self, _: int, __: int) -> object:
        """Another broker goes on where the store was told of everything."""
        self.stored.settle()
        old, new = self.world, World(self.policy)
        new.wall, new.mono = old.wall, old.mono
        new.restore(self.stored.store.recover(payloads_to_read(self.policy)))
        new.ledger.next_token = old.ledger.next_token
        new.ledger.tokens_reserved(1_000_000)
        self.stored.world = new
        return sorted(task.id for task in new.ledger.tasks.values())


class ModelTests(SynchronousTestCase):
    @settings(derandomize=True, deadline=None, max_examples=200)
    @given(STEPS)
    def test_nobody_can_tell(self, steps: list[tuple[str, int, int]]) -> None:
        """Whatever is done, a broker whose payloads leave memory answers like another one."""
        # All that is stored leaves; nothing is ever refused.
        self.patch(paging, "share_of_payloads", lambda memory_bytes: 0)
        small, large = Twin(Policy(memory_bytes=10**9)), Twin(Policy())
        for step in steps:
            self.assertEqual(small.do(*step), large.do(*step), step)
        self.assertEqual(large.world.ledger.paged, 0)
