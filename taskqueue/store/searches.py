"""
Searching what is committed, wherever it stands: in the database, or not there yet.

What is pending divides tasks by their place in line.  Those that are new since the
database was brought up to date stand behind all others: of them the database knows
nothing that counts, and they are looked through in memory, from the end of the page's
order at which it begins, only until the page is full.  Of those before them the
database is asked.  What it says of a task that has changed meanwhile does not count; and
those that match only since then join.

All this is done beside commits.  Each generation only grows, and what is read of it in
one step is whole; so the page has, of each task, a state that it had while the search went
on, and whatever was committed before.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from heapq import merge
from itertools import islice
from typing import Protocol

from taskqueue.core.changes import TaskRow, TaskUpdate
from taskqueue.store.interface import Filter, Page
from taskqueue.store.matching import CHANGING, Pair, changing_steps, fixed_steps, put
from taskqueue.store.overlay import Generations, as_it_stands
from taskqueue.store.pending import updated

#: How many tasks in memory are looked at in one step.
STEP = 2000

#: How many places in line are looked at first, where many tasks have changed.
WINDOW = 10_000

#: How many places in line the database is asked for at a time, at most.
MOST = 8192

#: Beyond every place in line.
_END = 2**63 - 1


class Stored(Protocol):
    """The database."""

    def reading(self) -> AbstractContextManager[None]:
        """What is read within it is of one moment."""

    def find(self, filter: Filter, page: Page) -> list[TaskRow]:
        """As that of a store."""

    def find_seqs(self, filter: Filter, page: Page) -> list[int]:
        """The C{seq}s of what L{find} gives."""

    def narrow(self, filter: Filter, seqs: Sequence[int]) -> list[int]:
        """Of these C{seq}s those of tasks that match."""

    def bare(self, seqs: Sequence[int]) -> list[TaskRow]:
        """The tasks with these C{seq}s, without payload and result."""


def find(filter: Filter, page: Page, generations: Generations, stored: Stored) -> list[TaskRow]:
    """C{IStore.find}, of the database with what is pending laid over it."""
    return _Search(filter, page, generations, stored).run()


class _Search:
    """One search."""

    def __init__(
        self, filter: Filter, page: Page, generations: Generations, stored: Stored
    ) -> None:
        self._filter = filter
        self._descending = page.descending
        self._limit = max(page.limit, 0)
        self._low, self._high = _bounds(page)
        self._generations = generations
        self._stored = stored
        self._changing = changing_steps(filter)
        self._fixed = fixed_steps(filter)
        self._again = _together([each.again for each in generations])
        self._removed = _together([each.removed for each in generations])

    def run(self) -> list[TaskRow]:
        """The page."""
        new_from = self._generations[0].first
        old = self._low, min(self._high, new_from)
        new = max(self._low, new_from), self._high
        if self._descending:
            found = list(islice(self._newer(*new), self._limit))
            return found + self._older(*old, self._limit - len(found))
        found = self._older(*old, self._limit)
        return found + list(islice(self._newer(*new), self._limit - len(found)))

    def _in_order(self, seqs: set[int] | Sequence[int]) -> list[int]:
        return sorted(seqs, reverse=self._descending)

    # --- tasks that the database does not have -------------------------------------

    def _newer(self, low: int, high: int) -> Iterator[TaskRow]:
        """The matching tasks that are new, from C{low} to below C{high}, in the page's order."""
        late = self._in_order({seq for seq in self._again if low <= seq < high})
        new = self._new(low, high)
        if not late:
            return new
        others = iter(self._matching(late, {}))
        return merge(new, others, key=lambda row: row.seq, reverse=self._descending)

    def _new(self, low: int, high: int) -> Iterator[TaskRow]:
        places = range(len(self._generations))
        special = self._again | self._removed
        for place in reversed(places) if self._descending else places:
            for seqs in _steps(self._generations[place].order, low, high, self._descending):
                if special:
                    seqs = [seq for seq in seqs if seq not in special]
                yield from self._standing(self._generations[place:], seqs)

    def _standing(self, generations: Generations, seqs: list[int]) -> Iterator[TaskRow]:
        """Those of the new tasks of the first of these generations that match."""
        rows = list(map(generations[0].inserts.get, seqs))
        newest: list[TaskRow | TaskUpdate | None] = [*rows]
        for each in generations:
            newest = list(map(each.updates.get, seqs, newest))
        pairs: list[Pair] = [
            (row, new)
            for row, new in zip(rows, newest, strict=True)
            if row is not None and new is not None
        ]
        for row, new in put(self._fixed, put(self._changing, pairs)):
            yield _bare(row if isinstance(new, TaskRow) else updated(row, new))

    # --- tasks that the database has -------------------------------------------------

    def _older(self, low: int, high: int, limit: int) -> list[TaskRow]:
        """The first C{limit} of those that are not new."""
        found: list[TaskRow] = []
        if low >= high or limit <= 0:
            return found
        with self._stored.reading():
            for first, last in self._windows(low, high):
                room = limit - len(found)
                touched = self._touched(first, last)
                if touched:
                    found += islice(self._corrected(first, last, touched), room)
                else:
                    found += self._stored.find(self._filter, self._page(first, last, room))
                if len(found) >= limit:
                    break
        return found

    def _windows(self, low: int, high: int) -> Iterator[tuple[int, int]]:
        """
        A range in parts, in the page's order, each larger than the one before: what has changed is
        looked at no further than the page needs.
        """
        few = sum([len(each.updates) for each in self._generations]) <= WINDOW
        size = high - low if few else WINDOW
        while low < high:
            first, last = max(low, high - size), high
            if not self._descending:
                first, last = low, min(low + size, high)
            yield first, last
            low, high = (low, first) if self._descending else (last, high)
            size *= 4

    def _touched(self, low: int, high: int) -> set[int]:
        """The places in line from C{low} to below C{high} of tasks that have changed."""
        found = {seq for seq in self._again | self._removed if low <= seq < high}
        for each in self._generations:
            if high - low < len(each.updates):
                found |= each.updates.keys() & range(low, high)
            else:
                found.update([seq for seq in list(each.updates) if low <= seq < high])
        return found

    def _corrected(self, low: int, high: int, touched: set[int]) -> Iterator[TaskRow]:
        """What the database says, but for tasks that have changed."""
        leaving, joining = self._moving(touched)
        ask = self._limit
        while low < high:
            seqs = self._stored.find_seqs(self._filter, self._page(low, high, ask))
            is_last = len(seqs) < ask
            first, last = low, high
            if not is_last:
                first, last = (seqs[-1], high) if self._descending else (low, seqs[-1] + 1)
            part = [seq for seq in seqs if seq not in leaving]
            part += self._narrowed([seq for seq in joining if first <= seq < last])
            yield from self._read(self._in_order(part), touched)
            if is_last:
                return
            low, high = (low, first) if self._descending else (last, high)
            ask = min(4 * ask, MOST)

    def _moving(self, touched: set[int]) -> tuple[set[int], list[int]]:
        """
        Those of the touched tasks of which what the database says does not count, and those that
        may match whatever it says.
        """
        special = touched & (self._again | self._removed)
        if not self._changing:
            return special, list(touched & self._again)
        others = list(touched - special)
        newest: list[TaskRow | TaskUpdate | None] = [None] * len(others)
        for each in self._generations:
            newest = list(map(each.updates.get, others, newest))
        pairs = put(self._changing, [(new, new) for new in newest if new is not None])
        return touched, [*(touched & self._again), *(new[0] for _, new in pairs)]

    def _narrowed(self, seqs: list[int]) -> list[int]:
        """Without most of those that do not match for what they always were."""
        if not self._fixed or len(seqs) <= self._limit:
            return seqs
        known = [seq for seq in seqs if seq not in self._again]
        fixed = self._filter._replace(**dict.fromkeys(CHANGING))
        return self._stored.narrow(fixed, known) + [seq for seq in seqs if seq in self._again]

    def _read(self, seqs: list[int], touched: set[int]) -> Iterator[TaskRow]:
        """The matching ones of these tasks, a few at a time."""
        step = max(self._limit, 1)
        for start in range(0, len(seqs), step):
            some = seqs[start : start + step]
            rows = {row.seq: row for row in self._stored.bare(some)}
            if touched.isdisjoint(some):
                yield from [rows[seq] for seq in some if seq in rows]
            else:
                yield from self._matching(some, rows)

    def _matching(self, seqs: list[int], stored: dict[int, TaskRow]) -> list[TaskRow]:
        rows = [as_it_stands(seq, stored.get(seq), self._generations) for seq in seqs]
        pairs: list[Pair] = [(row, row) for row in rows if row is not None]
        return [_bare(row) for row, _ in put(self._fixed, put(self._changing, pairs))]

    def _page(self, low: int, high: int, limit: int) -> Page:
        """The page of all places from C{low} to below C{high}."""
        if self._descending:
            return Page(limit, high, True, low)
        return Page(limit, low - 1, False, high - 1)


def _bounds(page: Page) -> tuple[int, int]:
    """The places in line that a page asks for: from one to below another."""
    after, until = page.after, page.until
    if page.descending:
        return max(0 if until is None else until, 0), _END if after is None else min(after, _END)
    return (
        0 if after is None else max(after + 1, 0),
        _END if until is None else min(until + 1, _END),
    )


def _together(sets: Sequence[set[int]]) -> set[int]:
    found: set[int] = set()
    for each in sets:
        if each:
            found |= each
    return found


def _steps(order: list[int], low: int, high: int, descending: bool) -> Iterator[list[int]]:
    """The part of an ascending list from C{low} to below C{high}, a few at a time."""
    first, last = bisect_left(order, low), bisect_left(order, high)
    starts = range(first, last, STEP)
    for start in reversed(starts) if descending else starts:
        some = order[start : min(start + STEP, last)]
        yield some[::-1] if descending else some


def _bare(row: TaskRow) -> TaskRow:
    return row._replace(payload=None, result=None)
