"""Tests of how what is pending gets into the database: in pieces, and in one transaction."""

from __future__ import annotations

from collections.abc import Iterator
from sys import getrefcount
from unittest.mock import patch

from hypothesis import given, settings
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.changes import Batch, HistoryRow
from taskqueue.errors import StoreError
from taskqueue.store import Filter, LoggedStore, Page, SQLiteStore, logged, overlay, pending
from taskqueue.store.pending import LARGE_PIECE_ROWS, PIECE_BYTES, PIECE_ROWS, Pending
from tests.store.media import everything
from tests.store.rows import NOW, VALUE, after, batch, lives, task, update
from tests.store.test_pending import stored

examples = settings(derandomize=True, deadline=None, max_examples=40)


def merged(batches: list[Batch], size_bytes: int = 10) -> Pending:
    """What these come to."""
    found = Pending()
    for lsn, each in enumerate(batches, start=1):
        found.add(each, lsn, size_bytes)
    return found


class PieceTests(SynchronousTestCase):
    @examples
    @given(lives())
    def test_comeToTheSame(self, batches: list[Batch]) -> None:
        """Pieces of one row each, of what came before some moment and of what came after it."""
        cut = len(batches) // 2
        with patch.object(pending, "PIECE_ROWS", 1):
            pieces = [*merged(batches[:cut]).pieces(), *merged(batches[cut:]).pieces()]
        self.assertEqual(everything(stored(pieces)), everything(stored(batches)))

    def test_haveFewRows(self) -> None:
        """Of every kind."""
        count = 3 * PIECE_ROWS
        rows = [task(seq) for seq in range(1, count + 1)]
        whole = merged(
            [
                batch(rows),
                batch(
                    updates=[update(task(seq), state=6) for seq in range(count, 3 * count)],
                    history=[
                        HistoryRow(1, NOW, "failed", n, None, None, None) for n in range(count)
                    ],
                    removed=list(range(10 * count, 11 * count)),
                ),
                batch()._replace(values=[VALUE._replace(key=str(n)) for n in range(count)]),
            ]
        )
        pieces = list(whole.pieces())
        for name in ("inserts", "updates", "history", "removed", "values"):
            sizes = [len(getattr(piece, name)) for piece in pieces]
            self.assertEqual(max(sizes), PIECE_ROWS, name)
            self.assertEqual(sum(sizes), len(getattr(whole.batch(), name)), name)

    def test_havingManyTheyAreLarger(self) -> None:
        many = LARGE_PIECE_ROWS + 1
        rows = [task(seq) for seq in range(1, many + 1)]
        with patch.object(pending, "MANY_ROWS", many):
            for count, most in ((many - 1, PIECE_ROWS), (many, LARGE_PIECE_ROWS)):
                pieces = merged([batch(rows[:count])]).pieces()
                self.assertEqual(max(len(piece.inserts) for piece in pieces), most)

    def test_largeRowsAreFewer(self) -> None:
        """What is bound to a statement is copied under the interpreter lock, too."""
        rows = [task(seq, payload=bytes(PIECE_BYTES // 4)) for seq in range(1, 20)]
        sizes = [len(piece.inserts) for piece in merged([batch(rows)], 20 * PIECE_BYTES).pieces()]
        self.assertEqual(max(sizes), 1)
        sizes = [len(piece.inserts) for piece in merged([batch(rows)], 5 * PIECE_BYTES).pieces()]
        self.assertEqual(max(sizes), 2)

    def test_removedFirst(self) -> None:
        """A task whose id another had that goes."""
        whole = merged([batch(removed=[1]), batch([task(2, id="task-1")])])
        kinds = [name for piece in whole.pieces() for name, rows in _rows(piece) if rows]
        self.assertEqual(kinds, ["removed", "inserts"])


def _rows(piece: Batch) -> list[tuple[str, list[object]]]:
    return [("removed", [*piece.removed]), ("inserts", [*piece.inserts])]


class SettleTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = SQLiteStore(self.mktemp(), synchronous=False)
        self.store.open()
        self.addCleanup(self.store.close)

    def test_eachIsMadeWhenItsTurnComes(self) -> None:
        """Nothing is made before what was made before it is in the database."""
        there: list[list[tuple[int]]] = []

        def pieces() -> Iterator[Batch]:
            for seq in (1, 2, 3):
                there.append(self.store._writer.execute("SELECT seq FROM tasks").fetchall())
                yield batch([task(seq)])

        self.store.settle(pieces(), 3)
        self.assertEqual(there, [[], [(1,)], [(1,), (2,)]])
        self.assertEqual(self.store.marks().lsn, 3)
        self.assertEqual(self.store.next_seq, 4)

    def test_allOrNothing(self) -> None:
        def pieces() -> Iterator[Batch]:
            yield batch([task(1)])
            raise StoreError("no more")

        self.assertRaises(StoreError, self.store.settle, pieces(), 1)
        self.assertEqual(self.store.find(Filter(), Page()), [])
        self.assertEqual((self.store.marks().lsn, self.store.next_seq), (0, 1))
        self.store.settle([batch([task(1)])], 1)
        self.assertEqual([row.seq for row in self.store.find(Filter(), Page())], [1])


class ReaderTests(SynchronousTestCase):
    @examples
    @given(lives())
    def test_holdsWhatIsFreed(self, batches: list[Batch]) -> None:
        """Who began to read before the database had it still finds it afterwards."""
        store = LoggedStore(self.mktemp(), synchronous=False)
        store.open()
        for each in batches:
            store.commit(each)
        generations = store._generations
        store.settle()
        self.assertNotEqual(store._generations, generations)
        rows = after(batches)
        for seq in range(1, batches[-1].next_seq + 1):
            self.assertEqual(overlay.as_it_stands(seq, None, generations), rows.get(seq))
        store.close()


class FreeingTests(SynchronousTestCase):
    def test_othersHaveTheirTurn(self) -> None:
        """Rows are gone when others may take the interpreter lock, not all at once after that."""
        store = LoggedStore(self.mktemp(), synchronous=False)
        store.open()
        self.addCleanup(store.close)
        row = task(1)
        held = getrefcount(row)
        store.commit(batch([row]))
        self.assertGreater(getrefcount(row), held)
        found: list[int] = []
        with patch.object(logged, "sleep", lambda _: found.append(getrefcount(row))):
            store.settle()
        self.assertEqual(found, [held])
