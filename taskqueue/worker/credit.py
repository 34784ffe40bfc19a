"""
How many tasks a worker claims beyond those that it can run.

Tiny tasks are over before the next claim is answered, so some more must be at hand.
But what is claimed is not overtaken by what is more urgent, and does not move to a
worker that has nothing to do.  So unless a number is said, as many are claimed ahead
as are over in a moment that nobody notices: none at all where a task takes longer.
"""

from __future__ import annotations

#: How much work is claimed ahead, seconds.
HORIZON_S = 0.02

#: How many tasks are claimed ahead at most, where no number is said.
MOST = 500


class Credit:
    """
    @ivar prefetch: the number that was said; C{None}: as many as are over soon.
    """

    def __init__(self, prefetch: int | None) -> None:
        self.prefetch = prefetch

    def ahead(self, slots: int, mean_s: float | None) -> int:
        """
        How many tasks to claim beyond free slots.

        @param slots: how many run at a time.
        @param mean_s: how long one takes; C{None} where that is not known yet.
        """
        if self.prefetch is not None:
            return self.prefetch
        if mean_s is None:
            return 0
        return MOST if mean_s * MOST < HORIZON_S * slots else int(HORIZON_S * slots / mean_s)
