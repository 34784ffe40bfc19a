"""How the service starts, fails to start, and stops: whatever the store does."""

import os
import threading

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.config import Config, HttpConfig, ListenConfig, StoreConfig
from taskqueue.core.delivery import Outcome
from taskqueue.core.intake import Submission
from taskqueue.core.task import State
from taskqueue.errors import ShuttingDown, StoreCorrupt, StoreFailed, StoreUnavailable
from taskqueue.service import TaskQueueService
from taskqueue.store.sqlite import SQLiteStore
from tests.service.running import ServiceTestCase
from tests.service.test_runner import FromThreads


class Refusing(Service):
    """A front-end that cannot start."""

    def startService(self):
        super().startService()
        raise OSError("the port is busy")


class Standing(Service):
    """A front-end that starts, and takes its time to stop if told so."""

    stopped = 0
    waits: Deferred | None = None

    def stopService(self):
        super().stopService()
        self.stopped += 1
        return self.waits


class StoppingTests(ServiceTestCase):
    def heard(self):
        """The texts of what is logged from now on."""
        observer = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        return lambda: [event["log_format"] for event in observer]

    def test_stores_everything(self):
        first = self.submitting("a")
        stopped = self.service.stopService()
        self.successResultOf(stopped)
        self.successResultOf(first)
        self.assertEqual([row.id for row in self.store.inner._kept.rows.values()], ["a"])
        self.assertEqual(self.store.called[-1], "close")
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_waits_for_the_group_under_way_and_the_next(self):
        self.writer.holding = True
        first = self.submitting("a")
        self.turn()
        second = self.submitting("b")
        stopped = self.service.stopService()
        self.assertNoResult(stopped)
        self.writer.run_next()
        self.successResultOf(first)
        self.assertNoResult(stopped)
        self.writer.run_next()
        self.successResultOf(second)
        self.successResultOf(stopped)

    def test_new_requests_are_refused(self):
        self.submit("a")
        delivery = self.take()
        self.writer.holding = True
        self.submitting("b")
        stopped = self.service.stopService()
        service = self.service
        for refused in (
            service.submit([Submission("job")]),
            service.claim(self.holder, wait_s=30.0),
            service.report([Outcome("a", delivery.lease, State.COMPLETED)]),
            service.release([("a", delivery.lease, 0.0)]),
            service.cancel(["a"]),
            service.retry(["a"]),
            service.delete(["a"]),
            service.pause("default"),
            service.resume("default"),
            service.bound("default", 1),
            service.purge("default"),
        ):
            error = self.failureResultOf(refused, ShuttingDown).value
            self.assertEqual(error.retry_after_s, 1.0)
        self.writer.let_go()
        self.successResultOf(stopped)

    def test_waiting_claims_are_answered_empty(self):
        claims = [self.claiming(wait_s=30.0) for _ in range(3)]
        self.stop()
        for claim in claims:
            self.assertEqual(self.successResultOf(claim), [])
        self.assertEqual(len(self.service.broker.ledger.claims), 0)

    def test_connections_are_closed_when_all_is_answered(self):
        """And the store only when they are gone."""
        seen = []
        gone = Deferred()

        def close():
            seen.append(answer.called)
            return gone

        self.service.at_close(close)
        answer = self.submitting("a")
        stopped = self.service.stopService()
        self.assertEqual(seen, [True])
        self.assertNoResult(stopped)
        self.assertNotIn("close", self.store.called)
        gone.callback(None)
        self.successResultOf(stopped)

    def test_connections_that_do_not_go_are_given_up(self):
        cancelled = []
        self.service.at_close(lambda: Deferred(cancelled.append))
        stopped = self.service.stopService()
        self.clock.advance(self.config.broker.stop_timeout_s)
        self.successResultOf(stopped)
        self.assertEqual(len(cancelled), 1)

    def test_closer_that_fails_does_not_keep_it_from_stopping(self):
        def fail():
            raise ZeroDivisionError

        self.service.at_close(fail)
        self.stop()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.store.called[-1], "close")

    def test_waits_for_a_sweep_under_way(self):
        self.settler.holding = True
        swept = self.service.sweep
        self.clock.advance(self.config.retention.sweep_interval_s)
        self.assertIsNotNone(swept)
        self.assertGreater(len(self.settler), 0)
        stopped = self.service.stopService()
        self.assertNoResult(stopped)
        self.settler.let_go()
        self.successResultOf(stopped)
        self.assertLess(self.store.called.index("sweep"), self.store.called.index("close"))

    def test_a_store_that_hangs_takes_bounded_time(self):
        heard = self.heard()
        closed = []
        self.service.at_close(lambda: closed.append(True))
        self.writer.holding = True
        answer = self.submitting("a")
        stopped = self.service.stopService()
        self.clock.advance(self.config.broker.stop_timeout_s - 0.25)
        self.assertNoResult(stopped)
        self.assertNoResult(answer)
        self.clock.advance(0.25)
        self.successResultOf(stopped)
        self.failureResultOf(answer, StoreUnavailable)
        self.assertEqual(closed, [True])
        self.assertNotIn("close", self.store.called)
        self.assertIn("the store hangs: it is left open until this process ends", heard())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_store_that_fails_is_said(self):
        heard = self.heard()
        self.store.fail("commit")
        answer = self.submitting("a")
        stopped = self.service.stopService()
        self.successResultOf(stopped)
        self.failureResultOf(answer, StoreUnavailable)
        self.assertIn("the newest changes could not be stored", heard())
        self.assertEqual(self.store.called[-1], "close")

    def test_whoever_goes_after_the_end_changes_nothing(self):
        """The leases of a connection that is closed at last are there after the restart."""
        self.submit("a")
        delivery = self.take()
        self.stop()
        commits = self.store.count("commit")
        self.service.holder_gone(self.holder)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.store.count("commit"), commits)
        self.failureResultOf(self.service.status(["a"]), ShuttingDown)
        self.service = self.start()
        self.assertEqual(self.report(delivery), State.COMPLETED)

    def test_front_ends_are_stopped_first(self):
        child = Standing()
        child.waits = Deferred()
        child.setServiceParent(self.service)
        stopped = self.service.stopService()
        self.assertEqual(child.stopped, 1)
        self.assertNotIn("close", self.store.called)
        child.waits.callback(None)
        self.successResultOf(stopped)

    def test_stop_without_start(self):
        service = TaskQueueService(self.config, self.clock, store=self.store)
        self.successResultOf(service.stopService())

    def test_second_life_of_one_object(self):
        self.submit("a")
        self.submit("b")
        self.take()
        self.stop()
        self.service.startService()
        self.settler, self.writer, self.reading = self.runners[-3:]
        self.assertEqual(len(self.service.broker.ledger.tasks), 2)
        self.assertEqual(self.service.stats()["depth"], 1)
        self.submit("c")


class StartingTests(ServiceTestCase):
    def test_store_that_cannot_be_read_is_closed(self):
        for error in (StoreCorrupt("damaged"), StoreFailed("no")):
            self.stop()
            self.store.failing = {"recover": error}
            self.assertRaises(type(error), self.start)
            self.assertEqual(self.store.called[-1], "close")
            self.store.work()
            self.service = self.start()

    def test_failing_front_end_leaves_nothing(self):
        self.stop()
        service = TaskQueueService(self.config, self.clock, store=self.store, moments=self.moments)
        before, after = Standing(), Standing()
        before.setServiceParent(service)
        Refusing().setServiceParent(service)
        after.setServiceParent(service)
        self.assertRaises(OSError, service.startService)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual((before.stopped, after.stopped), (1, 0))
        self.assertEqual(self.store.called[-1], "close")
        self.assertTrue(all(runner.stopped for runner in self.runners))
        self.assertFalse(service.running)
        self.successResultOf(service.stopService())


class SQLiteTests(SynchronousTestCase):
    """With the real store in real threads."""

    def setUp(self):
        self.path = self.mktemp()
        self.reactor = FromThreads()

    def make(self, **store):
        config = Config(
            store=StoreConfig(path=self.path, **store),
            listen=ListenConfig(framed=()),
            http=HttpConfig(listen=()),
        )
        return TaskQueueService(config, self.reactor)

    def wait(self, answer):
        self.reactor.advance(1)
        while not answer.called:
            self.reactor.wait()
            self.reactor.advance(0.01)
        return self.successResultOf(answer)

    def test_failed_start_gives_the_lock_back(self):
        service = self.make()
        Refusing().setServiceParent(service)
        self.assertRaises(OSError, service.startService)
        self.assertEqual(self.reactor.getDelayedCalls(), [])
        names = [thread.name for thread in threading.enumerate()]
        self.assertEqual([name for name in names if "taskqueue store" in name], [])
        again = SQLiteStore(self.path)
        again.open()
        again.close()

    def test_stops_with_all_stored(self):
        service = self.make()
        service.startService()
        answers = [service.submit([Submission("job", b"x")]) for _ in range(10)]
        self.wait(service.stopService())
        for answer in answers:
            self.successResultOf(answer)
        names = [thread.name for thread in threading.enumerate()]
        self.assertEqual([name for name in names if "taskqueue store" in name], [])
        again = self.make()
        again.startService()
        self.assertEqual(len(again.broker.ledger.tasks), 10)
        self.wait(again.stopService())
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_relaxed_durability_stores_all_at_the_end(self):
        for durability in ("interval", "none"):
            service = self.make(durability=durability)
            service.startService()
            self.wait(service.submit([Submission("job", b"x")]))
            self.wait(service.stopService())
        again = self.make()
        again.startService()
        self.assertEqual(len(again.broker.ledger.tasks), 2)
        self.wait(again.stopService())

    def test_backup_while_it_runs(self):
        service = self.make()
        service.startService()
        self.wait(service.submit([Submission("job", b"x")]))
        path, size = self.wait(service.backup("today.db"))
        self.assertEqual(
            (os.path.dirname(path), os.path.getsize(path)),
            (os.path.join(self.path, "backups"), size),
        )
        self.wait(service.stopService())
