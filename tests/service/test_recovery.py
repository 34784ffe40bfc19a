"""A service goes on where another one stopped, or died."""

from taskqueue.core.intake import Accepted
from taskqueue.core.task import DEFAULT_OPTIONS, State, Until
from taskqueue.errors import LeaseLost, QueueFull
from taskqueue.store.sqlite import SQLiteStore
from tests.service.running import ObedientStore, ServiceTestCase


class RecoveryMixin:
    """Each test runs over each store, after a stop and after a crash."""

    def go_on(self):
        """The service ends, and another one goes on."""
        raise NotImplementedError

    def test_waiting_tasks_keep_their_order_and_all_that_is_theirs(self):
        options = DEFAULT_OPTIONS._replace(max_retries=7, lease_s=12.0)
        self.submit("low", priority=10, payload=b"\x00\xff", options=options, headers='{"a":"b"}')
        self.submit("first")
        self.submit("second")
        self.go_on()
        deliveries = self.claim(limit=5)
        self.assertEqual([d.id for d in deliveries], ["first", "second", "low"])
        low = deliveries[2]
        self.assertEqual((low.payload, low.headers, low.lease_s), (b"\x00\xff", '{"a":"b"}', 12.0))
        self.assertEqual(self.service.broker.ledger.tasks["low"].options, options)

    def test_lease_token_and_attempt_survive(self):
        self.submit("a")
        self.submit("b")
        one, two = self.claim(limit=2)
        self.turn()
        self.go_on()
        row = self.status("a")
        self.assertEqual((row.state, row.attempt, row.token), (State.IN_PROGRESS, 1, one.lease))
        self.assertEqual((row.worker, row.lease_s), ("claimer", 30.0))
        self.assertEqual(self.report(one, result=b"done"), State.COMPLETED)
        self.assertEqual(self.status("a").result, b"done")
        # The other holder has one fresh lease's time to report, and no more.
        self.pass_time(29)
        self.assertEqual(self.state("b"), State.IN_PROGRESS)
        self.pass_time(2)
        self.assertEqual(self.state("b"), State.PENDING)
        self.assertIsInstance(self.report(two), LeaseLost)
        again = self.take()
        self.assertEqual(again.attempt, 2)
        self.assertGreater(again.lease, two.lease)

    def test_tokens_are_never_given_twice(self):
        tokens = []
        for _ in range(3):
            self.submit()
            tokens.append(self.take().lease)
            self.go_on()
        self.assertEqual(tokens, sorted(set(tokens)))

    def test_unique_keys_are_held_as_before(self):
        self.submit("waits", unique="a")
        self.submit("ended", unique="b", unique_until=Until.WINDOW, unique_for_s=60.0, queue="w")
        self.submit("free", unique="c", queue="w")
        for delivery in self.claim(limit=2, queues=("w",)):
            self.report(delivery)
        self.turn()
        self.go_on()
        [a], [b], [c] = [self.result_of(self.submitting("new", unique=k)) for k in "abc"]
        self.assertEqual(a, Accepted("waits", State.PENDING, True))
        self.assertEqual(b, Accepted("ended", State.COMPLETED, True))
        self.assertEqual(c, Accepted("new", State.PENDING))
        self.pass_time(60)
        self.assertEqual(self.service.broker.ledger.keys.holders.keys(), {"a", "c"})

    def test_registered_worker_has_time_to_come_back(self):
        worker = self.register(incarnation=5)
        self.submit("a")
        delivery = self.take(holder=worker, lease_s=2.0)
        self.turn()
        self.go_on()
        self.pass_time(10)
        self.assertTrue(self.service.broker.ledger.workers.get("w").recovered)
        back = self.register(incarnation=5)
        self.assertFalse(back.recovered)
        self.assertEqual(list(back.leases), [delivery.lease])
        self.assertEqual(self.report(delivery), State.COMPLETED)

    def test_registered_worker_that_does_not_come_back(self):
        self.submit("a")
        self.take(holder=self.register())
        self.turn()
        self.go_on()
        self.pass_time(31)
        self.assertEqual(self.state("a"), State.PENDING)
        self.assertEqual(len(self.service.broker.ledger.workers), 0)

    def test_failures_and_history(self):
        self.submit("a")
        self.report(self.take(), State.FAILED, error="once", retry_in_s=60.0)
        self.go_on()
        row = self.status("a")
        self.assertEqual((row.state, row.failures, row.error), (State.FAILED, 1, "once"))
        [event] = self.result_of(self.service.history("a"))
        self.assertEqual((event.event, event.detail, event.worker), ("failed", "once", "claimer"))
        self.assertEqual(self.claim(), [])
        self.pass_time(61)
        self.assertEqual(self.take().failures, 1)

    def test_schedules_and_expiries(self):
        wall = self.moments().wall
        self.submit("later", run_at=wall + 10)
        self.submit("soon over", expires_at=wall + 10)
        self.go_on()
        self.assertEqual(self.state("later"), State.SCHEDULED)
        self.pass_time(11)
        self.assertEqual(self.state("later"), State.PENDING)
        self.assertEqual(self.state("soon over"), State.EXPIRED)

    def test_what_came_due_meanwhile(self):
        self.submit("later", run_at=self.moments().wall + 10)
        self.clock.advance(0)
        self.jumped_s = 3600.0
        self.go_on()
        self.pass_time(1)
        self.assertEqual(self.take().id, "later")

    def test_dependencies(self):
        self.submit("done")
        self.submit("open")
        self.submit("waits", depends_on=("done", "open"))
        self.report(self.take())
        self.go_on()
        self.assertEqual(self.state("waits"), State.BLOCKED)
        self.assertEqual(self.report(self.take()), State.COMPLETED)
        self.assertEqual(self.state("waits"), State.PENDING)

    def test_what_operators_set(self):
        self.submit("a")
        self.submit("b", queue="bounded")
        self.result_of(self.service.pause("default"))
        self.result_of(self.service.bound("bounded", 1))
        self.go_on()
        self.assertEqual(self.claim(), [])
        [full] = self.result_of(self.submitting("c", queue="bounded"))
        self.assertIsInstance(full, QueueFull)
        self.result_of(self.service.resume("default"))
        self.assertEqual(self.take().id, "a")

    def test_counts_of_all_states(self):
        self.complete(queue="x")
        self.kill()
        self.submit("a")
        self.submit("b")
        self.take()
        self.result_of(self.service.cancel(["b"]))
        before = self.service.stats()
        self.assertEqual(before["states"]["dead_letter"], 1)
        self.go_on()
        after = self.service.stats()
        for name in ("states", "depth", "held_bytes", "in_progress"):
            self.assertEqual(after[name], before[name], name)

    def test_cancel_request(self):
        self.submit("a")
        delivery = self.take()
        self.result_of(self.service.cancel(["a"], running=True))
        self.go_on()
        self.assertEqual(self.report(delivery, State.FAILED, error="x"), State.CANCELLED)

    def test_revived_task(self):
        self.submit("a", payload=b"p", expires_at=self.moments().wall + 3600)
        self.report(self.take(), State.FAILED, permanent=True)
        self.result_of(self.service.retry(["a"], 9))
        self.go_on()
        task = self.service.broker.ledger.tasks["a"]
        self.assertEqual((task.options.max_retries, task.expires_at, task.failures), (9, None, 0))
        self.assertEqual(self.take().payload, b"p")


class Stopped:
    def go_on(self):
        self.restart()


class Crashed:
    """Nothing is done at the end: what was not stored before is lost."""

    def go_on(self):
        self.turn()
        self.crash()

    def test_what_was_not_acknowledged_is_lost_and_nothing_else(self):
        self.submit("acknowledged")
        self.writer.holding = True
        lost = self.submitting("lost")
        self.turn()
        self.assertNoResult(lost)
        self.crash()
        self.assertEqual(list(self.service.broker.ledger.tasks), ["acknowledged"])
        self.submit("lost")


class OnSQLite:
    def make_store(self):
        return ObedientStore(SQLiteStore(self.mktemp()))


class MemoryStoppedTests(Stopped, RecoveryMixin, ServiceTestCase):
    pass


class MemoryCrashedTests(Crashed, RecoveryMixin, ServiceTestCase):
    pass


class SQLiteStoppedTests(OnSQLite, Stopped, RecoveryMixin, ServiceTestCase):
    pass


class SQLiteCrashedTests(OnSQLite, Crashed, RecoveryMixin, ServiceTestCase):
    pass
