"""
How many workers there should be.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.intake import Submission
from taskqueue.core.task import State
from taskqueue.core.workers import Registration
from taskqueue.web.scaling import Wanted, desired_workers
from tests.web.visitor import Place


class ScalingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.place = Place().started()

    def ask(self, query: str = "") -> dict:
        answer = self.place.get(f"/scaling{query}")
        self.assertEqual(answer.status, 200, answer.body)
        return answer.json

    def register(self, name: str, capacity: int = 4, **more) -> None:
        self.place.service.register(Registration(name, 1, capacity=capacity, **more), link=object())

    def submit(self, count: int, kind: str = "job", **more) -> None:
        self.place.submit(*[Submission(kind, **more) for _ in range(count)])

    def test_nothing_to_do(self) -> None:
        self.assertEqual(
            self.ask(),
            {
                "backlog": 0,
                "in_progress": 0,
                "oldest_ready_s": 0.0,
                "mean_processing_s": None,
                "workers": 0,
                "capacity": 0,
                "desired_workers": 0,
            },
        )

    def test_what_counts(self) -> None:
        self.submit(10)
        self.submit(3, run_at=9e9)
        self.submit(2, "mail")
        self.submit(5, queue="other")
        self.place.claim("default", 4, types=["job"])
        self.place.clock.advance(7)
        found = self.ask("?queue=default&type=job")
        self.assertEqual((found["backlog"], found["in_progress"]), (6, 4))
        self.assertEqual(found["oldest_ready_s"], 7)
        self.assertEqual(found["desired_workers"], 10)
        self.assertEqual(self.ask("?queue=default")["backlog"], 8)
        self.assertEqual(self.ask("?queue=default&queue=other")["backlog"], 13)
        self.assertEqual(self.ask("?type=mail")["backlog"], 2)
        self.assertEqual(self.ask("?queue=unknown")["backlog"], 0)

    def test_paused_queues_want_nobody(self) -> None:
        self.submit(10)
        self.place.claim()
        self.place.service.pause("default")
        self.place.clock.advance(7)
        found = self.ask()
        self.assertEqual((found["backlog"], found["in_progress"]), (0, 1))
        self.assertEqual((found["oldest_ready_s"], found["desired_workers"]), (0, 1))

    def test_workers(self) -> None:
        self.register("a", 4)
        self.register("b", 8, types=frozenset({"mail"}))
        self.register("c", 1, queues=("other",))
        self.register("away")
        self.register("quiet")
        workers = self.place.ledger.workers
        self.place.service.holder_gone(workers.get("away"))
        workers.get("quiet").order = "quiet"
        self.submit(12)
        found = self.ask("?queue=default")
        self.assertEqual((found["workers"], found["capacity"]), (2, 12))
        self.assertEqual(found["desired_workers"], 2)
        found = self.ask("?queue=default&type=job")
        self.assertEqual((found["workers"], found["capacity"]), (1, 4))
        self.assertEqual(found["desired_workers"], 3)
        self.assertEqual(self.ask("?queue=default&tasks_per_worker=5")["desired_workers"], 3)

    def test_bounds(self) -> None:
        self.assertEqual(self.ask("?min=2")["desired_workers"], 2)
        self.submit(10)
        self.assertEqual(self.ask("?max=4")["desired_workers"], 4)
        self.assertEqual(self.ask("?min=7&max=7")["desired_workers"], 7)

    def test_time_to_work_it_off(self) -> None:
        self.submit(12)
        self.assertEqual(self.ask("?within_s=60")["desired_workers"], 12)  # nobody knows yet
        for delivery in self.place.claim("default", 2):
            self.place.clock.advance(6)
            self.place.report(delivery, State.COMPLETED)
        found = self.ask("?within_s=30")
        self.assertEqual(found["mean_processing_s"], 9)
        self.assertEqual(found["desired_workers"], 3)  # 10 tasks of 9 s in 30 s
        self.assertEqual(self.ask("?within_s=100000")["desired_workers"], 1)
        self.assertEqual(self.ask("?within_s=1")["desired_workers"], 10)

    def test_queries_that_make_no_sense(self) -> None:
        for query, words in (
            ("?queues=a", "'queues' is no parameter; there are queue, type,"),
            ("?min=x", "min is 'x', which is no number from 0 to"),
            ("?min=-1", "min is '-1'"),
            ("?max=nan", "max is 'nan'"),
            ("?tasks_per_worker=0", "tasks_per_worker is '0'"),
            ("?within_s=", "within_s is ''"),
            ("?min=3&max=2", "min is larger than max"),
            ("?%ff=1", "is no parameter"),
        ):
            answer = self.place.get(f"/scaling{query}")
            self.assertEqual((answer.status, answer.json["code"]), (400, "BAD_REQUEST"), query)
            self.assertIn(words, answer.json["message"])

    def test_desired_workers(self) -> None:
        for backlog, running, mean_s, per_worker, wanted, expected in (
            (0, 0, 1.0, 1.0, Wanted(within_s=1.0), 0),
            (1, 0, None, 1.0, Wanted(), 1),
            (9, 1, None, 4.0, Wanted(), 3),
            (0, 5, None, 4.0, Wanted(), 2),
            (100, 0, 0.1, 4.0, Wanted(within_s=1.0), 3),
            (10, 0, None, 0.5, Wanted(), 20),
        ):
            found = desired_workers(backlog, running, mean_s, per_worker, wanted)
            self.assertEqual(found, expected)
