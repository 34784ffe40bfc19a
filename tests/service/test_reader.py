"""Looking tasks up beside the commits, without ever forgetting one in between."""

from random import Random

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.changes import empty_batch
from taskqueue.core.intake import Submission
from taskqueue.core.ledger import Ledger
from taskqueue.core.policy import Policy
from taskqueue.core.task import State
from taskqueue.errors import StoreFailed
from taskqueue.service.reader import Reader
from tests.service.running import HeldRunner, ObedientStore, ServiceTestCase
from tests.store import rows


class ReaderTests(SynchronousTestCase):
    def setUp(self):
        self.store = ObedientStore()
        self.store.open()
        self.store.commit(empty_batch()._replace(inserts=[rows.task(i) for i in range(1, 6)]))
        self.asked = []
        self.patch(self.store.inner, "records", self.looking(self.store.inner.records))
        self.runner = HeldRunner()
        ledger = Ledger(Policy(), Random(1), str)
        self.reader = Reader(ledger, self.store, self.runner)

    def looking(self, records):
        def look(ids):
            self.asked.append(sorted(ids))
            return records(ids)

        return look

    def ids_of(self, answer):
        return sorted(self.successResultOf(answer))

    def test_nothing_to_look_up(self):
        self.assertEqual(self.successResultOf(self.reader.records([])), {})
        self.assertEqual(self.asked, [])

    def test_without_payload(self):
        found = self.successResultOf(self.reader.records(["task-1", "unknown"]))
        self.assertEqual(found, {"task-1": rows.task(1, payload=None)})

    def test_what_comes_meanwhile_shares_the_next_look_up(self):
        self.runner.holding = True
        first = self.reader.records(["task-1"])
        rest = [
            self.reader.records(["task-2", "task-3"]),
            self.reader.records(["task-3", "unknown"]),
        ]
        self.assertEqual(len(self.runner), 1)
        self.runner.run_next()
        self.assertEqual(self.ids_of(first), ["task-1"])
        for answer in rest:
            self.assertNoResult(answer)
        self.runner.run_next()
        self.assertEqual(
            [self.ids_of(answer) for answer in rest], [["task-2", "task-3"], ["task-3"]]
        )
        self.assertEqual(self.asked, [["task-1"], ["task-2", "task-3", "unknown"]])
        self.assertEqual((len(self.runner), self.reader.busy), (0, False))

    def test_failure_fails_those_who_asked_only(self):
        self.runner.holding = True
        first = self.reader.records(["task-1"])
        second = self.reader.records(["task-2"])
        self.store.fail("records")
        self.runner.run_next()
        self.failureResultOf(first, StoreFailed)
        self.store.work()
        self.runner.run_next()
        self.assertEqual(self.ids_of(second), ["task-2"])

    def test_other_reads(self):
        self.assertEqual(self.successResultOf(self.reader.payloads([1, 9])), {1: b"payload 1"})
        self.assertEqual(self.successResultOf(self.reader.history(1)), [])
        self.store.fail("payloads", "history", "find")
        self.failureResultOf(self.reader.payloads([1]), StoreFailed)
        self.failureResultOf(self.reader.history(1), StoreFailed)
        self.failureResultOf(self.reader.find(None, None), StoreFailed)


class BetweenLookUpsTests(ServiceTestCase):
    """The race that the reader guards against: a task that ends while ids are looked up."""

    def setUp(self):
        super().setUp()
        ledger = self.service.broker.ledger
        ledger.policy = Policy(recent_ended=0)
        # Every id may be in the store, as in the first moments after the start.
        ledger.seen.complete = False

    def test_task_that_ends_during_a_look_up_is_not_forgotten_before_it_returns(self):
        """
        The look-up misses the task, as it was not stored when it read; were the
        task forgotten before the answer arrives, it would be submitted anew.
        """
        task_id = "a"
        self.reading.holding = True
        early = self.submitting("another")
        again = self.submitting(task_id)  # joins the next look-up
        self.reading.run_next()
        self.turn()
        self.successResultOf(early)
        # That look-up is under way: its answer has been read, but has not arrived.
        waiting, call = self.reading._calls.popleft()
        answer_read_before = call()
        self.assertEqual(answer_read_before, [])
        # Another producer submits the same id and it runs to its end meanwhile.
        self.reading.holding = False
        ledger = self.service.broker.ledger
        stored = self.service._submit({}, [self.item(task_id)], None)
        self.turn()
        self.successResultOf(stored)
        [one, two] = self.claim(limit=2)
        for delivery in (one, two):
            self.report(delivery)
        self.assertIsNotNone(ledger.find(task_id))
        waiting.callback(answer_read_before)
        [accepted] = self.result_of(again)
        self.assertEqual((accepted.existing, accepted.state), (True, State.COMPLETED))
        self.assertIsNone(ledger.find(task_id))
        self.assertEqual(self.state(task_id), State.COMPLETED)

    def item(self, task_id):
        return Submission("job", id=task_id)

    def test_task_that_ends_while_its_neighbour_is_looked_up_is_known(self):
        """Its status was asked for together with one that only the store has."""
        old = self.complete("old")
        self.submit("live")
        delivery = self.take()
        self.turn()
        self.reading.holding = True
        asked = self.service.status(["live", old])
        self.assertEqual(len(self.reading), 1)
        self.report(delivery)
        self.reading.let_go()
        live, ended = self.successResultOf(asked)
        self.assertEqual(State(ended.state), State.COMPLETED)
        self.assertIsNotNone(live)
        self.assertIn(State(live.state), (State.IN_PROGRESS, State.COMPLETED))


class LearningTests(ServiceTestCase):
    """New ids need no look into the store once all used ones are known."""

    def test_no_look_up_for_new_ids(self):
        self.submit("a")
        self.assertEqual(self.store.count("records"), 0)

    def test_old_ids_are_found_after_a_restart(self):
        for name in "abc":
            self.complete(name)
        self.restart()
        [again] = self.result_of(self.submitting("b"))
        self.assertEqual((again.existing, again.state), (True, State.COMPLETED))
        self.assertEqual(self.store.count("records"), 1)

    def test_store_that_cannot_tell_them_costs_look_ups_only(self):
        self.complete("a")
        self.stop()
        self.store.fail("ended_ids")
        self.service = self.start()
        self.assertEqual(len(self.flushLoggedErrors(StoreFailed)), 1)
        self.store.work()
        [again] = self.result_of(self.submitting("a"))
        self.assertTrue(again.existing)
        [new] = self.result_of(self.submitting("new"))
        self.assertFalse(new.existing)
        self.assertEqual(self.store.count("records"), 2)
