"""
Tests of the store that the benchmark of the REST API makes.
"""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import rest
from taskqueue.core.task import State
from taskqueue.store import make_store
from taskqueue.store.interface import Filter, Page


class StoreTests(SynchronousTestCase):
    def test_a_broker_can_start_with_it(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir()
        self.patch(rest, "CHUNK", 500)
        rest.make_store(folder, 3000)
        store = make_store("sqlite", str(folder / "data"), "none", "full")
        store.open()
        self.addCleanup(store.close)
        recovery = store.recover()
        live = len(list(recovery.tasks))
        self.assertEqual(live + sum(recovery.ended.values()), 3000)
        self.assertTrue(0 < live < 100)
        self.assertEqual(recovery.next_seq, 3001)
        dead = store.find(Filter(states=[State.DEAD_LETTER]), Page(1000))
        self.assertTrue(all(row.error for row in dead))

    def test_searches_can_be_asked(self) -> None:
        places = {"middle": 1, "hour": 2.0, "hour_end": 3.0}
        for query in rest.SEARCHES.values():
            self.assertNotIn("{", query.format(**places))
