"""
What people and producers do to tasks and queues from outside.
"""

from __future__ import annotations

from taskqueue.core.changes import QueueRow
from taskqueue.core.policy import Policy, QueuePolicy
from taskqueue.core.task import State, TaskOptions
from taskqueue.errors import Conflict, UnknownQueue, UnknownTask
from tests.core.world import WALL, CoreTestCase


class CancelTests(CoreTestCase):
    def test_unknown(self) -> None:
        error = self.assertRaises(UnknownTask, self.world.cancel, "nobody")
        self.assertEqual(error.fields, {"task": "nobody"})

    def test_the_plain_form_answers_a_conflict_in_progress(self) -> None:
        self.world.submit("t")
        self.world.take()
        error = self.assertRaises(Conflict, self.world.cancel, "t")
        self.assertEqual(error.fields["state"], "in_progress")
        self.assertIn("running=true", str(error))
        self.assertFalse(self.world.task("t").cancel_requested)

    def test_the_worker_is_told_once(self) -> None:
        self.world.submit("t")
        delivery = self.world.take()
        self.world.cancel("t", running=True)
        self.world.cancel("t", running=True)
        [notice] = self.world.ledger.notices
        self.assertEqual((notice.kind, notice.token), ("cancel", delivery.lease))
        events = [row.event for row in self.world.drain()[0].history]
        self.assertEqual(events, ["cancel_requested"])

    def test_nobody_yields_unasked(self) -> None:
        self.world.submit("t")
        delivery = self.world.take()
        self.assertRaises(Conflict, self.world.report, delivery, State.CANCELLED)
        self.assertIs(self.world.state("t"), State.IN_PROGRESS)
        self.world.complete(delivery)

    def test_a_task_that_is_to_be_cancelled_does_not_become_a_poison_task(self) -> None:
        self.world.submit("t", options=TaskOptions(max_lost=0))
        self.world.take()
        self.world.cancel("t", running=True)
        self.world.tick(31)
        self.assertIs(self.world.state("t"), State.CANCELLED)

    def test_in_the_middle_of_a_lane(self) -> None:
        ids = [self.world.submit() for _ in range(5)]
        self.world.cancel(ids[0])
        self.world.cancel(ids[2])
        self.assertEqual([d.id for d in self.world.claim(5)], [ids[1], ids[3], ids[4]])


class RunNowTests(CoreTestCase):
    def test_what_is_scheduled(self) -> None:
        self.world.submit("t", run_at=WALL + 100)
        self.assertIs(self.world.broker.control.run_now("t", self.world.now), State.PENDING)
        self.assertEqual(self.world.take().id, "t")
        self.world.tick(200)
        self.assertIs(self.world.state("t"), State.PENDING)  # its lease ran out: that is all

    def test_what_waits_for_its_retry_keeps_its_place(self) -> None:
        for task_id in ("a", "b"):
            self.world.submit(task_id)
        self.world.fail(self.world.take())
        self.assertIs(self.world.broker.control.run_now("a", self.world.now), State.PENDING)
        self.assertEqual([self.world.take().id for _ in range(2)], ["a", "b"])
        self.assertEqual([e.event for e in self.world.drain()[0].history], ["failed", "run_now"])

    def test_a_claim_that_waits_gets_it(self) -> None:
        self.world.submit("t", run_at=WALL + 100)
        claim = self.world.wait()
        self.world.broker.control.run_now("t", self.world.now)
        [(served, [delivery])] = self.world.broker.desk.serve(self.world.now)
        self.assertEqual((served, delivery.id), (claim, "t"))

    def test_what_is_ready_anyway(self) -> None:
        self.world.submit("t")
        self.assertIs(self.world.broker.control.run_now("t", self.world.now), State.PENDING)
        self.assertEqual(self.world.drain()[0].history, [])

    def test_nothing_else(self) -> None:
        run_now = self.world.broker.control.run_now
        self.assertRaises(UnknownTask, run_now, "t", self.world.now)
        self.world.submit("t")
        self.world.submit("after", depends_on=("t",))
        self.assertRaises(Conflict, run_now, "after", self.world.now)
        delivery = self.world.take()
        self.assertRaises(Conflict, run_now, "t", self.world.now)
        self.world.complete(delivery)
        self.assertRaises(Conflict, run_now, "t", self.world.now)


class KillTests(CoreTestCase):
    def test_whatever_waits(self) -> None:
        kill = self.world.broker.control.kill
        for task_id in ("ready", "failed", "scheduled", "blocked"):
            run_at = WALL + 100 if task_id == "scheduled" else None
            depends_on = ("scheduled",) if task_id == "blocked" else ()
            self.world.submit(task_id, task_id, run_at=run_at, depends_on=depends_on)
        [delivery] = self.world.claim(types=frozenset({"failed"}))
        self.world.fail(delivery, error="broken")
        for task_id in ("ready", "failed", "blocked", "scheduled"):
            self.assertIs(kill(task_id, self.world.now), State.DEAD_LETTER)
        self.assertEqual(self.world.ledger.depth, 0)
        self.assertEqual(self.world.task("failed").error, "broken")
        self.assertIn("somebody took it", self.world.task("ready").error or "")
        self.assertEqual(self.world.claim(10), [])

    def test_nothing_else(self) -> None:
        kill = self.world.broker.control.kill
        self.assertRaises(UnknownTask, kill, "t", self.world.now)
        self.world.submit("t")
        delivery = self.world.take()
        self.assertRaises(Conflict, kill, "t", self.world.now)
        self.world.complete(delivery)
        self.assertRaises(Conflict, kill, "t", self.world.now)


class PauseTests(CoreTestCase):
    policy = Policy(queues={"asleep": QueuePolicy(paused=True)})

    def test_a_paused_queue_gives_nothing_but_takes(self) -> None:
        self.world.submit("before")
        self.world.broker.control.pause("default", self.world.now)
        self.world.submit("after")
        self.assertEqual(self.world.claim(5), [])
        self.world.submit("elsewhere", queue="other")
        [delivery] = self.world.claim(5, "default", "other")
        self.assertEqual(delivery.id, "elsewhere")
        self.world.broker.control.resume("default")
        self.assertEqual([d.id for d in self.world.claim(5)], ["before", "after"])

    def test_a_delivery_under_way_goes_on(self) -> None:
        self.world.submit("t")
        delivery = self.world.take()
        self.world.broker.control.pause("default", self.world.now)
        self.assertIs(self.world.complete(delivery), State.COMPLETED)

    def test_for_a_time(self) -> None:
        self.world.submit("t")
        self.world.broker.control.pause("default", self.world.now, 10.0)
        self.world.tick(9.9)
        self.assertEqual(self.world.claim(), [])
        self.world.pass_time(0.1)
        self.assertEqual(self.world.broker.upkeep.resume_queues(self.world.now), ["default"])
        self.assertEqual(self.world.broker.upkeep.resume_queues(self.world.now), [])
        self.assertEqual(len(self.world.claim()), 1)

    def test_without_end_after_for_a_time(self) -> None:
        control = self.world.broker.control
        control.pause("default", self.world.now, 10.0)
        control.pause("default", self.world.now)
        self.world.tick(11)
        self.assertTrue(self.world.ledger.queues["default"].paused)

    def test_a_queue_that_starts_paused(self) -> None:
        self.world.submit("t", queue="asleep")
        self.assertEqual(self.world.claim(1, "asleep"), [])
        self.world.broker.control.resume("asleep")
        self.assertEqual(len(self.world.claim(1, "asleep")), 1)

    def test_only_known_queues_resume(self) -> None:
        error = self.assertRaises(UnknownQueue, self.world.broker.control.resume, "nowhere")
        self.assertEqual(error.fields, {"queue": "nowhere"})
        self.assertRaises(UnknownQueue, self.world.broker.control.purge, "nowhere", 1, None)

    def test_what_was_set_is_stored(self) -> None:
        control = self.world.broker.control
        control.pause("a", self.world.now, 10.0)
        control.bound("a", 7)
        control.pause("b", self.world.now)
        control.resume("b")
        self.assertEqual(
            self.world.drain()[0].queues,
            [QueueRow("a", True, WALL + 10, 7), QueueRow("b", False, None, None)],
        )


class PurgeTests(CoreTestCase):
    def purge(self, limit: int = 100) -> tuple[int, int]:
        return self.world.broker.control.purge("default", limit, self.world.now)

    def test_everything_that_waits_and_nothing_else(self) -> None:
        self.world.submit("running", priority=255)
        self.world.take()
        self.world.submit("failed", priority=255)
        self.world.fail(self.world.take())
        self.world.submit("ready")
        self.world.submit("later", run_at=WALL + 60)
        self.world.submit("blocked", depends_on=("running",))
        self.world.submit("elsewhere", queue="other")
        self.assertEqual(self.purge(), (4, 0))
        self.assertEqual(set(self.world.ledger.tasks), {"running", "elsewhere"})
        self.assertIs(self.world.state("blocked"), State.CANCELLED)

    def test_in_slices(self) -> None:
        for _ in range(5):
            self.world.submit()
            self.world.submit(run_at=WALL + 9)
        self.assertEqual(self.purge(3), (3, 7))
        self.assertEqual(self.purge(3), (3, 4))
        self.assertEqual(self.purge(3), (3, 1))
        self.assertEqual(self.purge(3), (1, 0))
        self.assertEqual(self.purge(3), (0, 0))

    def test_a_dependent_that_ended_with_its_dependency_is_not_ended_again(self) -> None:
        self.world.submit("a", run_at=WALL + 9)
        self.world.submit("b", depends_on=("a",))
        self.assertEqual(self.purge(), (1, 0))
        self.assertIs(self.world.state("b"), State.DEAD_LETTER)
        self.assertEqual([task.id for task in self.world.drain()[1]], ["a", "b"])

    def test_an_empty_queue(self) -> None:
        self.world.submit("t")
        self.world.take()
        self.assertEqual(self.purge(), (0, 0))


class ReviveTests(CoreTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.world.submit("t", payload=b"abc", expires_at=WALL + 60)
        for _ in range(4):
            self.world.fail(self.world.take(), "no luck", retry_in_s=0.0)
            self.world.tick()
        self.assertIs(self.world.state("t"), State.DEAD_LETTER)
        batch, ended = self.world.drain()
        self.world.ledger.forget_stored(ended, prune=False)
        self.row = batch.inserts[0]

    def revive(self, max_retries: int | None = None) -> State:
        return self.world.broker.control.revive(self.row, self.world.now, max_retries)

    def test_it_runs_with_fresh_retries(self) -> None:
        self.world.tick(3600)
        self.assertIs(self.revive(), State.PENDING)
        task = self.world.task("t")
        self.assertEqual((task.failures, task.losses, task.attempt), (0, 0, 4))
        self.assertIsNone(task.expires_at)
        delivery = self.world.take()
        self.assertEqual((delivery.payload, delivery.attempt), (b"abc", 5))
        self.assertIs(self.world.fail(delivery), State.FAILED)

    def test_it_survives_as_many_losses_again(self) -> None:
        self.revive()
        for _ in range(2):
            for _ in range(6):
                self.assertIs(self.world.state("t"), State.PENDING)
                self.world.take()
                self.world.tick(31)
            self.assertIs(self.world.state("t"), State.DEAD_LETTER)
            self.world.revive("t")

    def test_it_keeps_its_place(self) -> None:
        self.world.submit("later")
        self.revive()
        self.assertEqual(self.world.take().id, "t")

    def test_with_other_retries(self) -> None:
        self.revive(max_retries=0)
        self.assertIs(self.world.fail(self.world.take()), State.DEAD_LETTER)

    def test_it_is_stored_as_a_whole(self) -> None:
        """Updates carry neither options nor expiry: a restart would have it expire again."""
        self.revive(max_retries=9)
        batch = self.world.drain()[0]
        [row] = batch.inserts
        self.assertEqual((row.expires_at, row.options.max_retries, row.payload), (None, 9, b"abc"))
        self.assertEqual(batch.updates, [])

    def test_once(self) -> None:
        """Of two people who revive it at the same time, one is told what became of it."""
        self.revive()
        self.assertIn("pending", str(self.assertRaises(Conflict, self.revive)))
        self.world.complete(self.world.take())
        self.assertIn("completed", str(self.assertRaises(Conflict, self.revive)))

    def test_only_dead_letters(self) -> None:
        self.row = self.row._replace(id="other", seq=99, state=int(State.CANCELLED))
        self.assertIn("cancelled", str(self.assertRaises(Conflict, self.revive)))

    def test_what_is_in_memory_is_newer(self) -> None:
        """It was revived and died again after the row was read."""
        self.revive()
        self.world.fail(self.world.take(), permanent=True)
        self.revive()
        self.assertEqual(self.world.take().attempt, 6)

    def test_not_after_it_was_deleted(self) -> None:
        self.world.broker.control.delete(self.row)
        self.assertRaises(UnknownTask, self.revive)
        self.assertEqual(self.world.ledger.tasks, {})


class DeleteTests(CoreTestCase):
    def end(self) -> None:
        self.world.submit("t")
        self.world.complete(self.world.take())

    def test_it_is_gone(self) -> None:
        self.end()
        row = self.world.row("t")
        lane = self.world.task("t").lane
        self.world.broker.control.delete(row)
        self.assertEqual(lane.counts[State.COMPLETED], 0)
        self.assertEqual(self.world.drain()[0].removed, [row.seq])
        self.assertRaises(UnknownTask, self.world.cancel, "t")

    def test_its_id_is_free_again(self) -> None:
        self.end()
        self.world.broker.control.delete(self.world.row("t"))
        self.assertEqual(self.world.submit("t"), "t")
        self.assertIs(self.world.state("t"), State.PENDING)

    def test_twice(self) -> None:
        """Of two people who delete it at the same time, it is counted for one."""
        self.end()
        row = self.world.row("t")
        lane = self.world.task("t").lane
        self.world.broker.control.delete(row)
        self.assertRaises(UnknownTask, self.world.broker.control.delete, row)
        self.assertEqual(lane.counts[State.COMPLETED], 0)

    def test_not_another_task_of_the_same_id(self) -> None:
        self.end()
        row = self.world.row("t")
        self.world.broker.control.delete(row)
        self.end()
        self.world.ledger.forgotten.clear()
        self.assertRaises(UnknownTask, self.world.broker.control.delete, row)
        self.assertIs(self.world.state("t"), State.COMPLETED)

    def test_only_what_has_ended(self) -> None:
        self.world.submit("t")
        self.assertRaises(Conflict, self.world.broker.control.delete, self.world.row("t"))

    def test_not_what_lives_again(self) -> None:
        self.world.submit("t")
        self.world.fail(self.world.take(), permanent=True)
        row = self.world.row("t")
        self.world.revive("t")
        error = self.assertRaises(Conflict, self.world.broker.control.delete, row)
        self.assertIn("pending", str(error))

    def test_what_is_remembered_of_them_is_bounded(self) -> None:
        ledger = self.world.ledger
        for seq in range(ledger.policy.recent_ended + 5):
            ledger.forget(seq)
        self.assertEqual(len(ledger.forgotten), ledger.policy.recent_ended)
        self.assertNotIn(4, ledger.forgotten)
        self.assertIn(5, ledger.forgotten)
