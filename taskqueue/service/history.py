"""
The last hours in numbers, for graphs and forecasts: samples in two rings, a fine
one and a coarse one, so that memory is bounded however long the broker runs.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from taskqueue.core.counters import BUCKETS_S, COUNTED, Counters, Histogram
from taskqueue.core.ledger import Ledger
from taskqueue.core.moments import Now
from taskqueue.core.overview import total_counts
from taskqueue.core.task import TIERS

#: How far apart samples are, and how many there are, in either ring.
FINE_S, FINE_SAMPLES = 10.0, 361
COARSE_S, COARSE_SAMPLES = 60.0, 1441

#: A sample that comes a little early counts as on time, seconds.
_EARLY_S = 1.0

#: How far the trend of the backlog looks back, seconds.
TREND_S = 300.0

#: The percentiles that are shown, by name.
PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}

_EVENTS = len(COUNTED)
_BUCKETS = len(BUCKETS_S) + 1


class Sample(NamedTuple):
    """
    The broker at one moment.

    @ivar mono: monotonic seconds.
    @ivar tiers: waiting tasks by tier.
    @ivar numbers: the events since the start, in the order of C{COUNTED}; then the
        buckets of the waits, and those of the run times.
    """

    mono: float
    depth: int
    tiers: tuple[int, ...]
    in_progress: int
    workers: int
    numbers: array[int]

    @property
    def totals(self) -> dict[str, int]:
        """The events since the start."""
        return dict(zip(COUNTED, self.numbers, strict=False))


class History:
    """
    Samples of one broker.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._fine: deque[Sample] = deque(maxlen=FINE_SAMPLES)
        self._coarse: deque[Sample] = deque(maxlen=COARSE_SAMPLES)

    def take(self, mono: float) -> None:
        """Note how things are, if the last time was long enough ago."""
        if self._fine and mono - self._fine[-1].mono < FINE_S - _EARLY_S:
            return
        sample = sample_of(self._ledger, mono)
        self._fine.append(sample)
        if not self._coarse or mono - self._coarse[-1].mono >= COARSE_S - _EARLY_S:
            self._coarse.append(sample)

    def describe(self, span_s: float, now: Now) -> dict[str, Any]:
        """
        The last C{span_s} seconds, as JSON-able values: a step, and the samples, oldest
        first, each with what happened since the one before.
        """
        fine = span_s <= FINE_S * (FINE_SAMPLES - 1)
        ring, step_s = (self._fine, FINE_S) if fine else (self._coarse, COARSE_S)
        begin = now.mono - span_s - step_s  # the first has one before it
        samples = [sample for sample in ring if sample.mono >= begin]
        return {
            "step_s": step_s,
            "samples": [
                _view(before, sample, now.wall - (now.mono - sample.mono))
                for before, sample in pairwise(samples)
            ],
        }

    def since(self, ago_s: float, now: Now, totals: dict[str, int] | None = None) -> dict[str, int]:
        """
        The events of the last C{ago_s} seconds, or since the start where that is later.

        @param totals: the events since the start, by who has counted them already.
        """
        totals = total_counts(self._ledger) if totals is None else totals
        older = [sample for sample in self._coarse if sample.mono <= now.mono - ago_s]
        if not older:
            return totals
        first = older[-1].totals
        return {name: count - first[name] for name, count in totals.items()}

    def trend(self, now: Now) -> dict[str, float | int | None]:
        """
        Where the backlog is going: how many tasks arrive and leave each second
        lately, and when it will be empty if that goes on; C{None} where it
        does not shrink.
        """
        depth = self._ledger.depth
        recent = [sample for sample in self._fine if sample.mono >= now.mono - TREND_S]
        if not recent or now.mono - recent[0].mono < _EARLY_S:
            return {"depth": depth, "arriving_per_s": 0.0, "leaving_per_s": 0.0, "empty_in_s": None}
        first = recent[0]
        span_s = now.mono - first.mono
        growth = (depth - first.depth) / span_s
        submitted = sum([one.submitted for one in _counters(self._ledger)])
        arriving = max(submitted - first.numbers[0], 0) / span_s
        return {
            "depth": depth,
            "arriving_per_s": arriving,
            "leaving_per_s": max(arriving - growth, 0.0),
            "empty_in_s": depth / -growth if growth < 0 < depth else None,
        }


def sample_of(ledger: Ledger, mono: float) -> Sample:
    """The broker as it is now."""
    every = list(_counters(ledger))
    numbers = array("q", (sum([getattr(one, name) for one in every]) for name in COUNTED))
    numbers.extend(map(sum, zip(*(one.wait.counts for one in every), strict=True)))
    numbers.extend(map(sum, zip(*(one.processing.counts for one in every), strict=True)))
    tiers = tuple(
        sum([queue.tiers[tier] for queue in ledger.queues.values()]) for tier in range(len(TIERS))
    )
    leases, workers = len(ledger.leases), len(ledger.workers)
    return Sample(mono, ledger.depth, tiers, leases, workers, numbers)


def _counters(ledger: Ledger) -> Iterator[Counters]:
    yield ledger.retired
    for queue in ledger.queues.values():
        yield queue.retired
        for lane in queue.lanes.values():
            yield lane.counters


def _view(before: Sample, sample: Sample, at: float) -> dict[str, Any]:
    span_s = max(sample.mono - before.mono, 1e-9)
    numbers = [a - b for a, b in zip(sample.numbers, before.numbers, strict=True)]
    rates = [max(count, 0) / span_s for count in numbers[:_EVENTS]]
    return {
        "at": at,
        "depth": sample.depth,
        "tiers": dict(zip([tier[0] for tier in TIERS], sample.tiers, strict=True)),
        "in_progress": sample.in_progress,
        "workers": sample.workers,
        "rates": dict(zip(COUNTED, rates, strict=True)),
        "wait_s": _spread(numbers[_EVENTS : _EVENTS + _BUCKETS]),
        "run_s": _spread(numbers[_EVENTS + _BUCKETS :]),
    }


def _spread(counts: Sequence[int]) -> dict[str, Any] | None:
    total = sum(counts)
    if total <= 0:
        return None
    found = {name: quantile(BUCKETS_S, counts, part) for name, part in PERCENTILES.items()}
    return {"count": total, **found}


def quantile(bounds: Sequence[float], counts: Sequence[int], part: float) -> float | None:
    """
    The value below which C{part} of what was counted lies, as far as buckets
    tell: the last one has no upper bound, and counts as its lower one.

    @return: C{None} where nothing was counted.
    """
    wanted = part * sum(counts)
    if wanted <= 0:
        return None
    below = 0
    for number, count in enumerate(counts):
        if count > 0 and below + count >= wanted:
            if number == len(bounds):
                break
            low = bounds[number - 1] if number else 0.0
            return low + (bounds[number] - low) * (wanted - below) / count
        below += count
    return bounds[-1]


def distribution(histogram: Histogram) -> dict[str, Any]:
    """A histogram in a few numbers; C{None} stands for what is not known."""
    count = sum(histogram.counts)
    found = {n: quantile(histogram.bounds, histogram.counts, p) for n, p in PERCENTILES.items()}
    return {"count": count, "mean": histogram.total / count if count else None, **found}
