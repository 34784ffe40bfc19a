"""What the service does by itself, as time goes on."""

from dataclasses import replace

from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher

from taskqueue.core import upkeep
from taskqueue.core.task import State
from taskqueue.core.workers import Registration
from taskqueue.errors import BadRequest, LeaseLost, StoreFailed
from tests.service.running import QUIET, ServiceTestCase

HOUR_S = 3600.0


class LeaseTests(ServiceTestCase):
    def test_expired_lease_gives_the_task_to_the_next(self):
        self.submit("a")
        self.take(lease_s=5.0)
        waiting = self.claiming(wait_s=30.0)
        self.pass_time(4.75)
        self.assertNoResult(waiting)
        self.pass_time(0.5)
        [delivery] = self.successResultOf(waiting)
        self.assertEqual((delivery.id, delivery.attempt, delivery.losses), ("a", 2, 1))

    def test_a_wall_clock_that_jumps_ends_no_lease_and_no_wait(self):
        for jump in (HOUR_S, -HOUR_S):
            worker = self.register()
            self.submit("a")
            self.submit("b")
            held = [self.take(lease_s=30.0), self.take(holder=worker)]
            waiting = self.claiming(wait_s=20.0)
            self.jumped_s += jump
            self.pass_time(15)
            self.assertNoResult(waiting)
            self.assertEqual(len(self.service.broker.ledger.leases), 2)
            self.assertEqual(len(self.service.broker.ledger.workers), 1)
            for delivery in held:
                self.assertEqual(self.report(delivery), State.COMPLETED)
            self.pass_time(6)
            self.assertEqual(self.successResultOf(waiting), [])
            self.result_of(self.service.delete(["a", "b"]))
            self.result_of(self.service.deregister("w"))

    def test_a_backlog_is_worked_off_in_slices(self):
        """Others get their turn in between."""
        self.patch(upkeep, "SLICE", 2)
        for _ in range(5):
            self.submit()
        self.claim(limit=5, lease_s=1.0)
        self.clock.advance(2)
        self.assertEqual(len(self.service.broker.ledger.leases), 0)

    def test_timers_do_not_spin_on_what_is_not_due_yet(self):
        """A schedule far ahead costs its look every interval, and nothing more."""
        for number in range(3):
            self.submit(run_at=self.moments().wall + HOUR_S + number)
        runs = []
        release_due = self.service.broker.upkeep.release_due
        self.service.broker.upkeep.release_due = lambda now: (runs.append(now), release_due(now))[1]
        self.clock.pump([0.125] * 80)
        self.assertLessEqual(len(runs), 101)
        self.assertEqual(self.service.stats()["states"]["scheduled"], 3)

    def assertOnTime(self, waiting, since):
        """An answer comes a second after a moment of the monotonic clock, to the millisecond."""
        self.clock.pump([0.001] * int((since + 0.999 - self.clock.seconds()) * 1000))
        self.assertNoResult(waiting)
        self.clock.pump([0.001] * 3)
        self.successResultOf(waiting)

    def test_what_is_due_is_done_when_it_is_due(self):
        """Not at the next look at everything, which may be a quarter of a second later."""
        for odd in (0.123, 0.217, 0.031):
            self.clock.advance(odd)
            since = self.clock.seconds()
            self.submit(run_at=self.moments().wall + 1)
            self.assertOnTime(self.claiming(wait_s=30.0), since)
            self.submit(queue="held")
            since = self.clock.seconds()
            self.take(lease_s=1.0, queues=("held",))
            self.assertOnTime(self.claiming(wait_s=30.0, queues=("held",)), since)
            since = self.clock.seconds()
            self.assertOnTime(self.claiming(wait_s=1.0, queues=("empty",)), since)
            self.submit(queue="paused")
            since = self.clock.seconds()
            self.service.pause("paused", 1.0)
            self.assertOnTime(self.claiming(wait_s=30.0, queues=("paused",)), since)

    def test_after_a_stop_of_everything_holders_are_heard_first(self):
        """What they sent meanwhile is read between a timer and the next turn."""
        self.register(incarnation=1)
        self.submit("a")
        self.submit("b")
        worker = self.service.broker.ledger.workers.get("w")
        held, gone = self.take(lease_s=30.0, holder=worker), self.take(lease_s=30.0)
        self.pass_time(5)
        self.clock.callLater(60, self.service.heartbeat, Registration("w", 1))
        self.clock.advance(60)
        self.assertIs(self.service.broker.ledger.workers.get("w"), worker)
        self.assertEqual(self.report(held), State.COMPLETED)
        self.assertIsInstance(self.report(gone), LeaseLost)

    def test_a_stop_of_everything_spares_nobody_who_was_silent(self):
        worker = self.register()
        self.submit("a")
        self.take(lease_s=30.0, holder=worker)
        self.pass_time(5)
        self.clock.advance(60)
        self.assertIs(self.service.broker.ledger.workers.find("w"), None)
        self.assertEqual(self.state("a"), State.PENDING)

    def test_timer_outlives_an_error(self):
        self.submit("a")
        self.take(lease_s=1.0)
        expire = self.service.broker.upkeep.expire_leases

        def fail(now):
            self.service.broker.upkeep.expire_leases = expire
            raise ZeroDivisionError

        self.service.broker.upkeep.expire_leases = fail
        self.pass_time(2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.state("a"), State.PENDING)
        self.assertEqual({t.name: t.failures for t in self.service.timers}["lease expiry"], 1)


class RetentionTests(ServiceTestCase):
    config = replace(
        QUIET,
        retention=replace(
            QUIET.retention,
            completed_s=60.0,
            dead_letter_s=None,
            sweep_interval_s=10.0,
            sweep_batch=2,
        ),
    )

    def test_ended_tasks_go_after_their_time_in_batches(self):
        names = [self.complete(queue="x") for _ in range(5)]
        self.kill("dead")
        self.submit("live")
        self.assertEqual(self.service.stats()["states"]["completed"], 5)
        self.pass_time(50)
        self.assertEqual(self.service.stats()["states"]["completed"], 5)
        before = self.store.count("sweep")
        self.pass_time(20)
        states = self.service.stats()["states"]
        self.assertEqual((states["completed"], states["dead_letter"], states["pending"]), (0, 1, 1))
        self.assertGreaterEqual(self.store.count("sweep") - before, 3)
        for name in names:
            self.assertIsNone(self.status(name))
        self.assertEqual(self.state("dead"), State.DEAD_LETTER)

    def test_sweep_that_fails_is_tried_again(self):
        self.complete()
        self.store.fail("sweep")
        self.pass_time(80)
        self.assertGreater(len(self.flushLoggedErrors(StoreFailed)), 0)
        self.store.work()
        self.pass_time(11)
        self.assertEqual(self.service.stats()["states"]["completed"], 0)

    def test_kept_for_ever(self):
        forever = dict.fromkeys(("completed_s", "cancelled_s", "expired_s"))
        self.service.reconfigure(self.adapt("retention", **forever))
        self.complete()
        self.pass_time(80)
        self.assertEqual(self.store.count("sweep"), 0)

    def test_store_is_compacted_every_second(self):
        before = self.store.count("checkpoint")
        self.pass_time(5)
        self.assertEqual(self.store.count("checkpoint") - before, 5)


class SamplingTests(ServiceTestCase):
    def heard(self):
        observer = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)

        def warnings():
            return [
                (event["queue"], event["type"], event["count"])
                for event in observer
                if "no worker runs it" in event["log_format"]
            ]

        return warnings

    def test_rates_of_the_last_minute(self):
        self.assertEqual(set(self.service.stats()["rates"].values()), {0.0})
        self.pass_time(5)
        for _ in range(10):
            self.complete()
        self.pass_time(10)
        rates = self.service.stats()["rates"]
        self.assertEqual(rates["submitted"], rates["completed"])
        self.assertTrue(0.9 < rates["completed"] < 1.1, rates)
        self.pass_time(120)
        self.assertEqual(self.service.stats()["rates"]["completed"], 0.0)

    def test_tasks_that_nobody_runs_are_warned_of_once(self):
        warnings = self.heard()
        self.submit(task_type="odd")
        self.submit(task_type="odd")
        self.pass_time(20)
        self.assertEqual(warnings(), [("default", "odd", 2)])
        self.assertEqual(
            self.service.stats()["unserved"], [{"queue": "default", "type": "odd", "ready": 2}]
        )
        self.claim(limit=2)
        self.pass_time(6)
        self.assertEqual(self.service.stats()["unserved"], [])
        self.submit(task_type="odd")
        self.pass_time(6)
        self.assertEqual(len(warnings()), 2)

    def test_no_warning_where_a_worker_or_a_claim_wants_them(self):
        warnings = self.heard()
        self.register(types=frozenset({"one"}))
        self.submit(task_type="one")
        self.pass_time(6)
        self.assertEqual(warnings(), [])


class ReconfigureTests(ServiceTestCase):
    def test_new_numbers_hold_from_now_on(self):
        self.submit("a")
        first = self.take()
        self.service.reconfigure(self.adapt("broker", lease_s=90.0))
        self.submit("b")
        self.assertEqual((first.lease_s, self.take().lease_s), (30.0, 90.0))
        self.pass_time(31)
        self.assertEqual((self.state("a"), self.state("b")), (State.PENDING, State.IN_PROGRESS))

    def test_what_cannot_change_stays(self):
        self.service.reconfigure(
            replace(self.config, store=replace(self.config.store, durability="none"))
        )
        self.assertEqual(self.service.stats()["durability"], "fsync")

    def test_bounds_of_leases(self):
        self.service.reconfigure(self.adapt("broker", lease_max_s=40.0))
        self.submit("a")
        self.error_of(self.claiming(lease_s=41.0), BadRequest)
        self.take(lease_s=40.0)


class RetentionAgainstRevivalTests(ServiceTestCase):
    """A task whose time is over, revived in that moment."""

    config = replace(
        QUIET,
        retention=replace(QUIET.retention, dead_letter_s=60.0, sweep_interval_s=10.0),
    )

    def test_they_take_turns_and_count_once(self):
        self.kill("dead")
        self.pass_time(55)
        self.reading.holding = True
        revived = self.service.retry(["dead"])
        swept = self.store.count("sweep")
        self.pass_time(20)
        self.assertEqual(self.store.count("sweep"), swept)
        self.reading.let_go()
        self.pass_time(20)
        self.assertEqual(self.successResultOf(revived), [State.PENDING])
        self.assertGreater(self.store.count("sweep"), swept)
        states = self.service.stats()["states"]
        self.assertEqual((states["dead_letter"], states["pending"]), (0, 1))
