"""
Submission: what is let in, what is refused and why.
"""

from __future__ import annotations

from taskqueue.core.intake import Accepted, Submission
from taskqueue.core.policy import Policy, QueuePolicy
from taskqueue.core.task import State, TaskOptions
from taskqueue.errors import BadRequest, QueueFull, TaskQueueError
from tests.core.world import WALL, CoreTestCase


class IdempotenceTests(CoreTestCase):
    """The same id again gives the same task back, whatever has become of it."""

    policy = Policy(recent_ended=1)

    def again(self, task_id: str = "t", **stored: State) -> Accepted:
        [answer] = self.world.try_submit(
            Submission("other", b"changed", "elsewhere", id=task_id), **stored
        )
        assert isinstance(answer, Accepted), answer
        return answer

    def test_live(self) -> None:
        self.world.submit("t", payload=b"first")
        self.assertEqual(self.again(), Accepted("t", State.PENDING, True))
        self.world.take()
        self.assertEqual(self.again(), Accepted("t", State.IN_PROGRESS, True))
        self.assertEqual(self.world.task("t").payload, b"first")
        self.assertNotIn("elsewhere", self.world.ledger.queues)

    def test_ended_in_memory(self) -> None:
        self.world.submit("t")
        self.world.complete(self.world.take())
        self.assertEqual(self.again(), Accepted("t", State.COMPLETED, True))
        self.assertEqual(self.world.claim(), [])

    def test_ended_in_the_store(self) -> None:
        self.assertEqual(self.again(t=State.DEAD_LETTER), Accepted("t", State.DEAD_LETTER, True))
        self.assertEqual(self.world.ledger.tasks, {})

    def test_twice_in_one_batch(self) -> None:
        first, second = self.world.try_submit(
            Submission("job", id="t"), Submission("job", id="t", priority=255)
        )
        self.assertEqual(first, Accepted("t", State.PENDING))
        self.assertEqual(second, Accepted("t", State.PENDING, True))

    def test_what_would_be_refused_today_is_found_all_the_same(self) -> None:
        self.world.submit("t", expires_at=WALL + 5)
        self.world.pass_time(5)
        self.assertTrue(self.again().existing)
        self.world.broker.control.bound("elsewhere", 0)
        self.assertTrue(self.again().existing)

    def test_ids_to_be_looked_up(self) -> None:
        self.world.submit("live")
        intake = self.world.broker.intake
        items = [
            Submission("job", id="new", depends_on=("live", "x")),
            Submission("job", depends_on=("x", "y")),
            Submission("job", id="live"),
        ]
        self.assertEqual(intake.unknown_ids(items), ["new", "x", "y"])

    def test_an_id_is_made_where_none_is_chosen(self) -> None:
        self.assertEqual(self.world.submit(), "made-1")


class MemoryOfEndsTests(CoreTestCase):
    """Ended tasks are remembered for a while, those whose end is unstored until it is stored."""

    policy = Policy(recent_ended=2)

    def end(self, count: int) -> None:
        for number in range(count):
            self.world.cancel(self.world.submit(f"t{number}"))

    def test_an_end_that_is_not_stored_is_not_forgotten(self) -> None:
        self.end(5)
        self.world.ledger.prune_ended()
        self.assertEqual(len(self.world.ledger.ended), 5)

    def test_the_oldest_are_forgotten(self) -> None:
        self.end(5)
        self.world.ledger.forget_stored(self.world.drain()[1], prune=True)
        self.assertEqual(list(self.world.ledger.ended), ["t3", "t4"])

    def test_one_that_is_not_stored_keeps_those_behind_it(self) -> None:
        self.end(5)
        ended = self.world.drain()[1]
        self.world.ledger.forget_stored(ended[2:], prune=True)
        self.assertEqual(len(self.world.ledger.ended), 5)
        self.world.ledger.forget_stored(ended[:2], prune=True)
        self.assertEqual(len(self.world.ledger.ended), 2)

    def test_their_bytes_are_dropped(self) -> None:
        self.world.submit("t", payload=b"x" * 100)
        self.world.complete(self.world.take(), b"y" * 100)
        task = self.world.task("t")
        self.world.ledger.forget_stored(self.world.drain()[1], prune=False)
        self.assertEqual((task.payload, task.result), (None, None))

    def test_one_that_lives_again_keeps_its_bytes(self) -> None:
        """It was revived while the store was busy with its end."""
        self.world.submit("t", payload=b"x")
        self.world.fail(self.world.take(), permanent=True)
        ended = self.world.drain()[1]
        self.world.broker.control.revive(self.world.row("t", b"x"), self.world.now)
        self.world.ledger.forget_stored(ended, prune=True)
        self.assertEqual(self.world.take().payload, b"x")


class BoundTests(CoreTestCase):
    policy = Policy(
        depth_threshold=5,
        max_held_bytes=1000,
        queues={"small": QueuePolicy(max_depth=2)},
    )

    def refused(self, **fields: object) -> QueueFull:
        error = self.assertRaises(QueueFull, self.world.submit, **fields)
        self.assertIsNotNone(error.retry_after_s)
        return error  # type: ignore[no-any-return]

    def test_the_queue(self) -> None:
        for _ in range(2):
            self.world.submit(queue="small")
        error = self.refused(queue="small")
        self.assertEqual(error.fields, {"queue": "small"})
        self.assertIn("its bound is 2", str(error))
        self.world.submit(queue="other")

    def test_a_task_in_progress_makes_room(self) -> None:
        for _ in range(2):
            self.world.submit(queue="small")
        self.world.claim(1, "small")
        self.world.submit(queue="small")
        self.refused(queue="small")

    def test_what_comes_back_comes_in_over_the_bound(self) -> None:
        """A retry or a lost task was let in long ago."""
        for _ in range(2):
            self.world.submit(queue="small")
        self.world.claim(1, "small")
        self.world.submit(queue="small")
        self.world.tick(31)
        self.assertEqual(self.world.ledger.queues["small"].depth, 3)
        self.refused(queue="small")

    def test_a_bound_set_while_running(self) -> None:
        control = self.world.broker.control
        control.bound("small", 0)
        self.refused(queue="small")
        control.bound("small", 1)
        self.world.submit(queue="small")
        self.refused(queue="small")
        control.bound("small", None)
        self.world.submit(queue="small")
        self.refused(queue="small")

    def test_the_whole_broker(self) -> None:
        for number in range(5):
            self.world.submit(queue=f"q{number}")
        error = self.refused(queue="q9")
        self.assertIn("queue_depth_threshold", str(error))
        self.world.claim(1, "q3")
        self.world.submit(queue="q9")

    def test_bytes(self) -> None:
        self.world.submit("t", payload=b"x" * 600)
        self.refused(payload=b"x" * 401)
        self.world.submit(payload=b"x" * 400)
        self.refused(payload=b"x")
        self.world.submit(payload=b"")
        self.world.cancel("t")
        self.world.submit(payload=b"x" * 600)

    def test_a_task_in_progress_holds_its_bytes(self) -> None:
        self.world.submit(payload=b"x" * 1000)
        delivery = self.world.take()
        self.refused(payload=b"x")
        self.world.complete(delivery)
        self.world.submit(payload=b"x")

    def test_a_batch_is_answered_item_by_item(self) -> None:
        answers = self.world.try_submit(*[Submission("job", queue="small")] * 4)
        kinds = [isinstance(answer, TaskQueueError) for answer in answers]
        self.assertEqual(kinds, [False, False, True, True])


class CheckTests(CoreTestCase):
    BAD: tuple[tuple[str, dict[str, object]], ...] = (
        ("lease_s", {"options": TaskOptions(lease_s=0.5)}),
        ("lease_s", {"options": TaskOptions(lease_s=86_401.0)}),
        ("expires_at", {"expires_at": WALL}),
        ("expires_at", {"expires_at": WALL + 5, "run_at": WALL + 5}),
    )

    def test_what_is_wrong_is_named(self) -> None:
        for field, fields in self.BAD:
            error = self.assertRaises(BadRequest, self.world.submit, **fields)
            self.assertEqual(error.fields["field"], field)
            self.assertIn(field, str(error))
        self.assertEqual(self.world.ledger.tasks, {})

    def test_the_bounds_themselves_are_allowed(self) -> None:
        for lease_s in (1.0, 86_400.0):
            self.world.submit(options=TaskOptions(lease_s=lease_s))

    def test_a_refused_task_leaves_nothing(self) -> None:
        seq = self.world.ledger.next_seq
        self.assertRaises(BadRequest, self.world.submit, expires_at=WALL, queue="new")
        self.assertEqual(self.world.ledger.next_seq, seq)
        self.assertNotIn("new", self.world.ledger.queues)
        self.assertFalse(self.world.ledger.changes)
