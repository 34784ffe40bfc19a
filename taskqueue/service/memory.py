"""
What the process takes in memory, and what it could give back.

The broker reckons what its tasks take; what the C library holds free between them is not in
that.  Payloads over half a KiB come from it, and when they leave memory, or their tasks end, what
they took is not given back by itself as long as something stands behind it.  So where there is a
bound and the process comes near it, the library is asked to give back every page that is free.
"""

from __future__ import annotations

import ctypes
import math
import os
from collections.abc import Callable

#: From this share of the bound on memory is given back.
NEAR = 0.85

#: What comes back must be that share of the bound; otherwise it is asked for less often, as
#: to look for it takes some milliseconds, and longer the more there is in memory.
WORTH = 1 / 64
SELDOM_S = 15.0


def resident_bytes() -> int | None:
    """What the process takes in memory at the moment; C{None} where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as found:
            return int(found.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return None


def trim() -> None:
    """Give back what is free, where the C library can; without the interpreter lock."""
    try:
        give_back = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError):
        return  # another one than glibc
    give_back(ctypes.c_size_t(0))


class Trimming:
    """
    Decides when memory is given back.

    @param resident: tells what the process takes.
    @param trim: gives back what is free.
    """

    def __init__(
        self,
        resident: Callable[[], int | None] = resident_bytes,
        trim: Callable[[], None] = trim,
    ) -> None:
        self._resident = resident
        self._trim = trim
        self._next_at = -math.inf

    def is_due(self, bound: int, now: float) -> bool:
        """
        @param bound: what the process may take, bytes; 0 for no bound.
        @param now: monotonic seconds.
        """
        if not bound or now < self._next_at:
            return False
        taken = self._resident()
        return taken is not None and taken >= bound * NEAR

    def run(self, bound: int, now: float) -> None:
        """Give back what is free; in any thread, one call at a time."""
        before = self._resident() or 0
        self._trim()
        given = before - (self._resident() or 0)
        if given < bound * WORTH:
            self._next_at = now + SELDOM_S
