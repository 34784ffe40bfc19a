"""
How late the event loop is, is noted for a minute.
"""

from __future__ import annotations

from taskqueue.service.lateness import LOOK_S
from tests.service.running import ServiceTestCase


class LatenessTests(ServiceTestCase):
    def late(self) -> float:
        return self.service.lateness.worst_s

    def test_in_time(self) -> None:
        self.pass_time(10)
        self.assertEqual(self.late(), 0.0)

    def test_the_worst_of_a_minute(self) -> None:
        self.pass_time(1)
        self.clock.advance(LOOK_S + 2.0)
        self.assertEqual(self.late(), 2.0)
        self.pass_time(1)
        self.clock.advance(LOOK_S + 1.0)
        self.assertEqual(self.late(), 2.0)
        self.pass_time(57)
        self.assertEqual(self.late(), 2.0)
        self.pass_time(1)
        self.assertEqual(self.late(), 1.0)
        self.pass_time(3)
        self.assertEqual(self.late(), 0.0)

    def test_the_wall_clock_is_set(self) -> None:
        self.pass_time(1)
        self.jumped_s = 3600.0
        self.pass_time(1)
        self.assertEqual(self.late(), 0.0)

    def test_another_life(self) -> None:
        self.clock.advance(LOOK_S + 2.0)
        self.stop()
        self.clock.advance(100)
        self.service.startService()
        self.pass_time(1)
        self.assertEqual(self.late(), 0.0)
