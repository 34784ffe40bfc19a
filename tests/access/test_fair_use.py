"""
Tests of L{taskqueue.access.fair_use}.
"""

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.access.fair_use import BURST_S, FairUse
from taskqueue.access.identities import ALL, Identity, everyone
from taskqueue.config import LimitsConfig
from taskqueue.errors import RateLimited


class FairUseTests(SynchronousTestCase):
    """Nobody gets more than a fair share."""

    def use(self, **limits: int) -> FairUse:
        self.clock = Clock()
        return FairUse(LimitsConfig(**limits), self.clock.seconds)

    def test_requests(self):
        """So many a second, and twice as many after a pause; the refusal says when to come back."""
        use, ada = self.use(max_requests_per_s=10), Identity("ada", "user", ALL)
        for _ in range(int(10 * BURST_S)):
            use.request(ada, "10.0.0.1")
        error = self.assertRaises(RateLimited, use.request, ada, "10.0.0.1")
        self.assertIn("user ada asks for more than 10 a second", str(error))
        self.assertIn("limits.max_requests_per_s", str(error))
        self.assertEqual(error.retry_after_s, 0.1)
        self.clock.advance(0.1)
        use.request(ada, "10.0.0.1")
        self.assertRaises(RateLimited, use.request, ada, "10.0.0.2")

    def test_apart(self):
        """Others are not held up: by their name, or by their address where they have none."""
        use = self.use(max_requests_per_s=1)
        for _ in range(2):
            use.request(everyone(), "10.0.0.1")
        self.assertRaises(RateLimited, use.request, everyone(), "10.0.0.1")
        use.request(everyone(), "10.0.0.2")
        use.request(Identity("ada", "user", ALL), "10.0.0.1")
        use.request(Identity("ada", "key", ALL), "10.0.0.1")

    def test_tasks(self):
        """A batch counts as its tasks; one that is larger than the bound is paid for after."""
        use = self.use(max_tasks_per_s=100)
        self.assertTrue(use.counts_tasks)
        use.tasks(everyone(), "10.0.0.1", 1000)
        self.assertRaises(RateLimited, use.tasks, everyone(), "10.0.0.1", 1)
        self.clock.advance(9)
        use.tasks(everyone(), "10.0.0.1", 100)

    def test_off(self):
        use = self.use(max_requests_per_s=0)
        self.assertFalse(use.counts_tasks)
        for _ in range(1000):
            use.request(everyone(), "10.0.0.1")
            use.tasks(everyone(), "10.0.0.1", 10**9)

    def test_adopt(self):
        """Limits that stay the same forgive nothing; new ones begin anew."""
        use = self.use(max_requests_per_s=1)
        for _ in range(2):
            use.request(everyone(), "10.0.0.1")
        use.adopt(LimitsConfig(max_requests_per_s=1))
        self.assertRaises(RateLimited, use.request, everyone(), "10.0.0.1")
        use.adopt(LimitsConfig(max_requests_per_s=5))
        use.request(everyone(), "10.0.0.1")
