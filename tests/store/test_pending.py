"""Tests of what many batches come to."""

from __future__ import annotations

from hypothesis import given, settings
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.changes import Batch
from taskqueue.store import MemoryStore, overlay
from taskqueue.store.pending import Pending
from tests.store.media import everything
from tests.store.rows import after, batch, lives, task, update

examples = settings(derandomize=True, deadline=None, max_examples=60)


def stored(batches: list[Batch]) -> MemoryStore:
    store = MemoryStore()
    store.open()
    for each in batches:
        store.commit(each)
    return store


class MergingTests(SynchronousTestCase):
    @examples
    @given(lives())
    def test_comesToTheSame(self, batches: list[Batch]) -> None:
        """However the batches are cut into two that are merged."""
        for cut in range(len(batches) + 1):
            parts = []
            for part in (batches[:cut], batches[cut:]):
                merged = Pending()
                for lsn, each in enumerate(part, start=1):
                    merged.add(each, lsn, 10)
                parts.append(merged)
            store = stored([merged.batch() for merged in parts])
            self.assertEqual(everything(store), everything(stored(batches)))
            parts[0].absorb(parts[1])
            self.assertEqual(everything(stored([parts[0].batch()])), everything(stored(batches)))

    @examples
    @given(lives())
    def test_eachTaskAsItStands(self, batches: list[Batch]) -> None:
        merged = Pending()
        for lsn, each in enumerate(batches, start=1):
            merged.add(each, lsn, 10)
        rows = after(batches)
        for seq in range(1, batches[-1].next_seq + 1):
            self.assertEqual(overlay.as_it_stands(seq, None, (merged,)), rows.get(seq))
        self.assertEqual(merged.ids, {row.id: seq for seq, row in rows.items()})

    def test_insertedAgainKeepsWhatItIs(self) -> None:
        """As the database does: a revival brings an expiry and a state, and no payload."""
        merged = Pending()
        merged.add(batch([task(1, expires_at=5.0)]), 1, 1)
        merged.add(batch(updates=[update(task(1), state=6)]), 2, 1)
        merged.add(batch([task(1, payload=None, attempt=3)]), 3, 1)
        [row] = merged.batch().inserts
        self.assertEqual(row, task(1, attempt=3))
        self.assertEqual(merged.batch().updates, [])
