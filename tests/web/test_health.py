"""
Tests of the pages for load balancers and orchestrators.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.changes import Batch
from taskqueue.core.intake import Submission
from taskqueue.errors import StoreFailed
from taskqueue.store.memory import MemoryStore
from tests.web.visitor import Place


class Fragile(MemoryStore):
    """A store that fails when it is told to."""

    broken = False

    def commit(self, batch: Batch) -> None:
        if self.broken:
            raise StoreFailed("no space left on device")
        super().commit(batch)


class HealthTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = Fragile()
        self.place = Place(store=self.store).started()

    def check(self, path: str, status: int, word: str, reason: str | None = None) -> None:
        answer = self.place.get(path)
        self.assertEqual((answer.status, answer.json["status"]), (status, word))
        if reason is None:
            self.assertNotIn("reason", answer.json)
        else:
            self.assertIn(reason, answer.json["reason"])

    def test_well(self) -> None:
        self.check("/health", 200, "ok")
        self.check("/ready", 200, "ready")

    def test_the_store_fails_and_recovers(self) -> None:
        self.store.broken = True
        self.place.submit(Submission("x"))
        self.check("/health", 503, "degraded", "no space left on device")
        self.check("/ready", 503, "not ready", "no space left on device")
        self.store.broken = False
        self.place.clock.advance(10)
        self.check("/health", 200, "ok")
        self.check("/ready", 200, "ready")

    def test_a_timer_fails_and_recovers(self) -> None:
        """Work goes on meanwhile, so the broker is ready."""
        timer = next(t for t in self.place.service.timers if t.name == "sampling")
        trouble = [ZeroDivisionError("a bug")]

        def sample() -> None:
            if trouble:
                raise trouble.pop()

        timer._function = sample
        self.place.clock.advance(timer.interval_s)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.check("/health", 503, "degraded", "sampling")
        self.check("/ready", 200, "ready")
        self.place.clock.advance(timer.interval_s)
        self.check("/health", 200, "ok")
        self.assertEqual(timer.failures, 1)

    def test_a_timer_that_waits_for_the_store(self) -> None:
        timer = next(t for t in self.place.service.timers if t.name == "catching up")
        broken = [True]

        def checkpoint() -> None:
            if broken:
                raise StoreFailed("no space left on device")

        self.store.checkpoint = checkpoint  # type: ignore[method-assign]
        self.place.clock.advance(timer.interval_s)
        self.check("/health", 503, "degraded", "cannot catch up: no space left on device")
        self.check("/ready", 200, "ready")
        broken.clear()
        self.place.clock.advance(timer.interval_s)
        self.check("/health", 200, "ok")

    def test_the_audit_found_something(self) -> None:
        self.place.ledger.depth += 1
        self.place.service.auditor.audit()
        self.check("/health", 503, "degraded", "the self-audit found")
        self.check("/ready", 200, "ready")
        self.place.ledger.depth -= 1
        self.place.service.auditor.audit()
        self.check("/health", 200, "ok")

    def test_all_reasons_are_told(self) -> None:
        self.place.ledger.depth += 1
        self.place.service.auditor.audit()
        self.store.broken = True
        self.place.submit(Submission("x"))
        self.check("/health", 503, "degraded", "no space left on device")
        self.check("/health", 503, "degraded", "the self-audit found")

    def test_live(self) -> None:
        """Whatever else is wrong: to restart the process would not mend it."""
        self.assertEqual(Place().get("/live").json, {"status": "alive", "uptime_s": None})
        self.store.broken = True
        self.place.submit(Submission("x"))
        self.place.clock.advance(2.5)
        answer = self.place.get("/live")
        self.assertEqual((answer.status, answer.json), (200, {"status": "alive", "uptime_s": 2.5}))

    def test_before_the_start(self) -> None:
        self.place = Place()
        self.check("/health", 503, "degraded", "starting")
        self.check("/ready", 503, "not ready", "starting")

    def test_at_the_end(self) -> None:
        self.place.service.stopService()
        self.check("/health", 503, "degraded", "stopping")
        self.check("/ready", 503, "not ready", "stopping")
