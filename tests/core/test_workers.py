"""
Workers: who they are, whether they live, and what happens when they do not.
"""

from __future__ import annotations

from taskqueue.core.leases import Holder
from taskqueue.core.policy import Policy
from taskqueue.core.task import State
from taskqueue.core.workers import ORDERS, Worker
from taskqueue.errors import BadRequest, StaleIncarnation, UnknownWorker, WorkerExists
from tests.core.world import CoreTestCase


class RegistrationTests(CoreTestCase):
    policy = Policy(max_workers=2)

    def test_twice_on_one_connection(self) -> None:
        link = object()
        worker = self.world.register("w", 1, link)
        self.assertIs(self.world.register("w", 1, link, capacity=9), worker)
        self.assertEqual(worker.info.capacity, 9)
        self.assertEqual(len(self.world.ledger.workers), 1)

    def test_the_same_incarnation_from_another_connection(self) -> None:
        self.world.register("w", 1, object())
        error = self.assertRaises(WorkerExists, self.world.register, "w", 1, object())
        self.assertEqual(error.fields, {"worker": "w"})
        self.assertRaises(WorkerExists, self.world.beat, "w", 1, object())

    def test_the_same_incarnation_after_its_connection_dropped(self) -> None:
        self.world.submit("t")
        worker = self.world.register("w", 1, object())
        self.world.take(worker)
        self.world.broker.upkeep.connection_lost(worker, self.world.now)
        self.world.tick(5)
        for back in (self.world.register, self.world.beat):
            self.assertIs(back("w", 1, link := object()), worker)
            self.assertIs(worker.link, link)
            self.world.tick(20)
            self.assertIs(self.world.state("t"), State.IN_PROGRESS)
            self.world.broker.upkeep.connection_lost(worker, self.world.now)

    def test_a_new_incarnation_ends_the_leases_of_the_old_one(self) -> None:
        for start in (self.world.register, self.world.beat):
            old = self.world.register("w", 1, object())
            self.world.submit("t")
            self.world.take(old)
            claim = self.world.wait(holder=old)
            new = start("w", 2, object())
            self.assertIsNot(new, old)
            self.assertEqual((old.leases, new.leases), ({}, {}))
            self.assertEqual(self.world.ledger.withdrawn.pop(), claim)
            self.assertIs(self.world.state("t"), State.PENDING)
            self.assertEqual(self.world.task("t").losses, 1)
            self.world.broker.control.strike(new, "over", self.world.now)
            self.world.cancel("t")
            del self.world.ledger.ended["t"]

    def test_an_old_incarnation(self) -> None:
        worker = self.world.register("w", 5)
        for start in (self.world.register, self.world.beat):
            error = self.assertRaises(StaleIncarnation, start, "w", 4)
            self.assertEqual(error.fields, {"worker": "w", "incarnation": 5})
        self.assertIs(self.world.ledger.workers.get("w"), worker)

    def test_a_late_goodbye_of_the_old_connection_hurts_nobody(self) -> None:
        old = self.world.register("w", 1, object())
        new = self.world.register("w", 2, object())
        self.world.broker.upkeep.connection_lost(old, self.world.now)
        self.world.tick(11)
        self.assertIs(self.world.ledger.workers.get("w"), new)

    def test_too_many(self) -> None:
        self.world.register("a")
        self.world.register("b")
        for start in (self.world.register, self.world.beat):
            error = self.assertRaises(BadRequest, start, "c")
            self.assertIn("2 workers", str(error))
        self.world.register("b", 2)
        self.assertEqual(len(self.world.ledger.workers), 2)

    def test_an_unknown_one(self) -> None:
        error = self.assertRaises(UnknownWorker, self.world.ledger.workers.get, "w")
        self.assertIn("register it", str(error))
        self.assertIsNone(self.world.ledger.workers.find("w"))


class HeartbeatTests(CoreTestCase):
    def test_an_unknown_worker_is_registered(self) -> None:
        worker = self.world.beat("w", 3)
        self.assertEqual((worker.name, worker.incarnation), ("w", 3))
        self.assertIs(self.world.ledger.workers.get("w"), worker)

    def test_what_it_says_of_itself(self) -> None:
        info = self.world.register("w").info
        self.world.pass_time(15)
        worker = self.world.broker.control.heartbeat(
            info, self.world.now, cpu_percent=12.5, rss_bytes=10**8, in_hand=3
        )
        self.assertEqual((worker.cpu_percent, worker.rss_bytes, worker.in_hand), (12.5, 10**8, 3))
        self.assertEqual((worker.beat_at, worker.renewed_at), (self.world.wall, self.world.mono))

    def test_it_counts_what_a_worker_did(self) -> None:
        worker = self.world.register()
        for _ in range(3):
            self.world.submit()
        a, b, _ = self.world.claim(3, holder=worker)
        self.world.complete(a)
        self.world.fail(b)
        self.world.broker.control.strike(worker, "deregistered", self.world.now)
        self.assertEqual((worker.completed, worker.failed, worker.lost), (1, 1, 1))


class EvictionTests(CoreTestCase):
    def evicted(self) -> list[tuple[str, str]]:
        return [
            (worker.name, reason)
            for worker, reason in self.world.broker.upkeep.evict_stale(self.world.now)
        ]

    def test_without_a_heartbeat(self) -> None:
        self.world.submit("t")
        worker = self.world.register()
        self.world.take(worker)
        self.world.pass_time(29.9)
        self.assertEqual(self.evicted(), [])
        self.world.beat()
        self.world.pass_time(29.9)
        self.assertEqual(self.evicted(), [])
        self.world.pass_time(0.1)
        self.assertEqual(self.evicted(), [("w", "no heartbeat")])
        self.assertIsNone(self.world.ledger.workers.find("w"))
        self.assertIs(self.world.state("t"), State.PENDING)
        [event] = self.world.drain()[0].history
        self.assertEqual(event.detail, "worker evicted: no heartbeat")
        self.assertEqual(event.worker, "w")

    def test_however_long_its_leases_are(self) -> None:
        self.world.submit("t")
        self.world.claim(holder=self.world.register(), lease_s=3600.0)
        self.world.tick(30)
        self.assertIs(self.world.state("t"), State.PENDING)

    def test_disconnected(self) -> None:
        self.world.submit("t")
        worker = self.world.register("w", 1, object())
        self.world.take(worker)
        self.world.broker.upkeep.connection_lost(worker, self.world.now)
        self.world.pass_time(9.9)
        self.assertEqual(self.evicted(), [])
        self.assertIs(self.world.state("t"), State.IN_PROGRESS)
        self.world.pass_time(0.1)
        self.assertEqual(self.evicted(), [("w", "disconnected")])
        self.assertIs(self.world.state("t"), State.PENDING)

    def test_one_that_never_had_a_connection_lives_by_its_heartbeat(self) -> None:
        self.world.register()
        for _ in range(10):
            self.world.pass_time(15)
            self.world.beat()
            self.assertEqual(self.evicted(), [])

    def test_a_jump_of_the_wall_clock_evicts_nobody(self) -> None:
        self.world.register()
        self.world.wall += 86_400
        self.assertEqual(self.evicted(), [])

    def test_the_others_stay(self) -> None:
        self.world.register("a")
        self.world.pass_time(20)
        self.world.register("b")
        self.world.pass_time(10)
        self.assertEqual(self.evicted(), [("a", "no heartbeat")])
        self.assertEqual([worker.name for worker in self.world.ledger.workers], ["b"])

    def test_deregistered(self) -> None:
        """Its leases end at once, and its waiting claims."""
        self.world.submit("t")
        worker = self.world.register()
        self.world.take(worker)
        claim = self.world.wait(holder=worker)
        self.world.broker.control.strike(worker, "deregistered", self.world.now)
        self.assertIs(self.world.state("t"), State.PENDING)
        self.assertEqual(self.world.ledger.withdrawn, [claim])
        self.assertEqual(len(self.world.ledger.workers), 0)


class ReservingTests(CoreTestCase):
    """Workers whose leases are reservations: for so long, and no longer."""

    def reserving(self, link: object | None = None, **fields: float) -> Worker:
        return self.world.register("w", 0, link, reserves=True, **fields)

    def test_a_heartbeat_renews_nothing(self) -> None:
        self.world.submit("t")
        worker = self.reserving()
        self.world.claim(holder=worker, lease_s=60.0)
        for _ in range(3):
            self.world.tick(19)
            self.reserving()
            self.assertIs(self.world.state("t"), State.IN_PROGRESS)
        self.world.tick(3)
        self.assertIs(self.world.state("t"), State.PENDING)
        self.assertEqual(worker.lost, 1)
        self.assertIs(self.world.ledger.workers.get("w"), worker)

    def test_its_leases_outlive_it(self) -> None:
        self.world.submit("t")
        worker = self.reserving(stale_after_s=60.0)
        [delivery] = self.world.claim(holder=worker, lease_s=1800.0)
        self.world.tick(59)
        self.assertIs(self.world.ledger.workers.find("w"), worker)
        self.world.tick(1)
        self.assertIsNone(self.world.ledger.workers.find("w"))
        self.assertIs(self.world.state("t"), State.IN_PROGRESS)
        self.assertIs(self.world.complete(delivery), State.COMPLETED)

    def test_its_leases_outlive_its_connection(self) -> None:
        self.world.submit("t")
        worker = self.reserving(object())
        self.world.claim(holder=worker, lease_s=1800.0)
        self.world.broker.upkeep.connection_lost(worker, self.world.now)
        self.world.tick(11)
        self.assertIsNone(self.world.ledger.workers.find("w"))
        self.world.tick(1788)
        self.assertIs(self.world.state("t"), State.IN_PROGRESS)
        self.world.tick(1)
        self.assertIs(self.world.state("t"), State.PENDING)

    def test_somebody_can_end_them(self) -> None:
        self.world.submit("t")
        worker = self.reserving()
        self.world.take(worker)
        self.world.broker.control.strike(worker, "deregistered", self.world.now)
        self.assertIs(self.world.state("t"), State.PENDING)


class ConnectionTests(CoreTestCase):
    def test_the_leases_of_an_unregistered_claimer_end_at_once(self) -> None:
        other = Holder("other")
        for holder in (self.world.holder, other):
            for _ in range(3):
                self.world.submit()
                self.world.take(holder)
        self.world.broker.upkeep.connection_lost(self.world.holder, self.world.now)
        self.assertEqual((len(self.world.holder.leases), len(other.leases)), (0, 3))
        self.assertEqual(len(self.world.ledger.leases), 3)


class OrderTests(CoreTestCase):
    def test_there_is_no_way_back(self) -> None:
        control = self.world.broker.control
        worker = self.world.register()
        for order in ORDERS:
            control.order("w", order)
            control.order("w", order)
            self.assertEqual(worker.order, order)
        self.assertRaises(BadRequest, control.order, "w", "quiet")
        self.assertEqual(worker.order, "terminate")

    def test_it_may_finish_what_it_has(self) -> None:
        self.world.submit("t")
        worker = self.world.register()
        delivery = self.world.take(worker)
        self.world.broker.control.order("w", "quiet")
        self.world.beat()
        self.assertIs(self.world.complete(delivery), State.COMPLETED)

    def test_a_new_incarnation_is_free_of_it(self) -> None:
        self.world.register("w", 1)
        self.world.broker.control.order("w", "terminate")
        worker = self.world.register("w", 2)
        self.assertIsInstance(worker, Worker)
        self.assertIsNone(worker.order)

    def test_an_unknown_worker(self) -> None:
        self.assertRaises(UnknownWorker, self.world.broker.control.order, "w", "quiet")
