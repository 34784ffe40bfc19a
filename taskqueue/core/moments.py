"""
The two clocks that the rules need, read once per command by the caller.
"""

from __future__ import annotations

from typing import NamedTuple


class Now(NamedTuple):
    """
    One moment on both clocks.

    @ivar wall: seconds since the epoch (UTC); schedules and history use it.
        It may jump when the machine's clock is set.
    @ivar mono: seconds on a clock that never jumps; deadlines of leases,
        heartbeats and waiting claims use it, so that setting the wall clock
        expires nothing.
    """

    wall: float
    mono: float
