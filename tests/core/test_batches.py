"""
What is done in one go for a batch is what would be done one by one.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.audit import audit
from taskqueue.core.changes import row_of
from taskqueue.core.counters import Histogram
from taskqueue.core.delivery import Outcome
from taskqueue.core.intake import Accepted, Submission
from taskqueue.core.policy import Policy, QueuePolicy
from taskqueue.core.task import State, TaskOptions
from taskqueue.errors import BadRequest, Conflict, LeaseLost, QueueFull, TaskQueueError
from tests.core.world import WALL, CoreTestCase, World


def plain(count: int = 5, **fields: Any) -> list[Submission]:
    return [Submission("job", b"x" * n, id=f"t{n}", **fields) for n in range(count)]


def told(answers: list[Any]) -> list[Any]:
    """Answers that can be compared: errors by their words."""
    return [str(a) if isinstance(a, TaskQueueError) else a for a in answers]


class TwinTestCase(SynchronousTestCase):
    """Two worlds to which the same is done, in one go and one by one."""

    policy = Policy()

    def setUp(self) -> None:
        self.whole, self.single = World(self.policy), World(self.policy)

    def assertSame(self) -> None:
        found = []
        for world in (self.whole, self.single):
            self.assertEqual(audit(world.ledger), [])
            ledger = world.ledger
            tasks = [*ledger.tasks.values(), *ledger.ended.values()]
            counters = [
                (lane.type, lane.counts, lane.counters.as_dict())
                for queue in ledger.queues.values()
                for lane in queue.lanes.values()
            ]
            waits = [
                (histogram.counts, histogram.total)
                for queue in ledger.queues.values()
                for lane in queue.lanes.values()
                for histogram in (lane.counters.wait, lane.counters.processing)
            ]
            books = ledger.depth, ledger.held_bytes, ledger.next_seq, ledger.next_token
            rows = {task.id: row_of(task) for task in tasks}
            found.append((rows, counters, waits, books, world.drain()[0]))
        self.assertEqual(found[0], found[1])


class SubmitTests(TwinTestCase):
    def submit(self, items: list[Submission]) -> list[Any]:
        answers = told(self.whole.try_submit(*items))
        self.assertEqual(answers, told([self.single.try_submit(i)[0] for i in items]))
        self.assertSame()
        return answers

    def test_tasks_that_differ_in_little(self) -> None:
        items = plain()
        items[1] = items[1]._replace(priority=255)
        items[2] = items[2]._replace(headers='{"a":1}', priority=0)
        items[3] = items[3]._replace(priority=255)
        answers = self.submit(items)
        self.assertEqual(answers[0], Accepted("t0", State.PENDING))
        claimed = [[d.id for d in world.claim(9)] for world in (self.whole, self.single)]
        self.assertEqual(claimed, [["t1", "t3", "t0", "t4", "t2"]] * 2)
        self.assertSame()

    def test_tasks_without_an_id(self) -> None:
        answers = self.submit([item._replace(id=None) for item in plain()])
        self.assertEqual(len({answer.id for answer in answers}), 5)

    def test_batches_that_are_not_plain(self) -> None:
        for number, fields in enumerate(
            (
                {"run_at": WALL + 9},
                {"expires_at": WALL + 9},
                {"depends_on": ("t0",)},
                {"unique": "key"},
                {"type": "other"},
                {"queue": "other"},
                {"options": TaskOptions(max_retries=9)},
                {"id": "t0"},
                {"id": None},
            )
        ):
            with self.subTest(fields):
                self.setUp()
                items = plain()
                items[number % 4 + 1] = items[number % 4 + 1]._replace(**fields)
                self.submit(items)

    def test_ids_that_are_known(self) -> None:
        self.submit(plain(2))
        answers = self.submit(plain(4))
        self.assertEqual([a.existing for a in answers], [True, True, False, False])

    def test_ids_that_are_in_the_store(self) -> None:
        answers = self.whole.try_submit(*plain(2), t1=State.COMPLETED)
        self.assertEqual(answers[1], Accepted("t1", State.COMPLETED, True))

    def test_nothing(self) -> None:
        self.assertEqual(self.whole.try_submit(), [])

    def test_options_that_are_refused(self) -> None:
        answers = self.whole.try_submit(*plain(options=TaskOptions(lease_s=1e9)))
        self.assertEqual({type(answer) for answer in answers}, {BadRequest})
        self.assertEqual(self.whole.ledger.depth, 0)


class BoundsTests(TwinTestCase):
    """A batch that does not fit whole is accepted as far as it fits."""

    policy = Policy(
        queues={"small": QueuePolicy(max_depth=3)},
        depth_threshold=4,
        max_held_bytes=8,
    )

    def accepted(self, items: list[Submission]) -> int:
        answers = self.whole.try_submit(*items)
        self.assertEqual(told(answers), told([self.single.try_submit(i)[0] for i in items]))
        self.assertSame()
        refused = [answer for answer in answers if not isinstance(answer, Accepted)]
        self.assertTrue(all(isinstance(answer, QueueFull) for answer in refused))
        return len(items) - len(refused)

    def test_the_bound_of_the_queue(self) -> None:
        self.assertEqual(self.accepted(plain(queue="small")), 3)

    def test_the_bound_of_the_broker(self) -> None:
        items = [item._replace(queue=f"q{n % 2}", payload=b"") for n, item in enumerate(plain())]
        self.assertEqual(self.accepted(items), 4)

    def test_the_bound_of_bytes(self) -> None:
        items = [item._replace(payload=b"x" * 4) for item in plain()]
        self.assertEqual(self.accepted(items), 2)


class ReportTests(TwinTestCase):
    def deliver(self, *items: Submission) -> list[Outcome]:
        outcomes = []
        for world in (self.whole, self.single):
            world.try_submit(*items)
            worker = world.register()
            outcomes = [
                Outcome(d.id, d.lease, State.COMPLETED, d.id.encode())
                for d in world.claim(99, holder=worker)
            ]
            world.pass_time(3)
        return outcomes

    def report(self, outcomes: list[Outcome]) -> list[Any]:
        answers = self.whole.broker.desk.report_all(outcomes, self.whole.now)
        singly: list[Any] = []
        for outcome in outcomes:
            try:
                singly.append(self.single.broker.desk.report(outcome, self.single.now))
            except TaskQueueError as error:
                singly.append(error)
        self.assertEqual(told(answers), told(singly))
        self.assertSame()
        return answers

    def test_all_completed(self) -> None:
        answers = self.report(self.deliver(*plain()))
        self.assertEqual(answers, [State.COMPLETED] * 5)
        self.assertEqual(self.whole.task("t3").result, b"t3")
        self.assertEqual(self.whole.ledger.workers.get("w").completed, 5)

    def test_with_others_in_between(self) -> None:
        outcomes = self.deliver(*plain(7))
        outcomes[1] = outcomes[1]._replace(status=State.FAILED, error="no", result=b"")
        outcomes[2] = outcomes[2]._replace(lease=999)
        outcomes[4] = outcomes[3]
        outcomes[5] = outcomes[5]._replace(status=State.CANCELLED)
        answers = self.report(outcomes)
        self.assertEqual(
            [a if isinstance(a, State) else type(a) for a in answers],
            [
                State.COMPLETED,
                State.FAILED,
                LeaseLost,
                State.COMPLETED,
                State.COMPLETED,
                Conflict,
                State.COMPLETED,
            ],
        )

    def test_of_several_claims_and_lanes(self) -> None:
        items = [item._replace(type=f"type-{n % 2}") for n, item in enumerate(plain())]
        items += [Submission("job", id="keyed", unique="key", expires_at=WALL + 99)]
        self.report(self.deliver(*items))
        self.assertEqual(len(self.whole.ledger.keys), 0)

    def test_what_waited_for_them_begins(self) -> None:
        after = Submission("job", id="after", depends_on=("t0", "t4"))
        self.report(self.deliver(*plain(), after))
        self.assertIs(self.whole.state("after"), State.PENDING)


class HistogramTests(SynchronousTestCase):
    def test_an_amount_counted_several_times(self) -> None:
        once, often = Histogram(), Histogram()
        for amount in (0.3, 0.3, 0.3, -1.0, -1.0):
            once.observe(amount)
        often.observe(0.3, 3)
        often.observe(-1.0, 2)
        self.assertEqual(once.counts, often.counts)
        self.assertAlmostEqual(once.total, often.total)


class TakenTests(CoreTestCase):
    def test_an_expiry_on_the_way_that_lets_another_task_in(self) -> None:
        """
        What a claim took out stays out, though its end lets in a task of the
        same lane that stands before the next one that was taken.
        """
        for task_id in ("one", "two", "three"):
            self.world.submit(task_id, expires_at=WALL + 5 if task_id != "three" else None)
        self.world.submit(
            "urgent",
            depends_on=("one",),
            priority=255,
            options=TaskOptions(on_dependency_failure="run"),
        )
        self.world.pass_time(6)
        self.assertEqual([d.id for d in self.world.claim(3)], ["three", "urgent"])
