"""
Moments that will come.
"""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.lanes import Queue
from taskqueue.core.policy import QueuePolicy
from taskqueue.core.schedule import Schedule
from taskqueue.core.task import State, Task
from taskqueue.core.upkeep import SLICE
from tests.core.world import WALL, CoreTestCase

LANE = Queue("q", QueuePolicy()).lane("job")


def made(seq: int) -> Task:
    return Task(str(seq), seq, LANE, 0, b"", 0.0)


class ScheduleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.schedule = Schedule()
        self.tasks = [made(seq) for seq in range(5)]

    def seqs(self, wall: float, limit: int = 100) -> list[int]:
        return [task.seq for task in self.schedule.due(wall, limit)]

    def test_earliest_first_and_bounded(self) -> None:
        for task, at in zip(self.tasks, (5.0, 3.0, 4.0, 1.0, 2.0), strict=True):
            self.schedule.add(task, at)
        self.assertEqual(self.schedule.next_at(), 1.0)
        self.assertEqual(self.seqs(4.0, 2), [3, 4])
        self.assertEqual(self.seqs(4.0), [1, 2])
        self.assertEqual(self.seqs(4.0), [])
        self.assertEqual((self.schedule.next_at(), len(self.schedule)), (5.0, 1))

    def soonest(self, limit: int = 100, queue: str = "q") -> list[int]:
        return [task.seq for task in self.schedule.soonest(queue, limit)]

    def test_the_soonest_of_a_queue(self) -> None:
        """They stay where they are, and what changes afterwards is seen."""
        other = Task("x", 9, Queue("other", QueuePolicy()).lane("job"), 0, b"", 0.0)
        self.schedule.add(other, 0.5)
        self.assertEqual(self.soonest(), [])
        for task, at in zip(self.tasks, (5.0, 3.0, 4.0, 1.0, 3.0), strict=True):
            self.schedule.add(task, at)
        self.assertEqual([self.soonest(2), self.soonest()], [[3, 1], [3, 1, 4, 2, 0]])
        self.schedule.add(self.tasks[3], 9.0)
        self.schedule.add(self.tasks[3], 1.0)
        self.schedule.discard(self.tasks[1])
        self.assertEqual([self.soonest(1), self.soonest(3)], [[3], [3, 4, 2]])
        self.assertEqual(self.seqs(3.0), [9, 3, 4])
        self.assertEqual([self.soonest(), self.soonest(queue="other")], [[2, 0], []])

    def test_what_is_kept_for_a_queue_does_not_pile_up(self) -> None:
        self.schedule.add(self.tasks[0], 1.0)
        self.assertEqual(self.soonest(), [0])
        for number in range(1000):
            self.schedule.add(self.tasks[0], float(number))
            heaps = self.schedule._of_queues.values()
            self.assertLess(sum(len(heap) for heap in heaps), 100)
        self.assertEqual(self.soonest(), [0])

    def test_of_two_arrangements_the_later_counts(self) -> None:
        task = self.tasks[0]
        self.schedule.add(task, 1.0)
        self.schedule.add(task, 9.0)
        self.assertEqual(self.seqs(8.0), [])
        self.assertEqual(self.seqs(9.0), [0])

    def test_the_same_moment_twice_is_one(self) -> None:
        self.schedule.add(self.tasks[0], 1.0)
        self.schedule.add(self.tasks[0], 1.0)
        self.assertEqual(self.seqs(2.0), [0])
        self.assertIsNone(self.schedule.next_at())

    def test_discarding_what_does_not_stand_here(self) -> None:
        self.schedule.discard(self.tasks[0])
        self.schedule.add(self.tasks[0], 1.0)
        self.schedule.discard(self.tasks[0])
        self.schedule.discard(self.tasks[0])
        self.assertEqual((self.seqs(2.0), len(self.schedule)), ([], 0))

    def test_leftovers_do_not_pile_up(self) -> None:
        for moment in range(10_000):
            self.schedule.add(self.tasks[moment % 5], float(moment))
        self.assertLess(len(self.schedule._heap), 100)
        self.assertEqual(self.seqs(10_000.0), [0, 1, 2, 3, 4])

    @settings(derandomize=True, deadline=None)
    @given(st.lists(st.tuples(st.integers(0, 4), st.none() | st.integers(0, 9)), max_size=200))
    def test_like_a_dictionary(self, steps: list[tuple[int, int | None]]) -> None:
        schedule, model = Schedule(), {}
        for seq, at in steps:
            if at is None:
                schedule.discard(self.tasks[seq])
                model.pop(seq, None)
            else:
                schedule.add(self.tasks[seq], float(at))
                model[seq] = float(at)
            self.assertEqual(schedule.next_at(), min(model.values(), default=None))
        due = [task.seq for task in schedule.due(5.0, 100)]
        self.assertEqual(
            due, sorted((s for s in model if model[s] <= 5), key=lambda s: (model[s], s))
        )


class DueTests(CoreTestCase):
    def test_a_task_that_is_not_due_does_not_keep_a_claim_busy(self) -> None:
        """It is in no lane: a claim does not look at it, let alone spin on it."""
        self.world.submit("later", run_at=WALL + 60)
        self.world.submit("retried")
        self.world.fail(self.world.take())
        taken: list[int] = []
        queue = self.world.ledger.queues["default"]
        take = Queue.take

        def counted(*args: object) -> list[Task]:
            taken.append(1)
            return take(*args)  # type: ignore[arg-type]

        self.patch(Queue, "take", counted)
        self.assertEqual(self.world.claim(10), [])
        self.assertEqual((taken, queue.busy), ([], {}))
        waiting = self.world.wait()
        self.assertEqual(self.world.serve(), [])
        self.world.tick(5)
        self.assertEqual(self.world.serve(), [(waiting, ["retried"])])

    def test_due_tasks_stand_in_line_by_priority(self) -> None:
        self.world.submit("low", run_at=WALL + 1, priority=1)
        self.world.submit("high", run_at=WALL + 2, priority=2)
        self.world.tick(2)
        self.assertEqual([d.id for d in self.world.claim(2)], ["high", "low"])

    def test_a_backlog_is_worked_off_in_slices(self) -> None:
        for _ in range(SLICE + 1):
            self.world.submit(run_at=WALL + 1)
        self.world.pass_time(1)
        upkeep = self.world.broker.upkeep
        self.assertTrue(upkeep.release_due(self.world.now))
        self.assertFalse(upkeep.release_due(self.world.now))
        lane = self.world.ledger.queues["default"].lanes["job"]
        self.assertEqual(lane.counts[State.PENDING], SLICE + 1)

    def test_a_clock_set_back_only_delays(self) -> None:
        self.world.submit("t", run_at=WALL + 10)
        self.world.wall -= 3600
        self.world.tick()
        self.assertIs(self.world.state("t"), State.SCHEDULED)
        self.world.wall += 3610
        self.world.tick()
        self.assertIs(self.world.state("t"), State.PENDING)
