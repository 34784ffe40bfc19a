"""The life of a child process, in this one."""

from __future__ import annotations

import os

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.worker.child import Child
from taskqueue.worker.pipes import Kind


class Recalls(SynchronousTestCase):
    """What is recalled, and what comes after it."""

    def test_nothing_begins_before_the_answer_is_out(self) -> None:
        """Else the end of what was sent after the recall could be told before it."""
        told: list[tuple[Kind, object, bool]] = []
        ends = [*os.pipe(), *os.pipe(), *os.pipe()]
        for fd in ends:
            self.addCleanup(os.close, fd)
        child = Child(ends[0], ends[3], ends[4])

        def send(kind: Kind, token: int = 0, header: object = None, body: bytes = b"") -> None:
            told.append((kind, header, child._turn.locked()))

        child._outbox.send = send  # type: ignore[method-assign]
        child._recall(7)
        self.assertEqual(told, [(Kind.RECALLED, (1, 7), True)])
        self.assertFalse(child._turn.locked())
