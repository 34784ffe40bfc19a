"""
Going on where an earlier broker stopped, over each embedded store.
"""

from __future__ import annotations

from taskqueue.core.audit import audit
from taskqueue.core.changes import QueueRow, row_of
from taskqueue.core.leases import Holder
from taskqueue.core.policy import Policy
from taskqueue.core.task import State, TaskOptions
from taskqueue.core.workers import Worker
from taskqueue.errors import LeaseLost, StoreUnavailable
from taskqueue.store import IStore, MemoryStore, make_store
from tests.core.world import WALL, CoreTestCase, World


class RestoreTests(CoreTestCase):
    def make_store(self) -> IStore:
        return MemoryStore()

    def setUp(self) -> None:
        super().setUp()
        self.store = self.make_store()
        self.store.open()
        self.addCleanup(self.store.close)
        self.reserve()

    def reserve(self) -> None:
        """Tokens for the whole test, as the store knows."""
        ledger = self.world.ledger
        ceiling = ledger.next_token + 1_000_000
        ledger.changes.reserve_tokens(ceiling)
        self.commit()
        ledger.tokens_reserved(ceiling)

    def commit(self) -> None:
        batch, ended = self.world.drain()
        self.store.commit(batch)
        self.world.ledger.forget_stored(ended, prune=True)

    def restart(self, policy: Policy | None = None) -> int:
        """Everything in memory is gone; another broker goes on with what was committed."""
        old, self.world = self.world, World(policy, reserve=False)
        self.world.wall, self.world.mono = old.wall, old.mono
        count = self.world.restore(self.store.recover())
        self.assertEqual(audit(self.world.ledger), [])
        self.assertFalse(self.world.ledger.changes)
        self.reserve()
        return count

    def test_every_live_state_comes_back(self) -> None:
        submit = self.world.submit
        submit("running", priority=255, payload=b"r" * 5000, headers='{"a":1}')
        self.world.take()
        self.world.tick(31)  # lost once
        submit("failed", priority=254)
        first, second = self.world.claim(2)
        self.world.fail(second, "why")
        submit("ready", priority=7, options=TaskOptions(max_retries=9), expires_at=WALL + 99)
        submit("later", run_at=WALL + 90)
        submit("blocked", depends_on=("running", "ready"))
        before = {task_id: row_of(task) for task_id, task in self.world.ledger.tasks.items()}
        self.commit()
        self.assertEqual(self.restart(), 5)
        after = {task_id: row_of(task) for task_id, task in self.world.ledger.tasks.items()}
        self.assertEqual(after, before)
        missing = self.world.ledger.dependencies.missing(self.world.task("blocked"))
        self.assertEqual(missing, {"running", "ready"})
        self.world.complete(first)
        self.world.complete(self.world.take())
        self.world.tick(5)
        self.assertEqual([d.id for d in self.world.claim(5)], ["failed", "blocked"])

    def test_ended_tasks_are_counted_not_loaded(self) -> None:
        self.world.submit("a")
        self.world.complete(self.world.take())
        self.world.cancel(self.world.submit("b"))
        self.commit()
        self.assertEqual(self.restart(), 0)
        counts = self.world.ledger.queues["default"].lanes["job"].counts
        self.assertEqual((counts[State.COMPLETED], counts[State.CANCELLED]), (1, 1))

    def test_tokens_and_places_only_grow(self) -> None:
        """Also those that were given out and never stored."""
        self.world.submit("a")
        self.world.submit("b")
        self.commit()
        self.world.ledger.next_token = self.world.ledger.token_ceiling - 1
        last = self.world.take().lease
        seq = self.world.ledger.next_seq
        self.restart()
        self.assertGreater(self.world.take().lease, last)
        self.assertEqual(self.world.ledger.next_seq, seq)

    def test_no_token_before_the_store_has_reserved_new_ones(self) -> None:
        """What the last broker had reserved, it may have given out."""
        world = World(reserve=False)
        world.restore(self.store.recover())
        self.assertRaises(StoreUnavailable, world.ledger.tokens_left)
        world.ledger.tokens_reserved(world.drain()[0].token_ceiling or 0)
        self.assertGreater(world.ledger.tokens_left(), 0)

    def test_a_claim_that_was_not_stored_has_no_token(self) -> None:
        """The task is ready again, and the earlier delivery is late."""
        self.world.submit("t")
        self.commit()
        delivery = self.world.take()
        self.restart()
        self.assertIs(self.world.state("t"), State.PENDING)
        self.assertRaises(LeaseLost, self.world.complete, delivery)

    def test_a_valid_token_completes_after_a_restart(self) -> None:
        self.world.submit("t")
        delivery = self.world.take()
        self.commit()
        self.world.pass_time(29)
        self.restart()
        self.world.tick(29)
        self.assertIs(self.world.complete(delivery, b"done"), State.COMPLETED)

    def test_an_unregistered_claimer_has_one_fresh_lease(self) -> None:
        self.world.submit("t")
        delivery = self.world.take()
        self.world.broker.desk.extend("t", delivery.lease, 600.0, self.world.now)
        self.commit()
        self.restart()
        self.world.tick(599)
        self.assertIs(self.world.state("t"), State.IN_PROGRESS)
        self.world.tick(1)
        self.assertIs(self.world.state("t"), State.PENDING)

    def test_a_registered_worker_comes_back_to_its_leases(self) -> None:
        worker = self.world.register("w", 7)
        self.world.submit("t")
        self.world.claim(holder=worker, lease_s=5.0)
        self.commit()
        self.restart()
        known = self.world.ledger.workers.get("w")
        self.assertTrue(known.recovered)
        self.world.tick(29)
        again = self.world.beat("w", 7)
        self.assertIs(again, known)
        self.assertFalse(again.recovered)
        self.assertEqual(len(again.leases), 1)
        self.world.tick(4.9)
        self.assertIs(self.world.state("t"), State.IN_PROGRESS)

    def test_a_worker_that_comes_back_is_still_asked_to_cancel(self) -> None:
        self.world.submit("t")
        delivery = self.world.take(self.world.register("w", 7))
        self.world.cancel("t", running=True)
        self.commit()
        self.restart()
        self.assertEqual(list(self.world.beat("w", 7).to_cancel), [delivery.lease])

    def test_a_worker_that_does_not_come_back_is_evicted(self) -> None:
        self.world.submit("t")
        self.world.claim(holder=self.world.register(), lease_s=5.0)
        self.commit()
        self.restart()
        self.world.tick(29.9)
        self.assertIs(self.world.state("t"), State.IN_PROGRESS)
        self.world.tick(0.1)
        self.assertIs(self.world.state("t"), State.PENDING)
        self.assertIsNone(self.world.ledger.workers.find("w"))

    def test_a_new_incarnation_after_a_restart(self) -> None:
        self.world.submit("t")
        self.world.take(self.world.register("w", 1))
        self.commit()
        self.restart()
        self.world.register("w", 2)
        self.assertIs(self.world.state("t"), State.PENDING)

    def test_more_workers_than_are_allowed_now(self) -> None:
        """Leases that exist are honoured, whatever the limit is today."""
        for name in ("a", "b"):
            self.world.submit()
            self.world.take(self.world.register(name))
        self.commit()
        self.restart(Policy(max_workers=1))
        self.assertEqual(len(self.world.ledger.workers), 2)

    def test_holders_are_told_apart(self) -> None:
        for holder in (Holder("x"), self.world.register("x"), self.world.register("y")):
            for _ in range(2):
                self.world.submit()
                self.world.take(holder)
        self.commit()
        self.restart()
        holders = {id(lease.holder) for lease in self.world.ledger.leases.by_token.values()}
        self.assertEqual(len(holders), 3)
        kinds = [isinstance(lease.holder, Worker) for lease in self.leases()]
        self.assertEqual(kinds.count(True), 4)

    def leases(self) -> list[object]:
        return list(self.world.ledger.leases.by_token.values())

    def test_a_cancel_request_survives(self) -> None:
        self.world.submit("t")
        delivery = self.world.take()
        self.world.cancel("t", running=True)
        self.commit()
        self.restart()
        self.assertTrue(self.world.task("t").cancel_requested)
        self.assertIs(self.world.fail(delivery), State.CANCELLED)

    def test_what_was_set_on_queues(self) -> None:
        control = self.world.broker.control
        control.pause("a", self.world.now, 60.0)
        control.bound("b", 5)
        self.commit()
        self.restart()
        queues = self.world.ledger.queues
        rows = [QueueRow(q.name, q.paused, q.resume_at, q.max_depth) for q in queues.values()]
        self.assertEqual(
            sorted(rows), [QueueRow("a", True, WALL + 60, None), QueueRow("b", False, None, 5)]
        )

    def test_what_is_overdue_happens_at_once(self) -> None:
        self.world.submit("later", run_at=WALL + 5)
        self.world.submit("over", expires_at=WALL + 5)
        self.commit()
        self.world.pass_time(10)
        self.restart()
        self.world.tick()
        self.assertEqual(self.world.task("later").state, State.PENDING)
        self.assertEqual(self.world.task("over").state, State.EXPIRED)

    def test_a_revival_is_stored_as_a_whole(self) -> None:
        self.world.submit("t", payload=b"p" * 5000, expires_at=WALL + 60)
        self.world.fail(self.world.take(), permanent=True)
        self.commit()
        self.world.pass_time(3600)
        [row] = self.store.records(["t"])
        row = row._replace(payload=self.store.payloads([row.seq])[row.seq])
        self.world.broker.control.revive(row, self.world.now, 9)
        self.commit()
        self.restart()
        self.world.tick()
        task = self.world.task("t")
        self.assertEqual((task.state, task.options.max_retries), (State.PENDING, 9))
        self.assertEqual(self.world.take().payload, b"p" * 5000)

    def test_a_deleted_task_stays_away_and_its_id_is_free(self) -> None:
        self.world.cancel(self.world.submit("t"))
        self.commit()
        self.world.broker.control.delete(self.store.records(["t"])[0])
        self.commit()
        self.world.submit("t")
        self.commit()
        self.restart()
        self.assertIs(self.world.state("t"), State.PENDING)
        self.assertEqual(sum(self.world.task("t").lane.counts), 1)

    def test_an_id_that_was_used_again_is_no_dependency(self) -> None:
        """Else the two would wait for each other after a restart."""
        run = TaskOptions(on_dependency_failure="run")
        self.world.submit("a")
        self.world.submit("c", queue="other")
        self.world.submit("b", depends_on=("a", "c"), options=run)
        self.world.cancel("a")
        self.commit()
        self.world.broker.control.delete(self.store.records(["a"])[0])
        self.commit()
        self.world.submit("a", depends_on=("b",))
        self.commit()
        self.restart()
        self.assertEqual(self.world.ledger.dependencies.missing(self.world.task("b")), {"c"})
        self.world.complete(self.world.claim(1, "other")[0])
        for expected in ("b", "a"):
            delivery = self.world.take()
            self.assertEqual(delivery.id, expected)
            self.world.complete(delivery)


class SQLiteRestoreTests(RestoreTests):
    def make_store(self) -> IStore:
        return make_store("sqlite", self.mktemp(), "none", "none")
