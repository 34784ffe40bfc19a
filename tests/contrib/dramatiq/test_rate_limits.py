"""
Counters of dramatiq's rate limiters at the broker.
"""

from __future__ import annotations

import threading

from dramatiq.errors import RateLimitExceeded
from dramatiq.rate_limits import Barrier, BucketRateLimiter, ConcurrentRateLimiter
from dramatiq.rate_limits.window import WindowRateLimiter

from taskqueue.contrib.dramatiq import TaskqueueRateLimiterBackend
from tests.contrib.programs import FrameworkTestCase


class RateLimitTests(FrameworkTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.backend = TaskqueueRateLimiterBackend(self.address)
        self.addCleanup(self.backend.close)

    def test_add(self) -> None:
        self.assertTrue(self.backend.add(self.name, 1, 60_000))
        self.assertFalse(self.backend.add(self.name, 1, 60_000))

    def test_bounds(self) -> None:
        changes = [
            self.backend.incr(self.name, 2, 3, 60_000),
            self.backend.incr(self.name, 2, 3, 60_000),
            self.backend.decr(self.name, 1, 0, 60_000),
            self.backend.decr(self.name, 2, 0, 60_000),
            self.backend.incr(self.name, 2, 3, 60_000),
        ]
        self.assertEqual(changes, [True, False, True, False, True])

    def test_sum(self) -> None:
        keys = [f"{self.name}-{n}" for n in range(3)]
        allowed = [self.backend.incr_and_sum(key, lambda: keys, 1, 2, 60_000) for key in keys]
        self.assertEqual(allowed, [True, True, False])

    def test_nobody_is_counted_twice(self) -> None:
        """However many count at the same time."""
        counted: list[bool] = []

        def count() -> None:
            counted.extend(self.backend.incr(self.name, 1, 25, 60_000) for _ in range(10))

        threads = [threading.Thread(target=count) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((counted.count(True), counted.count(False)), (25, 15))

    def test_limiters(self) -> None:
        concurrent = ConcurrentRateLimiter(self.backend, self.name, limit=1)
        with concurrent.acquire():
            self.assertRaises(RateLimitExceeded, concurrent.acquire().__enter__)
        with concurrent.acquire(raise_on_failure=False) as acquired:
            self.assertTrue(acquired)
        for kind, more in (
            (BucketRateLimiter, {"bucket": 60_000}),
            (WindowRateLimiter, {"window": 60}),
        ):
            limiter = kind(self.backend, f"{self.name}-{kind.__name__}", limit=2, **more)
            got = []
            for _ in range(3):
                with limiter.acquire(raise_on_failure=False) as acquired:
                    got.append(acquired)
            self.assertEqual(got, [True, True, False], limiter)

    def test_barrier(self) -> None:
        barrier = Barrier(self.backend, self.name, ttl=60_000)
        self.assertTrue(barrier.create(2))
        self.assertFalse(barrier.create(2))
        self.assertFalse(barrier.wait(block=False))
        waiting = threading.Thread(target=barrier.wait, kwargs={"timeout": 10_000})
        waiting.start()
        self.assertTrue(barrier.wait(timeout=10_000))
        waiting.join(10)
        self.assertFalse(waiting.is_alive())

    def test_waiting_ends(self) -> None:
        self.assertFalse(self.backend.wait(f"{self.name}-nobody", 50))
