"""Tests of the store in memory."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.changes import Batch, HistoryRow
from taskqueue.core.task import State, Unique, Until
from taskqueue.store import Filter, IStore, MemoryStore, Page
from taskqueue.store.ends import Ends
from taskqueue.store.kept import EVENT_BYTES, ROW_BYTES, UPDATE_BYTES
from tests.store.contract import StoreContract
from tests.store.rows import NOW, batch, lives, task, update


def ended(seq: int, state: State = State.COMPLETED, **fields: Any) -> Any:
    """A task that ended at its turn."""
    return task(seq, state=int(state), **{"ended_at": NOW + seq, **fields})


def calls(command: Callable[[], object]) -> int:
    """How many functions C{command} calls."""
    count = 0

    def seen(frame: object, event: str, argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(seen)
    try:
        command()
    finally:
        sys.setprofile(None)
    return count


class MemoryStoreTests(StoreContract, SynchronousTestCase):
    """The contract, in memory."""

    def makeStore(self) -> IStore:
        return MemoryStore()

    def test_inline(self) -> None:
        self.assertTrue(MemoryStore().inline)

    def test_sizeShrinks(self) -> None:
        store = self.holding(batch([task(1, payload=b"p" * 10, result=b"r" * 5)]))
        self.assertEqual(store.size(), 15)
        store.commit(batch(removed=[1]))
        self.assertEqual(store.size(), 0)

    def test_anIdThatIsUsedAgainAsItsTaskGoes(self) -> None:
        store = self.holding(batch([ended(1, id="again")]))
        store.commit(batch([task(2, id="again")], removed=[1]))
        self.assertEqual([row.seq for row in store.records(["again"])], [2])

    def test_anEndThatIsSaidTwiceCountsOnce(self) -> None:
        rows = [ended(1), ended(2, State.DEAD_LETTER)]
        store = self.holding(batch(rows), batch(rows))
        self.assertEqual([row.seq for row in store.dead_letters("default", 5)], [2])
        moment = NOW + 9
        swept = store.sweep({State.COMPLETED: moment, State.DEAD_LETTER: moment}, 5)
        self.assertEqual(sum(swept.values()), 2)
        self.assertEqual(store.size(), 0)

    def test_whatIsNewWasSearchedForBefore(self) -> None:
        store = self.holding(batch([task(1), task(3)]))
        page = Page(limit=10, descending=False)
        for seq, found in ((4, [1, 3, 4]), (2, [1, 2, 3, 4]), (7, [1, 2, 3, 4, 7])):
            self.assertEqual(len(store.find(Filter(), page)), len(found) - 1)
            store.commit(batch([task(seq)]))
            self.assertEqual([row.seq for row in store.find(Filter(), page)], found)


class BoundTests(SynchronousTestCase):
    """What a store in memory keeps of ended tasks."""

    def setUp(self) -> None:
        self.store = MemoryStore()
        self.store.open()

    def seqs(self) -> list[int]:
        rows = self.store.find(Filter(), Page(limit=10_000, descending=False))
        return [row.seq for row in rows]

    def test_theOldestGo(self) -> None:
        rows = [ended(seq, ended_at=NOW - seq, payload=b"p" * 1000) for seq in range(1, 11)]
        self.store.commit(batch(rows))
        self.store.most_ended_bytes = 4 * (ROW_BYTES + 1000)
        self.assertEqual(self.store.sweep({}, 100), {("default", "send_email", State.COMPLETED): 6})
        self.assertEqual(self.seqs(), [1, 2, 3, 4])
        self.assertEqual(self.store.sweep({}, 100), {})

    def test_whateverTheyEndedAs(self) -> None:
        states = (State.EXPIRED, State.COMPLETED, State.CANCELLED)
        rows = [ended(seq, states[seq % 3], payload=b"") for seq in range(9)]
        self.store.commit(batch(rows))
        self.store.most_ended_bytes = 5 * ROW_BYTES
        self.assertEqual(sum(self.store.sweep({}, 100).values()), 4)
        self.assertEqual(self.seqs(), [4, 5, 6, 7, 8])

    def test_noMoreThanTheLimitAtOnce(self) -> None:
        self.store.commit(batch([ended(seq, ended_at=NOW) for seq in range(10)]))
        self.store.most_ended_bytes = 0
        self.assertEqual(sum(self.store.sweep({}, 3).values()), 3)
        self.assertEqual(self.seqs(), [3, 4, 5, 6, 7, 8, 9])

    def test_whatMustStayStays(self) -> None:
        """Live tasks, dead letters, and keys that are held for a time."""
        window = Unique("k", Until.WINDOW, NOW + 99)
        rows = [
            task(1),
            ended(2, State.DEAD_LETTER),
            ended(3, unique=window),
            ended(4, ended_at=None),
            ended(5, unique=Unique("l")),
        ]
        self.store.commit(batch(rows))
        self.store.most_ended_bytes = 0
        self.assertEqual(sum(self.store.sweep({}, 100).values()), 1)
        self.assertEqual(self.seqs(), [1, 2, 3, 4])
        self.assertFalse(self.store.wants_sweep)

    def test_aWindowThatIsOverKeepsNothing(self) -> None:
        """Since the tasks that ended last did."""
        rows = [
            ended(1, unique=Unique("k", Until.WINDOW, NOW + 4)),
            ended(2, State.DEAD_LETTER, unique=Unique("l", Until.WINDOW, NOW + 4)),
            ended(3, unique=Unique("m", Until.WINDOW, NOW + 99)),
        ]
        self.store.commit(batch(rows))
        self.store.most_ended_bytes = 0
        self.assertEqual(self.store.sweep({}, 100), {})
        live = task(4)
        self.store.commit(batch([live]))
        change = update(live, state=int(State.COMPLETED), ended_at=NOW + 5)
        self.store.commit(batch(updates=[change]))
        self.assertEqual(len(self.store.open_windows(NOW)), 3)
        self.assertEqual(sum(self.store.sweep({}, 1).values()), 1)
        self.assertEqual(self.seqs(), [2, 3, 4])
        self.assertEqual(sum(self.store.sweep({}, 100).values()), 1)
        self.assertEqual(self.seqs(), [2, 3])
        self.assertEqual(self.store.sweep({State.COMPLETED: NOW + 90}, 100), {})
        self.assertEqual(sum(self.store.sweep({State.COMPLETED: NOW + 100}, 100).values()), 1)

    def test_itWantsToBeSweptWhereItIsMuchMore(self) -> None:
        self.store.commit(batch([ended(1, payload=bytes(2**21))]))
        self.assertFalse(self.store.wants_sweep)  # it was told of no bound
        self.store.most_ended_bytes = 2**21
        self.assertFalse(self.store.wants_sweep)  # by a little
        self.store.most_ended_bytes = 2**19
        self.assertTrue(self.store.wants_sweep)
        self.store.sweep({}, 10)
        self.assertFalse(self.store.wants_sweep)

    def test_whatCounts(self) -> None:
        rows = [task(1, payload=b"p" * 10, headers="h" * 5), ended(2, payload=None, error="e" * 3)]
        event = HistoryRow(1, NOW, "failed", 1, None, None, "d" * 7)
        self.store.commit(batch(rows, history=[event]))
        texts = 10 + 5 + 3 + 7
        self.assertEqual(self.store.memory_bytes, 2 * ROW_BYTES + EVENT_BYTES + texts)
        self.store.commit(batch(updates=[update(rows[0], result=b"r" * 9)]))
        more = UPDATE_BYTES + 9
        self.assertEqual(self.store.memory_bytes, 2 * ROW_BYTES + EVENT_BYTES + texts + more)
        self.store.commit(batch(removed=[1, 2]))
        self.assertEqual(self.store.memory_bytes, 0)

    @given(batches=lives(also=("insert",)), most=st.sampled_from((0, 2000, 10_000)))
    @settings(derandomize=True, deadline=None, max_examples=60)
    def test_itCountsRight(self, batches: list[Batch], most: int) -> None:
        """Whatever happens to tasks, those that go leave nothing behind."""
        store = MemoryStore()
        store.open()
        for each in batches:
            store.commit(each)
        store.most_ended_bytes = most
        store.sweep({}, 10_000)
        store.most_ended_bytes = 0
        store.sweep({}, 10_000)
        spare = (State.COMPLETED, State.CANCELLED, State.EXPIRED)
        rows = store.find(Filter(states=spare), Page(limit=10_000))
        kept = [row for row in rows if row.ended_at is not None and row.unique is None]
        self.assertEqual(kept, [])
        everything = store.find(Filter(), Page(limit=10_000))
        store.commit(batch(removed=[row.seq for row in everything]))
        texts = store.size() - sum(len(row.value) for row in store.key_values())
        self.assertEqual((store.memory_bytes, texts), (0, 0))


class CostTests(SynchronousTestCase):
    """Neither a commit nor a sweep calls something for each task, wherever it can do without."""

    def test_aSweepCostsWhatItRemoves(self) -> None:
        def swept(count: int) -> int:
            store = MemoryStore()
            store.open()
            store.commit(batch([ended(seq) for seq in range(1, count + 1)]))
            found = calls(lambda: store.sweep({State.COMPLETED: NOW + 11}, 100))
            self.assertEqual(len(store.find(Filter(), Page(limit=10_000))), count - 10)
            return found

        self.assertEqual(swept(100), swept(3000))

    def test_aCommitTakesBatchesWhole(self) -> None:
        store = MemoryStore()
        store.open()
        seqs = range(1, 1001)
        done = {"state": int(State.COMPLETED), "ended_at": NOW}
        for each in (
            batch([task(seq) for seq in seqs]),
            batch(updates=[update(task(seq), **done) for seq in seqs]),
            batch(removed=list(seqs)),
        ):
            found = calls(lambda each=each: store.commit(each))  # type: ignore[misc]
            self.assertLess(found, 5 * len(seqs))


class EndsTests(SynchronousTestCase):
    def test_inOrder(self) -> None:
        ends = Ends()
        for at, seqs in ((3.0, [5]), (1.0, [9, 7]), (2.0, [1]), (1.0, [8])):
            ends.add(at, seqs)
        self.assertEqual([at for at, _ in ends.in_order()], [1.0, 1.0, 2.0, 3.0])
        self.assertEqual(ends.count, 5)
        self.assertEqual(ends.take(), (1.0, [7, 8, 9]))
        self.assertEqual((ends.first_at, ends.count), (2.0, 2))
        self.assertTrue(ends.has_before(2.5))
        self.assertFalse(ends.has_before(2.0))

    def test_whatStandsThereNoMoreIsForgotten(self) -> None:
        """Dead letters that are revived again and again leave nothing behind."""
        store = MemoryStore()
        store.open()
        for turn in range(3000):
            store.commit(batch([ended(1, State.DEAD_LETTER, ended_at=NOW + turn)]))
            store.commit(batch([task(1)]))
        store.commit(batch([ended(1, State.DEAD_LETTER, ended_at=NOW + 9999)]))
        self.assertLess(calls(lambda: store.dead_letters("default", 5)), 20_000)
        self.assertEqual([row.seq for row in store.dead_letters("default", 5)], [1])
