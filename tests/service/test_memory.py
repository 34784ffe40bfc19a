"""Tests of memory that is given back where there is a bound."""

from __future__ import annotations

import subprocess
import sys

from twisted.internet.defer import fail
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from taskqueue.errors import ShuttingDown
from taskqueue.service.duties import MEMORY_S
from taskqueue.service.memory import SELDOM_S, Trimming, resident_bytes
from tests.service.running import ServiceTestCase

BOUND = 1000


class Process:
    """What a process takes, and how much of that it could give back."""

    def __init__(self) -> None:
        self.taken: int | None = 900
        self.free = 0
        self.asked = 0

    def resident(self) -> int | None:
        return self.taken

    def trim(self) -> None:
        self.asked += 1
        assert self.taken is not None
        self.taken, self.free = self.taken - self.free, 0


class TrimmingTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.process = Process()
        self.trimming = Trimming(self.process.resident, self.process.trim)

    def test_near_the_bound(self) -> None:
        self.assertTrue(self.trimming.is_due(BOUND, 0.0))
        self.process.taken = 800
        self.assertFalse(self.trimming.is_due(BOUND, 0.0))

    def test_without_a_bound(self) -> None:
        self.assertFalse(self.trimming.is_due(0, 0.0))

    def test_where_nobody_knows(self) -> None:
        self.process.taken = None
        self.assertFalse(self.trimming.is_due(BOUND, 0.0))

    def test_seldom_where_little_comes_back(self) -> None:
        for free, again in ((100, True), (1, False)):
            self.process.taken, self.process.free = 950, free
            self.trimming.run(BOUND, 5.0)
            self.process.taken = 950
            self.assertIs(self.trimming.is_due(BOUND, 6.0), again)
        self.assertTrue(self.trimming.is_due(BOUND, 5.0 + SELDOM_S))


class ServiceTests(ServiceTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.process = Process()
        self.service.trimming = Trimming(self.process.resident, self.process.trim)

    def test_beside_what_catches_up(self) -> None:
        """In the thread in which the store catches up, after that, and once at a time."""
        self.service.reconfigure(self.adapt("broker", memory_limit=BOUND))
        self.settler.holding = True
        self.turn(MEMORY_S)
        self.turn(MEMORY_S)
        self.assertEqual(self.process.asked, 0)
        self.settler.let_go()
        self.assertEqual(self.process.asked, 1)

    def test_not_without_a_bound(self) -> None:
        self.turn(MEMORY_S)
        self.assertEqual(self.process.asked, 0)

    def test_a_broker_that_stops(self) -> None:
        self.service.reconfigure(self.adapt("broker", memory_limit=BOUND))
        self.patch(self.settler, "run", lambda *call: fail(ShuttingDown(retry_after_s=1.0)))
        self.turn(MEMORY_S)
        timer = next(t for t in self.service.timers if t.name == "giving memory back")
        self.assertEqual((self.process.asked, timer.failures), (0, 0))


_GIVING_BACK = """
from taskqueue.service.memory import resident_bytes, trim

pieces = [bytes(2000) for _ in range(50_000)]
kept = pieces[::50]
full = resident_bytes()
pieces.clear()
before = resident_bytes()
trim()
print(full - before, before - resident_bytes())
"""


class ProcessTests(SynchronousTestCase):
    def test_pages_between_others_are_given_back(self) -> None:
        """Of 100 MB every fiftieth piece of 2,000 bytes stays."""
        if resident_bytes() is None or not sys.platform.startswith("linux"):
            raise SkipTest("nothing tells here what a process takes")
        done = subprocess.run(
            [sys.executable, "-c", _GIVING_BACK], capture_output=True, text=True, check=True
        )
        by_itself, asked = map(int, done.stdout.split())
        if not asked:
            raise SkipTest("the C library is another one than glibc")
        self.assertLess(by_itself, 20e6)
        self.assertGreater(asked, 60e6)
