"""
What happened in a lane, counted as it happens.

Plain integers, no locks: they are changed by the core only, and read by
whoever shows them, in the same thread.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

#: Upper bounds of the histograms' buckets, seconds.
BUCKETS_S: tuple[float, ...] = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5,
    1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 3600.0,
)  # fmt: skip


class Histogram:
    """
    Amounts (durations in seconds, unless said otherwise), counted by bucket.

    @ivar bounds: the upper bounds of the buckets; one more bucket has none.
    """

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...] = BUCKETS_S) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, amount: float, times: int = 1) -> None:
        """Count an amount so many times; a negative one (the clock was set) counts as 0."""
        self.counts[bisect_left(self.bounds, amount)] += times
        if amount > 0:
            self.total += amount * times

    def add(self, other: Histogram) -> None:
        """Count all that C{other}, which has the same bounds, counted."""
        self.counts = [a + b for a, b in zip(self.counts, other.counts, strict=True)]
        self.total += other.total

    def add_all(self, others: Sequence[Histogram]) -> None:
        """Count all that all of C{others} counted: of thousands a fifth of the work."""
        columns = zip(self.counts, *(other.counts for other in others), strict=True)
        self.counts = list(map(sum, columns))
        self.total += sum([other.total for other in others])


#: The events that are counted, in the order in which they are shown.
COUNTED = (
    "submitted",
    "claimed",
    "completed",
    "failed",
    "retried",
    "dead",
    "lost",
    "expired",
    "cancelled",
    "released",
    "revived",
)


class Counters:
    """
    Events since the broker started, of one lane or of several together.

    @ivar wait: from ready (or submitted, whichever is later) to claimed.
    @ivar processing: from claimed to the worker's report.
    """

    __slots__ = (*COUNTED, "processing", "wait")

    submitted: int
    claimed: int
    completed: int
    failed: int
    retried: int
    dead: int
    lost: int
    expired: int
    cancelled: int
    released: int
    revived: int

    def __init__(self) -> None:
        for name in COUNTED:
            setattr(self, name, 0)
        self.wait = Histogram()
        self.processing = Histogram()

    def add(self, other: Counters) -> None:
        """Count all that C{other} counted."""
        self.count(other)
        self.wait.add(other.wait)
        self.processing.add(other.processing)

    def count(self, other: Counters) -> None:
        """Count all that C{other} counted, but for the histograms: much cheaper."""
        for name in COUNTED:
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def as_dict(self) -> dict[str, int]:
        """The counts by name, without the histograms."""
        return {name: getattr(self, name) for name in COUNTED}
