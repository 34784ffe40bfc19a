"""
What people and monitoring see, and what it costs.
"""

from __future__ import annotations

from collections.abc import Iterator

from taskqueue.core.changes import empty_batch
from taskqueue.core.counters import BUCKETS_S, Counters, Histogram
from taskqueue.core.intake import Submission
from taskqueue.core.overview import (
    describe_queue,
    oldest_ready_s,
    total_states,
    unserved,
)
from taskqueue.core.policy import Policy
from taskqueue.core.task import State, Task
from taskqueue.errors import UnknownTask
from tests.core.world import WALL, CoreTestCase, total_counters


class Watched(dict[str, Task]):
    """A dictionary that counts how often somebody walks through it."""

    walks = 0

    def __iter__(self) -> Iterator[str]:
        self.walks += 1
        return super().__iter__()

    def keys(self):  # type: ignore[no-untyped-def]
        self.walks += 1
        return super().keys()

    def values(self):  # type: ignore[no-untyped-def]
        self.walks += 1
        return super().values()

    def items(self):  # type: ignore[no-untyped-def]
        self.walks += 1
        return super().items()


class NoScanTests(CoreTestCase):
    def test_nothing_that_is_asked_often_walks_through_all_tasks(self) -> None:
        """
        A status or statistics request, about a known or an unknown task, a
        claim, a result, a heartbeat: none of them looks at every task.
        """
        tasks = self.world.ledger.tasks = Watched(self.world.ledger.tasks)
        for _ in range(10):
            self.world.submit()
        worker = self.world.register()
        self.world.complete(self.world.take(worker))
        self.world.fail(self.world.take(worker))
        self.world.submit(run_at=WALL + 9)
        intake, ledger = self.world.broker.intake, self.world.ledger
        self.assertIsNone(ledger.find("nobody"))
        self.assertRaises(UnknownTask, self.world.cancel, "nobody")
        self.assertEqual(intake.unknown_ids([Submission("job", id="x")]), ["x"])
        self.world.try_submit(Submission("job", depends_on=("nobody",)))
        describe_queue(ledger.queues["default"], self.world.now)
        total_states(ledger)
        total_counters(ledger)
        unserved(ledger)
        self.world.beat()
        self.world.wait()
        self.world.serve()
        self.world.tick(40)
        self.world.drain()
        self.assertEqual(tasks.walks, 0)
        list(tasks.values())
        self.assertEqual(tasks.walks, 1)


class OverviewTests(CoreTestCase):
    policy = Policy(depth_threshold=50)

    def test_a_queue(self) -> None:
        self.world.submit("a", priority=255)
        self.world.submit("b", priority=50)
        self.world.submit("c", "other", run_at=WALL + 60)
        self.world.submit("d")
        self.world.complete(self.world.take())
        self.world.broker.control.bound("default", 9)
        self.world.pass_time(4)
        described = describe_queue(self.world.ledger.queues["default"], self.world.now)
        states = described.pop("states")
        totals = described.pop("totals")
        self.assertEqual(
            described,
            {
                "name": "default",
                "paused": False,
                "resume_at": None,
                "max_depth": 9,
                "depth": 3,
                "tiers": {"low": 1, "normal": 2, "high": 0},
                "oldest_ready_s": 4.0,
            },
        )
        self.assertEqual(
            {word: count for word, count in states.items() if count},
            {"pending": 2, "scheduled": 1, "completed": 1},
        )
        self.assertEqual((totals["submitted"], totals["completed"]), (4, 1))
        self.assertEqual(total_states(self.world.ledger), states)
        self.assertEqual(self.world.ledger.queues["default"].count(State.PENDING), 2)

    def test_the_oldest_counts_from_when_it_was_ready(self) -> None:
        queue = self.world.ledger.queue("default")
        self.assertEqual(oldest_ready_s(queue, self.world.now), 0.0)
        self.world.submit("later", run_at=WALL + 100)
        self.world.tick(100)
        self.world.submit("young", "other")
        self.world.tick(3)
        self.assertEqual(oldest_ready_s(queue, self.world.now), 3.0)

    def test_a_clock_set_back_makes_nothing_negative(self) -> None:
        self.world.submit()
        self.world.wall -= 100
        queue = self.world.ledger.queues["default"]
        self.assertEqual(oldest_ready_s(queue, self.world.now), 0.0)
        self.world.take()
        self.assertEqual(self.world.task("made-1").lane.counters.wait.counts[0], 1)


class UnservedTests(CoreTestCase):
    """Tasks of a type that nobody advertises wait, and are visible."""

    def setUp(self) -> None:
        super().setUp()
        self.world.submit(task_type="a")
        self.world.submit(task_type="a")
        self.world.submit(task_type="b", queue="other")

    def test_nobody(self) -> None:
        self.assertEqual(unserved(self.world.ledger), [("default", "a", 2), ("other", "b", 1)])

    def test_a_worker_that_advertises_it(self) -> None:
        self.world.register("v", types=frozenset("x"))
        self.world.register("w", types=frozenset("a"))
        self.assertEqual(unserved(self.world.ledger), [("other", "b", 1)])

    def test_a_worker_for_any_type(self) -> None:
        self.world.register("v", queues=("other",))
        self.world.register("w", types=frozenset("x"), queues=("other", "default"))
        self.assertEqual(unserved(self.world.ledger), [("default", "a", 2)])

    def test_a_claim_that_waits(self) -> None:
        self.world.wait("other", types=frozenset("b"))
        self.assertEqual(unserved(self.world.ledger), [("default", "a", 2)])

    def test_only_ready_tasks(self) -> None:
        self.world.claim(9, "default", "other")
        self.assertEqual(unserved(self.world.ledger), [])


class CounterTests(CoreTestCase):
    def test_histograms(self) -> None:
        histogram, other = Histogram(), Histogram()
        for seconds in (-1.0, 0.0, 0.001, 0.0011, 3600.0, 1e9):
            histogram.observe(seconds)
        self.assertEqual(histogram.counts[:2], [3, 1])
        self.assertEqual(histogram.counts[-2:], [1, 1])
        self.assertEqual(len(histogram.counts), len(BUCKETS_S) + 1)
        other.observe(0.5)
        other.add(histogram)
        self.assertEqual(sum(other.counts), 7)

    def test_counters_add_up(self) -> None:
        total, one = Counters(), Counters()
        one.claimed = 3
        one.wait.observe(1.0)
        total.add(one)
        total.add(one)
        self.assertEqual((total.claimed, sum(total.wait.counts)), (6, 2))
        self.assertEqual(total.as_dict()["claimed"], 6)

    def test_all_of_a_broker_are_what_each_is_one_by_one(self) -> None:
        """Of lanes that were given up too, and of queues without any task."""
        for task, task_type in (("a", "x"), ("b", "y"), ("c", "z")):
            self.world.submit(task, task_type)
        self.world.submit("d", "y", queue="other")
        self.world.complete(self.world.take())
        self.world.fail(self.world.take())
        ledger = self.world.ledger
        for retired in (ledger.retired, ledger.queue("empty").retired):
            retired.claimed += 1
            retired.wait.observe(7.0)
            retired.processing.observe(9.0)
        total, one_by_one = total_counters(ledger), Counters()
        one_by_one.add(ledger.retired)
        for queue in ledger.queues.values():
            for counters in (queue.retired, *(lane.counters for lane in queue.lanes.values())):
                one_by_one.add(counters)
        self.assertEqual(total.as_dict(), one_by_one.as_dict())
        for found, wanted in (
            (total.wait, one_by_one.wait),
            (total.processing, one_by_one.processing),
        ):
            self.assertEqual((found.counts, found.total), (wanted.counts, wanted.total))
        self.assertEqual(sum(total.processing.counts), 4)


class ChangesTests(CoreTestCase):
    def test_a_task_that_changed_often_is_written_once(self) -> None:
        self.world.submit("t")
        self.world.fail(self.world.take())
        batch, _ = self.world.drain()
        self.assertEqual([(row.id, row.state) for row in batch.inserts], [("t", State.FAILED)])
        self.world.tick(5)
        self.world.complete(self.world.take(), b"r")
        batch, ended = self.world.drain()
        self.assertEqual([(u.state, u.result) for u in batch.updates], [(State.COMPLETED, b"r")])
        self.assertEqual([task.id for task in ended], ["t"])

    def test_nothing_changed(self) -> None:
        batch, ended = self.world.drain()
        self.assertFalse(batch)
        self.assertEqual((batch.facts, ended), (0, []))
        self.assertFalse(empty_batch())
        self.assertFalse(self.world.ledger.changes)

    def test_each_kind_of_change_counts(self) -> None:
        changes = self.world.ledger.changes
        self.world.submit("t")
        self.world.cancel("t")
        self.world.broker.control.delete(self.world.row("t"))
        self.world.broker.control.pause("q", self.world.now)
        changes.reserve_tokens(5)
        self.assertTrue(changes)
        self.assertEqual(len(changes), 2)
        batch = self.world.drain()[0]
        self.assertEqual(batch.facts, 4)
        self.assertEqual((batch.token_ceiling, batch.next_seq), (5, 2))
