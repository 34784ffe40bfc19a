"""
Tasks that are laid aside, given back with another priority, and run before their time.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from taskqueue.core.changes import row_of
from taskqueue.core.delivery import Delivery
from taskqueue.core.paging import page_out
from taskqueue.core.policy import Policy, QueuePolicy
from taskqueue.core.recount import Recount
from taskqueue.core.results import BURIED
from taskqueue.core.task import LEAST_PRIORITY, UNLESS_SET, State, TaskOptions
from taskqueue.core.waiting import Claim
from taskqueue.errors import LeaseLost
from taskqueue.store import MemoryStore
from tests.core.world import CoreTestCase, World


class KickTestCase(CoreTestCase):
    def release(self, delivery: Delivery, delay_s: float = 0.0, **fields: Any) -> State:
        release = self.world.broker.desk.release
        return release(delivery.id, delivery.lease, delay_s, self.world.now, **fields)

    def bury(self, delivery: Delivery, **fields: Any) -> State:
        return self.world.broker.desk.bury(delivery.id, delivery.lease, self.world.now, **fields)

    def run_now(self, task_id: str) -> State:
        return self.world.broker.control.run_now(task_id, self.world.now)

    def soonest(self, limit: int, queue: str = "default") -> list[str]:
        return [task.id for task in self.world.ledger.delayed.soonest(queue, limit)]

    def events(self) -> list[tuple[str, str | None]]:
        return [(row.event, row.detail) for row in self.world.drain()[0].history]


class ClaimTaskTests(KickTestCase):
    """One task is claimed by its id, whatever stands before it."""

    def claim_task(self, task_id: str) -> list[Delivery]:
        claim = Claim(self.world.holder, (), None, 1)
        return self.world.broker.desk.claim_task(task_id, claim, self.world.now)

    def claim_one(self, task_id: str) -> Delivery:
        [delivery] = self.claim_task(task_id)
        self.assertEqual(delivery.id, task_id)
        return delivery

    def test_out_of_the_middle_and_back(self) -> None:
        """Given back, it stands in its place, and once."""
        for number in range(6):
            self.world.submit(f"t{number}")
        held = [self.claim_one(task_id) for task_id in ("t3", "t0", "t5")]
        self.assertEqual([d.id for d in self.world.claim(2)], ["t1", "t2"])
        for delivery in held:
            self.assertEqual(self.release(delivery), State.PENDING)
        self.assertEqual([d.id for d in self.world.claim(9)], ["t0", "t3", "t4", "t5"])

    def test_from_beside_the_lines(self) -> None:
        for number in range(3):
            self.world.submit(f"t{number}")
        for delivery in self.world.claim(2):
            self.release(delivery)
        self.release(self.claim_one("t1"))
        self.claim_one("t0")
        self.assertEqual([d.id for d in self.world.claim(9)], ["t1", "t2"])

    def test_among_leftovers(self) -> None:
        for number in range(6):
            self.world.submit(f"t{number}")
        for task_id in ("t1", "t4", "t5"):
            self.world.cancel(task_id)
        self.claim_one("t3")
        self.claim_one("t0")
        self.assertEqual(self.claim_task("t4"), [])
        self.assertEqual([d.id for d in self.world.claim(9)], ["t2"])

    def test_the_last_of_a_line(self) -> None:
        self.world.submit("a", priority=9)
        self.world.submit("b", priority=5)
        self.claim_one("a")
        self.assertEqual([d.id for d in self.world.claim(9)], ["b"])

    def test_before_its_time(self) -> None:
        """Given back, it need not wait for it again."""
        self.world.submit("t", run_at=self.world.wall + 100)
        delivery = self.claim_one("t")
        self.assertEqual(self.release(delivery), State.PENDING)
        self.assertEqual(len(self.world.ledger.delayed), 0)

    def test_not_what_is_held_blocked_or_over(self) -> None:
        self.world.submit("held")
        self.world.submit("blocked", depends_on=("held",))
        self.world.submit("over", expires_at=self.world.wall + 1)
        self.claim_one("held")
        self.world.pass_time(2)
        for task_id in ("held", "blocked", "over", "unknown"):
            self.assertEqual(self.claim_task(task_id), [])
        self.assertIs(self.world.state("over"), State.EXPIRED)

    def test_of_a_paused_queue(self) -> None:
        self.world.submit("t")
        self.world.broker.control.pause("default", self.world.now)
        self.claim_one("t")


class ReleaseTests(KickTestCase):
    def test_with_another_priority(self) -> None:
        """It keeps its place in line, and what was stored of it is written as a whole."""
        for task_id in ("a", "b", "c"):
            self.world.submit(task_id, priority=5)
        self.world.drain()
        self.assertEqual(self.release(self.world.take(), priority=LEAST_PRIORITY), State.PENDING)
        batch, _ = self.world.drain()
        [row] = batch.inserts
        self.assertEqual((row.id, row.priority, row.state), ("a", LEAST_PRIORITY, State.PENDING))
        self.assertEqual([d.id for d in self.world.claim(3)], ["b", "c", "a"])
        self.assertEqual(self.release(self.world.deliver("a"), priority=5), State.PENDING)
        self.assertEqual(self.release(self.world.deliver("b"), priority=5), State.PENDING)
        self.assertEqual([d.id for d in self.world.claim(3)], ["a", "b"])

    def test_before_it_was_stored(self) -> None:
        self.world.submit("a", priority=5)
        self.release(self.world.take(), priority=7)
        batch, _ = self.world.drain()
        self.assertEqual([row.priority for row in batch.inserts], [7])

    def test_again_and_again_before_it_is_stored(self) -> None:
        """A store takes each task once in a batch."""
        for task_id in ("a", "b"):
            self.world.submit(task_id, priority=5)
        self.world.drain()
        for priority in (7, 6, 8):
            self.release(self.world.take(), priority=priority)
        marked = self.world.ledger.changes.marked()
        self.assertEqual([task.id for task in marked.tasks], ["a"])
        batch, _ = self.world.drain()
        self.assertEqual([(row.id, row.priority) for row in batch.inserts], [("a", 8)])
        self.assertEqual(batch.updates, [])
        self.assertFalse(self.world.ledger.changes)
        self.bury(self.world.take(), priority=4)
        self.world.revive("a")
        batch, _ = self.world.drain()
        self.assertEqual([row.state for row in batch.inserts], [State.PENDING])

    def test_the_same_priority_changes_nothing(self) -> None:
        self.world.submit("a", priority=5)
        self.world.drain()
        self.release(self.world.take(), priority=5)
        batch, _ = self.world.drain()
        self.assertEqual((len(batch.inserts), len(batch.updates)), (0, 1))

    def test_with_a_delay(self) -> None:
        self.world.submit("a", priority=5)
        self.assertEqual(self.release(self.world.take(), 10.0, priority=9), State.SCHEDULED)
        self.assertEqual(self.world.ledger.queues["default"].tiers, [1, 0, 0])
        self.world.tick(10.0)
        self.assertEqual(self.world.take().priority, 9)

    def test_tiers_follow_the_priority(self) -> None:
        self.world.submit("a", priority=5)
        self.release(self.world.take(), priority=250)
        self.assertEqual(self.world.ledger.queues["default"].tiers, [0, 0, 1])

    def test_a_payload_that_is_in_the_store_only_stays_there(self) -> None:
        self.world.broker.adopt(Policy(memory_bytes=1))
        ledger = self.world.ledger
        ledger.policy = replace(ledger.policy, memory_bytes=None)
        self.world.submit("a", payload=bytes(1000))
        recount = Recount(ledger)
        recount.drained(self.world.drain()[0])
        ledger.policy = replace(ledger.policy, memory_bytes=1)
        page_out(ledger, ledger.changes.take_stored())
        task = self.world.task("a")
        self.assertEqual(task.body, 1000)
        self.release(self.world.take(), priority=7)
        batch, _ = self.world.drain()
        self.assertEqual([(row.payload, row.priority) for row in batch.inserts], [(None, 7)])
        recount.drained(batch)
        self.assertEqual(list(recount.differences()), [])

    def test_survives_a_crash(self) -> None:
        store = MemoryStore()
        store.open()
        for task_id in ("a", "b"):
            self.world.submit(task_id, payload=b"p", priority=5)
        store.commit(self.world.drain()[0])
        self.release(self.world.take(), priority=3)
        store.commit(self.world.drain()[0])
        other = World()
        other.restore(store.recover())
        other.ledger.tokens_reserved(10**6)
        self.assertEqual([d.id for d in other.claim(2)], ["b", "a"])
        self.assertEqual(
            row_of(other.task("a"))[:12], row_of(self.world.task("a"))[:12], "what it is"
        )


class BuryTests(KickTestCase):
    def test_is_a_dead_letter_without_a_failure(self) -> None:
        self.world.submit("a")
        delivery = self.world.take()
        self.assertEqual(self.bury(delivery), State.DEAD_LETTER)
        task = self.world.task("a")
        self.assertEqual((task.error, task.failures, task.losses), (BURIED, 0, 0))
        self.assertEqual(self.events(), [("buried", None)])
        counts = self.world.ledger.queues["default"].lanes["job"].counters.as_dict()
        self.assertEqual((counts["dead"], counts["failed"], counts["released"]), (1, 0, 0))
        with self.assertRaises(LeaseLost):
            self.bury(delivery)
        self.assertEqual(self.world.revive("a"), State.PENDING)

    def test_with_another_priority(self) -> None:
        self.world.submit("a", priority=5)
        self.world.drain()
        self.bury(self.world.take(), priority=-9)
        [row] = self.world.drain()[0].inserts
        self.assertEqual((row.priority, row.state), (-9, State.DEAD_LETTER))
        self.world.revive("a")
        delivery = self.world.take()
        self.assertEqual((delivery.priority, self.world.task("a").seq), (-9, 1))

    def test_somebody_asked_to_cancel_it(self) -> None:
        self.world.submit("a")
        delivery = self.world.take()
        self.world.cancel("a", running=True)
        self.assertEqual(self.bury(delivery), State.CANCELLED)


class RunNowTests(KickTestCase):
    def test_a_scheduled_task(self) -> None:
        self.world.submit("a", run_at=self.world.wall + 100, priority=7)
        self.world.submit("b", priority=7)
        self.assertEqual(self.run_now("a"), State.PENDING)
        self.assertEqual(self.events(), [("run_now", None)])
        deliveries = self.world.claim(2)
        self.assertEqual([d.id for d in deliveries], ["a", "b"])
        self.assertEqual(self.release(deliveries[0]), State.PENDING, "its time is over")

    def test_a_failed_task(self) -> None:
        self.world.submit("a")
        self.world.fail(self.world.take())
        self.assertEqual(self.run_now("a"), State.PENDING)
        self.assertEqual(self.world.take().failures, 1)

    def test_whoever_waits_is_served(self) -> None:
        self.world.submit("a", run_at=self.world.wall + 100)
        claim = self.world.wait()
        self.world.serve()
        self.run_now("a")
        self.assertEqual(self.world.serve(), [(claim, ["a"])])

    def test_the_soonest(self) -> None:
        """Of one queue, whatever it waits for; those of one moment by their places in line."""
        wall = self.world.wall
        for task_id, in_s in (("c", 30), ("a", 10), ("b", 20), ("a2", 10)):
            self.world.submit(task_id, run_at=wall + in_s)
        self.world.submit("other", queue="other", run_at=wall + 1)
        self.world.submit("failed")
        self.world.fail(self.world.take(), retry_in_s=15.0)
        order = ["a", "a2", "failed", "b", "c"]
        self.assertEqual([self.soonest(9), self.soonest(2)], [order, order[:2]])
        kick = self.world.broker.kicks.run_soonest_now
        self.assertEqual(kick("default", 3, self.world.now), 3)
        self.assertEqual(self.soonest(9), ["b", "c"])
        self.assertEqual([kick("default", 9, self.world.now), self.soonest(1)], [2, []])
        self.assertEqual([self.soonest(1, "other"), self.soonest(1, "none")], [["other"], []])


class WithoutALimitTests(KickTestCase):
    """Failures and losses that only a queue's own section bounds."""

    policy = Policy(
        default=QueuePolicy(max_retries=1, max_lost=1),
        queues={"set": QueuePolicy(max_retries=2, max_lost=2, own=frozenset({"max_lost"}))},
    )
    options = TaskOptions(max_retries=UNLESS_SET, max_lost=UNLESS_SET)

    def lose(self, queue: str) -> State:
        [delivery] = self.world.claim(1, queue)
        self.world.tick(31.0)
        return self.world.state(delivery.id)

    def test_losses(self) -> None:
        self.world.submit("a", options=self.options)
        self.assertEqual({self.lose("default") for _ in range(20)}, {State.PENDING})

    def test_failures(self) -> None:
        for queue in ("default", "set"):
            self.world.submit(queue, queue=queue, options=self.options)
            for _ in range(10):
                [delivery] = self.world.claim(1, queue)
                self.assertEqual(self.world.fail(delivery, retry_in_s=1.0), State.FAILED)
                self.world.tick(1.0)

    def test_losses_where_the_queue_sets_a_bound(self) -> None:
        self.world.submit("a", queue="set", options=self.options)
        states = [self.lose("set") for _ in range(3)]
        self.assertEqual(states, [State.PENDING, State.PENDING, State.DEAD_LETTER])
        self.assertRegex(self.world.task("a").error or "", r"more than max_lost \(2\)")
