"""
When the first of a connection's reservations ends.
"""

from __future__ import annotations

from heapq import heappop, heappush, heapreplace
from math import inf

from taskqueue.core.leases import Lease


class SoonestEnd:
    """
    Finds the reservation that ends first, however many there are.

    Reserving costs nothing here: what is new is looked at when somebody asks, for tokens
    rise.  A reservation that is touched only ends later, so that what was noted of it
    before is at most too early, which is noticed when its turn comes.
    """

    __slots__ = ("_ends", "_newest")

    def __init__(self) -> None:
        self._ends: list[tuple[float, int]] = []
        self._newest = 0

    def of(self, leases: dict[int, Lease]) -> float:
        """
        The monotonic moment at which the first of these ends; infinite without any.

        @param leases: by token, those granted last at the end; always of one holder.
        """
        ends, newest = self._ends, self._newest
        for token in reversed(leases):
            if token <= newest:
                break
            heappush(ends, (leases[token].ends_at, token))
            self._newest = max(self._newest, token)
        while ends:
            ends_at, token = ends[0]
            lease = leases.get(token)
            if lease is None:
                heappop(ends)
            elif lease.ends_at > ends_at:
                heapreplace(ends, (lease.ends_at, token))
            else:
                return ends_at
        return inf
