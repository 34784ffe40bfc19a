"""
The watch for stalled workers warns, and is right about when.
"""

from __future__ import annotations

from twisted.logger import LogLevel, globalLogPublisher

from tests.service.running import ServiceTestCase


class StallWatchTests(ServiceTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.warnings: list[dict] = []

        def observe(event: dict) -> None:
            if event["log_level"] is LogLevel.warn:
                self.warnings.append(event)

        globalLogPublisher.addObserver(observe)
        self.addCleanup(globalLogPublisher.removeObserver, observe)

    def pass_with_heartbeats(self, seconds: int) -> None:
        for _ in range(seconds // 5):
            self.pass_time(5)
            self.register("w", 1, capacity=3)

    def test_a_worker_that_only_beats(self) -> None:
        self.register("w", 1, capacity=3)
        self.submit()
        self.submit()
        self.claim(holder=self.service.broker.ledger.workers.get("w"))
        self.pass_with_heartbeats(30)
        self.assertEqual(self.service.stalls.stalled, frozenset())
        self.pass_with_heartbeats(10)
        self.assertEqual(self.service.stalls.stalled, {"w"})
        [warning] = self.warnings_of("w")
        self.assertEqual((warning["slots"], warning["seconds"]), (2, 30.0))
        self.claim(holder=self.service.broker.ledger.workers.get("w"))
        self.pass_with_heartbeats(5)
        self.assertEqual(self.service.stalls.stalled, frozenset())

    def warnings_of(self, worker: str) -> list[dict]:
        return [event for event in self.warnings if event.get("worker") == worker]

    def test_another_life_knows_nothing_of_the_one_before(self) -> None:
        self.register("w", 1, capacity=3)
        self.submit()
        self.pass_with_heartbeats(40)
        self.assertEqual(self.service.stalls.stalled, {"w"})
        self.stop()
        self.service.startService()
        self.assertEqual(self.service.stalls.stalled, frozenset())
