"""Where commits run, and that it makes no difference but to who waits."""

from collections import namedtuple

from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.changes import TaskUpdate, empty_batch
from taskqueue.errors import StoreFailed, StoreUnavailable
from taskqueue.service import committing
from taskqueue.service.committing import (
    COMMITS_A_LOOK,
    DISTRUST_S,
    MOST_BEHIND_BYTES,
    MOST_BEHIND_ROWS,
    MOST_BYTES,
    MOST_FACTS,
    QUICK_COMMITS,
    QUICK_S,
    SLOW_S,
    Committer,
)
from taskqueue.store import LoggedStore
from tests.service import test_journal
from tests.service.running import HeldRunner, ObedientStore
from tests.store.media import FaultyFiles
from tests.store.rows import task

Behind = namedtuple("Behind", "rows size_bytes")


class BlockingStore(ObedientStore):
    """
    A store whose calls are not for the reactor's thread.

    @ivar behind: what it has to catch up with.
    """

    inline = False

    def __init__(self, inner=None):
        super().__init__(inner)
        self.behind = Behind(0, 0)

    def backlog(self):
        self.called.append("backlog")
        return self.behind


class CommitterTests(SynchronousTestCase):
    def setUp(self):
        self.clock = Clock()
        self.clock.advance(1000.0)
        self.store = BlockingStore()
        self.store.open()
        self.runner = HeldRunner()
        self.takes_s = QUICK_S / 2
        self.now_s = 0.0
        self.seq = 0
        self.told = []
        self.committer = self.make(self.store)

    def make(self, store):
        return Committer(
            store,
            self.runner,
            self.clock,
            stored=lambda: self.told.append("stored"),
            failed=lambda failure: self.told.append(failure.type),
            timer=self.timer,
        )

    def timer(self):
        """Between two calls, time passes."""
        self.now_s += self.takes_s
        return self.now_s

    def batch(self, rows=1, **fields):
        first = self.seq + 1
        self.seq += rows
        inserts = [task(seq, **fields) for seq in range(first, self.seq + 1)]
        return empty_batch(self.seq + 1)._replace(inserts=inserts)

    def commit(self, batch=None, *, alone=True):
        """Commit something; whether that was done in the runner."""
        self.runner.holding = True
        self.committer.commit(batch or self.batch(), alone=alone)
        in_runner = len(self.runner) == 1
        self.runner.let_go()
        return in_runner

    def trust(self):
        """Let commits run here from now on."""
        for _ in range(QUICK_COMMITS):
            self.assertTrue(self.commit())

    def test_here_once_some_were_quick(self):
        self.trust()
        self.assertFalse(self.commit())
        self.assertEqual(self.committer.here, 1)
        self.assertEqual(self.told, ["stored"] * (QUICK_COMMITS + 1))
        self.assertEqual(len(self.store.batches), QUICK_COMMITS + 1)

    def test_not_where_others_wait(self):
        self.trust()
        self.assertTrue(self.commit(alone=False))
        self.assertFalse(self.commit())

    def test_not_after_one_that_was_not_quick(self):
        self.trust()
        self.takes_s = 2 * QUICK_S
        self.assertFalse(self.commit())
        self.assertTrue(self.commit())
        self.takes_s = QUICK_S / 2
        self.trust()
        self.assertFalse(self.commit())

    def test_not_for_a_while_after_one_that_was_slow(self):
        """Wherever that ran."""
        for alone in (True, False):
            self.trust()
            self.takes_s = 2 * SLOW_S
            self.commit(alone=alone)
            self.takes_s = QUICK_S / 2
            self.trust()
            self.assertTrue(self.commit())
            self.clock.advance(DISTRUST_S - 1)
            self.assertTrue(self.commit())
            self.clock.advance(1)
            self.assertFalse(self.commit())
            self.committer = self.make(self.store)

    def test_not_if_it_is_large(self):
        self.trust()
        result = bytes(MOST_BYTES + 1)
        update = TaskUpdate(1, 5, None, 1, 0, 0, 1, None, 0, None, None, 1.0, False, None, result)
        for in_runner, batch in (
            (False, self.batch(MOST_FACTS)),
            (True, self.batch(MOST_FACTS + 1)),
            (False, self.batch(payload=bytes(MOST_BYTES))),
            (True, self.batch(payload=bytes(MOST_BYTES + 1))),
            (True, self.batch(2, payload=bytes(MOST_BYTES // 2 + 1))),
            (True, empty_batch()._replace(updates=[update])),
        ):
            self.assertIs(self.commit(batch), in_runner)

    def test_not_where_the_store_may_have_to_catch_up_in_it(self):
        self.trust()
        self.store.behind = Behind(MOST_BEHIND_ROWS + 1, 0)
        self.assertTrue(self.commit())
        self.store.behind = Behind(0, MOST_BEHIND_BYTES + 1)
        self.assertTrue(self.commit())
        self.store.behind = Behind(MOST_BEHIND_ROWS, MOST_BEHIND_BYTES)
        self.assertFalse(self.commit())

    def test_looks_now_and_then_how_far_the_store_is_behind(self):
        self.trust()
        for _ in range(COMMITS_A_LOOK + 1):
            self.assertFalse(self.commit())
        self.assertEqual(self.store.count("backlog"), 1)
        self.commit()
        self.assertEqual(self.store.count("backlog"), 2)

    def test_looks_again_after_others_have_committed(self):
        self.trust()
        self.commit()
        self.commit(alone=False)
        self.store.behind = Behind(MOST_BEHIND_ROWS + 1, 0)
        self.assertTrue(self.commit())

    def test_a_store_that_is_never_in_the_way_needs_none_of_it(self):
        store = ObedientStore()
        store.open()
        self.committer = self.make(store)
        for _ in range(2 * QUICK_COMMITS):
            self.assertTrue(self.commit())

    def test_failure(self):
        """It is told likewise, and the next ones run elsewhere."""
        self.trust()
        for in_runner in (False, True):
            self.told.clear()
            self.store.fail("commit")
            self.assertIs(self.commit(), in_runner)
            self.assertEqual(self.told, [StoreFailed])
            self.store.work()

    def test_what_follows_may_fail(self):
        """That is logged, wherever the commit ran, and costs no later one."""
        for prepare in (lambda: None, self.trust):
            prepare()
            self.committer._stored = lambda: 1 / 0
            self.commit()
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
            self.committer = self.make(self.store)
            self.store.fail("commit")
            self.committer._failed = lambda failure: 1 / 0
            self.commit()
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
            self.store.work()
            self.committer = self.make(self.store)


class TrustedTestCase(test_journal.JournalTestCase):
    """A journal that believes that its disk is quick."""

    def setUp(self):
        super().setUp()
        self.store = self.make_store()
        self.store.open()
        committer = self.journal.committer
        committer._store = self.store
        committer._timer = lambda: 0.0
        committer._quick = QUICK_COMMITS

    def make_store(self):
        return BlockingStore()


class HereTests(TrustedTestCase):
    def test_an_answer_needs_no_other_thread(self):
        self.runner.holding = True
        answer = self.change()
        self.assertNoResult(answer)
        self.clock.advance(0)
        self.assertEqual(self.successResultOf(answer), "0")
        self.assertEqual(self.rows_stored(), [1])

    def test_many_requests_share_a_commit_elsewhere(self):
        """And so do the next ones, for a while."""
        self.runner.holding = True
        answers = [self.change(), self.change()]
        self.clock.advance(0)
        self.assertEqual(len(self.runner), 1)
        self.runner.run_next()
        self.assertEqual(list(map(self.successResultOf, answers)), ["0", "1"])
        self.change()
        self.clock.advance(test_journal.GROUP_SPACING_S)
        self.assertEqual(len(self.runner), 1)
        self.runner.run_next()
        self.clock.advance(test_journal.CROWDED_S)
        alone = self.change()
        self.clock.advance(0)
        self.successResultOf(alone)

    def test_what_nobody_waits_for_is_written_elsewhere(self):
        self.runner.holding = True
        self.change_unheld()
        self.clock.advance(test_journal.UNHELD_S)
        self.assertEqual(len(self.runner), 1)
        self.runner.run_next()

    def test_flush(self):
        answer = self.change()
        self.successResultOf(self.journal.flush())
        self.successResultOf(answer)
        self.assertEqual(self.clock.getDelayedCalls(), [])


class FailingHereTests(TrustedTestCase, test_journal.FailingStoreTests):
    """A store that fails does so wherever its commits run."""

    def setUp(self):
        super().setUp()
        if "close" in self._testMethodName:  # about a commit that is under way in a thread
            self.patch(committing, "QUICK_COMMITS", 10**9)

    def test_it_is_tried_again_elsewhere(self):
        self.store.fail("commit")
        answer = self.change()
        self.clock.advance(0)
        self.store.work()
        self.runner.holding = True
        self.clock.advance(test_journal.FIRST_RETRY_S)
        self.assertEqual(len(self.runner), 1)
        self.runner.run_next()
        self.assertEqual(self.successResultOf(answer), "0")


class FailedSyncHereTests(TrustedTestCase):
    """The log of the real store, on a medium that fails."""

    def make_store(self):
        self.folder = self.mktemp()
        self.files = FaultyFiles()
        store = BlockingStore(LoggedStore(self.folder, True, "quick", self.files))
        self.addCleanup(store.close)
        return store

    def ids(self):
        """What a new store finds when this one is gone."""
        self.store.close()
        store = LoggedStore(self.folder)
        store.open()
        self.addCleanup(store.close)
        return [row.id for row in store.recover().tasks]

    def test_no_false_answer_and_nothing_lost(self):
        first = self.change()
        self.clock.advance(0)
        self.successResultOf(first)
        for call in ("write", "sync"):
            self.files._failing.add(call)
            answer = self.change()
            self.clock.advance(0)
            self.assertNoResult(answer)
            self.assertRaises(StoreUnavailable, self.journal.check)
            self.files.work()
            self.clock.advance(test_journal.FIRST_RETRY_S)
            self.successResultOf(answer)
            self.journal.check()
            self.journal.committer._quick = QUICK_COMMITS
        self.assertEqual(self.ids(), ["0", "1", "2"])

    def test_given_up_in_time(self):
        self.files._failing.add("sync")
        answer = self.change()
        self.clock.pump([0.25] * round(test_journal.ANSWER_WITHIN_S / 0.25 + 1))
        failure: Failure = self.failureResultOf(answer, StoreUnavailable)
        self.assertIn("it may still be, or not", str(failure.value))
