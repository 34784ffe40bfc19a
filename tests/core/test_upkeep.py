"""
What time alone brings about: expiry, slices of a backlog, idle lanes.
"""

from __future__ import annotations

from math import inf

from taskqueue.core import upkeep as upkeep_module
from taskqueue.core.policy import Policy, QueuePolicy
from taskqueue.core.task import State, TaskOptions
from tests.core.world import WALL, CoreTestCase, total_counters


class DueTests(CoreTestCase):
    """When something is due by itself is known, so that nobody need look for it all the time."""

    def due_in_s(self) -> float:
        return self.world.broker.upkeep.due_in_s(self.world.now)

    def test_nothing(self) -> None:
        self.world.submit("ready")
        self.assertEqual(self.due_in_s(), inf)

    def test_whatever_comes_first(self) -> None:
        upkeep, control = self.world.broker.upkeep, self.world.broker.control
        self.world.wait("empty", for_s=50)
        self.assertEqual(self.due_in_s(), 50)
        control.pause("default", self.world.now, 40)
        self.assertEqual(self.due_in_s(), 40)
        self.world.submit("later", run_at=WALL + 30)
        self.assertEqual(self.due_in_s(), 30)
        self.world.submit("short", expires_at=WALL + 20)
        self.assertEqual(self.due_in_s(), 20)
        self.world.pass_time(21)
        self.assertEqual(self.due_in_s(), -1)
        upkeep.expire_tasks(self.world.now)
        self.assertEqual(self.due_in_s(), 9)
        self.world.cancel("later")
        self.assertEqual(self.due_in_s(), 19)
        control.resume("default")
        self.assertEqual(self.due_in_s(), 29)
        self.world.ledger.withdraw_claims(self.world.holder)
        self.assertEqual(self.due_in_s(), inf)

    def test_no_lease_ends_before_the_first_is_looked_at(self) -> None:
        leases = self.world.ledger.leases
        self.assertEqual(leases.next_at(), inf)
        self.world.submit("long")
        self.world.take()
        self.assertEqual(leases.next_at(), self.world.mono + 30)
        self.world.submit("short", options=TaskOptions(lease_s=5.0))
        token = self.world.take().lease
        self.assertEqual(leases.next_at(), self.world.mono + 5)
        self.world.broker.desk.extend("short", token, 2.0, self.world.now)
        self.assertEqual(leases.next_at(), self.world.mono + 2)


class ExpiryTests(CoreTestCase):
    def test_every_waiting_state(self) -> None:
        at = WALL + 60
        self.world.submit("base", priority=255)
        self.world.take()
        self.world.submit("failed", expires_at=at, options=TaskOptions(retry_delay_s=600.0))
        self.world.fail(self.world.take())
        self.world.submit("pending", expires_at=at)
        self.world.submit("scheduled", run_at=WALL + 50, expires_at=at)
        self.world.submit("blocked", depends_on=("base",), expires_at=at)
        self.world.broker.desk.extend("base", self.world.task("base").token, 3600.0, self.world.now)
        self.world.pass_time(59.9)
        self.world.broker.upkeep.expire_tasks(self.world.now)
        self.assertEqual(len(self.world.ledger.tasks), 5)
        self.world.pass_time(0.1)
        self.world.broker.upkeep.expire_tasks(self.world.now)
        for task_id in ("failed", "pending", "scheduled", "blocked"):
            self.assertIs(self.world.state(task_id), State.EXPIRED)

    def test_at_the_claim(self) -> None:
        """A claim never hands out an expired task, even if upkeep is late."""
        self.world.submit("over", expires_at=WALL + 1)
        self.world.submit("good")
        self.world.pass_time(1)
        self.assertEqual([d.id for d in self.world.claim(1)], ["good"])
        self.assertIs(self.world.state("over"), State.EXPIRED)

    def test_a_claim_looks_further_than_the_expired(self) -> None:
        for _ in range(20):
            self.world.submit(expires_at=WALL + 1)
        self.world.submit("good", priority=0)
        self.world.pass_time(2)
        self.assertEqual([d.id for d in self.world.claim(3)], ["good"])

    def test_not_in_progress(self) -> None:
        self.world.submit("t", expires_at=WALL + 10)
        delivery = self.world.take()
        self.world.tick(20)
        self.assertIs(self.world.state("t"), State.IN_PROGRESS)
        self.assertIs(self.world.complete(delivery), State.COMPLETED)

    def test_after_it_was_given_back(self) -> None:
        for number in range(2):
            self.world.submit("t", expires_at=self.world.wall + 10)
            delivery = self.world.take()
            self.world.tick((5, 15)[number])
            self.world.broker.desk.release("t", delivery.lease, 0.0, self.world.now)
            self.world.tick(6)
            self.assertIs(self.world.state("t"), State.EXPIRED)
            del self.world.ledger.ended["t"]

    def test_while_it_waits_for_a_retry(self) -> None:
        self.world.submit("t", expires_at=WALL + 3)
        self.world.fail(self.world.take())
        self.world.tick(3)
        self.assertIs(self.world.state("t"), State.EXPIRED)

    def test_in_slices(self) -> None:
        self.patch(upkeep_module, "SLICE", 3)
        for _ in range(4):
            self.world.submit(expires_at=WALL + 1)
        self.world.pass_time(1)
        upkeep = self.world.broker.upkeep
        self.assertTrue(upkeep.expire_tasks(self.world.now))
        self.assertFalse(upkeep.expire_tasks(self.world.now))
        self.assertEqual(self.world.ledger.tasks, {})

    def test_leases_in_slices(self) -> None:
        self.patch(upkeep_module, "SLICE", 3)
        for _ in range(4):
            self.world.submit()
        self.world.claim(4)
        self.world.pass_time(30)
        upkeep = self.world.broker.upkeep
        self.assertTrue(upkeep.expire_leases(self.world.now))
        self.assertFalse(upkeep.expire_leases(self.world.now))
        self.assertEqual(len(self.world.ledger.leases), 0)

    def test_of_two_that_expire_together_one_may_end_the_other(self) -> None:
        self.world.submit("a", expires_at=WALL + 1)
        self.world.submit("b", depends_on=("a",), expires_at=WALL + 1)
        self.world.tick(1)
        self.assertIs(self.world.state("a"), State.EXPIRED)
        self.assertIs(self.world.state("b"), State.DEAD_LETTER)
        self.assertEqual(len(self.world.drain()[1]), 2)


class RetireTests(CoreTestCase):
    policy = Policy(queues={"named": QueuePolicy()})

    def retire(self) -> int:
        return self.world.broker.upkeep.retire_lanes()

    def test_few_lanes_stay(self) -> None:
        self.world.cancel(self.world.submit())
        self.world.task("made-1").lane.counts[State.CANCELLED] = 0
        self.assertEqual(self.retire(), 0)

    def test_idle_lanes_go_and_their_counts_stay(self) -> None:
        self.patch(upkeep_module, "MANY_LANES", 2)
        control = self.world.broker.control
        for number in range(5):
            self.world.submit(f"t{number}", f"type{number}", queue=f"q{number}")
        self.world.submit(queue="named")
        for task_id in ("t0", "t1", "t2", "made-1"):
            self.world.cancel(task_id)
        control.pause("q1", self.world.now)
        for task_id in ("t0", "t1", "made-1"):  # t2 is still kept in the store
            control.delete(self.world.row(task_id))
        before = total_counters(self.world.ledger).as_dict()
        self.assertEqual(self.retire(), 3)
        self.assertEqual(set(self.world.ledger.queues), {"named", "q1", "q2", "q3", "q4"})
        self.assertEqual(total_counters(self.world.ledger).as_dict(), before)
        self.assertEqual(before["cancelled"], 4)

    def test_a_retired_lane_comes_back(self) -> None:
        self.patch(upkeep_module, "MANY_LANES", 0)
        for _ in range(3):
            self.world.submit("t")
            self.assertEqual(self.world.take().id, "t")
            self.world.broker.desk.release("t", self.world.task("t").token, 0.0, self.world.now)
            self.world.cancel("t")
            self.world.broker.control.delete(self.world.row("t"))
            self.assertEqual(self.retire(), 1)
            self.assertNotIn("default", self.world.ledger.queues)
        claim = self.world.wait()
        self.world.submit("u")
        self.assertEqual(self.world.serve(), [(claim, ["u"])])


class AdoptTests(CoreTestCase):
    def test_other_numbers_from_now_on(self) -> None:
        self.world.submit("t")
        self.world.broker.adopt(
            Policy(max_workers=0, queues={"default": QueuePolicy(max_depth=1, lease_s=7.0)})
        )
        self.assertEqual(self.world.ledger.queues["default"].bound, 1)
        self.assertEqual(self.world.take().lease_s, 7.0)
        self.assertEqual(self.world.ledger.workers.max_workers, 0)
