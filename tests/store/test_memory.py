"""Tests of the store in memory."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.store import IStore, MemoryStore
from tests.store.contract import StoreContract
from tests.store.rows import batch, task


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
