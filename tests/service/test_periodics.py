"""Periodic tasks of a running service."""

from twisted.internet.testing import EventLoggingObserver
from twisted.logger import globalLogPublisher

from taskqueue.core.periodic import Periodic, Tick
from taskqueue.core.task import State
from taskqueue.errors import BadRequest, ShuttingDown, StoreUnavailable, UnknownPeriodic
from taskqueue.store.sqlite import SQLiteStore
from tests.service.running import WALL, ObedientStore, ServiceTestCase

#: The service's wall clock begins 1000 s after this, which is 40 s past a minute.
FIRST = WALL + 1020


class PeriodicTests(ServiceTestCase):
    def put(self, name="p", **fields):
        fields = {"every_s": 60.0, "payload": b"x", **fields}
        [row] = self.result_of(self.service.put_periodics([Periodic(name, "job", **fields)]))
        return row

    def row(self, name="p"):
        [row] = [row for row in self.service.periodics() if row.definition.name == name]
        return row

    def test_fires_and_is_delivered(self):
        waiting = self.claiming(wait_s=100.0)
        self.assertEqual(self.put().next_at, FIRST)
        self.pass_time(19.5)
        self.assertNoResult(waiting)
        self.pass_time(1)
        [delivery] = self.successResultOf(waiting)
        self.assertEqual((delivery.id, delivery.payload), (Tick("p", FIRST).task_id, b"x"))
        self.assertEqual(self.row().next_at, FIRST + 60)

    def test_cron(self):
        self.put(cron="* * * * *", every_s=None, tz="Europe/Paris")
        self.pass_time(21)
        self.assertEqual(self.take().id, Tick("p", FIRST).task_id)

    def test_tick_and_task_are_one_commit(self):
        self.put()
        self.pass_time(20)
        self.turn()
        [batch] = [batch for batch in self.store.batches if batch.inserts]
        self.assertEqual([row.id for row in batch.inserts], [Tick("p", FIRST).task_id])
        self.assertEqual([row.next_at for row in batch.periodics], [FIRST + 60])

    def test_nothing_fires_while_the_store_fails(self):
        """The tick is still due when it works again."""
        self.put()
        self.store.fail("commit")
        self.service.submit([])
        self.submitting("a").addErrback(lambda _: None)
        self.pass_time(21)
        self.assertEqual(self.row().fired, 0)
        self.error_of(self.service.trigger_periodic("p"), StoreUnavailable)
        self.store.work()
        self.pass_time(8)
        self.assertEqual(self.row().fired, 1)

    def test_look_up_that_fails(self):
        """It costs that one turn."""
        self.put()
        self.service.broker.ledger.seen.complete = False
        self.store.fail("records")
        self.pass_time(21)
        self.assertEqual(self.row().fired, 0)
        self.assertTrue(self.flushLoggedErrors())
        self.store.work()
        self.pass_time(1)
        self.assertEqual(self.row().fired, 1)

    def test_a_tick_whose_task_the_store_has(self):
        """Deleted and made again, after the clock was set back: it does not fire twice."""
        self.put()
        self.pass_time(21)
        self.report(self.take())
        self.forget_ended()
        self.result_of(self.service.delete_periodic("p"))
        self.jumped_s -= 60
        self.put()
        self.pass_time(60)
        self.assertEqual((self.row().fired, self.row().skipped), (0, 1))
        self.assertEqual(self.claim(), [])
        self.pass_time(60)
        self.assertEqual(self.take().id, Tick("p", FIRST + 60).task_id)

    def test_paused_triggered_deleted(self):
        self.put()
        self.result_of(self.service.pause_periodic("p", True))
        self.pass_time(61)
        self.assertEqual(self.claim(), [])
        task_id = self.result_of(self.service.trigger_periodic("p"))
        self.assertEqual(self.take().id, task_id)
        self.assertIs(self.state(task_id), State.IN_PROGRESS)
        row = self.result_of(self.service.pause_periodic("p", False))
        self.assertEqual(row.next_at, FIRST + 60)
        self.result_of(self.service.delete_periodic("p"))
        self.assertEqual(self.service.periodics(), [])
        self.assertEqual(self.service.stats()["periodics"], 0)

    def test_page_by_page(self):
        for name in ("c", "a", "b"):
            self.put(name)
        self.assertEqual(self.service.stats()["periodics"], 3)
        self.assertEqual([r.definition.name for r in self.service.periodics(limit=2)], ["a", "b"])
        self.assertEqual([r.definition.name for r in self.service.periodics("b")], ["c"])

    def test_refused(self):
        bad = [
            Periodic("a", "job", cron="never"),
            Periodic("b", "job", cron="* * * * *", tz="Mars/Base"),
            Periodic("c", "job", cron="0 0 */31 * MON#2"),
        ]
        answers = self.result_of(self.service.put_periodics(bad))
        self.assertEqual([type(answer) for answer in answers], [BadRequest] * 3)
        self.assertIn("never comes", str(answers[2]))
        self.assertEqual(self.service.periodics(), [])
        for use in (
            self.service.delete_periodic("x"),
            self.service.pause_periodic("x", True),
            self.service.trigger_periodic("x"),
        ):
            self.error_of(use, UnknownPeriodic)

    def test_stopping(self):
        self.put()
        self.stop()
        self.failureResultOf(self.service.trigger_periodic("p"), ShuttingDown)
        self.assertFalse(self.service.fire_periodics())

    def test_no_room_is_said_once(self):
        seen = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        self.put(queue="full")
        self.result_of(self.service.bound("full", 0))
        self.pass_time(30)
        self.result_of(self.service.bound("full", None))
        self.pass_time(1)
        self.assertEqual(self.row().fired, 1)
        warnings = [event for event in seen if event.get("periodic") == "p"]
        self.assertEqual(len(warnings), 1)
        self.assertIn("its bound is 0", warnings[0]["reason"])


class RecoveryMixin:
    """What was put goes on after a stop and after a crash, each tick once."""

    def put(self, **fields):
        self.result_of(self.service.put_periodics([Periodic("p", "job", **fields)]))

    def fired(self):
        self.pass_time(0.5)
        return [delivery.id for delivery in self.claim(limit=100)]

    def test_goes_on(self):
        self.put(every_s=60.0)
        before = self.service.periodics()
        self.go_on()
        self.assertEqual(self.service.periodics(), before)
        self.pass_time(20)
        self.assertEqual(self.fired(), [Tick("p", FIRST).task_id])
        self.go_on()
        self.pass_time(1)
        self.assertEqual(self.service.periodics()[0].fired, 1)

    def test_missed_while_it_was_down(self):
        self.put(every_s=60.0, catch_up="all")
        self.turn()
        self.away_s = 200.0
        self.go_on()
        self.pass_time(0.5)
        ids = [Tick("p", FIRST + 60 * n).task_id for n in range(4)]
        self.assertEqual(self.fired(), ids)

    away_s = 0.0


class RestartTests(RecoveryMixin, ServiceTestCase):
    def go_on(self):
        self.stop()
        self.clock.advance(self.away_s)
        self.service = self.start()


class CrashTests(RecoveryMixin, ServiceTestCase):
    def make_store(self):
        return ObedientStore(SQLiteStore(self.mktemp()))

    def go_on(self):
        self.turn()
        for call in list(self.clock.getDelayedCalls()):
            call.cancel()
        self.clock.advance(self.away_s)
        self.crash()
