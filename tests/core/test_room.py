"""
Queues and types that are made by being named: how many.
"""

from __future__ import annotations

from taskqueue.core import upkeep as upkeep_module
from taskqueue.core.intake import Accepted, Submission
from taskqueue.core.policy import Policy, QueuePolicy
from taskqueue.core.task import State
from taskqueue.errors import QueueFull, TaskQueueError
from tests.core.world import CoreTestCase, World

POLICY = Policy(max_queues=3, max_types=4, queues={"own": QueuePolicy()})


class RoomTests(CoreTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.world = World(POLICY)

    def assertRefused(self, setting: str, task_type: str, queue: str) -> TaskQueueError:
        error = self.assertRaises(QueueFull, self.world.submit, None, task_type, queue=queue)
        self.assertIn(setting, error.message)
        self.assertEqual(error.fields["queue"], queue)
        return error

    def test_queues(self) -> None:
        for queue in ("a", "b"):
            self.world.submit(queue=queue)
        self.assertRefused("limits.max_queues", "job", "c")
        self.assertNotIn("c", self.world.ledger.queues)
        for queue in ("own", "a"):
            self.world.submit(queue=queue)

    def test_queues_of_operators(self) -> None:
        """Whoever pauses or bounds a queue makes it as well."""
        control, now = self.world.broker.control, self.world.now
        control.pause("a", now)
        control.bound("b", 5)
        self.assertRaises(QueueFull, control.pause, "c", now)
        self.assertRaises(QueueFull, control.bound, "c", 5)
        control.pause("own", now)

    def test_types(self) -> None:
        """Each counts once in each queue, however often it is refused."""
        for number in range(4):
            self.world.submit(None, f"t{number // 2}", queue="ab"[number % 2])
        for _ in range(3):
            self.assertRefused("limits.max_types", "t2", "a")
        self.world.submit(None, "t1", queue="a")

    def test_items_by_themselves(self) -> None:
        """In a batch, those are refused that name too much."""
        items = [Submission(f"t{number}") for number in (0, 1, 2, 3, 4, 0)]
        answers = self.world.try_submit(*items)
        accepted = [isinstance(answer, Accepted) for answer in answers]
        self.assertEqual(accepted, [True, True, True, True, False, True])
        (refused,) = self.world.try_submit(Submission("t5"))
        self.assertIsInstance(refused, QueueFull)

    def test_refused_for_another_reason(self) -> None:
        """What was not made takes no room."""
        world = self.world = World(Policy(max_types=2, depth_threshold=1))
        world.submit("one", "t0")
        for number in range(5):
            self.assertRaises(QueueFull, world.submit, None, f"t{number}")
        world.cancel("one")
        world.submit(None, "t1")

    def test_room_again(self) -> None:
        """Names without tasks are given up, however few there are, where there may be no more."""
        self.assertGreater(upkeep_module.MANY_LANES, 4)
        for number in range(4):
            self.world.submit(f"id{number}", f"t{number}")
        self.assertRefused("limits.max_types", "t9", "default")
        self.world.cancel("id3")
        self.world.task("id3").lane.counts[State.CANCELLED] = 0  # it is kept no more
        self.world.broker.upkeep.retire_lanes()
        self.world.submit(None, "t9")

    def test_more_while_it_runs(self) -> None:
        for queue in ("a", "b"):
            self.world.submit(queue=queue)
        self.world.broker.adopt(Policy(max_queues=4, max_types=3, queues=POLICY.queues))
        self.world.submit(queue="c")
        self.assertRefused("limits.max_types", "more", "c")
