"""
Lanes and queues: strict priority, first come first served, at a cost that
neither tasks nor lanes make grow.
"""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.audit import audit
from taskqueue.core.lanes import Lane, Queue
from taskqueue.core.paging import PAYLOAD_BYTES
from taskqueue.core.policy import QueuePolicy
from taskqueue.core.sizes import LINE_BYTES, TASK_BYTES
from taskqueue.core.task import State, Task, order_key
from taskqueue.core.waiting import Claim
from tests.core.world import CoreTestCase, World


class Shelf:
    """A queue alone, and the tasks put into it."""

    def __init__(self) -> None:
        self.queue = Queue("q", QueuePolicy())
        self.count = 0

    def push(self, task_type: str = "job", priority: int = 150) -> Task:
        self.count += 1
        lane = self.queue.lane(task_type)
        task = Task(str(self.count), self.count, lane, priority, b"", 0.0)
        lane.push(task)
        return task

    def end(self, task: Task) -> None:
        """A task ends where it stands."""
        task.state = State.CANCELLED
        task.lane.discard(task)

    def take(self, *types: str, limit: int = 1) -> list[str]:
        return [task.id for task in self.queue.take(frozenset(types) or None, limit)]


class StrictOrderTests(CoreTestCase):
    """Claims that go by priority over several queues."""

    def strictly(self, limit: int, *names: str, **fields: Any) -> list[str]:
        claim = Claim(self.world.holder, names, None, limit, by_priority=True, **fields)
        return [d.id for d in self.world.broker.desk.claim(claim, self.world.now)]

    def test_over_all_queues(self) -> None:
        """Whatever the order in which they are named; those of one priority in line."""
        for number, priority in enumerate((5, -3, 7, 5, 2**31, 5, -(2**32), 7)):
            self.world.submit(str(number), priority=priority, queue=f"q{number % 3}")
        names = ("q2", "none", "q0", "q1")
        self.assertEqual(self.strictly(1, *names), ["4"])
        self.assertEqual(self.strictly(3, *names), ["2", "7", "0"])
        self.assertEqual(self.strictly(10, "q1", "q2", "q0"), ["3", "5", "1", "6"])
        self.assertEqual(self.strictly(1, *names), [])

    def test_one_queue(self) -> None:
        for priority in (1, 3, 2):
            self.world.submit(str(priority), priority=priority)
        self.assertEqual(self.strictly(2, "default"), ["3", "2"])

    def test_without_the_flag_queues_are_a_preference(self) -> None:
        self.world.submit("low", priority=0, queue="first")
        self.world.submit("high", priority=9, queue="second")
        self.assertEqual([d.id for d in self.world.claim(2, "first", "second")], ["low", "high"])

    def test_paused_queues_give_nothing(self) -> None:
        self.world.submit("high", priority=9, queue="paused")
        self.world.submit("low", priority=0, queue="open")
        self.world.broker.control.pause("paused", self.world.now)
        self.assertEqual(self.strictly(2, "paused", "open"), ["low"])

    def test_only_wanted_types(self) -> None:
        self.world.submit("a", "a", priority=9, queue="q0")
        self.world.submit("b", "b", priority=1, queue="q0")
        self.world.submit("c", "b", priority=2, queue="q1")
        claim = Claim(self.world.holder, ("q0", "q1"), frozenset("b"), 3, by_priority=True)
        deliveries = self.world.broker.desk.claim(claim, self.world.now)
        self.assertEqual([d.id for d in deliveries], ["c", "b"])

    def test_as_many_bytes_as_there_is_room_for(self) -> None:
        for number in range(4):
            self.world.submit(str(number), payload=bytes(1000), queue=f"q{number % 2}")
        self.assertEqual(self.strictly(4, "q0", "q1", max_bytes=3100), ["0", "1"])
        self.assertEqual(self.strictly(4, "q0", "q1", max_bytes=1), ["2"])
        self.assertEqual(self.strictly(4, "q0", "q1"), ["3"])

    def test_what_has_expired_is_passed_over(self) -> None:
        self.world.submit("old", priority=9, queue="q0", expires_at=self.world.wall + 1)
        self.world.submit("new", priority=1, queue="q1")
        self.world.pass_time(2)
        self.assertEqual(self.strictly(2, "q0", "q1"), ["new"])
        self.assertEqual(self.world.state("old"), State.EXPIRED)

    def test_waiting_claims_too(self) -> None:
        """What comes while one waits goes to it by priority, when it is served."""
        claim = Claim(
            self.world.holder, ("q0", "q1"), None, 2, None, self.world.mono + 9, by_priority=True
        )
        self.world.ledger.claims.add(claim)
        self.assertEqual(list(self.world.ledger.claims), [claim])
        for number, priority in enumerate((1, 3, 2)):
            self.world.submit(str(number), priority=priority, queue=f"q{number % 2}")
        self.assertEqual(self.world.serve(), [(claim, ["1", "2"])])
        self.assertEqual(list(self.world.ledger.claims), [])

    @settings(derandomize=True, deadline=None)
    @given(
        st.lists(
            st.tuples(st.sampled_from("abc"), st.sampled_from("xy"), st.integers(-2, 2)),
            max_size=12,
        ),
        st.lists(st.integers(1, 4), min_size=1, max_size=6),
    )
    def test_as_if_sorted(self, tasks: list[tuple[str, str, int]], limits: list[int]) -> None:
        world = World()
        for number, (queue, kind, priority) in enumerate(tasks):
            world.submit(str(number), kind, queue=queue, priority=priority)
        expected = sorted(range(len(tasks)), key=lambda n: (-tasks[n][2], n))
        for limit in limits:
            claim = Claim(world.holder, ("c", "a", "b"), None, limit, by_priority=True)
            found = [int(d.id) for d in world.broker.desk.claim(claim, world.now)]
            self.assertEqual(found, expected[:limit])
            del expected[:limit]
            names = [queue for queue in "abc" if queue in world.ledger.queues]
            firsts = [task for name in names if (task := world.ledger.queues[name].first)]
            left = [min(task.key for task in firsts)] if firsts else []
            self.assertEqual(left, [world.task(str(n)).key for n in expected[:1]])
        self.assertEqual(audit(world.ledger), [])


class CountTests(SynchronousTestCase):
    """How many are ready above a priority, whatever has ended where it stood or came back."""

    def count(self, shelf: Shelf, above: int) -> int:
        return sum(lane.count_above(above) for lane in shelf.queue.lanes.values())

    def test_by_priority(self) -> None:
        shelf = Shelf()
        for priority in (5, 5, -2, 2**31, 5):
            shelf.push(priority=priority)
        self.assertEqual([self.count(shelf, p) for p in (-3, -2, 4, 5, 2**31)], [5, 4, 4, 1, 0])

    def test_leftovers_and_those_that_came_back(self) -> None:
        shelf = Shelf()
        tasks = [shelf.push(priority=5) for _ in range(6)]
        shelf.end(tasks[1])
        shelf.end(tasks[4])
        self.assertEqual(self.count(shelf, 4), 4)
        self.assertEqual(shelf.take(limit=2), ["1", "3"])
        self.assertEqual(self.count(shelf, 4), 2)
        tasks[2].lane.push(tasks[2])
        self.assertEqual([self.count(shelf, 4), self.count(shelf, 5)], [3, 0])


class OrderTests(CoreTestCase):
    def test_high_priority_comes_first(self) -> None:
        """The order of the heap is not reversed: low priority does not come first."""
        for task_id, priority in (("low", 0), ("mid", 150), ("high", 255)):
            self.world.submit(task_id, priority=priority)
        self.assertEqual([d.id for d in self.world.claim(3)], ["high", "mid", "low"])

    def test_equal_priority_is_first_come_first_served(self) -> None:
        ids = [self.world.submit() for _ in range(50)]
        claimed = [d.id for _ in range(5) for d in self.world.claim(10)]
        self.assertEqual(claimed, ids)

    def test_any_integer_is_a_priority(self) -> None:
        """Other wire languages have other ranges."""
        priorities = [0, -1, 255, 2**32, -(2**32), 256, 1]
        for priority in priorities:
            self.world.submit(str(priority), priority=priority)
        claimed = [d.priority for d in self.world.claim(10)]
        self.assertEqual(claimed, sorted(priorities, reverse=True))

    def test_a_late_place_never_reaches_the_next_priority(self) -> None:
        self.assertLess(order_key(11, 2**48 - 1), order_key(10, 1))
        self.assertLess(order_key(-10, 2**48 - 1), order_key(-11, 1))

    def test_a_retry_keeps_its_place(self) -> None:
        self.world.submit("first")
        self.world.submit("second")
        self.world.fail(self.world.take())
        self.world.tick(10)
        self.assertEqual(self.world.take().id, "first")

    def test_a_lost_task_keeps_its_place(self) -> None:
        self.world.submit("first")
        self.world.submit("second")
        self.world.take()
        self.world.tick(31)
        self.assertEqual(self.world.take().id, "first")

    def test_a_released_task_keeps_its_place(self) -> None:
        self.world.submit("first")
        self.world.submit("second")
        delivery = self.world.take()
        self.world.broker.desk.release("first", delivery.lease, 0.0, self.world.now)
        self.assertEqual(self.world.take().id, "first")

    def test_a_blocked_task_keeps_its_place(self) -> None:
        self.world.submit("base", priority=255)
        self.world.submit("early", depends_on=("base",))
        self.world.submit("late")
        self.world.complete(self.world.take())
        self.assertEqual(self.world.take().id, "early")


class TypeTests(CoreTestCase):
    def setUp(self) -> None:
        super().setUp()
        for number, task_type in enumerate("abcabc"):
            self.world.submit(f"{task_type}{number}", task_type, priority=100 + number)

    def ids(self, limit: int, *types: str) -> list[str]:
        wanted = frozenset(types) if types else None
        return [d.id for d in self.world.claim(limit, types=wanted)]

    def test_any_type(self) -> None:
        self.assertEqual(self.ids(9), ["c5", "b4", "a3", "c2", "b1", "a0"])

    def test_one_type(self) -> None:
        self.assertEqual(self.ids(9, "b"), ["b4", "b1"])

    def test_several_types_are_merged_by_priority(self) -> None:
        self.assertEqual(self.ids(3, "a", "c"), ["c5", "a3", "c2"])

    def test_an_unknown_type_gets_nothing(self) -> None:
        self.assertEqual(self.ids(9, "x", "y"), [])

    def test_more_types_than_lanes(self) -> None:
        self.assertEqual(self.ids(9, "a", *map(str, range(100))), ["a3", "a0"])

    def test_no_type_at_all_gets_nothing(self) -> None:
        self.assertEqual(self.world.claim(9, types=frozenset()), [])

    def test_any_and_typed_claims_mixed(self) -> None:
        """What one kind of claim took is no leftover for the other."""
        self.assertEqual(self.ids(1, "c"), ["c5"])
        self.assertEqual(self.ids(1), ["b4"])
        self.assertEqual(self.ids(1, "a", "b"), ["a3"])
        self.assertEqual(self.ids(2), ["c2", "b1"])
        self.assertEqual(self.ids(1, "b"), [])
        self.assertEqual(self.ids(5), ["a0"])
        self.assertEqual(self.ids(5), [])


class QueueOrderTests(CoreTestCase):
    def test_queues_in_order_of_preference(self) -> None:
        """Preference comes before priority: a claim names the queue it wants first."""
        self.world.submit("a", queue="one", priority=0)
        self.world.submit("b", queue="two", priority=255)
        self.assertEqual([d.id for d in self.world.claim(2, "one", "two")], ["a", "b"])

    def test_an_unknown_queue_is_empty(self) -> None:
        self.world.submit("a", queue="one")
        self.assertEqual([d.id for d in self.world.claim(2, "none", "one")], ["a"])
        self.assertNotIn("none", self.world.ledger.queues)


class TombstoneTests(SynchronousTestCase):
    def test_taking_out_of_the_middle_leaves_the_order(self) -> None:
        shelf = Shelf()
        tasks = [shelf.push(priority=p % 7) for p in range(500)]
        gone = set(Random(1).sample(range(500), 400))
        for index in gone:
            shelf.end(tasks[index])
        kept = sorted((t.key, t.id) for i, t in enumerate(tasks) if i not in gone)
        self.assertEqual(shelf.take(limit=500), [task_id for _, task_id in kept])

    def test_leftovers_never_outnumber_tasks_for_long(self) -> None:
        shelf = Shelf()
        first = shelf.push()
        tasks = [shelf.push() for _ in range(10_000)]
        for task in tasks[:-1]:
            shelf.end(task)
        lane = first.lane
        self.assertEqual(list(lane), [first, tasks[-1]])
        self.assertLess(sum(map(len, lane.lines.values())), 100)

    def test_what_came_back_leaves_little_behind_either(self) -> None:
        shelf = Shelf()
        tasks = [shelf.push() for _ in range(10_001)]
        taken = tasks[0].lane.take(10_000)
        for task in taken:
            task.lane.push(task)
        for task in taken[1:]:
            shelf.end(task)
        lane = tasks[0].lane
        self.assertEqual(list(lane), [tasks[-1], tasks[0]])
        self.assertLess(len(lane._keys), 100)
        self.assertEqual(shelf.take(limit=9), [tasks[0].id, tasks[-1].id])

    def test_nothing_holds_on_to_what_was_taken(self) -> None:
        shelf = Shelf()
        for _ in range(10_000):
            shelf.push()
        lane = shelf.queue.lane("job")
        while lane.size:
            lane.take(7)
            held = [task for line in lane.lines.values() for task in line if task is not None]
            self.assertEqual(len(held), lane.size)
        self.assertEqual((lane.lines, lane.head), ({}, None))

    def test_cancel_does_not_rebuild_the_queue(self) -> None:
        """
        Cancelling all of a lane costs it a few sweeps, each half as large as the
        one before: not one for each cancelled task.
        """
        shelf = Shelf()
        tasks = [shelf.push() for _ in range(10_000)]
        lane = tasks[0].lane
        sweeps: list[int] = []
        sweep = Lane._sweep

        def counted(lane: Lane) -> None:
            sweeps.append(sum(map(len, lane.lines.values())))
            sweep(lane)

        self.patch(Lane, "_sweep", counted)
        Random(2).shuffle(tasks)
        for task in tasks:
            shelf.end(task)
        self.assertGreater(len(sweeps), 3)
        self.assertLess(len(sweeps), 20, sweeps)
        self.assertLess(sum(sweeps), 20_000)
        self.assertEqual((lane.size, lane.lines, lane.leftovers), (0, {}, 0))

    def test_discarding_twice_is_harmless(self) -> None:
        shelf = Shelf()
        first, second = shelf.push(), shelf.push()
        shelf.end(first)
        shelf.end(first)
        self.assertEqual(shelf.take(limit=5), [second.id])
        shelf.end(second)
        self.assertEqual(shelf.queue.busy, {})

    def test_the_heads_of_lanes_are_compacted(self) -> None:
        """Typed claims move heads without taking them off the common heap."""
        shelf = Shelf()
        for _ in range(5000):
            shelf.push("a")
            shelf.push("b")
            shelf.take("a")
            shelf.take("b")
        shelf.push("a")
        self.assertLess(len(shelf.queue._heads), 200)


class ManyLanesTests(SynchronousTestCase):
    def test_ten_thousand_lanes_keep_the_order(self) -> None:
        shelf = Shelf()
        random = Random(3)
        priorities = [random.randrange(256) for _ in range(10_000)]
        tasks = [shelf.push(f"type-{i}", p) for i, p in enumerate(priorities)]
        expected = [task.id for task in sorted(tasks, key=lambda task: task.key)]
        self.assertEqual(shelf.take(limit=6000), expected[:6000])
        self.assertEqual(len(shelf.queue.busy), 4000)
        self.assertEqual(shelf.take(limit=6000), expected[6000:])
        self.assertEqual(shelf.queue.busy, {})


PRIORITIES = st.integers(0, 3)
TYPES = st.sampled_from("abc")
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), TYPES, PRIORITIES),
        st.tuples(st.just("take"), st.sets(TYPES), st.integers(1, 4)),
        st.tuples(st.just("come back"), st.integers(0, 100), st.just(0)),
        st.tuples(st.just("discard"), st.integers(0, 100), st.just(0)),
    ),
    max_size=60,
)


class ModelTests(SynchronousTestCase):
    @settings(derandomize=True, deadline=None, max_examples=300)
    @given(STEPS)
    def test_like_a_sorted_list(self, steps: list[tuple[str, object, object]]) -> None:
        """Whatever is pushed, taken and discarded: the queue does what a sorted list does."""
        shelf = Shelf()
        model: list[Task] = []
        away: list[Task] = []
        for name, first, second in steps:
            if name == "push":
                model.append(shelf.push(str(first), int(str(second))))
                model.sort(key=lambda task: task.key)
            elif name == "take":
                types = set(first) if isinstance(first, set) else set()
                wanted = [t for t in model if not types or t.type in types][: int(str(second))]
                self.assertEqual(
                    shelf.take(*types, limit=int(str(second))), [task.id for task in wanted]
                )
                model = [task for task in model if task not in wanted]
                away += wanted
            elif name == "come back":
                if away:
                    task = away.pop(int(str(first)) % len(away))
                    task.lane.push(task)
                    model = sorted([*model, task], key=lambda task: task.key)
            elif model:
                task = model.pop(int(str(first)) % len(model))
                shelf.end(task)
            self.assertEqual(set(shelf.queue.busy), {task.type for task in model})
            for lane in shelf.queue.lanes.values():
                mine = [task for task in model if task.lane is lane]
                self.assertEqual(sorted(lane, key=lambda task: task.key), mine)
                self.assertEqual((lane.size, lane.head), (len(mine), mine[0].key if mine else None))


class MemoryTests(CoreTestCase):
    def test_each_priority_takes_some(self) -> None:
        """Whoever gives every task its own gets no more memory for it."""
        before = self.world.ledger.memory_bytes
        for number in range(20):
            self.world.submit(str(number), priority=-number // 2)
        task = TASK_BYTES + PAYLOAD_BYTES
        self.assertEqual(self.world.ledger.memory_bytes - before, 20 * task + 11 * LINE_BYTES)
        for number in range(20):
            self.world.cancel(str(number))
        self.assertEqual(self.world.ledger.memory_bytes, before)
