"""
Ended tasks in the order in which they may go.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from math import inf

#: Tasks of one moment: the moment (wall-clock seconds), and their places in line.
Run = tuple[float, list[int]]


class Ends:
    """
    Places in line (C{seq}s) by moments.  Tasks that end together stand together, so that
    most cost nothing of their own; what is gone is passed over by who takes them out.

    @ivar count: how many stand here.
    """

    __slots__ = ("_runs", "count")

    def __init__(self) -> None:
        self._runs: list[Run] = []
        self.count = 0

    def add(self, at: float, seqs: list[int]) -> None:
        """These may go once C{at} is over."""
        heappush(self._runs, (at, seqs))
        self.count += len(seqs)

    @property
    def first_at(self) -> float:
        """The first moment; infinity where nothing stands here."""
        return self._runs[0][0] if self._runs else inf

    def has_before(self, moment: float) -> bool:
        """Whether something stands here of an earlier moment."""
        return self.first_at < moment

    def take(self) -> Run:
        """Take out all of the first moment, each once, ascending; there must be one."""
        runs = self._runs
        at, first = heappop(runs)
        seqs = list(first)
        while runs and runs[0][0] == at:
            seqs += heappop(runs)[1]
        self.count -= len(seqs)
        return at, sorted(set(seqs))

    def in_order(self) -> Iterator[Run]:
        """
        All, by moment, without taking them out; two runs may be of one moment.  Whoever stops
        soon pays for what was seen only: the heap is walked from its top.
        """
        runs = self._runs
        reached: list[tuple[Run, int]] = [(runs[0], 0)] if runs else []
        while reached:
            run, at = heappop(reached)
            yield run
            for below in range(2 * at + 1, min(2 * at + 3, len(runs))):
                heappush(reached, (runs[below], below))

    def keep(self, runs: list[Run]) -> None:
        """Only these are left, in any order."""
        heapify(runs)
        self._runs = runs
        self.count = sum(len(seqs) for _, seqs in runs)
