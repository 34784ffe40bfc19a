"""Tests of L{taskqueue.core.seen}."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core import seen
from taskqueue.core.seen import SeenIds
from taskqueue.ids import new_task_id


def complete() -> SeenIds:
    """A filter that knows of every id in the store: of none."""
    ids = SeenIds()
    ids.complete = True
    return ids


class SeenIdsTests(SynchronousTestCase):
    """L{SeenIds}."""

    def test_everythingMayHaveBeenUsedBeforeTheStoreWasRead(self) -> None:
        self.assertTrue(SeenIds().may_have("any"))

    def test_emptyFilterHasSeenNothing(self) -> None:
        self.assertFalse(complete().may_have("any"))

    @given(st.lists(st.text()))
    @settings(derandomize=True, deadline=None)
    def test_neverForgets(self, used: list[str]) -> None:
        ids = complete()
        ids.add(used)
        self.assertEqual([i for i in used if not ids.may_have(i)], [])

    def test_newIdsSeldomLookUsed(self) -> None:
        ids = complete()
        room = (1 << seen._FIRST_CAPACITY_BITS) // seen._BITS_PER_ID
        ids.add(new_task_id() for _ in range(room))
        wrong = sum(ids.may_have(new_task_id()) for _ in range(20_000))
        self.assertLess(wrong, 20_000 * 0.02)

    def test_growsByLayersAndStillKnowsTheFirst(self) -> None:
        self.patch(seen, "_FIRST_CAPACITY_BITS", 8)
        ids = complete()
        used = [new_task_id() for _ in range(500)]
        ids.add(used)
        self.assertGreater(len(ids._layers), 3)
        self.assertTrue(all(map(ids.may_have, used)))
        self.assertFalse(ids.full)

    def test_fullAtItsLargestSize(self) -> None:
        self.patch(seen, "_FIRST_CAPACITY_BITS", 8)
        self.patch(seen, "_LAST_CAPACITY_BITS", 9)
        ids = complete()
        used = [new_task_id() for _ in range(200)]
        ids.add(used)
        self.assertTrue(ids.full)
        self.assertEqual(len(ids._layers), 2)
        self.assertTrue(all(map(ids.may_have, used)))
