"""
When a failed task is tried again.
"""

from __future__ import annotations

from collections.abc import Callable

from taskqueue.core.policy import QueuePolicy
from taskqueue.core.task import TaskOptions

#: Doubling more often changes nothing but the size of the number.
_MOST_DOUBLINGS = 62


def retry_delay_s(
    failures: int, options: TaskOptions, policy: QueuePolicy, random: Callable[[], float]
) -> float:
    """
    The pause before the next try: C{delay * 2**(failures - 1)}, bounded, with
    jitter both ways so that tasks which failed together do not come back
    together.  The bound holds for the jittered value too: near it, the middle
    of the jitter moves down.

    @param failures: failed deliveries so far, at least 1.
    @param random: gives floats in [0, 1).
    @return: seconds.
    """
    first = policy.retry_delay_s if options.retry_delay_s is None else options.retry_delay_s
    longest = (
        policy.retry_max_delay_s if options.retry_max_delay_s is None else options.retry_max_delay_s
    )
    jitter = policy.retry_jitter if options.retry_jitter is None else options.retry_jitter
    middle: float = first * 2 ** min(failures - 1, _MOST_DOUBLINGS)
    jittered = min(middle, longest / (1 + jitter)) * (1 + jitter * (2 * random() - 1))
    return min(jittered, longest)  # rounding may have passed it by a hair
