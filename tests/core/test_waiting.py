"""
Claims that wait: who is served first, with what, and until when.
"""

from __future__ import annotations

from taskqueue.core.policy import Policy
from taskqueue.core.task import State, TaskOptions
from taskqueue.core.waiting import Claim
from taskqueue.errors import BadRequest, Conflict
from tests.core.world import WALL, CoreTestCase


def types(*names: str) -> frozenset[str]:
    return frozenset(names)


class FairnessTests(CoreTestCase):
    def test_first_come_first_served(self) -> None:
        claims = [self.world.wait() for _ in range(3)]
        for number in range(3):
            self.world.submit(f"t{number}")
        served = self.world.serve()
        self.assertEqual(served, [(claim, [f"t{n}"]) for n, claim in enumerate(claims)])

    def test_across_different_wishes(self) -> None:
        """Who has waited longest is next, whatever else the claims want."""
        a = self.world.wait("one", "default", types=types("x", "job"))
        b = self.world.wait()
        c = self.world.wait(types=types("job"))
        d = self.world.wait("default", "two")
        ids = [self.world.submit() for _ in range(4)]
        self.assertEqual(
            self.world.serve(), [(claim, [i]) for claim, i in zip((a, b, c, d), ids, strict=True)]
        )

    def test_a_wish_that_does_not_fit_is_passed_over(self) -> None:
        other = self.world.wait(types=types("other"))
        elsewhere = self.world.wait("elsewhere")
        fits = self.world.wait(types=types("job", "x"))
        self.world.submit("t")
        self.assertEqual(self.world.serve(), [(fits, ["t"])])
        self.assertEqual(list(self.world.ledger.claims), [other, elsewhere])

    def test_a_batch_goes_to_one_claim(self) -> None:
        first = self.world.wait(limit=3)
        second = self.world.wait(limit=3)
        for number in range(4):
            self.world.submit(f"t{number}")
        self.assertEqual(self.world.serve(), [(first, ["t0", "t1", "t2"]), (second, ["t3"])])
        self.assertEqual(len(self.world.ledger.claims), 0)

    def test_priority_holds_within_what_arrived_together(self) -> None:
        first, second = self.world.wait(), self.world.wait()
        self.world.submit("low", priority=1)
        self.world.submit("high", priority=2)
        self.assertEqual(self.world.serve(), [(first, ["high"]), (second, ["low"])])

    def test_a_served_claim_takes_its_preferred_queue_first(self) -> None:
        claim = self.world.wait("a", "b")
        self.world.submit("in-b", queue="b")
        self.world.submit("in-a", queue="a")
        self.assertEqual(self.world.serve(), [(claim, ["in-a"])])

    def test_a_queue_named_twice(self) -> None:
        self.world.wait("default", "default")
        self.world.submit("t")
        self.assertEqual(len(self.world.serve()), 1)
        self.assertEqual(self.world.serve(), [])

    def test_many_claims_of_one_wish_leave_at_the_front(self) -> None:
        claims = [self.world.wait() for _ in range(1000)]
        ids = [self.world.submit() for _ in range(1000)]
        self.assertEqual(
            self.world.serve(), [(claim, [i]) for claim, i in zip(claims, ids, strict=True)]
        )
        self.assertIsNone(self.world.ledger.claims.first_for("default", "job"))


class OccasionTests(CoreTestCase):
    """Whatever makes a task ready serves the claims that wait for it."""

    def assertServed(self, claim: Claim, *ids: str) -> None:
        self.assertEqual(self.world.serve(), [(claim, list(ids))])

    def test_nothing_is_served_twice(self) -> None:
        claim = self.world.wait()
        self.world.submit("t")
        self.assertServed(claim, "t")
        self.world.submit("u")
        self.assertEqual(self.world.serve(), [])

    def test_a_scheduled_task_is_due(self) -> None:
        claim = self.world.wait()
        self.world.submit("t", run_at=WALL + 5)
        self.assertEqual(self.world.serve(), [])
        self.world.tick(5)
        self.assertServed(claim, "t")

    def test_a_retry_is_due(self) -> None:
        self.world.submit("t")
        self.world.fail(self.world.take())
        self.world.serve()
        claim = self.world.wait()
        self.world.tick(5)
        self.assertServed(claim, "t")

    def test_a_task_is_released(self) -> None:
        self.world.submit("t")
        delivery = self.world.take()
        self.world.serve()
        claim = self.world.wait()
        self.world.broker.desk.release("t", delivery.lease, 0.0, self.world.now)
        self.assertServed(claim, "t")

    def test_a_lease_runs_out(self) -> None:
        self.world.submit("t")
        self.world.take()
        self.world.serve()
        claim = self.world.wait(for_s=60)
        self.world.tick(31)
        self.assertServed(claim, "t")

    def test_a_dependency_completes(self) -> None:
        self.world.submit("base")
        self.world.submit("t", depends_on=("base",))
        delivery = self.world.take()
        self.world.serve()
        claim = self.world.wait()
        self.world.complete(delivery)
        self.assertServed(claim, "t")

    def test_a_dead_letter_is_revived(self) -> None:
        self.world.submit("t")
        self.world.fail(self.world.take(), permanent=True)
        self.world.serve()
        claim = self.world.wait()
        self.world.revive("t")
        self.assertServed(claim, "t")

    def test_a_queue_resumes(self) -> None:
        self.world.broker.control.pause("default", self.world.now)
        claim = self.world.wait()
        self.world.submit("t")
        self.assertEqual(self.world.serve(), [])
        self.world.broker.control.resume("default")
        self.assertServed(claim, "t")

    def test_a_timed_pause_ends(self) -> None:
        self.world.broker.control.pause("default", self.world.now, 5.0)
        claim = self.world.wait()
        self.world.submit("t")
        self.world.tick(4.9)
        self.assertEqual(self.world.serve(), [])
        self.world.tick(0.1)
        self.assertServed(claim, "t")

    def test_tasks_that_expired_serve_nobody(self) -> None:
        claim = self.world.wait(limit=5)
        for task_id in ("a", "b"):
            self.world.submit(task_id, expires_at=WALL + 1)
        self.world.pass_time(2)
        self.assertEqual(self.world.serve(), [])
        self.assertEqual(list(self.world.ledger.claims), [claim])
        self.assertIs(self.world.state("a"), State.EXPIRED)
        self.world.submit("c")
        self.assertServed(claim, "c")


class WithdrawalTests(CoreTestCase):
    def test_a_claim_waits_as_long_as_it_would(self) -> None:
        short, long = self.world.wait(for_s=5), self.world.wait(for_s=10)
        self.world.tick(4.9)
        self.assertEqual(self.world.ledger.withdrawn, [])
        self.world.tick(0.1)
        self.assertEqual(self.world.ledger.withdrawn, [short])
        self.world.tick(5)
        self.assertEqual(self.world.ledger.withdrawn, [short, long])
        self.world.submit("t")
        self.assertEqual(self.world.serve(), [])
        self.assertIs(self.world.state("t"), State.PENDING)

    def test_a_served_claim_does_not_time_out(self) -> None:
        self.world.wait(for_s=5)
        self.world.submit("t")
        self.world.serve()
        self.world.tick(6)
        self.assertEqual(self.world.ledger.withdrawn, [])

    def test_a_connection_that_drops_takes_its_claims_along(self) -> None:
        worker = self.world.register()
        gone = self.world.wait(holder=worker)
        stays = self.world.wait()
        self.world.broker.upkeep.connection_lost(worker, self.world.now)
        self.assertEqual(self.world.ledger.withdrawn, [gone])
        self.assertEqual(list(self.world.ledger.claims), [stays])

    def test_a_worker_that_is_told_to_stop(self) -> None:
        for order in ("quiet", "terminate"):
            worker = self.world.register(order)
            claim = self.world.wait(holder=worker)
            self.world.broker.control.order(order, order)
            self.assertEqual(self.world.ledger.withdrawn.pop(), claim)
            error = self.assertRaises(Conflict, self.world.claim, holder=worker)
            self.assertIn(order, str(error))

    def test_removing_twice_is_told(self) -> None:
        claim = self.world.wait()
        self.assertTrue(self.world.ledger.claims.remove(claim))
        self.assertFalse(self.world.ledger.claims.remove(claim))

    def test_deadlines_of_served_claims_do_not_pile_up(self) -> None:
        for _ in range(10_000):
            self.world.ledger.claims.remove(self.world.wait())
        self.assertLess(len(self.world.ledger.claims._deadlines), 2000)


class TroubleTests(CoreTestCase):
    def test_without_tokens_nobody_is_served_and_nothing_forgotten(self) -> None:
        self.world.ledger.tokens_reserved(1)
        claim = self.world.wait()
        self.world.submit("t")
        self.assertEqual(self.world.serve(), [])
        self.world.ledger.tokens_reserved(100)
        self.assertEqual(self.world.serve(), [(claim, ["t"])])

    def test_tokens_that_run_out_on_the_way(self) -> None:
        """Who was served already gets its tasks; the others go on waiting."""
        self.world.ledger.tokens_reserved(3)
        claims = [self.world.wait() for _ in range(4)]
        for number in range(4):
            self.world.submit(f"t{number}", "xy"[number % 2])
        self.assertEqual(len(self.world.serve()), 2)
        self.assertEqual(list(self.world.ledger.claims), claims[2:])
        self.assertEqual(self.world.serve(), [])
        self.world.ledger.tokens_reserved(100)
        self.assertEqual([claim for claim, _ in self.world.serve()], claims[2:])

    def test_bounds_that_changed_meanwhile(self) -> None:
        """A claim was checked when it came: it keeps the lease that it was promised."""
        claim = self.world.wait(lease_s=600.0)
        self.world.broker.adopt(Policy(lease_max_s=60.0))
        self.world.submit("t")
        self.assertEqual(self.world.serve(), [(claim, ["t"])])

    def test_what_an_expiry_makes_ready_is_served_too(self) -> None:
        """A dependent that runs all the same, found while claims were being served."""
        run = TaskOptions(on_dependency_failure="run")
        first = self.world.wait(types=types("job"))
        second = self.world.wait(types=types("late"))
        self.world.submit("base", expires_at=WALL + 1)
        self.world.submit("t", "late", depends_on=("base",), options=run)
        self.world.pass_time(2)
        self.assertEqual(self.world.serve(), [(second, ["t"])])
        self.assertEqual(list(self.world.ledger.claims), [first])

    def test_a_claim_for_nothing_is_refused(self) -> None:
        """It would be first in line for ever."""
        for limit in (0, -1):
            error = self.assertRaises(BadRequest, self.world.claim, limit)
            self.assertEqual(error.fields, {"field": "limit"})
