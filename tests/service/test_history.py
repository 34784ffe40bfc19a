"""
Tests of the last hours in numbers.
"""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.counters import BUCKETS_S, Histogram
from taskqueue.service.history import (
    COARSE_S,
    COARSE_SAMPLES,
    FINE_S,
    FINE_SAMPLES,
    History,
    distribution,
    quantile,
)
from tests.service.running import ServiceTestCase


class HistoryTests(ServiceTestCase):
    @property
    def history(self) -> History:
        return self.service.samples.history

    def samples(self, span_s: float) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.history.describe(span_s, self.moments())["samples"]
        return found

    def test_samples(self) -> None:
        self.pass_time(15)
        self.complete()
        self.kill()
        self.submit()
        self.pass_time(20)
        quiet, busy, later = self.samples(3600)
        self.assertApproximates(busy["at"] - quiet["at"], FINE_S, 0.1)
        self.assertEqual((quiet["depth"], quiet["run_s"]), (0, None))
        self.assertEqual((busy["depth"], busy["tiers"]["normal"]), (1, 1))
        self.assertApproximates(busy["rates"]["submitted"], 0.3, 0.01)
        self.assertApproximates(busy["rates"]["dead"], 0.1, 0.01)
        self.assertEqual((busy["run_s"]["count"], busy["wait_s"]["count"]), (2, 2))
        self.assertEqual((later["run_s"], later["rates"]["submitted"]), (None, 0.0))

    def test_bounded(self) -> None:
        history = History(self.service.broker.ledger)
        for step in range(2000):
            history.take(step * FINE_S)
        self.assertEqual(len(history._fine), FINE_SAMPLES)
        for step in range(2000):
            history.take(30_000 + step * COARSE_S)
        self.assertEqual(len(history._coarse), COARSE_SAMPLES)

    def test_a_long_span_is_coarse(self) -> None:
        self.pass_time(200)
        found = self.history.describe(7200, self.moments())
        self.assertEqual(found["step_s"], COARSE_S)
        self.assertEqual(len(found["samples"]), 3)

    def test_a_short_span_has_little(self) -> None:
        self.pass_time(100)
        self.assertEqual(len(self.samples(30)), 3)

    def test_the_last_hour(self) -> None:
        self.complete()
        self.assertEqual(self.history.since(3600, self.moments())["completed"], 1)
        self.pass_time(3500)
        self.complete()
        self.assertEqual(self.history.since(3600, self.moments())["completed"], 2)
        self.pass_time(200)
        self.assertEqual(self.history.since(3600, self.moments())["completed"], 1)

    def test_trend(self) -> None:
        flat = {"depth": 0, "arriving_per_s": 0.0, "leaving_per_s": 0.0, "empty_in_s": None}
        self.assertEqual(self.history.trend(self.moments()), flat)
        for _ in range(20):
            self.submit()
        self.pass_time(10)
        for delivery in self.claim(15):
            self.report(delivery)
        self.pass_time(20)
        trend = self.history.trend(self.moments())
        self.assertEqual(trend["depth"], 5)
        # The oldest sample is of second 5.
        self.assertApproximates(trend["leaving_per_s"], 15 / 25, 0.01)
        self.assertApproximates(trend["empty_in_s"], 5 / (15 / 25), 0.1)

    def test_lanes_that_are_gone_still_count(self) -> None:
        self.complete()
        before = self.history.since(3600, self.moments())
        ledger = self.service.broker.ledger
        queue = ledger.queues["default"]
        queue.retired.add(queue.lanes["job"].counters)
        del queue.lanes["job"]
        self.assertEqual(self.history.since(3600, self.moments()), before)
        ledger.queues.clear()  # the books are right again
        ledger.ended.clear()


class QuantileTests(SynchronousTestCase):
    def test_values(self) -> None:
        for amounts, part, low, high in (
            ([0.3] * 100, 0.5, 0.25, 0.5),
            ([0.3] * 99 + [7.0], 0.99, 0.25, 0.5),
            ([0.3] * 98 + [7.0] * 2, 0.99, 5.0, 10.0),
            ([0.0], 0.5, 0.0, 0.001),
            ([1e6], 0.5, BUCKETS_S[-1], BUCKETS_S[-1]),
        ):
            histogram = Histogram()
            for amount in amounts:
                histogram.observe(amount)
            found = quantile(histogram.bounds, histogram.counts, part)
            assert found is not None
            self.assertTrue(low <= found <= high, (amounts[-1], part, found))

    def test_nothing(self) -> None:
        histogram = Histogram()
        self.assertEqual(quantile(histogram.bounds, histogram.counts, 0.5), None)
        nothing = {"count": 0, "mean": None, "p50": None, "p90": None, "p99": None}
        self.assertEqual(distribution(histogram), nothing)

    def test_distribution(self) -> None:
        histogram = Histogram()
        histogram.observe(0.2, 4)
        found = distribution(histogram)
        self.assertEqual(found["count"], 4)
        self.assertAlmostEqual(found["mean"], 0.2)
        self.assertTrue(0.1 <= found["p50"] <= found["p90"] <= found["p99"] <= 0.25)
