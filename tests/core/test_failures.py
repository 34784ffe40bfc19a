"""
What failed last is known, and no more than so much of it.
"""

from __future__ import annotations

from taskqueue.core.failures import KEPT
from taskqueue.core.task import State
from tests.core.world import CoreTestCase


class FailuresTests(CoreTestCase):
    def test_a_worker_that_says_so(self) -> None:
        self.world.submit("t")
        self.world.fail(self.world.take(self.world.register("w")), "no luck")
        [failure] = self.world.ledger.failures
        self.assertEqual(
            (failure.task, failure.worker, failure.error, failure.lost, failure.attempt),
            ("t", "w", "no luck", False, 1),
        )
        self.assertEqual((failure.state, failure.at), (State.FAILED, self.world.now.wall))

    def test_a_worker_that_says_nothing(self) -> None:
        self.world.submit("t")
        self.world.take()
        self.world.tick(10_000)
        [failure] = self.world.ledger.failures
        self.assertEqual((failure.task, failure.lost), ("t", True))
        self.assertEqual(failure.state, State.PENDING)

    def test_what_is_no_failure(self) -> None:
        for task in ("a", "b"):
            self.world.submit(task)
        self.world.complete(self.world.take())
        delivery = self.world.take()
        self.world.cancel("b", running=True)
        self.world.report(delivery, State.CANCELLED)
        self.assertEqual(list(self.world.ledger.failures), [])

    def test_the_newest_are_kept(self) -> None:
        ids = [self.world.submit() for _ in range(KEPT + 5)]
        for _ in ids:
            self.world.fail(self.world.take(), permanent=True)
        found = [failure.task for failure in self.world.ledger.failures]
        self.assertEqual(found, ids[:4:-1])
