"""Keys in their order: the same as sorting anew each time."""

from __future__ import annotations

from unittest import mock

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core import sorted_keys
from taskqueue.core.sorted_keys import SortedKeys

_KEYS = st.text("abü\U0001f600", min_size=1, max_size=3)


class SortedKeysTests(SynchronousTestCase):
    @settings(derandomize=True, deadline=None)
    @given(st.sets(_KEYS), st.lists(_KEYS, max_size=60), st.none() | _KEYS, st.just("") | _KEYS)
    def test_as_if_sorted(
        self, first: set[str], changes: list[str], after: str | None, least: str
    ) -> None:
        with mock.patch.object(sorted_keys, "_PIECE", 2):
            keys, expected = SortedKeys(first), set(first)
            for key in changes:
                if key in expected:
                    keys.remove(key)
                else:
                    keys.add(key)
                expected ^= {key}
                self.assertEqual(list(keys), sorted(expected))
                self.assertEqual(len(keys), len(expected))
            found = [
                key for key in sorted(expected) if key >= least and (after is None or key > after)
            ]
            self.assertEqual(list(keys.beyond(after, least)), found)

    def test_pieces_stay_small(self) -> None:
        keys = SortedKeys()
        for number in range(10_000):
            keys.add(f"{number * 7919 % 10_000:05}")
        self.assertEqual(list(keys), [f"{number:05}" for number in range(10_000)])
        self.assertLessEqual(max(map(len, keys._pieces)), 2 * sorted_keys._PIECE)
        for number in range(10_000):
            keys.remove(f"{number:05}")
        self.assertEqual((list(keys), keys._pieces), ([], []))
