"""Whoever waits for tasks is told of each outcome exactly once, and when it is durable."""

from dataclasses import replace

from taskqueue.core.intake import Submission
from taskqueue.core.task import State
from taskqueue.errors import StoreUnavailable
from taskqueue.service.journal import ANSWER_WITHIN_S
from tests.service.running import QUIET, Listening, ServiceTestCase


class WatchingMixin:
    def setUp(self):
        super().setUp()
        self.listener = Listening()

    def watch(self, *ids):
        return self.result_of(self.service.watch(self.listener, ids))

    def submit_and_watch(self, *ids, **fields):
        return self.service.submit([Submission("job", id=i, **fields) for i in ids], self.listener)

    def assertNobodyWatches(self):
        watches = self.service.watches
        self.assertEqual(len(watches), 0)
        self.assertEqual(watches.count(self.listener), 0)
        self.assertFalse(watches.is_watching(self.listener))

    def test_each_way_to_end(self):
        self.service.reconfigure(self.config)
        self.submit("done")
        self.report(self.take())
        self.watch("done")
        self.submit("cancelled")
        self.submit("expired", expires_at=self.moments().wall + 1)
        self.submit("dead", queue="other")
        self.watch("cancelled", "expired", "dead")
        self.result_of(self.service.cancel(["cancelled"]))
        self.pass_time(2)
        self.report(self.take(queues=("other",)), State.FAILED, permanent=True)
        self.turn()
        self.assertEqual(sorted(self.listener.told), ["cancelled", "dead", "done", "expired"])

    def test_of_ended_ones_at_once_and_once(self):
        self.complete("recent", result=b"r")
        self.complete("old", result=b"o")
        self.forget_ended()
        rows = self.watch("recent", "old", "unknown")
        self.assertEqual([row and row.id for row in rows], ["recent", "old", None])
        self.turn()
        self.assertEqual(self.listener.told, ["recent", "old"])
        self.assertEqual([row.result for row in self.listener.rows], [b"r", b"o"])
        self.assertNobodyWatches()

    def test_one_that_ends_in_the_same_group_is_told_once(self):
        self.submit("a")
        delivery = self.take()
        reported = self.reporting(delivery)
        watched = self.service.watch(self.listener, ["a"])
        self.turn()
        self.successResultOf(reported)
        self.successResultOf(watched)
        self.turn()
        self.assertEqual(self.listener.told, ["a"])
        self.assertNobodyWatches()

    def test_one_that_ends_while_it_is_looked_up_is_told_once(self):
        self.complete("old")
        self.forget_ended()
        self.submit("live")
        delivery = self.take()
        self.reading.holding = True
        watched = self.service.watch(self.listener, ["live", "old"])
        self.report(delivery)
        self.reading.let_go()
        self.successResultOf(watched)
        self.turn()
        self.assertEqual(sorted(self.listener.told), ["live", "old"])

    def test_one_that_is_submitted_while_it_is_looked_for_is_still_watched(self):
        self.reading.holding = True
        watched = self.service.watch(self.listener, ["a"])
        waiting, look = self.reading._calls.popleft()
        read_before = look()
        self.reading.holding = False
        self.result_of(self.service._submit({}, [Submission("job", id="a")], self.listener))
        waiting.callback(read_before)
        self.assertEqual(self.successResultOf(watched), [None])
        self.report(self.take())
        self.assertEqual(self.listener.told, ["a"])
        self.assertNobodyWatches()

    def test_twice_is_told_once(self):
        self.submit("a")
        self.watch("a", "a")
        self.watch("a")
        self.report(self.take())
        self.assertEqual(self.listener.told, ["a"])
        self.assertNobodyWatches()

    def test_two_listeners_are_both_told(self):
        other = Listening()
        self.submit("a")
        self.watch("a")
        self.result_of(self.service.watch(other, ["a"]))
        self.report(self.take())
        self.assertEqual((self.listener.told, other.told), (["a"], ["a"]))

    def test_listener_that_fails_keeps_nobody_from_hearing(self):
        class Failing(Listening):
            def outcomes(self, rows):
                raise ZeroDivisionError

        self.submit("a")
        self.result_of(self.service.watch(Failing(), ["a"]))
        self.watch("a")
        self.report(self.take())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.listener.told, ["a"])

    def test_dropped_listener_hears_nothing(self):
        self.submit("a")
        self.watch("a")
        self.service.watches.add_queues(self.listener, ["default", "other"])
        self.service.watches.drop(self.listener)
        self.report(self.take())
        self.assertEqual(self.listener.told, [])
        self.assertNobodyWatches()

    def test_whole_queue(self):
        watches = self.service.watches
        watches.add_queues(self.listener, ["default", "default"])
        self.assertTrue(watches.is_watching(self.listener))
        self.submit("a")
        self.watch("a")
        self.complete("b", queue="other")
        self.report(self.take())
        self.complete("c")
        self.assertEqual(self.listener.told, ["a", "c"])
        watches.remove_queues(self.listener, ["default", "never"])
        self.complete("d")
        self.assertEqual(self.listener.told, ["a", "c"])
        self.assertNobodyWatches()

    # --- submitted with a listener ----------------------------------------------

    def test_submitted_and_watched(self):
        self.result_of(self.submit_and_watch("a", "b"))
        for delivery in self.claim(limit=2):
            self.report(delivery)
        self.assertEqual(self.listener.told, ["a", "b"])

    def test_submitted_again_after_its_end(self):
        """In memory still, or in the store only: the outcome comes, once, with the result."""
        self.complete("old", result=b"old result")
        self.forget_ended()
        self.complete("recent", result=b"result")
        answers = self.result_of(self.submit_and_watch("old", "recent", "new"))
        self.assertEqual([answer.existing for answer in answers], [True, True, False])
        self.turn()
        self.assertEqual(sorted(self.listener.told), ["old", "recent"])
        self.assertEqual(
            {row.id: row.result for row in self.listener.rows},
            {"old": b"old result", "recent": b"result"},
        )
        self.assertEqual(self.service.watches.count(self.listener), 1)

    def test_submitted_again_while_its_end_is_being_stored(self):
        self.submit("a")
        delivery = self.take()
        self.reporting(delivery)
        answer = self.submit_and_watch("a")
        self.turn()
        [accepted] = self.successResultOf(answer)
        self.assertTrue(accepted.existing)
        self.turn()
        self.assertEqual(self.listener.told, ["a"])
        self.assertNobodyWatches()

    def test_submitted_and_ended_at_once(self):
        """A dependency that ended badly before."""
        self.kill("bad")
        self.result_of(self.submit_and_watch("a", depends_on=("bad",)))
        self.turn()
        self.assertEqual(self.listener.told, ["a"])
        self.assertEqual(self.listener.rows[0].state, State.DEAD_LETTER)


class NotWalked(dict):
    """A dictionary in which one may look up, but through which nobody may walk."""

    def __iter__(self):
        raise AssertionError("somebody walks through all of it")

    keys = values = items = __iter__


class CostTests(ServiceTestCase):
    def test_whoever_watches_nothing_costs_the_same_with_many_watched_queues(self):
        watches, watcher, other = self.service.watches, Listening(), Listening()
        watches.add_queues(watcher, ["a", "b"])
        watches._by_queue = NotWalked(watches._by_queue)
        self.assertEqual((watches.is_watching(watcher), watches.is_watching(other)), (True, False))
        watches.drop(other)
        watches.remove_queues(watcher, ["a"])
        self.assertTrue(watches.is_watching(watcher))
        watches.drop(watcher)
        self.assertFalse(watches.is_watching(watcher))
        self.assertEqual(len(watches._by_queue), 0)


class DurableWatchingTests(WatchingMixin, ServiceTestCase):
    """Where answers, and outcomes, wait for the store."""

    def test_told_when_durable(self):
        self.submit("a")
        [row] = self.watch("a")
        self.assertEqual(row.state, State.PENDING)
        delivery = self.take()
        self.writer.holding = True
        reported = self.reporting(delivery, result=b"\x00\xff")
        self.turn()
        self.assertEqual(self.listener.told, [])
        self.writer.let_go()
        self.successResultOf(reported)
        self.assertEqual(self.listener.told, ["a"])
        [row] = self.listener.rows
        self.assertEqual((row.state, row.result, row.payload), (State.COMPLETED, b"\x00\xff", None))
        self.assertNobodyWatches()

    def test_not_told_while_the_store_fails(self):
        self.submit("a")
        self.watch("a")
        delivery = self.take()
        self.store.fail("commit")
        reported = self.reporting(delivery)
        self.turn()
        self.assertEqual(self.listener.told, [])
        self.store.work()
        self.pass_time(1)
        self.successResultOf(reported)
        self.assertEqual(self.listener.told, ["a"])

    def test_refused_watch_watches_nothing(self):
        self.submit("a")
        self.store.fail("commit")
        self.submitting("b").addErrback(lambda _: None)
        self.turn()
        watched = self.service.watch(self.listener, ["a", "b"])
        self.pass_time(ANSWER_WITHIN_S + 1)
        self.failureResultOf(watched, StoreUnavailable)
        self.assertNobodyWatches()


class RelaxedWatchingTests(WatchingMixin, ServiceTestCase):
    """Where they do not."""

    config = replace(QUIET, store=replace(QUIET.store, durability="interval"))

    def turn(self, seconds=0.125):
        super().turn(seconds)

    def test_told_at_once(self):
        self.submit("a")
        self.watch("a")
        self.reporting(self.take())
        self.assertEqual(self.listener.told, ["a"])
        self.turn()
        self.assertEqual(self.listener.told, ["a"])

    def test_watched_before_anything_is_stored(self):
        self.store.fail("commit")
        self.submitting("a")
        self.reporting(self.take())
        [row] = self.successResultOf(self.service.watch(self.listener, ["a"]))
        self.assertEqual(row.state, State.COMPLETED)
        super().turn(0)
        self.assertEqual(self.listener.told, ["a"])
