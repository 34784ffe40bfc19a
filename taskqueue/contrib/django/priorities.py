"""
Priorities: Django's are -100 to 100, ours 0 to 255; of both, the higher is the more urgent.
"""

from __future__ import annotations

from taskqueue.contrib.django.framework import HIGHEST_PRIORITY, LOWEST_PRIORITY
from taskqueue.core.task import DEFAULT_PRIORITY


def broker_priority(priority: int) -> int:
    """
    Django's C{priority} as the broker's: 0 is 150, the normal one, and each step is one.  So
    -100 is 50 and 100 is 250, and up to 49 are of the same tier as 0.
    """
    return DEFAULT_PRIORITY + int(priority)


def django_priority(priority: int) -> int:
    """The broker's C{priority} as Django's, the nearest that there is."""
    return max(LOWEST_PRIORITY, min(HIGHEST_PRIORITY, priority - DEFAULT_PRIORITY))
