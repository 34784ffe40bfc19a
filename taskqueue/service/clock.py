"""
Where the time comes from: the one place that reads clocks for the core.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock

from taskqueue.core.moments import Now

_new = tuple.__new__  # makes a named tuple without a call of a Python function

#: Gives the present moment.
Moments = Callable[[], Now]


def system_moments() -> Now:
    """
    The machine's clocks.  Deadlines do not use C{reactor.seconds()}, which is
    the wall clock and jumps with it.
    """
    return _new(Now, (time.time(), time.monotonic()))


def moments_of(reactor: IReactorTime) -> Moments:
    """
    The clocks that go with a reactor: the machine's, or, for a
    L{twisted.internet.task.Clock}, its own seconds for both.
    """
    if isinstance(reactor, Clock):
        return lambda: Now(reactor.seconds(), reactor.seconds())
    return system_moments


def monotonic_of(moments: Moments) -> Callable[[], float]:
    """The monotonic clock alone, of those that C{moments} reads."""
    if moments is system_moments:
        return time.monotonic
    return lambda: moments().mono
