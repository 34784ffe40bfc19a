"""
Keys in their order, for those who ask for one page after another.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator

#: About so many keys stand in one piece: to insert one moves half of them, and to find the
#: piece takes a search among all.
_PIECE = 512


class SortedKeys:
    """
    Texts in the order of their code points, in pieces, so that to insert one or to take one out
    does not cost more with every key there is.
    """

    __slots__ = ("_lasts", "_pieces")

    def __init__(self, keys: Iterable[str] = ()) -> None:
        every = sorted(keys)
        self._pieces = [every[at : at + _PIECE] for at in range(0, len(every), _PIECE)]
        self._lasts = [piece[-1] for piece in self._pieces]

    def __len__(self) -> int:
        return sum(map(len, self._pieces))

    def __iter__(self) -> Iterator[str]:
        for piece in self._pieces:
            yield from piece

    def add(self, key: str) -> None:
        """Insert a key that is not there."""
        if not self._pieces:
            self._pieces, self._lasts = [[key]], [key]
            return
        at = min(bisect_left(self._lasts, key), len(self._lasts) - 1)
        piece = self._pieces[at]
        insort(piece, key)
        if len(piece) > 2 * _PIECE:
            self._pieces[at : at + 1] = [piece[:_PIECE], piece[_PIECE:]]
            self._lasts[at : at + 1] = [piece[_PIECE - 1], piece[-1]]
        else:
            self._lasts[at] = piece[-1]

    def remove(self, key: str) -> None:
        """Take out a key that is there."""
        at = bisect_left(self._lasts, key)
        piece = self._pieces[at]
        del piece[bisect_left(piece, key)]
        if piece:
            self._lasts[at] = piece[-1]
        else:
            del self._pieces[at], self._lasts[at]

    def beyond(self, after: str | None, least: str = "") -> Iterator[str]:
        """
        Keys in order.

        @param after: they stand behind this one; C{None}: from the beginning.
        @param least: they are not below it.
        """
        start, find = least, bisect_left
        if after is not None and after >= least:
            start, find = after, bisect_right
        at = find(self._lasts, start)
        for number in range(at, len(self._pieces)):
            piece = self._pieces[number]
            yield from piece[find(piece, start) :] if number == at else piece
