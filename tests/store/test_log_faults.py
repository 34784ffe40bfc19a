"""The commit log on media that fail, processes that die, and power that is cut."""

from __future__ import annotations

import contextlib
import errno
import itertools
import tempfile
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    rule,
    run_state_machine_as_test,
)
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.changes import Batch, HistoryRow, TaskRow, ValueRow
from taskqueue.core.task import State
from taskqueue.errors import StoreFailed
from taskqueue.store import IStore, MemoryStore, commitlog
from taskqueue.store.files import Files
from tests.store.media import Medium, everything
from tests.store.rows import NOW, after, batch, task, update, updated

randoms = st.randoms(use_true_random=False)
codes = st.sampled_from((errno.EIO, errno.ENOSPC, errno.EFBIG))


class StoreOnSickMedia(RuleBasedStateMachine):
    """Whatever happens: what was acknowledged is there, and nothing else but, perhaps, the
    one commit that failed last."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        numbers = itertools.count()
        self._segment_bytes = commitlog.SEGMENT_BYTES
        self._step_bytes = commitlog.STEP_BYTES
        commitlog.SEGMENT_BYTES, commitlog.STEP_BYTES = 1500, 700
        self.medium = Medium(lambda: f"{self._folder.name}/{next(numbers)}")
        self.batches: list[Batch] = []
        self.known: dict[int, TaskRow] = {}
        self.seq = 1
        self.number = 0
        self.failed: Batch | None = None

    def teardown(self) -> None:
        commitlog.SEGMENT_BYTES, commitlog.STEP_BYTES = self._segment_bytes, self._step_bytes
        self.medium.close()
        self._folder.cleanup()

    # --- what is committed ---

    def _next(self, random: Random) -> Batch:
        """The batch that failed last, or a new one."""
        if self.failed is not None:
            return self.failed
        changes, removed, history = [], [], []
        for row in list(self.known.values()):
            what = random.random()
            self.number += 1
            if what < 0.1:
                removed.append(row.seq)
            elif what < 0.5:
                state = random.choice(list(State))
                changes.append(
                    update(row, state=int(state), attempt=self.number, result=b"r" * (self.number))
                )
                history.append(HistoryRow(row.seq, NOW, "failed", self.number, None, None, "x"))
        new = [
            task(self.seq + n, payload=b"p" * random.choice((0, 10, 1500)))
            for n in range(random.randrange(4))
        ]
        values, unset = self._next_values(random)
        return batch(
            new,
            changes,
            history,
            removed=removed,
            next_seq=self.seq + len(new),
            values=values,
            unset=unset,
        )

    def _next_values(self, random: Random) -> tuple[list[ValueRow], list[tuple[str, str]]]:
        values, unset = [], []
        for key in "ab":
            what = random.random()
            if what < 0.3:
                self.number += 1
                values.append(ValueRow("n", key, b"v" * self.number, self.number, None))
            elif what < 0.5:
                unset.append(("n", key))
        return values, unset

    def _accepted(self, done: Batch) -> None:
        self.failed = None
        self.batches.append(done)
        self.known.update((row.seq, row) for row in done.inserts)
        for change in done.updates:
            self.known[change.seq] = updated(self.known[change.seq], change)
        for seq in done.removed:
            del self.known[seq]
        self.seq = max(self.seq, done.next_seq)

    @rule(random=randoms)
    def commit(self, random: Random) -> None:
        done = self._next(random)
        self.medium.store.commit(done)
        self._accepted(done)

    @rule(random=randoms, at=st.integers(0, 6), code=codes, keep=st.booleans())
    def commit_on_a_sick_medium(self, random: Random, at: int, code: int, keep: bool) -> None:
        wanted = self._next(random)
        self.medium.files.fail(at, code, keep)
        try:
            self.medium.store.commit(wanted)
        except StoreFailed:
            self.failed = wanted
        else:
            self._accepted(wanted)
        self.medium.files.work()

    # --- what happens beside it ---

    @rule()
    def settle(self) -> None:
        self.medium.store.settle()

    @rule()
    def checkpoint(self) -> None:
        self.medium.store.checkpoint()

    @rule(at=st.integers(0, 2))
    def checkpoint_on_a_sick_medium(self, at: int) -> None:
        self.medium.files.fail(at)
        with contextlib.suppress(StoreFailed):
            self.medium.store.checkpoint()
        self.medium.files.work()

    @rule()
    def settle_where_the_database_fails(self) -> None:
        database = self.medium.store._database
        database._writer.execute("PRAGMA query_only = 1").fetchall()
        with contextlib.suppress(StoreFailed):
            self.medium.store.settle()
        self.equal()
        database._writer.execute("PRAGMA query_only = 0").fetchall()

    @rule()
    def reopen(self) -> None:
        self.medium.reopen()
        self._find_out()

    @rule()
    def kill(self) -> None:
        self.medium.kill()
        self._find_out()

    @rule(random=randoms)
    def cut_power(self, random: Random) -> None:
        self.medium.cut_power(random)
        self._find_out()

    def _find_out(self) -> None:
        """After a start it is clear what became of the commit that failed."""
        if self.failed is not None:
            perhaps = [*self.batches, self.failed]
            found, without = self._whole(self.medium.store), self._whole(self._model(self.batches))
            if found == self._whole(self._model(perhaps)) != without:
                self._accepted(self.failed)
            self.failed = None
        assert self._whole(self.medium.store) == self._whole(self._model(self.batches))

    def _whole(self, store: IStore) -> object:
        """Values are read at starts only: the database catches up before."""
        return everything(store), set(store.key_values())

    # --- what must hold ---

    def _model(self, batches: list[Batch]) -> MemoryStore:
        model = MemoryStore()
        model.open()
        for each in batches:
            model.commit(each)
        return model

    @invariant()
    def equal(self) -> None:
        assert everything(self.medium.store) == everything(self._model(self.batches))

    @invariant()
    def numbers(self) -> None:
        rows = after(self.batches)
        assert sorted(rows) == sorted(self.known)


class SickMediaTests(SynchronousTestCase):
    """The state machine, as a test."""

    def test_nothingAcknowledgedIsLost(self) -> None:
        run_state_machine_as_test(
            StoreOnSickMedia,
            settings=settings(
                derandomize=True, deadline=None, max_examples=60, stateful_step_count=30
            ),
        )


class MediumTestCase(SynchronousTestCase):
    """
    @ivar medium: one with an empty store.
    """

    def setUp(self) -> None:
        self.patch(commitlog, "STEP_BYTES", 700)
        self.medium = self.make()

    def make(self) -> Medium:
        numbers = itertools.count()
        folder = self.mktemp()
        medium = Medium(lambda: f"{folder}-{next(numbers)}")
        self.addCleanup(medium.close)
        return medium

    def commit(self, *seqs: int) -> None:
        """Commits of one task each, which must be accepted."""
        for seq in seqs:
            self.medium.store.commit(batch([task(seq)]))

    def seqs(self) -> list[int]:
        return [row.seq for row in self.medium.store.recover().tasks]


class EveryCallFailsTests(MediumTestCase):
    """Systematically: each call fails, and each of those that follow from it."""

    def fail_at(self, at: int) -> bool:
        """Commit task 3 while a call fails; whether it was accepted."""
        self.medium.files.fail(at)
        try:
            self.commit(3)
        except StoreFailed:
            return False
        finally:
            self.medium.files.work()
        return True

    def crash(self, kind: str) -> None:
        if kind == "kill":
            self.medium.kill()
        else:
            self.medium.cut_power(Random(1))

    def begin(self, settled: bool) -> None:
        """Tasks 1 and 2 are accepted, and the first may be in the database."""
        self.medium = self.make()
        self.commit(1)
        if settled:
            self.medium.store.settle()
        self.commit(2)

    def test_whatWasAcceptedIsThere(self) -> None:
        for first, second, settled in itertools.product(range(4), range(11), (False, True)):
            kind = ("kill", "cut")[(first + second) % 2]
            with self.subTest(first=first, second=second, settled=settled, kind=kind):
                self.begin(settled)
                accepted = self.fail_at(first) or self.fail_at(second)
                self.crash(kind)
                self.assertIn(self.seqs(), ([1, 2, 3],) if accepted else ([1, 2], [1, 2, 3]))

    def test_andAsWellIfItGoesOn(self) -> None:
        """The same task sent again is there once, and so is the one after."""
        for first, second, settled in itertools.product(range(4), range(11), (False, True)):
            with self.subTest(first=first, second=second, settled=settled):
                self.begin(settled)
                self.fail_at(first)
                self.fail_at(second)
                self.commit(3, 4)
                self.medium.cut_power(Random(1))
                self.assertEqual(self.seqs(), [1, 2, 3, 4])

    def test_andIfThePowerIsCutInAStart(self) -> None:
        """Names that were removed may be back, beside a database that knows another log."""
        for at, seed in itertools.product(range(6), range(3)):
            with self.subTest(at=at, seed=seed):
                self.begin(settled=True)
                self.medium.kill(fail_at=at)
                self.medium.cut_power(Random(seed))
                self.assertEqual(self.seqs(), [1, 2])


class ForgottenSegmentTests(MediumTestCase):
    """A segment is removed when the database has what is in it, on the medium."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(commitlog, "SEGMENT_BYTES", 300)

    def segments(self) -> list[str]:
        return commitlog.paths(Files(), self.medium.directory)

    def test_removedOnceTheDatabaseHasThem(self) -> None:
        self.commit(*range(1, 11))
        self.assertGreater(len(self.segments()), 3)
        self.medium.store.checkpoint()
        self.assertLessEqual(len(self.segments()), 1)
        self.assertEqual(self.seqs(), list(range(1, 11)))

    def test_notBefore(self) -> None:
        """The power is cut after each step of commits and checkpoints."""
        for steps in range(1, 12):
            with self.subTest(steps=steps):
                self.medium = self.make()
                for step in range(1, steps + 1):
                    self.commit(2 * step, 2 * step + 1)
                    if step % 3:
                        self.medium.store.settle()
                    else:
                        self.medium.store.checkpoint()
                self.medium.cut_power(Random(steps))
                self.assertEqual(self.seqs(), list(range(2, 2 * steps + 2)))

    def test_notWhereTheSyncFails(self) -> None:
        self.commit(*range(1, 11))
        before = self.segments()
        store = self.medium.store
        failing = StoreFailed("The disk is sick.")

        def fail() -> None:
            raise failing

        sync, store._database.sync = store._database.sync, fail  # type: ignore[method-assign]
        self.assertIs(self.assertRaises(StoreFailed, store.checkpoint), failing)
        self.assertEqual(self.segments(), before)
        store._database.sync = sync  # type: ignore[method-assign]
        store.checkpoint()
        self.assertLessEqual(len(self.segments()), 1)


class FailedSyncTests(MediumTestCase):
    """After a failed sync the file is not trusted any more."""

    def test_newSegmentHasWhatTheDatabaseLacks(self) -> None:
        """Even if the old segment's newest page is lost."""
        store, files = self.medium.store, self.medium.files
        self.commit(1, 2)
        files.fail(1)
        refused = self.assertRaises(StoreFailed, store.commit, batch([task(3)]))
        self.assertIn("Input/output error", str(refused))
        self.commit(3)
        first, second = sorted(files.synced)
        self.assertEqual(
            files.calls[-9:],
            [
                *("create", "write", "sync", "sync_directory"),
                *("allocate", "write", "sync"),  # what the database lacks
                *("write", "sync"),  # and the new commit
            ],
        )
        with open(first, "r+b") as file:
            file.truncate(100)
        self.medium.kill()
        self.assertEqual(self.seqs(), [1, 2, 3])
        self.assertNotEqual(first, second)

    def test_whatIsBeingSettledMeanwhileIsInIt(self) -> None:
        store = self.medium.store
        store._database._writer.execute("PRAGMA query_only = 1").fetchall()
        self.commit(1)
        self.assertRaises(StoreFailed, store.settle)
        self.commit(2)
        store.commit(batch(updates=[update(task(1), attempt=7)]))
        self.medium.files.fail(1)
        self.assertRaises(StoreFailed, store.commit, batch([task(3)]))
        self.commit(3)
        with open(min(self.medium.files.synced), "r+b") as file:
            file.truncate(100)
        self.medium.kill()
        found = list(self.medium.store.recover().tasks)
        self.assertEqual([(row.seq, row.attempt) for row in found], [(1, 7), (2, 0), (3, 0)])

    def test_anotherBatchInTheFailedOnesPlace(self) -> None:
        """Two records with one number: the one that was accepted counts."""
        self.commit(1)
        self.medium.store.settle()
        self.medium.files.fail(1)
        self.assertRaises(StoreFailed, self.commit, 2)
        self.commit(3)
        self.medium.kill()
        self.assertEqual(self.seqs(), [1, 3])

    def test_twice(self) -> None:
        """Where the database came nearer meanwhile, but not on the medium."""
        store, files = self.medium.store, self.medium.files
        store._database._writer.execute("PRAGMA query_only = 1").fetchall()
        self.commit(1, 2)
        self.assertRaises(StoreFailed, store.settle)
        self.commit(3)
        files.fail(1)
        self.assertRaises(StoreFailed, store.commit, batch([task(4)]))
        self.commit(4)
        store._database._writer.execute("PRAGMA query_only = 0").fetchall()
        store._settle_oldest()
        files.fail(1)
        self.assertRaises(StoreFailed, store.commit, batch([task(5)]))
        self.commit(5)
        files.synced[min(files.synced)] = files.synced[min(files.synced)][:50]
        with open(min(files.synced), "r+b") as file:
            file.truncate(50)
        self.medium.cut_power(Random(1))
        self.assertEqual(self.seqs(), [1, 2, 3, 4, 5])
