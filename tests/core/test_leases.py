"""
Leases: fencing, ends, renewals, and the tokens that name them.
"""

from __future__ import annotations

from heapq import heappush

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core import leases as leases_module
from taskqueue.core.audit import audit
from taskqueue.core.delivery import Delivery
from taskqueue.core.leases import MOST_LINES
from taskqueue.core.ledger import TOKEN_BLOCK
from taskqueue.core.policy import Policy, QueuePolicy
from taskqueue.core.task import State, TaskOptions
from taskqueue.errors import BadRequest, LeaseLost, StoreUnavailable
from tests.core.world import MONO, WALL, CoreTestCase, World


class FencingTests(CoreTestCase):
    """A token that is not the current one changes nothing."""

    def assertLost(self, delivery: Delivery) -> None:
        desk, now = self.world.broker.desk, self.world.now
        task = self.world.task(delivery.id)
        before = {name: getattr(task, name) for name in task.__slots__}
        task_id, token = delivery.id, delivery.lease
        for say in (
            lambda: self.world.complete(delivery, b"late"),
            lambda: self.world.fail(delivery, "late"),
            lambda: self.world.report(delivery, State.CANCELLED),
            lambda: desk.extend(task_id, token, None, now),
            lambda: desk.release(task_id, token, 0.0, now),
            lambda: desk.report_progress(task_id, token, {"done": 1}),
        ):
            error = self.assertRaises(LeaseLost, say)
            self.assertEqual(error.fields, {"task": task_id, "lease": token})
        self.assertEqual({name: getattr(task, name) for name in task.__slots__}, before)

    def test_a_claim_records_its_worker_and_deadline(self) -> None:
        """Without them nobody could ever take the task back from a dead worker."""
        self.world.submit("t")
        delivery = self.world.take(self.world.register("w7"))
        task = self.world.task("t")
        assert task.lease is not None
        self.assertEqual(task.worker, "w7")
        self.assertEqual(task.lease.holder.name, "w7")
        self.assertEqual(task.lease.deadline, MONO + 30)
        self.assertEqual((task.token, task.claimed_at), (delivery.lease, self.world.wall))
        [row] = self.world.drain()[0].inserts
        self.assertEqual((row.worker, row.incarnation, row.lease_s), ("w7", 1, 30.0))

    def test_each_task_of_one_claim_has_the_length_and_the_token_it_was_given(self) -> None:
        lengths = (None, None, 20.0, 40.0, 40.0, None)
        for position, lease_s in enumerate(lengths):
            self.world.submit(f"t{position}", options=TaskOptions(lease_s=lease_s))
        for wanted_s in (None, 50.0):
            deliveries = self.world.claim(6, lease_s=wanted_s)
            tokens = [delivery.lease for delivery in deliveries]
            self.assertEqual(tokens, list(range(tokens[0], tokens[0] + 6)))
            for position, delivery in enumerate(deliveries):
                expected_s = wanted_s or lengths[position] or 30.0
                lease = self.world.ledger.leases.by_token[delivery.lease]
                told = delivery.id, delivery.lease_s, lease.task.id, lease.lease_s, lease.deadline
                name = f"t{position}"
                deadline = self.world.mono + expected_s
                self.assertEqual(told, (name, expected_s, name, expected_s, deadline))
                self.assertEqual(lease.task.token, delivery.lease)
            self.world.tick(41)
            self.assertEqual(self.world.ledger.depth, 0 if wanted_s else 6)

    def test_a_token_of_an_earlier_delivery(self) -> None:
        self.world.submit("t")
        late = self.world.take()
        self.world.tick(31)
        self.assertLost(late)
        current = self.world.take()
        self.assertGreater(current.lease, late.lease)
        self.assertLost(late)
        self.world.complete(current)

    def test_a_token_of_another_task(self) -> None:
        self.world.submit("a")
        self.world.submit("b")
        a, b = self.world.claim(2)
        self.assertLost(a._replace(lease=b.lease))
        self.assertLost(b._replace(lease=a.lease))
        self.assertIs(self.world.complete(a), State.COMPLETED)

    def test_a_token_that_was_never_given(self) -> None:
        self.world.submit("t")
        self.assertLost(self.world.take()._replace(lease=10**9))

    def test_a_late_word_about_an_ended_task(self) -> None:
        self.world.submit("t")
        late = self.world.take()
        self.world.tick(31)
        self.world.complete(self.world.take())
        self.assertLost(late)

    def test_a_task_that_is_gone(self) -> None:
        self.world.submit("t")
        delivery = self.world.take()._replace(id="unknown")
        self.assertRaises(LeaseLost, self.world.complete, delivery)


class RepeatedTests(CoreTestCase):
    """A worker that did not hear the answer says it again: it counts once."""

    def setUp(self) -> None:
        super().setUp()
        self.world.submit("t")
        self.delivery = self.world.take()

    def counts(self) -> tuple[int, ...]:
        counters = self.world.task("t").lane.counters
        return counters.completed, counters.failed, counters.cancelled, counters.dead

    def assertOnce(self, status: State, end: State, **fields: object) -> None:
        self.assertIs(self.world.report(self.delivery, status, **fields), end)
        counted = self.counts()
        self.assertIs(self.world.report(self.delivery, status, **fields), end)
        self.assertEqual(self.counts(), counted)

    def test_completed(self) -> None:
        self.assertOnce(State.COMPLETED, State.COMPLETED)

    def test_failed(self) -> None:
        self.assertOnce(State.FAILED, State.FAILED, error="why")

    def test_failed_for_good(self) -> None:
        self.assertOnce(State.FAILED, State.DEAD_LETTER, error="why", permanent=True)

    def test_failed_for_good_without_a_reason(self) -> None:
        self.assertOnce(State.FAILED, State.DEAD_LETTER, permanent=True)

    def test_yielded(self) -> None:
        self.world.cancel("t", running=True)
        self.assertOnce(State.CANCELLED, State.CANCELLED)

    def test_failed_after_a_cancel_request(self) -> None:
        self.world.cancel("t", running=True)
        self.assertOnce(State.FAILED, State.CANCELLED, error="stopped")

    def test_something_else_is_not_the_same(self) -> None:
        self.world.complete(self.delivery)
        self.assertRaises(LeaseLost, self.world.fail, self.delivery)

    def test_a_failure_for_another_reason_is_not_the_same(self) -> None:
        self.world.fail(self.delivery, "one", permanent=True)
        self.assertRaises(LeaseLost, self.world.fail, self.delivery, "two", permanent=True)


class LengthTests(CoreTestCase):
    policy = Policy(lease_min_s=2.0, lease_max_s=100.0, queues={"slow": QueuePolicy(lease_s=60.0)})

    def test_claim_before_task_before_queue(self) -> None:
        own = TaskOptions(lease_s=40.0)
        for options, lease_s, expected in (
            (TaskOptions(), None, 60.0),
            (own, None, 40.0),
            (own, 20.0, 20.0),
        ):
            self.world.submit(queue="slow", options=options)
            [delivery] = self.world.claim(1, "slow", lease_s=lease_s)
            self.assertEqual(delivery.lease_s, expected)

    def test_out_of_bounds_is_an_error(self) -> None:
        """Never a silent clamp."""
        self.world.submit("t")
        for lease_s in (1.99, 100.01):
            error = self.assertRaises(BadRequest, self.world.claim, lease_s=lease_s)
            self.assertIn("2 to 100 seconds", str(error))
        delivery = self.world.take()
        extend = self.world.broker.desk.extend
        for lease_s in (1.99, 100.01):
            self.assertRaises(BadRequest, extend, "t", delivery.lease, lease_s, self.world.now)
        self.world.tick(29.9)
        self.assertIs(self.world.state("t"), State.IN_PROGRESS)

    def test_the_lease_ends_when_it_should(self) -> None:
        for lease_s in (2.0, 100.0):
            self.world.submit("t")
            self.world.claim(lease_s=lease_s)
            self.world.tick(lease_s - 0.01)
            self.assertIs(self.world.state("t"), State.IN_PROGRESS)
            self.world.tick(0.02)
            self.assertIs(self.world.state("t"), State.PENDING)

    def test_a_jump_of_the_wall_clock_ends_no_lease(self) -> None:
        self.world.submit("t")
        self.world.take()
        for jump in (86_400, -2 * 86_400):
            self.world.wall += jump
            self.world.tick()
            self.assertIs(self.world.state("t"), State.IN_PROGRESS)


class ExtendTests(CoreTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.world.submit("t")

    def extend(self, delivery: Delivery, lease_s: float | None) -> float:
        return self.world.broker.desk.extend("t", delivery.lease, lease_s, self.world.now)

    def assertEndsIn(self, seconds: float) -> None:
        self.world.tick(seconds - 0.01)
        self.assertIs(self.world.state("t"), State.IN_PROGRESS)
        self.world.tick(0.02)
        self.assertIs(self.world.state("t"), State.PENDING)

    def test_anew(self) -> None:
        delivery = self.world.take()
        self.world.pass_time(20)
        self.assertEqual(self.extend(delivery, None), 30.0)
        self.assertEndsIn(30)

    def test_up(self) -> None:
        self.assertEqual(self.extend(self.world.take(), 90.0), 90.0)
        self.assertEndsIn(90)

    def test_down(self) -> None:
        self.assertEqual(self.extend(self.world.take(), 5.0), 5.0)
        self.assertEndsIn(5)

    def test_up_and_down(self) -> None:
        delivery = self.world.take()
        self.extend(delivery, 900.0)
        self.world.tick(100)
        self.extend(delivery, 5.0)
        self.assertEndsIn(5)

    def test_down_for_a_registered_worker(self) -> None:
        """The heartbeat before it gives no more than is asked for now."""
        delivery = self.world.take(self.world.register())
        self.assertEqual(self.extend(delivery, 5.0), 5.0)
        self.assertEndsIn(5)

    def test_down_after_a_heartbeat_had_renewed_it(self) -> None:
        delivery = self.world.take(self.world.register())
        for _ in range(4):
            self.world.tick(10)
            self.world.beat()
        self.extend(delivery, 5.0)
        self.assertEndsIn(5)

    def test_a_heartbeat_renews_for_the_length_asked_for(self) -> None:
        delivery = self.world.take(self.world.register())
        self.extend(delivery, 20.0)
        self.world.tick(10)
        self.world.beat()
        self.assertEndsIn(20)

    def test_the_length_asked_for_is_stored(self) -> None:
        """So that a restart gives as much again."""
        delivery = self.world.take()
        self.world.drain()
        self.extend(delivery, None)
        self.assertFalse(self.world.ledger.changes)
        self.extend(delivery, 600.0)
        [update] = self.world.drain()[0].updates
        self.assertEqual(update.lease_s, 600.0)

    def test_extending_often_leaves_little_behind(self) -> None:
        delivery = self.world.take()
        for number in range(10_000):
            self.extend(delivery, 600.0 + 300.0 * (number % 2))
        self.assertLess(len(self.world.ledger.leases._deadlines), 2000)
        self.extend(delivery, 5.0)
        self.assertEndsIn(5)


class RenewalTests(CoreTestCase):
    def test_a_heartbeat_touches_no_lease(self) -> None:
        """It costs the same with a thousand leases as with one: the heap is left alone."""
        pushed: list[object] = []

        def counted(heap: list[object], item: object) -> None:
            pushed.append(item)
            heappush(heap, item)  # type: ignore[misc]

        worker = self.world.register()
        for _ in range(1000):
            self.world.submit()
        self.assertEqual(len(self.world.claim(1000, holder=worker)), 1000)
        deadlines = [lease.deadline for lease in worker.leases.values()]
        self.patch(leases_module, "heappush", counted)
        self.world.drain()
        self.world.pass_time(15)
        self.world.beat()
        self.assertEqual(pushed, [])
        self.assertEqual([lease.deadline for lease in worker.leases.values()], deadlines)
        self.assertFalse(self.world.ledger.changes)
        self.world.tick(29.9)
        self.assertEqual(len(worker.leases), 1000)

    def test_only_its_own_leases(self) -> None:
        self.world.submit("mine")
        self.world.submit("other")
        self.world.take(self.world.register("w"))
        self.world.take()
        self.world.tick(29)
        self.world.beat("w")
        self.world.tick(2)
        self.assertIs(self.world.state("mine"), State.IN_PROGRESS)
        self.assertIs(self.world.state("other"), State.PENDING)

    def test_a_loss_is_told_to_the_holder(self) -> None:
        self.world.submit("t")
        delivery = self.world.take()
        self.world.tick(31)
        [notice] = self.world.ledger.notices
        self.assertIs(notice.holder, self.world.holder)
        self.assertEqual(
            (notice.kind, notice.task_id, notice.token), ("lease_lost", "t", delivery.lease)
        )

    def test_progress(self) -> None:
        self.world.submit("t")
        delivery = self.world.take()
        report = self.world.broker.desk.report_progress
        self.assertFalse(report("t", delivery.lease, {"percent": 40}))
        lease = self.world.broker.desk.lease("t", delivery.lease)
        self.assertEqual(lease.progress, {"percent": 40})
        self.world.cancel("t", running=True)
        self.assertTrue(report("t", delivery.lease, {"percent": 41}))


class TokenTests(SynchronousTestCase):
    def test_none_before_the_store_has_reserved_some(self) -> None:
        world = World(reserve=False)
        world.submit("t")
        error = self.assertRaises(StoreUnavailable, world.claim)
        self.assertIsNotNone(error.retry_after_s)
        self.assertIs(world.state("t"), State.PENDING)
        ceiling = world.drain()[0].token_ceiling
        self.assertEqual(ceiling, 1 + TOKEN_BLOCK)
        assert ceiling is not None
        world.ledger.tokens_reserved(ceiling)
        self.assertEqual(world.take().lease, 1)

    def test_a_block_is_asked_for_once_and_in_good_time(self) -> None:
        world = World(reserve=False)
        self.assertRaises(StoreUnavailable, world.claim)
        self.assertRaises(StoreUnavailable, world.claim)
        ceiling = world.drain()[0].token_ceiling or 0
        self.assertRaises(StoreUnavailable, world.claim)
        self.assertIsNone(world.drain()[0].token_ceiling)
        world.ledger.tokens_reserved(ceiling)
        world.claim()
        self.assertIsNone(world.drain()[0].token_ceiling)
        world.ledger.next_token = ceiling - TOKEN_BLOCK // 2 + 1
        world.claim()
        self.assertEqual(world.drain()[0].token_ceiling, ceiling + TOKEN_BLOCK)

    def test_no_more_than_are_left(self) -> None:
        world = World(reserve=False)
        world.ledger.tokens_reserved(3)
        for _ in range(5):
            world.submit()
        self.assertEqual([d.lease for d in world.claim(5)], [1, 2])
        self.assertRaises(StoreUnavailable, world.claim)
        self.assertEqual(audit(world.ledger), [])

    def test_strictly_increasing(self) -> None:
        world = World()
        for _ in range(20):
            world.submit()
        tokens = [d.lease for _ in range(4) for d in world.claim(5)]
        world.tick(31)
        tokens += [d.lease for d in world.claim(20)]
        self.assertEqual(tokens, sorted(set(tokens)))


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("claim"), st.integers(1, 40)),
        st.tuples(st.just("extend"), st.integers(1, 40)),
        st.tuples(st.just("beat"), st.just(0)),
        st.tuples(st.just("pass"), st.integers(1, 15)),
    ),
    max_size=40,
)


class ModelTests(SynchronousTestCase):
    @settings(derandomize=True, deadline=None, max_examples=200)
    @given(STEPS, st.booleans())
    def test_no_lease_ends_early_or_late(
        self, steps: list[tuple[str, int]], registered: bool
    ) -> None:
        """However it was renewed, a lease ends at the moment that was promised last."""
        world = World(Policy(stale_after_s=1e9))
        holder = world.register() if registered else world.holder
        world.submit("t")
        ends: float | None = None
        length = 0.0
        for name, number in steps:
            if name == "pass":
                world.tick(float(number))
                if ends is not None and world.mono >= ends:
                    ends = None
            elif name == "claim":
                if world.claim(holder=holder, lease_s=float(number)):
                    self.assertIsNone(ends)
                    length, ends = float(number), world.mono + number
                else:
                    self.assertIsNotNone(ends)
            elif name == "extend" and ends is not None:
                world.broker.desk.extend("t", world.task("t").token, float(number), world.now)
                length, ends = float(number), world.mono + number
            elif name == "beat" and registered:
                world.beat()
                ends = None if ends is None else max(ends, world.mono + length)
            if world.state("t") is State.DEAD_LETTER:
                break
            self.assertEqual(world.state("t") is State.IN_PROGRESS, ends is not None)


class LineTests(CoreTestCase):
    """Leases of one length end in the order in which they were given."""

    def give(self, *lengths_s: float) -> list[str]:
        ids = []
        for lease_s in lengths_s:
            ids.append(self.world.submit())
            self.world.claim(lease_s=lease_s)
        return ids

    def test_more_lengths_than_there_are_lines(self) -> None:
        lengths = [float(10 + n) for n in range(2 * MOST_LINES)]
        ids = self.give(*lengths)
        self.assertEqual(len(self.world.ledger.leases._lines), MOST_LINES)
        for task_id, lease_s in zip(ids, lengths, strict=True):
            self.world.tick(WALL + lease_s - 0.5 - self.world.wall)
            self.assertIs(self.world.state(task_id), State.IN_PROGRESS)
            self.world.tick(1)
            self.assertIs(self.world.state(task_id), State.PENDING)
        self.assertEqual(self.world.ledger.leases._lines, {})

    def test_one_that_was_extended_holds_up_nobody(self) -> None:
        first, second = self.give(10.0, 10.0)
        lease = self.world.task(first).lease
        assert lease is not None
        self.world.broker.desk.extend(first, lease.token, 60.0, self.world.now)
        self.world.tick(11)
        self.assertIs(self.world.state(first), State.IN_PROGRESS)
        self.assertIs(self.world.state(second), State.PENDING)
        self.world.tick(50)
        self.assertIs(self.world.state(first), State.PENDING)

    def test_a_clock_that_goes_back(self) -> None:
        """Not the monotonic one; but a restart gives grace of any length."""
        first = self.give(10.0)[0]
        self.world.mono -= 5
        second = self.give(10.0)[0]
        self.world.mono += 11
        self.world.broker.upkeep.expire_leases(self.world.now)
        self.assertIs(self.world.state(second), State.PENDING)
        self.assertIs(self.world.state(first), State.IN_PROGRESS)

    def test_leases_that_are_over_leave_little_behind(self) -> None:
        self.give(10.0)
        self.world.submit("again")
        for _ in range(10_000):
            [delivery] = self.world.claim(lease_s=10.0)
            self.world.broker.desk.release(delivery.id, delivery.lease, 0.0, self.world.now)
        [line] = self.world.ledger.leases._lines.values()
        self.assertLess(len(line), 2000)
