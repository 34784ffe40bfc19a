"""
Ids that may have been used: a Bloom filter.

The core remembers lately ended tasks only; whether an id belonged to an older
one, the store knows.  Asking it for every submitted id would cost more than
the submission.  This filter answers for most new ids that they have certainly
not been used; where it says "maybe", the store is asked.

(B. H. Bloom, Space/time trade-offs in hash coding with allowable errors, 1970.
Three bits of a bitmap are set for each id; with at least 14 bits of bitmap for
each id, fewer than 1 in 100 new ids look used.)
"""

from __future__ import annotations

from collections.abc import Iterable

_BITS_PER_ID = 14
_FIRST_CAPACITY_BITS = 21
_LAST_CAPACITY_BITS = 27

#: Spreads a hash over 64 bits anew for the second and third bit (the constants
#: of the SplitMix64 generator).
_MIX_2 = 0xBF58476D1CE4E5B9
_MIX_3 = 0x94D049BB133111EB
_MASK_64 = 2**64 - 1


class _Layer:
    """A bitmap of fixed size."""

    __slots__ = ("bitmap", "count", "room", "shift")

    def __init__(self, bits: int) -> None:
        self.bitmap = bytearray(1 << (bits - 3))
        self.shift = 64 - bits
        self.room = (1 << bits) // _BITS_PER_ID
        self.count = 0

    def positions(self, digest: int) -> tuple[int, int, int]:
        shift = self.shift
        return (
            (digest & _MASK_64) >> shift,
            (digest * _MIX_2 & _MASK_64) >> shift,
            (digest * _MIX_3 & _MASK_64) >> shift,
        )

    def add(self, digest: int) -> None:
        bitmap = self.bitmap
        for position in self.positions(digest):
            bitmap[position >> 3] |= 1 << (position & 7)
        self.count += 1

    def may_have(self, digest: int) -> bool:
        bitmap = self.bitmap
        return all(bitmap[p >> 3] >> (p & 7) & 1 for p in self.positions(digest))


class SeenIds:
    """
    A filter that grows by layers, each twice as large as the one before.

    @ivar complete: it knows of every id in the store; before, every id may have
        been used.
    """

    def __init__(self) -> None:
        self._layers = [_Layer(_FIRST_CAPACITY_BITS)]
        self.complete = False

    @property
    def full(self) -> bool:
        """Whether it has grown as large as it may: time to begin a new one."""
        newest = self._layers[-1]
        return newest.count >= newest.room and newest.shift == 64 - _LAST_CAPACITY_BITS

    def add(self, ids: Iterable[str]) -> None:
        """These ids have been used."""
        for task_id in ids:
            layer = self._layers[-1]
            if layer.count >= layer.room and not self.full:
                layer = _Layer(64 - layer.shift + 1)
                self._layers.append(layer)
            layer.add(hash(task_id))

    def may_have(self, task_id: str) -> bool:
        """False only where C{task_id} has certainly not been used."""
        if not self.complete:
            return True
        digest = hash(task_id)
        return any(layer.may_have(digest) for layer in self._layers)
