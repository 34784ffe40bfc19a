"""
How many bytes one claim is given: L{taskqueue.core.delivery.Desk}.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.audit import audit
from taskqueue.core.delivery import Delivery
from taskqueue.core.intake import Submission
from taskqueue.core.waiting import Claim
from tests.core.world import World

KB = 1024


class ClaimBytesTests(SynchronousTestCase):
    """C{Claim.max_bytes}."""

    def setUp(self) -> None:
        self.world = World()

    def submit(self, *sizes: int, kind: str = "t") -> None:
        items = [Submission(kind, bytes(size)) for size in sizes]
        self.world.broker.intake.submit(items, self.world.now, {})

    def claim(self, max_bytes: int | None) -> list[Delivery]:
        claim = Claim(self.world.holder, ("default",), None, 100, max_bytes=max_bytes)
        return self.world.broker.desk.claim(claim, self.world.now)

    def test_stopsBeforeTheBound(self) -> None:
        self.submit(*[10 * KB] * 5)
        self.assertEqual(len(self.claim(35 * KB)), 3)
        self.assertEqual(audit(self.world.ledger), [])
        self.assertEqual(len(self.claim(35 * KB)), 2)

    def test_whatIsLeftKeepsItsPlace(self) -> None:
        self.submit(10 * KB, 10 * KB, 1, 1)
        taken = self.claim(11 * KB) + self.claim(None)
        self.assertEqual([d.id for d in taken], [f"made-{i}" for i in range(1, 5)])

    def test_oneIsGivenHoweverLarge(self) -> None:
        self.submit(100 * KB, 1)
        self.assertEqual([len(d.payload) for d in self.claim(KB)], [100 * KB])

    def test_withoutBound(self) -> None:
        self.submit(*[10 * KB] * 50)
        self.assertEqual(len(self.claim(None)), 50)

    def test_whatIsLeftGoesToTheNextWaitingClaim(self) -> None:
        claims = [Claim(self.world.holder, ("default",), None, 9, max_bytes=15 * KB) for _ in "ab"]
        for claim in claims:
            claim.deadline = self.world.mono + 30
            self.world.ledger.claims.add(claim)
        self.submit(10 * KB, kind="a")
        self.submit(10 * KB, kind="b")
        served = []
        while found := self.world.broker.desk.serve(self.world.now):
            served += found
        self.assertEqual([claim for claim, _ in served], claims)
        self.assertEqual([len(deliveries) for _, deliveries in served], [1, 1])
