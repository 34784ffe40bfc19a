"""
What kombu's names and priorities are at the broker.
"""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.contrib.kombu.names import broker_name, broker_priority, kombu_priority
from taskqueue.core.task import DEFAULT_PRIORITY

NAME = re.compile(r"[A-Za-z0-9_\-.:/]{1,128}")


class Names(SynchronousTestCase):
    def test_what_the_broker_takes_stays_as_it_is(self) -> None:
        for name in ("celery", "proj.tasks.add", "a/b:c-d_e", "x" * 128):
            self.assertEqual(broker_name(name), name)

    def test_other_characters_are_written_as_their_bytes(self) -> None:
        self.assertEqual(broker_name("w1@host.celery.pidbox"), "w1:40host.celery.pidbox")
        self.assertEqual(broker_name("ü"), ":c3:bc")

    def test_what_looks_written_so_is_written_so_too(self) -> None:
        """A queue that is called like another one's name at the broker gets another one."""
        self.assertEqual(broker_name("a@b"), "a:40b")
        self.assertEqual(broker_name("a:40b"), "a:3a40b")

    def test_a_long_name_ends_with_a_digest(self) -> None:
        one, other = broker_name("x" * 129), broker_name("x" * 130)
        self.assertEqual(len(one), 128)
        self.assertNotEqual(one, other)

    @settings(derandomize=True, deadline=None)
    @given(st.lists(st.text(alphabet="a:40@/é%", min_size=1, max_size=70), unique=True))
    def test_two_names_never_become_one(self, names: list[str]) -> None:
        found = [broker_name(name) for name in names]
        self.assertEqual(len(set(found)), len(names))
        for name in found:
            self.assertTrue(NAME.fullmatch(name), name)


class Priorities(SynchronousTestCase):
    def test_a_higher_one_is_more_urgent(self) -> None:
        found = [broker_priority(priority) for priority in range(10)]
        self.assertEqual(found, sorted(found))
        self.assertEqual(len(set(found)), 10)
        self.assertTrue(all(0 <= one <= 255 for one in found))

    def test_none_is_what_tasks_have_anyway(self) -> None:
        self.assertEqual(broker_priority(None), DEFAULT_PRIORITY)
        self.assertEqual(broker_priority(0), DEFAULT_PRIORITY)

    def test_beyond_is_the_nearest(self) -> None:
        self.assertEqual(broker_priority(255), broker_priority(9))
        self.assertEqual(broker_priority(-1), broker_priority(0))

    def test_and_back(self) -> None:
        for priority in range(10):
            self.assertEqual(kombu_priority(broker_priority(priority)), priority)
        self.assertEqual([kombu_priority(0), kombu_priority(255)], [0, 9])
