"""
Tasks whose ids carry their places in line.
"""

from __future__ import annotations

from taskqueue.core.intake import Accepted, Submission
from taskqueue.core.submission import check_options
from taskqueue.core.task import State, TaskOptions
from taskqueue.errors import BadRequest, DependencyCycle, UnknownDependency
from taskqueue.ids import NUMBERED, numbered_id
from tests.core.world import CoreTestCase


class NumberedTests(CoreTestCase):
    def numbers(self, *items: Submission) -> list[str]:
        answers = self.world.try_submit(*items)
        self.assertTrue(all(isinstance(answer, Accepted) for answer in answers), answers)
        return [answer.id for answer in answers if isinstance(answer, Accepted)]

    def test_first_is_1_and_each_is_the_place_in_line(self) -> None:
        """One by one, in a batch that is done in one go, and beside others."""
        one = Submission("job", id=NUMBERED)
        self.assertEqual(self.numbers(one), [numbered_id(1)])
        self.assertEqual(self.numbers(one, one, one), [numbered_id(n) for n in (2, 3, 4)])
        self.assertEqual(
            self.numbers(one._replace(id="own"), one, one._replace(id=None), one),
            ["own", numbered_id(6), "made-1", numbered_id(8)],
        )
        self.assertEqual(self.numbers(one._replace(run_at=self.world.wall + 5)), [numbered_id(9)])
        for task in self.world.ledger.tasks.values():
            if task.id not in ("own", "made-1"):
                self.assertEqual(task.id, numbered_id(task.seq))

    def test_nothing_is_looked_up_for_one(self) -> None:
        unknown = self.world.broker.intake.unknown_ids
        self.assertFalse(self.world.ledger.seen.complete)
        self.assertEqual(unknown([Submission("job", id=NUMBERED)]), [])
        self.assertEqual(unknown([Submission("job", id="own")]), ["own"])

    def test_with_dependencies_and_keys(self) -> None:
        first = Submission("job", id="first")
        second = Submission("job", id=NUMBERED, depends_on=("first",), unique="k")
        self.assertEqual(self.numbers(second, first), [numbered_id(2), "first"])
        self.assertEqual(self.world.state(numbered_id(2)), State.BLOCKED)
        self.assertEqual(
            self.world.try_submit(Submission("job", id=NUMBERED, unique="k")),
            [Accepted(numbered_id(2), State.BLOCKED, True)],
        )

    def test_the_mark_is_no_id_to_depend_on(self) -> None:
        item = Submission("job", id=NUMBERED, depends_on=(NUMBERED,))
        [one, two] = self.world.try_submit(item, item)
        self.assertNotIsInstance(one, DependencyCycle)
        self.assertIsInstance(one, UnknownDependency)
        self.assertIsInstance(two, UnknownDependency)

    def test_nobody_else_gives_such_ids(self) -> None:
        """They would stand in the way of tasks to come; who has one may submit it again."""
        self.assertEqual(self.numbers(Submission("job", id=NUMBERED)), [numbered_id(1)])
        for count in (1, 3):
            items = [Submission("job", id=numbered_id(n)) for n in range(2, 2 + count)]
            answers = self.world.try_submit(*items, Submission("job", id="own"))
            self.assertTrue(all(isinstance(a, BadRequest) for a in answers[:-1]), answers)
            self.assertRegex(str(answers[0]), "id is ffffffff-.*02, of the kind .* choose another")
        self.assertEqual(
            self.world.try_submit(Submission("job", id=numbered_id(1))),
            [Accepted(numbered_id(1), State.PENDING, True)],
        )
        self.assertEqual(self.numbers(Submission("job", id=NUMBERED)), [numbered_id(3)])

    def test_leases_of_any_length_where_a_door_says_so(self) -> None:
        options = TaskOptions(lease_s=float(2**32 - 1))
        item = Submission("job", id=NUMBERED, options=options)
        for items in ([item], [item, item._replace(unique="k")]):
            answers = self.world.try_submit(*items)
            self.assertIsInstance(answers[0], BadRequest)
            submit = self.world.broker.intake.submit
            answers = submit(items, self.world.now, {}, any_lease=True)
            self.assertIsInstance(answers[0], Accepted)
        delivery = self.world.take()
        self.assertEqual(delivery.lease_s, 2.0**32 - 1)
        extend = self.world.broker.desk.extend
        self.assertEqual(
            extend(delivery.id, delivery.lease, None, self.world.now), delivery.lease_s
        )
        with self.assertRaises(BadRequest):
            extend(delivery.id, delivery.lease, delivery.lease_s, self.world.now)
        with self.assertRaises(BadRequest):
            check_options(options, self.world.ledger.policy)
