"""
The places in line of many tasks in order, for who reads a part of them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator
from operator import lt

from taskqueue.store.interface import Page

#: So few that are gone are not worth a new order.
_SMALL = 1024


class Ordered:
    """
    The order is made when somebody asks for it, and goes on from there with what is new.
    """

    def __init__(self, known: Collection[int]) -> None:
        """
        @param known: the places (C{seq}s) that there are; others change it.
        """
        self._known = known
        self._order: list[int] | None = None
        self._lost = 0

    def extend(self, seqs: Collection[int]) -> None:
        """These are new."""
        order = self._order
        if order is None:
            return
        new = list(seqs)
        if all(map(lt, [*order[-1:], *new], new[not order :])):
            order += new
        else:
            self._order = None

    def lose(self, count: int) -> None:
        """So many are gone."""
        if self._order is not None:
            self._lost += count
            if self._lost > len(self._known) + _SMALL:
                self._order = None

    def __iter__(self) -> Iterator[int]:
        known = self._known
        return (seq for seq in self._made() if seq in known)

    def walk(self, page: Page) -> Iterator[int]:
        """Those on a page, in its order, without regard to its limit."""
        order, known = self._made(), self._known
        low, high = (page.until, page.after) if page.descending else (page.after, page.until)
        # What the page comes after is no part of it, what it goes until is.
        if page.descending:
            begin = 0 if low is None else bisect_left(order, low)
            end = len(order) if high is None else bisect_left(order, high)
            places: Iterable[int] = range(end - 1, begin - 1, -1)
        else:
            begin = 0 if low is None else bisect_right(order, low)
            end = len(order) if high is None else bisect_right(order, high)
            places = range(begin, end)
        return (order[at] for at in places if order[at] in known)

    def _made(self) -> list[int]:
        if self._order is None:
            self._order = sorted(self._known)
            self._lost = 0
        return self._order
