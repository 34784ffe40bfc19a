"""Timers survive their own errors, and neither spin nor lose what is under way."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.errors import StoreFailed
from taskqueue.service.timers import SHORTEST_S, Timer


class TurningClock(Clock):
    """A clock of which one C{advance} is one turn of a reactor: what is called for now waits."""

    def advance(self, amount):
        self.rightNow += amount
        for call in [call for call in self.calls if call.getTime() <= self.rightNow]:
            if call in self.calls:
                self.calls.remove(call)
                call.called = 1
                call.func(*call.args, **call.kw)


class TimerTests(SynchronousTestCase):
    def setUp(self):
        self.clock = TurningClock()
        self.calls = []

    def start(self, function, interval_s=1.0):
        timer = Timer("test", interval_s, function, self.clock)
        timer.startService()
        self.addCleanup(timer.stopService)
        return timer

    def counting(self, *results):
        """A function that notes when it is called, and gives these results, then C{None}."""
        left = list(results)

        def call():
            self.calls.append(self.clock.seconds())
            result = left.pop(0) if left else None
            if isinstance(result, Exception):
                raise result
            return result

        return call

    def test_again_and_again(self):
        self.start(self.counting())
        self.assertEqual(self.calls, [])
        self.clock.pump([1.0] * 3)
        self.assertEqual(self.calls, [1.0, 2.0, 3.0])

    def test_maintenance_does_not_die_at_its_first_error(self):
        timer = self.start(self.counting(ValueError("bad"), ValueError("bad again")))
        self.clock.advance(1)
        self.assertTrue(timer.failing)
        self.clock.pump([1.0] * 3)
        self.assertEqual(self.calls, [1.0, 2.0, 3.0, 4.0])
        self.assertEqual((timer.failures, timer.failing), (2, False))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 2)

    def test_failing_deferred_does_not_end_it_either(self):
        first = Deferred()
        timer = self.start(self.counting(first))
        self.clock.pump([1.0] * 3)
        self.assertEqual(self.calls, [1.0])
        first.errback(StoreFailed("no"))
        self.assertEqual((timer.failures, timer.failing), (1, True))
        self.clock.pump([1.0] * 2)
        self.assertEqual(self.calls, [1.0, 4.0, 5.0])
        self.assertFalse(timer.failing)
        self.assertEqual(len(self.flushLoggedErrors(StoreFailed)), 1)

    def test_more_work_is_done_in_the_next_turns(self):
        self.start(self.counting(True, True))
        self.clock.advance(1)
        self.assertEqual(self.calls, [1.0])
        self.clock.advance(0)
        self.clock.advance(0)
        self.clock.advance(0)
        self.assertEqual(self.calls, [1.0] * 3)

    def test_a_long_backlog_is_worked_off_once_a_turn(self):
        """However many intervals it lasts: ticks do not add further rounds."""
        self.start(self.counting(*[True] * 1000))
        self.clock.pump([1.0] * 10)
        self.calls.clear()
        self.clock.advance(0)
        self.assertEqual(len(self.calls), 1)
        self.clock.advance(0)
        self.assertEqual(len(self.calls), 2)

    def test_what_is_due_before_the_next_turn_is_done_when_it_is_due(self):
        self.start(self.counting(0.25, 0.5, 1.5, None))
        self.clock.pump([0.25] * 12)
        self.assertEqual(self.calls, [1.0, 1.25, 1.75, 2.0, 3.0])

    def test_what_stays_due_does_not_keep_the_processor_busy(self):
        self.start(self.counting(*[-1.0] * 1000))
        self.clock.advance(1)
        self.clock.advance(0)
        self.assertEqual(self.calls, [1.0])
        self.clock.advance(SHORTEST_S)
        self.assertEqual(len(self.calls), 2)

    def test_stop_leaves_nothing_that_was_due(self):
        timer = self.start(self.counting(0.5))
        self.clock.advance(1)
        self.successResultOf(timer.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_stop_leaves_nothing(self):
        timer = self.start(self.counting(True))
        self.clock.advance(1)
        self.successResultOf(timer.stopService())
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.clock.advance(10)
        self.assertEqual(self.calls, [1.0])

    def test_stop_waits_for_what_is_under_way(self):
        under_way = Deferred()
        timer = self.start(self.counting(under_way))
        self.clock.advance(1)
        stopped = timer.stopService()
        self.assertNoResult(stopped)
        under_way.callback(None)
        self.successResultOf(stopped)
        self.clock.advance(10)
        self.assertEqual(self.calls, [1.0])

    def test_stop_outlives_what_fails_meanwhile(self):
        under_way = Deferred()
        timer = self.start(self.counting(under_way))
        self.clock.advance(1)
        stopped = timer.stopService()
        under_way.errback(StoreFailed("no"))
        self.successResultOf(stopped)
        self.flushLoggedErrors(StoreFailed)

    def test_start_again(self):
        timer = self.start(self.counting())
        self.clock.advance(1)
        timer.stopService()
        timer.startService()
        self.clock.advance(1)
        self.assertEqual(self.calls, [1.0, 2.0])
