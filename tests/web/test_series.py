"""
Tests of how many series metrics have.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core import upkeep
from taskqueue.core.broker import Broker
from taskqueue.core.counters import COUNTED, Counters
from taskqueue.core.policy import Policy
from taskqueue.core.task import State
from taskqueue.web.series import OTHER, PairSeries, bounded, first_names
from tests.core.world import total_counters


def make_broker() -> Broker:
    return Broker(Policy(), Random(0), lambda: "an id")


def count(broker: Broker, queue: str, task_type: str, wait_s: float = 1.0) -> None:
    """Let a pair count something of everything."""
    counters = broker.ledger.queue(queue).lane(task_type).counters
    for event in COUNTED:
        setattr(counters, event, getattr(counters, event) + 1)
    counters.wait.observe(wait_s)
    counters.processing.observe(2 * wait_s)


def numbers(counters: Counters) -> list[float]:
    """All that grows in C{counters}."""
    found: list[float] = list(counters.as_dict().values())
    for histogram in (counters.wait, counters.processing):
        found += [*histogram.counts, round(histogram.total, 3)]
    return found


def read(series: PairSeries, broker: Broker) -> dict[tuple[str, str], list[float]]:
    rows = series.counters(broker.ledger)
    found = {(row.queue, row.type): numbers(row.counters) for row in rows}
    assert len(found) == len(rows), "two rows have the same labels"
    return found


class PairSeriesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(upkeep, "MANY_LANES", 0)
        self.broker = make_broker()

    def submitted(self, series: PairSeries) -> dict[tuple[str, str], int]:
        rows = series.counters(self.broker.ledger)
        return {(row.queue, row.type): row.counters.submitted for row in rows}

    def test_each_pair_by_itself(self) -> None:
        count(self.broker, "a", "x")
        count(self.broker, "b", "x")
        count(self.broker, "b", "x")
        self.assertEqual(self.submitted(PairSeries(2)), {("a", "x"): 1, ("b", "x"): 2})

    def test_the_rest_together(self) -> None:
        for queue in "abcd":
            count(self.broker, queue, "x")
        self.assertEqual(
            self.submitted(PairSeries(2)), {("a", "x"): 1, ("b", "x"): 1, (OTHER, OTHER): 2}
        )

    def test_no_pair_changes_sides(self) -> None:
        series = PairSeries(1)
        count(self.broker, "a", "x")
        self.submitted(series)
        for _ in range(5):
            count(self.broker, "b", "x")
        self.assertEqual(self.submitted(series), {("a", "x"): 1, (OTHER, OTHER): 5})
        self.assertEqual(series.label("a", "x"), ("a", "x"))
        self.assertEqual(series.label("b", "x"), (OTHER, OTHER))

    def test_what_a_lane_counted_survives_it(self) -> None:
        series = PairSeries(1)
        count(self.broker, "a", "x")
        count(self.broker, "b", "x")
        before = read(series, self.broker)
        self.assertEqual(self.broker.upkeep.retire_lanes(), 2)
        self.assertEqual(read(series, self.broker), before)
        count(self.broker, "a", "x")
        count(self.broker, "b", "x")
        self.assertEqual(self.submitted(series), {("a", "x"): 2, (OTHER, OTHER): 2})
        self.broker.upkeep.retire_lanes()
        self.assertEqual(self.submitted(series), {("a", "x"): 2, (OTHER, OTHER): 2})

    def test_a_lane_that_nobody_saw(self) -> None:
        series = PairSeries(9)
        count(self.broker, "a", "x")
        self.broker.upkeep.retire_lanes()
        self.assertEqual(self.submitted(series), {(OTHER, OTHER): 1})

    def test_a_lane_without_a_count_has_series(self) -> None:
        """So that the first event is seen as growth."""
        self.broker.ledger.queue("a").lane("x")
        self.assertEqual(self.submitted(PairSeries(2)), {("a", "x"): 0})

    def test_somebody_takes_our_name(self) -> None:
        series = PairSeries(2)
        for pair in ((OTHER, OTHER), ("a", "x"), (OTHER, "x"), ("b", "x")):
            count(self.broker, *pair)
        self.assertEqual(
            self.submitted(series), {("a", "x"): 1, (OTHER, "x"): 1, (OTHER, OTHER): 2}
        )

    @settings(derandomize=True, deadline=None, max_examples=150)
    @given(st.data(), st.integers(1, 3))
    def test_whatever_happens(self, data: st.DataObject, limit: int) -> None:
        """No series ever falls, and together they are all that was counted."""
        broker = make_broker()
        series = PairSeries(limit)
        before: dict[tuple[str, str], list[float]] = {}

        def work() -> None:
            count(broker, data.draw(st.sampled_from("abc")), data.draw(st.sampled_from("xy")))

        def keep() -> None:
            """From now on there is a task, so that the lane is not given up."""
            broker.ledger.queue("a").lane("x").counts[State.PENDING] = 1

        def scrape() -> None:
            now = read(series, broker)
            for pair, old in before.items():
                self.assertTrue(
                    all(x <= y for x, y in zip(old, now[pair], strict=True)), f"{pair} fell"
                )
            before.update(now)
            self.assertLessEqual(len(now), limit + 1)
            sums = [sum(column) for column in zip(*now.values(), strict=True)]
            self.assertEqual(sums or numbers(Counters()), numbers(total_counters(broker.ledger)))

        actions: list[Callable[[], object]] = [work, work, keep, broker.upkeep.retire_lanes, scrape]
        for action in data.draw(st.lists(st.sampled_from(actions), max_size=25)):
            action()
        scrape()


class BoundedTests(SynchronousTestCase):
    def test_first_names(self) -> None:
        self.assertEqual(first_names(["c", OTHER, "a", "b"], 2), {"c", "a"})
        self.assertEqual(first_names([], 2), set())

    def test_bounded(self) -> None:
        counts = {"c": 1, OTHER: 2, "a": 4, "b": 8}
        self.assertEqual(bounded(counts, 2), {"c": 1, OTHER: 10, "a": 4})
        self.assertEqual(bounded({"a": 1}, 2), {"a": 1})
