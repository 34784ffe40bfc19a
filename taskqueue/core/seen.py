"""
Ids that may have been used: a Bloom filter.

The core remembers lately ended tasks only; whether an id belonged to an older
one, the store knows.  Asking it for every submitted id would cost more than
the submission.  This filter answers for most new ids that they have certainly
not been used; where it says "maybe", the store is asked.

(B. H. Bloom, Space/time trade-offs in hash coding with allowable errors, 1970; the
bits of one id stand in one word, as in F. Putze and others, Cache-, hash- and
space-efficient Bloom filters, 2007: one look at one word is all that an id costs.
With at least 14 bits of bitmap for each id, fewer than 1 in 100 new ids look used.)
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from random import Random

_BITS_PER_ID = 14
_FIRST_CAPACITY_BITS = 21
_LAST_CAPACITY_BITS = 27

#: A word has 64 bits; each id has these many of its own in one.
_WORD_BITS = 6
_BITS_IN_WORD = 4

#: The low bits of a hash choose the pattern of bits, those above them the word.
_PATTERN_BITS = 12
_PATTERN = (1 << _PATTERN_BITS) - 1


def _patterns() -> tuple[int, ...]:
    """Words with a few bits, always the same ones: some, and what they are when rotated."""
    random, size = Random(1970), 1 << _WORD_BITS
    rotations = range(size)
    chosen = (
        sum(1 << bit for bit in random.sample(rotations, _BITS_IN_WORD))
        for _ in range((_PATTERN + 1) // size)
    )
    whole = (1 << size) - 1
    return tuple((word << by | word >> (size - by)) & whole for word in chosen for by in rotations)


_PATTERNS = _patterns()


class _Layer:
    """A bitmap of fixed size."""

    __slots__ = ("count", "mask", "room", "words")

    def __init__(self, bits: int) -> None:
        self.words = array("Q", bytes(1 << (bits - 3)))
        self.mask = len(self.words) - 1
        self.room = (1 << bits) // _BITS_PER_ID
        self.count = 0

    @property
    def bits(self) -> int:
        """The size, as a power of two."""
        return self.mask.bit_length() + _WORD_BITS

    def add(self, ids: Iterable[str]) -> None:
        words, mask, patterns = self.words, self.mask, _PATTERNS
        for task_id in ids:
            digest = hash(task_id)
            words[digest >> _PATTERN_BITS & mask] |= patterns[digest & _PATTERN]

    def may_have(self, digest: int) -> bool:
        pattern = _PATTERNS[digest & _PATTERN]
        return self.words[digest >> _PATTERN_BITS & self.mask] & pattern == pattern


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
        return newest.count >= newest.room and newest.bits == _LAST_CAPACITY_BITS

    def add(self, ids: Iterable[str]) -> None:
        """These ids have been used."""
        left = list(ids)
        while left:
            layer = self._layers[-1]
            if layer.count >= layer.room and not self.full:
                layer = _Layer(layer.bits + 1)
                self._layers.append(layer)
            some = left if self.full else left[: layer.room - layer.count]
            layer.add(some)
            layer.count += len(some)
            del left[: len(some)]

    def may_have(self, task_id: str) -> bool:
        """False only where C{task_id} has certainly not been used."""
        if not self.complete:
            return True
        digest = hash(task_id)
        return any(layer.may_have(digest) for layer in self._layers)
