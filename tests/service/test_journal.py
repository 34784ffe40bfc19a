"""Group commit: what is held until it is stored, and what a failing store costs."""

from itertools import pairwise
from random import Random

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.intake import Intake, Submission
from taskqueue.core.ledger import TOKEN_BLOCK, Ledger
from taskqueue.core.moments import Now
from taskqueue.core.policy import Policy
from taskqueue.core.task import State
from taskqueue.errors import ShuttingDown, StoreUnavailable
from taskqueue.service.journal import (
    ANSWER_WITHIN_S,
    CROWDED_S,
    FIRST_RETRY_S,
    GROUP_FACTS,
    GROUP_SPACING_S,
    HANGING_S,
    LONGEST_RETRY_S,
    UNHELD_S,
    Journal,
)
from tests.service.running import TURN_S, HeldRunner, ObedientStore


class JournalTestCase(SynchronousTestCase):
    """A journal over a ledger, a store and a runner that obey."""

    durability = "fsync"

    def setUp(self):
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.store = ObedientStore()
        self.store.open()
        self.runner = HeldRunner()
        self.ledger = Ledger(Policy(), Random(1), iter(map(str, range(10_000))).__next__)
        self.intake = Intake(self.ledger)
        self.stored, self.told, self.committed = [], [], []
        self.journal = Journal(
            self.ledger,
            self.store,
            self.runner,
            self.clock,
            durability=self.durability,
            interval_s=0.1,
            stored=lambda tasks: self.stored.extend(task.id for task in tasks),
            told=lambda tasks: self.told.extend(task.id for task in tasks),
            committed=lambda: self.committed.append(len(self.store.batches)),
        )

    def change(self, count=1):
        """Submit tasks: return an answer that says so."""
        return self.journal.barrier(self.change_unheld(count))

    def change_unheld(self, count=1):
        """Submit tasks, and wait for nothing: return the id of the first."""
        now = Now(0.0, self.clock.seconds())
        answers = self.intake.submit([Submission("job")] * count, now, {})
        self.journal.changed()
        return answers[0].id

    def rows_stored(self):
        """How many tasks each group has had so far."""
        return [len(batch.inserts) for batch in self.store.batches]

    def finish(self, task_id):
        """End a task: return an answer that says so."""
        self.ledger.finish(self.ledger.tasks[task_id], State.CANCELLED, Now(0.0, 0.0))
        self.journal.changed()
        return self.journal.barrier(task_id)


class GroupCommitTests(JournalTestCase):
    def test_answer_is_held_until_stored(self):
        self.runner.holding = True
        answer = self.change()
        self.assertNoResult(answer)
        self.clock.advance(TURN_S)
        self.assertNoResult(answer)
        self.assertEqual(self.store.batches, [])
        self.runner.run_next()
        self.assertEqual(self.successResultOf(answer), "0")
        self.assertEqual([row.id for row in self.store.batches[0].inserts], ["0"])

    def test_an_answer_that_is_no_deferred(self):
        class Answer:
            def __init__(self):
                self.told = []
                self.callback = self.errback = self.told.append

        stored, lost, late = Answer(), Answer(), Answer()
        self.assertFalse(self.journal.hold(stored, "nothing has changed"))
        self.runner.holding = True
        self.change()
        self.assertTrue(self.journal.hold(stored, "stored"))
        self.clock.advance(TURN_S)
        self.assertEqual(stored.told, [])
        self.runner.run_next()
        self.assertEqual(stored.told, ["stored"])
        change = self.change()
        self.assertTrue(self.journal.hold(lost, "stored"))
        self.journal.close()
        self.failureResultOf(change, StoreUnavailable)
        self.assertEqual([type(error) for error in lost.told], [StoreUnavailable])
        self.assertRaises(ShuttingDown, self.journal.hold, late, "stored")

    def test_many_requests_share_a_commit(self):
        answers = [self.change() for _ in range(50)]
        self.clock.advance(TURN_S)
        for answer in answers:
            self.successResultOf(answer)
        self.assertEqual(self.store.count("commit"), 1)
        self.assertEqual((self.journal.commits, sum(self.journal.rows.counts)), (1, 1))
        self.assertEqual(self.journal.rows.total, 50)

    def test_next_group_collects_while_one_is_written(self):
        self.runner.holding = True
        first = self.change()
        self.clock.advance(TURN_S)
        rest = [self.change(), self.change()]
        self.clock.advance(1)
        self.assertEqual(len(self.runner), 1)
        self.runner.run_next()
        self.successResultOf(first)
        for answer in rest:
            self.assertNoResult(answer)
        self.clock.advance(TURN_S)
        self.assertEqual(len(self.runner), 1)
        self.runner.run_next()
        for answer in rest:
            self.successResultOf(answer)
        self.assertEqual([len(batch.inserts) for batch in self.store.batches], [1, 2])

    def test_groups_are_spaced_under_load(self):
        """A group that comes right after another collects for a moment, so that it is worth it."""
        self.change()
        self.change()
        self.clock.advance(0)
        self.assertEqual(self.store.count("commit"), 1)
        self.change()
        self.clock.advance(GROUP_SPACING_S / 2)
        self.change()
        self.assertEqual(self.store.count("commit"), 1)
        self.clock.advance(GROUP_SPACING_S / 2)
        self.assertEqual([len(batch.inserts) for batch in self.store.batches], [2, 2])

    def test_who_waits_for_each_answer_is_not_kept_waiting(self):
        for count in range(1, 5):
            self.change()
            self.clock.advance(0)
            self.assertEqual(self.store.count("commit"), count)

    def test_groups_are_spaced_no_longer_once_nobody_shares_them(self):
        self.change()
        self.change()
        self.clock.advance(0)
        self.change()
        self.clock.advance(CROWDED_S)
        self.change()
        self.clock.advance(0)
        self.change()
        self.clock.advance(0)
        self.assertEqual(self.store.count("commit"), 4)

    def test_what_nobody_waits_for_shares_the_next_group(self):
        self.change()
        self.clock.advance(TURN_S)
        self.change_unheld()
        self.clock.advance(UNHELD_S / 2)
        self.assertEqual(self.rows_stored(), [1])
        answer = self.change()
        self.clock.advance(TURN_S)
        self.successResultOf(answer)
        self.assertEqual(self.rows_stored(), [1, 2])

    def test_what_nobody_waits_for_is_stored_soon_all_the_same(self):
        self.change_unheld()
        self.clock.advance(UNHELD_S / 2)
        self.change_unheld()
        self.assertEqual(self.rows_stored(), [])
        self.clock.advance(UNHELD_S / 2)
        self.assertEqual(self.rows_stored(), [2])

    def test_what_nobody_waits_for_has_its_time_also_after_another_group(self):
        """One who asks one by one pays for no group that nobody waits for."""
        self.change()
        self.clock.advance(0)
        self.clock.advance(UNHELD_S * 0.75)
        self.change_unheld()
        self.clock.advance(UNHELD_S * 0.5)
        self.assertEqual(self.rows_stored(), [1])
        self.clock.advance(UNHELD_S)
        self.assertEqual(self.rows_stored(), [1, 1])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_large_group_does_not_wait(self):
        self.change()
        self.change()
        self.clock.advance(0)
        self.change()
        self.clock.advance(0)
        self.assertEqual(self.store.count("commit"), 1)
        self.change(GROUP_FACTS)
        self.clock.advance(0)
        self.assertEqual(self.store.count("commit"), 2)

    def test_question_without_a_change_waits_for_the_group_under_way(self):
        self.runner.holding = True
        self.change()
        self.clock.advance(TURN_S)
        asked = self.journal.barrier("as it stands")
        self.assertNoResult(asked)
        self.runner.run_next()
        self.assertEqual(self.successResultOf(asked), "as it stands")
        self.assertEqual(self.successResultOf(self.journal.barrier(7)), 7)

    def test_outcomes_are_told_when_stored_and_before_the_answers(self):
        self.change()
        self.clock.advance(TURN_S)
        self.runner.holding = True
        answer = self.finish("0")
        seen = []
        answer.addCallback(lambda _: seen.extend(self.told))
        self.clock.advance(TURN_S)
        self.assertEqual((self.told, self.stored), ([], []))
        self.runner.run_next()
        self.assertEqual((self.told, self.stored, seen), (["0"], ["0"], ["0"]))

    def test_whoever_is_told_may_fail(self):
        """What listeners do with the news costs no answer, and the journal goes on."""
        self.journal._told = lambda tasks: 1 / 0
        self.change()
        self.clock.advance(TURN_S)
        answer = self.finish("0")
        self.clock.advance(TURN_S)
        self.successResultOf(answer)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.stored, ["0"])
        after = self.change()
        self.clock.advance(TURN_S)
        self.successResultOf(after)

    def test_tokens_are_there_when_their_reservation_is_stored(self):
        self.assertRaises(StoreUnavailable, self.ledger.tokens_left)
        self.journal.changed()
        self.runner.holding = True
        self.clock.advance(UNHELD_S)
        self.assertRaises(StoreUnavailable, self.ledger.tokens_left)
        self.runner.run_next()
        self.assertEqual(self.ledger.tokens_left(), TOKEN_BLOCK)
        self.assertEqual(self.store.batches[0].token_ceiling, TOKEN_BLOCK + 1)

    def test_told_of_each_group_after_the_answers(self):
        answer = self.change()
        answer.addCallback(lambda _: self.committed.append("answered"))
        self.clock.advance(TURN_S)
        self.change()
        self.clock.advance(TURN_S)
        self.assertEqual(self.committed, ["answered", 1, 2])

    def test_flush_waits_for_all_groups(self):
        self.runner.holding = True
        self.change()
        self.clock.advance(TURN_S)
        second = self.change()
        flushed = self.journal.flush()
        self.runner.run_next()
        self.assertNoResult(flushed)
        self.runner.run_next()
        self.successResultOf(flushed)
        self.successResultOf(second)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_flush_of_nothing(self):
        self.successResultOf(self.journal.flush())
        self.assertEqual(self.store.count("commit"), 0)

    def test_after_close_nothing_is_written(self):
        """Connections that go after the end change the books, but not the store."""
        self.change()
        self.clock.advance(TURN_S)
        self.journal.close()
        answer = self.change()
        self.failureResultOf(answer, ShuttingDown)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.assertEqual(self.store.count("commit"), 1)


class FailingStoreTests(JournalTestCase):
    def test_no_false_accepted(self):
        self.store.fail("commit")
        answer = self.change()
        self.clock.advance(TURN_S)
        self.assertNoResult(answer)
        self.clock.pump([0.25] * 8)
        self.assertNoResult(answer)
        self.assertEqual(str(self.journal.error), "The disk is full.")

    def test_batch_is_kept_and_tried_again(self):
        self.store.fail("commit")
        answer = self.change()
        self.clock.advance(TURN_S)
        late = self.change()
        self.store.work()
        self.clock.advance(FIRST_RETRY_S)
        self.assertEqual(self.successResultOf(answer), "0")
        self.clock.advance(TURN_S)
        self.successResultOf(late)
        self.assertIsNone(self.journal.error)
        self.assertEqual(
            [[row.id for row in batch.inserts] for batch in self.store.batches], [["0"], ["1"]]
        )
        self.journal.check()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_pauses_between_tries(self):
        self.store.fail("commit")
        self.change().addErrback(lambda _: None)
        tries = []
        for _ in range(200):
            before = self.store.count("commit")
            self.clock.advance(0.125)
            if self.store.count("commit") > before:
                tries.append(self.clock.seconds())
        pauses = [b - a for a, b in pairwise(tries)]
        self.assertEqual(pauses[:6], [0.25, 0.5, 1.0, 2.0, 4.0, 5.0])
        self.assertLessEqual(max(pauses), LONGEST_RETRY_S)

    def test_new_requests_are_refused_with_a_hint(self):
        self.store.fail("commit")
        self.change()
        self.clock.advance(TURN_S)
        refusal = self.assertRaises(StoreUnavailable, self.journal.check)
        self.assertEqual(refusal.retry_after_s, FIRST_RETRY_S)
        self.assertIn("The disk is full.", str(refusal))
        self.assertIn("nothing was accepted", str(refusal))

    def test_held_answers_are_given_up_truthfully(self):
        self.store.fail("commit")
        first = self.change()
        self.clock.advance(TURN_S)
        second = self.change()
        self.clock.pump([0.125] * int(ANSWER_WITHIN_S / 0.125 - 1))
        self.assertNoResult(first)
        self.clock.advance(0.125)
        for answer in (first, second):
            failure = self.failureResultOf(answer, StoreUnavailable)
            self.assertIn("it may still be, or not", str(failure.value))
            self.assertIsNotNone(failure.value.retry_after_s)
        self.store.work()
        self.clock.advance(LONGEST_RETRY_S)
        self.clock.advance(UNHELD_S)
        self.assertEqual([len(batch.inserts) for batch in self.store.batches], [1, 1])

    def test_questions_in_a_long_outage_are_not_held_for_ever(self):
        self.store.fail("commit")
        self.change().addErrback(lambda _: None)
        self.clock.advance(TURN_S)
        self.clock.pump([0.25] * int(2 * ANSWER_WITHIN_S / 0.25))
        self.failureResultOf(self.journal.barrier(None), StoreUnavailable)
        self.store.work()
        self.clock.advance(LONGEST_RETRY_S)
        self.successResultOf(self.journal.barrier(None))

    def test_second_outage_is_as_the_first(self):
        for _ in range(2):
            self.store.fail("commit")
            answer = self.change()
            self.clock.advance(TURN_S)
            self.clock.pump([0.25] * int(ANSWER_WITHIN_S / 0.25))
            self.failureResultOf(answer, StoreUnavailable)
            self.store.work()
            self.clock.advance(LONGEST_RETRY_S)
            self.assertIsNone(self.journal.error)
            self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_flush_does_not_wait_for_a_failing_store(self):
        self.store.fail("commit")
        answer = self.change()
        self.clock.advance(TURN_S)
        self.successResultOf(self.journal.flush())
        self.journal.close()
        self.failureResultOf(answer, StoreUnavailable)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_close_gives_held_answers_up(self):
        self.runner.holding = True
        answers = [self.change()]
        self.clock.advance(TURN_S)
        answers.append(self.change())
        self.journal.close()
        for answer in answers:
            self.failureResultOf(answer, StoreUnavailable)

    def test_commit_that_ends_after_close_starts_nothing(self):
        for failing in ((), ("commit",)):
            self.store.fail(*failing)
            self.runner.holding = True
            self.change().addErrback(lambda _: None)
            self.clock.advance(TURN_S)
            self.change().addErrback(lambda _: None)
            self.journal.close()
            self.runner.let_go()
            self.assertEqual(self.clock.getDelayedCalls(), [])
            self.assertLessEqual(len(self.store.batches), 1)
            self.setUp()


class RelaxedTests(JournalTestCase):
    """Durability C{interval} and C{none}: answers do not wait."""

    durability = "interval"

    def test_answers_at_once_and_writes_on_the_interval(self):
        self.successResultOf(self.change())
        self.clock.advance(0.0625)
        self.successResultOf(self.change())
        self.assertEqual(self.store.count("commit"), 0)
        self.clock.advance(0.0625)
        self.assertEqual([len(batch.inserts) for batch in self.store.batches], [2])
        self.clock.advance(10)
        self.assertEqual(self.store.count("commit"), 1)

    def test_outcomes_are_told_at_once_and_once(self):
        self.change()
        self.successResultOf(self.finish("0"))
        self.assertEqual((self.told, self.stored), (["0"], []))
        self.clock.advance(0.125)
        self.assertEqual((self.told, self.stored), (["0"], ["0"]))

    def test_group_that_comes_while_one_is_written_waits_for_the_interval(self):
        self.runner.holding = True
        self.change()
        self.clock.advance(0.125)
        self.change()
        self.runner.run_next()
        self.assertEqual(len(self.runner), 0)
        self.clock.advance(0.125)
        self.assertEqual(len(self.runner), 1)
        self.runner.let_go()
        self.assertEqual([len(batch.inserts) for batch in self.store.batches], [1, 1])

    def test_failing_store_refuses_here_too(self):
        self.store.fail("commit")
        self.successResultOf(self.change())
        self.clock.advance(0.125)
        self.assertRaises(StoreUnavailable, self.journal.check)
        self.clock.advance(LONGEST_RETRY_S)
        self.store.work()
        self.clock.advance(LONGEST_RETRY_S)
        self.journal.check()


class NoneTests(RelaxedTests):
    durability = "none"


class HangingStoreTests(JournalTestCase):
    """A store that neither stores nor fails."""

    def test_counts_as_failing_after_a_while(self):
        self.runner.holding = True
        self.change()
        self.clock.advance(TURN_S)
        self.clock.advance(HANGING_S)
        self.journal.check()
        self.clock.advance(1.0)
        error = self.assertRaises(StoreUnavailable, self.journal.check)
        self.assertIn("has not answered for 16 s", error.message)
        self.runner.let_go()
        self.assertIsNone(self.journal.trouble)
        self.journal.check()

    def test_flush_leaves_the_next_try_alone(self):
        """Whoever flushes while the store fails must not keep it from working again."""
        self.store.fail("commit")
        self.change()
        self.clock.advance(TURN_S)
        self.successResultOf(self.journal.flush())
        self.store.work()
        self.clock.advance(FIRST_RETRY_S)
        self.assertIsNone(self.journal.trouble)
        self.assertEqual(self.store.count("commit"), 2)
