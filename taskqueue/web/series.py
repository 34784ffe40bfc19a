"""
Which series metrics have: a bounded number, whatever tasks are called.

Queues and types are named by those who submit, so their number has no bound,
and every pair of them costs a monitoring system dozens of series.  The first
pairs that are seen get series of their own, for as long as the broker runs, and
all others are counted together.  A pair never moves from one side to the other:
then each series only grows, and rates and sums over all of them are right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, TypeVar

from taskqueue.core.counters import COUNTED, Counters, Histogram
from taskqueue.core.lanes import Lane
from taskqueue.core.ledger import Ledger

#: What stands for every queue, type or other label value without a series of its own.
OTHER = "_other"

_T = TypeVar("_T")


class PairCounters(NamedTuple):
    """What the tasks of one type in one queue, or all that have no series, counted."""

    queue: str
    type: str
    counters: Counters


class _Named:
    """
    A pair with series of its own.

    @ivar lane: its lane; the core gives one up after long disuse, and makes
        another when the pair comes back.
    @ivar past: what earlier lanes of the pair had counted.
    """

    __slots__ = ("lane", "past")

    def __init__(self, lane: Lane) -> None:
        self.lane: Lane | None = lane
        self.past: Counters | None = None

    def follow(self, lane: Lane | None) -> None:
        """C{lane} is the pair's lane now."""
        if lane is not self.lane:
            if self.lane is not None:
                self.past = _sum([self.lane.counters, *self._pasts()])
            self.lane = lane

    def counters(self) -> Counters:
        """All that the pair counted since the broker started."""
        if self.lane is not None and self.past is None:
            return self.lane.counters
        current = [] if self.lane is None else [self.lane.counters]
        return _sum([*current, *self._pasts()])

    def _pasts(self) -> list[Counters]:
        return [] if self.past is None else [self.past]


class PairSeries:
    """
    The (queue, type) pairs that have series of their own.
    """

    def __init__(self, limit: int) -> None:
        """
        @param limit: the number of pairs that may have them.
        """
        self._limit = limit
        self._named: dict[tuple[str, str], _Named] = {}

    def label(self, queue: str, task_type: str) -> tuple[str, str]:
        """The label values for a pair."""
        pair = queue, task_type
        return pair if pair in self._named else (OTHER, OTHER)

    def counters(self, ledger: Ledger) -> list[PairCounters]:
        """
        What every pair counted, and at the end what all others did, if they did
        anything.  The sum is all that the broker counted.
        """
        self._follow(ledger)
        found = [PairCounters(*pair, named.counters()) for pair, named in self._named.items()]
        others = self._others(ledger)
        if others.submitted or any(others.as_dict().values()):
            found.append(PairCounters(OTHER, OTHER, others))
        return found

    def _follow(self, ledger: Ledger) -> None:
        """Take notice of lanes that were made and given up."""
        for (queue_name, task_type), named in self._named.items():
            queue = ledger.queues.get(queue_name)
            named.follow(None if queue is None else queue.lanes.get(task_type))
        if len(self._named) < self._limit:
            self._name_more(ledger)

    def _name_more(self, ledger: Ledger) -> None:
        for lane in _lanes(ledger):
            pair = lane.queue.name, lane.type
            if pair not in self._named and pair != (OTHER, OTHER):
                self._named[pair] = _Named(lane)
                if len(self._named) == self._limit:
                    return

    def _others(self, ledger: Ledger) -> Counters:
        unnamed = [
            lane.counters
            for lane in _lanes(ledger)
            if (lane.queue.name, lane.type) not in self._named
        ]
        retired = [ledger.retired, *(queue.retired for queue in ledger.queues.values())]
        total = _sum([*unnamed, *retired])
        for named in self._named.values():
            if named.past is not None:  # it is among the retired, but has series of its own
                _subtract(total, named.past)
        return total


def _lanes(ledger: Ledger) -> Iterator[Lane]:
    for queue in ledger.queues.values():
        yield from queue.lanes.values()


def _sum(parts: Iterable[Counters]) -> Counters:
    total = Counters()
    for part in parts:
        total.add(part)
    return total


def _subtract(total: Counters, part: Counters) -> None:
    for name in COUNTED:
        setattr(total, name, getattr(total, name) - getattr(part, name))
    for histogram, other in ((total.wait, part.wait), (total.processing, part.processing)):
        _subtract_histogram(histogram, other)


def _subtract_histogram(total: Histogram, part: Histogram) -> None:
    total.counts = [a - b for a, b in zip(total.counts, part.counts, strict=True)]
    total.total = max(0.0, total.total - part.total)  # floats do not subtract exactly


def first_names(names: Iterable[str], limit: int) -> set[str]:
    """The first C{limit} of C{names}, of which L{OTHER} is none."""
    found: set[str] = set()
    for name in names:
        if len(found) == limit:
            break
        if name != OTHER:
            found.add(name)
    return found


def bounded(counts: Mapping[str, int], limit: int) -> dict[str, int]:
    """C{counts} of the first C{limit} names, and of all others together."""
    named = first_names(counts, limit)
    found: dict[str, int] = {}
    for name, count in counts.items():
        label = name if name in named else OTHER
        found[label] = found.get(label, 0) + count
    return found
