"""
What other frameworks call things, and what the broker can call them.
"""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.contrib.naming import priority_at, queue_name, type_name, worker_name
from taskqueue.errors import BadRequest
from taskqueue.operations.fields import is_name


class NamingTests(SynchronousTestCase):
    @settings(derandomize=True, deadline=None)
    @given(st.text(max_size=200))
    def test_types_are_names(self, name: str) -> None:
        """Whatever a task is called elsewhere."""
        kind = type_name(name)
        self.assertTrue(is_name(kind) and len(kind) <= 128)
        if is_name(name) and len(name) <= 128:
            self.assertEqual(kind, name)

    @settings(derandomize=True, deadline=None)
    @given(st.text(max_size=200) | st.from_regex(r"[A-Za-z0-9_.:/-]{1,130}", fullmatch=True))
    def test_queues_are_as_the_broker_has_them(self, name: str) -> None:
        if is_name(name) and len(name) <= 128:
            self.assertEqual(queue_name(name), name)
        else:
            error = self.assertRaises(BadRequest, queue_name, name, "the queue")
            self.assertTrue(str(error).startswith(f"the queue is {name!r}; it must be"))

    def test_no_texts_are_no_queues(self) -> None:
        self.assertRaises(BadRequest, queue_name, None)

    def test_workers_of_a_process_are_distinct(self) -> None:
        names = {worker_name("x") for _ in range(10)}
        self.assertEqual(len(names), 10)
        for name in names:
            self.assertTrue(is_name(name))
            self.assertIn(f"-{os.getpid()}-", name)

    def test_priorities(self) -> None:
        distances = (None, 0, -150, 105, 3.0)
        self.assertEqual([priority_at(d) for d in distances], [150, 150, 0, 255, 153])
        for wrong in (-151, 106, 0.5, float("nan"), float("inf"), "1", True):
            error = self.assertRaises(BadRequest, priority_at, wrong, "the label")
            self.assertTrue(str(error).startswith(f"the label is {wrong!r}, expected a whole"))
