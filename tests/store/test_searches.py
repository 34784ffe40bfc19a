"""Tests of searches in what is committed and not in the database yet."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from typing import Any
from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.changes import Batch, TaskRow
from taskqueue.core.task import State
from taskqueue.store import Filter, LoggedStore, MemoryStore, Page, SQLiteStore, searches
from taskqueue.store.pending import Pending
from tests.store.contract import bare, filters, narrow_filters
from tests.store.rows import NOW, batch, lives, task, update

pages = st.builds(
    Page,
    limit=st.integers(0, 6),
    after=st.none() | st.integers(-1, 40),
    descending=st.booleans(),
    until=st.none() | st.integers(-1, 40),
)


def merged(batches: Sequence[Batch], newest: int) -> Pending:
    """What a generation is after these batches."""
    pending = Pending(newest)
    for lsn, each in enumerate(batches, start=1):
        pending.add(each, lsn, 10)
    return pending


@st.composite
def out_of_line(draw: st.DrawFn) -> list[Batch]:
    """Batches whose tasks come in any order of C{seq}."""
    batches = draw(lives(("insert",)))
    most = batches[-1].next_seq
    place = dict(zip(range(most + 1), draw(st.permutations(range(1, most + 2))), strict=True))

    def moved(row: Any) -> Any:
        return row._replace(seq=place[row.seq])

    return [
        each._replace(
            inserts=list(map(moved, each.inserts)),
            updates=list(map(moved, each.updates)),
            history=[],
            removed=[place[seq] for seq in each.removed],
            next_seq=most + 2,
        )
        for each in batches
    ]


class EqualityTests(SynchronousTestCase):
    """What is found is what a store finds that has all of it in one place."""

    def compare(
        self, batches: list[Batch], cuts: tuple[int, int], asked: list[tuple[Filter, Page]]
    ) -> None:
        """
        @param cuts: how many of the batches the database has, and how many are in it or on their
            way there.
        """
        whole = MemoryStore()
        whole.open()
        directory = self.mktemp()
        database = SQLiteStore(directory, synchronous=False)
        database.open()
        first, second = sorted(cut % (len(batches) + 1) for cut in cuts)
        for each in batches:
            whole.commit(each)
        for lsn, each in enumerate(batches[:first]):
            database.settle([each], lsn)
        older = merged(batches[first:second], database.next_seq - 1)
        newer = merged(batches[second:], older.newest)
        for generations in ((older, newer), (older, newer)[1:] if first == second else ()):
            for filter, page in asked if generations else ():
                found = searches.find(filter, page, generations, database)
                self.assertEqual(found, whole.find(filter, page), (cuts, filter, page))
        database.close()
        shutil.rmtree(directory)

    cuts = st.tuples(st.integers(0, 6), st.integers(0, 6))
    asked = st.lists(st.tuples(filters | narrow_filters, pages), min_size=1, max_size=12)
    examples = settings(derandomize=True, deadline=None, max_examples=120)

    @examples
    @given(lives(("insert",)), cuts, asked)
    def test_anyPage(
        self, batches: list[Batch], cuts: tuple[int, int], asked: list[tuple[Filter, Page]]
    ) -> None:
        self.compare(batches, cuts, asked)

    @examples
    @given(out_of_line(), cuts, asked)
    def test_inAnyOrder(
        self, batches: list[Batch], cuts: tuple[int, int], asked: list[tuple[Filter, Page]]
    ) -> None:
        self.compare(batches, cuts, asked)

    @settings(derandomize=True, deadline=None, max_examples=60)
    @given(lives(("insert",)), cuts, asked)
    def test_inSmallSteps(
        self, batches: list[Batch], cuts: tuple[int, int], asked: list[tuple[Filter, Page]]
    ) -> None:
        with mock.patch.multiple(searches, STEP=1, WINDOW=1, MOST=2):
            self.compare(batches, cuts, asked)


class SearchCase(SynchronousTestCase):
    """
    @ivar store: open, and never brought up to date but by C{settle}.
    """

    def setUp(self) -> None:
        self.store = LoggedStore(self.mktemp(), synchronous=False)
        self.store.open()
        self.addCleanup(self.store.close)

    def found(self, filter: Filter | None = None, **page: Any) -> list[int]:
        return [row.seq for row in self.store.find(filter or Filter(), Page(**page))]


class BesideCommitsTests(SearchCase):
    def test_searchesWriteNothing(self) -> None:
        self.store.commit(batch([task(1), task(2)]))
        before = self.store.backlog().rows
        self.assertEqual(self.found(), [2, 1])
        self.assertEqual(self.store.backlog().rows, before)
        self.assertEqual(self.store._database.records(["task-1"]), [])

    def test_pageByPage(self) -> None:
        """Over what is in the database, what has changed since, and what is new."""
        rows = [task(seq, state=seq % 9) for seq in range(1, 41)]
        self.store.commit(batch(rows[:20]))
        self.store.settle()
        self.store.commit(batch(updates=[update(row, state=8 - row.state) for row in rows[5:15]]))
        self.store.commit(batch(rows[20:]))
        stand = {r.seq: 8 - r.state if 5 < r.seq <= 15 else r.state for r in rows}
        for states in (None, [State.PENDING], [State.COMPLETED, State.EXPIRED]):
            wanted = [seq for seq in stand if states is None or stand[seq] in states]
            for descending in (False, True):
                listed: list[int] = []
                after = None
                while part := self.found(
                    Filter(states=states), limit=3, after=after, descending=descending
                ):
                    listed += part
                    after = part[-1]
                self.assertEqual(listed, wanted[::-1] if descending else wanted)

    def test_payloadsAndResultsAreLeftOut(self) -> None:
        rows = [task(seq, state=5, result=b"r") for seq in (1, 2)]
        self.store.commit(batch(rows[:1]))
        self.store.settle()
        self.store.commit(batch(rows[1:]))
        self.store.commit(batch(updates=[update(row, attempt=1, result=b"s") for row in rows]))
        wanted: list[TaskRow] = [bare(row._replace(attempt=1)) for row in reversed(rows)]
        self.assertEqual(self.store.find(Filter(), Page()), wanted)

    def test_afterARestart(self) -> None:
        """What was there before counts as known: a revival is no new task."""
        self.store.commit(batch([task(5, state=6), task(7)]))
        self.store.close()
        self.store.open()
        self.store.commit(batch([task(5, payload=None, queue="another"), task(8)]))
        self.assertEqual(self.found(), [8, 7, 5])
        self.assertEqual(self.found(Filter(queue="another")), [])

    def test_removedMeanwhile(self) -> None:
        self.store.commit(batch([task(1), task(2), task(3)]))
        self.store.settle()
        self.store.commit(batch([task(4), task(5)], removed=[2]))
        self.store.commit(batch([task(6)], removed=[4, 6]))
        self.assertEqual(self.found(), [5, 3, 1])
        self.assertEqual(self.found(limit=2, descending=False), [1, 3])


class WorkTests(SearchCase):
    """What a search looks at is bounded by its page, not by what is pending."""

    MANY = 5000

    def read(self) -> list[str]:
        """From now on: the statements that the reader of the database executes."""
        seen: list[str] = []
        self.store._database._reader.set_trace_callback(seen.append)
        return seen

    def test_aPageOfNewTasksReadsNothing(self) -> None:
        self.store.commit(batch([task(seq) for seq in range(1, self.MANY)]))
        seen = self.read()
        self.assertEqual(len(self.found()), 100)
        self.assertEqual(seen, [])

    def test_aPageOfNewTasksLooksAtFew(self) -> None:
        self.store.commit(batch([task(seq) for seq in range(1, self.MANY)]))
        looked: list[int] = []
        each = searches._Search._standing

        def standing(self: Any, generations: Any, seqs: list[int]) -> Iterator[TaskRow]:
            looked.extend(seqs)
            return each(self, generations, seqs)

        self.patch(searches._Search, "_standing", standing)
        self.assertEqual(len(self.found(Filter(states=[State.PENDING]))), 100)
        self.assertLessEqual(len(looked), searches.STEP)

    def test_tasksThatNoLongerMatchAreNotRead(self) -> None:
        """Thousands were pending in the database and are completed: they are passed by number."""
        rows = [task(seq) for seq in range(1, self.MANY)]
        self.store.commit(batch(rows))
        self.store.settle()
        done = [update(row, state=5, ended_at=NOW) for row in rows[:-3]]
        self.store.commit(batch(updates=done))
        seen = self.read()
        pending = self.found(Filter(states=[State.PENDING]), limit=10, descending=False)
        self.assertEqual(pending, [row.seq for row in rows[-3:]])
        self.assertLess(len(seen), 10, seen)

    def test_ofTasksThatJoinFewAreRead(self) -> None:
        """They are told apart by what they always were before they are read."""
        rows = [task(seq, queue="rare" if seq == 4000 else "q") for seq in range(1, self.MANY)]
        self.store.commit(batch(rows))
        self.store.settle()
        self.store.commit(batch(updates=[update(row, state=5) for row in rows]))
        asked: list[int] = []
        bare_rows = self.store._database.bare

        def counted(seqs: Sequence[int]) -> list[TaskRow]:
            asked.extend(seqs)
            return bare_rows(seqs)

        self.patch(self.store._database, "bare", counted)
        found = self.found(Filter(states=[State.COMPLETED], queue="rare"), limit=10)
        self.assertEqual((found, asked), ([4000], [4000]))
