"""
How the broker waits for what comes next: for a moment it looks, and then it sleeps.

Why it looks before it sleeps
=============================

A process that sleeps has to be woken: the kernel interrupts a processor that has gone to rest,
which under a hypervisor means to leave the guest and to come back, and what the processor had
in its caches may be gone.  For a program that waits for each answer before it asks again,
that was a third of the way there and back: 51 us for a bare echo of 160 bytes, and 30 us where
the echo looked for a moment before it slept (two cores, medians of many rounds).  Put, reserve
and delete in memory, one after another, went from 305 to 199 us; the broker's own processor
time went down as well, from 290 to 245 us, since looking costs less than sleeping and being woken.

So it looks only where that pays: waits that were over so soon, and looks that found something,
earn it, and a look in vain takes back what eight of them have earned.  A peer that thinks for
longer, an idle broker, and a machine on which peers get no processor while the broker looks,
cost next to nothing.

It does not look while a thread of the broker is at work.  Each look lets go of the interpreter
and takes it again; a thread that wants it too would be woken for it in vain, again and again.
"""

from __future__ import annotations

import select
from collections.abc import Callable
from time import perf_counter
from typing import Any

#: How long it looks at most, seconds: about as long as it takes to be woken.
LOOK_S = 0.000_06

#: A wait that was no longer, the time to be woken included, would have been over while it
#: looked, seconds.
SHORT_S = 0.000_08

#: So many short waits or looks that found something pay for one in vain, and so many
#: that are in vain may be paid for ahead.
SHORT_WAITS = 8
MOST_AHEAD = 2


class BusyPoller:
    """
    C{select.epoll} for a reactor, which polls busily for a moment before it waits.

    @ivar found: how many looks found something.
    @ivar in_vain: how many did not.
    """

    def __init__(
        self,
        poller: Any,
        at_work: Callable[[], bool],
        timer: Callable[[], float] = perf_counter,
    ) -> None:
        """
        @param poller: the C{epoll} object.
        @param at_work: whether any thread of the broker is.
        @param timer: gives seconds.
        """
        self._poll: Callable[[float, int], list[tuple[int, int]]] = poller.poll
        self._at_work = at_work
        self._timer = timer
        self._earned = 0
        self.found = self.in_vain = 0
        self.register, self.unregister = poller.register, poller.unregister
        self.modify, self.fileno, self.close = poller.modify, poller.fileno, poller.close

    def poll(self, timeout: float, most: int) -> list[tuple[int, int]]:
        """
        What has happened.

        @param timeout: how long to wait for that, seconds; negative for ever.
        @param most: how many events to report at most.
        """
        if 0 <= timeout <= LOOK_S:
            return self._poll(timeout, most)
        if self._earned < SHORT_WAITS or self._at_work():
            return self._wait(timeout, most)
        poll, timer = self._poll, self._timer
        until = timer() + LOOK_S
        while not (events := poll(0, most)):
            if timer() >= until:
                self.in_vain += 1
                self._earned -= SHORT_WAITS
                return poll(max(0.0, timeout - LOOK_S) if timeout > 0 else timeout, most)
        self.found += 1
        self._earn()
        return events

    def _wait(self, timeout: float, most: int) -> list[tuple[int, int]]:
        began = self._timer()
        events = self._poll(timeout, most)
        if self._timer() - began <= SHORT_S:
            self._earn()
        else:
            self._earned = 0
        return events

    def _earn(self) -> None:
        if self._earned < MOST_AHEAD * SHORT_WAITS:
            self._earned += 1


def poll_busily(reactor: Any, at_work: Callable[[], bool]) -> bool:
    """
    Have a reactor look for a moment before it sleeps.

    @param at_work: whether any thread of the broker is.
    @return: whether it does now; not where it is none that uses C{epoll}.
    """
    epoll = getattr(select, "epoll", None)  # of Linux
    poller = getattr(reactor, "_poller", None)
    if epoll is None or not isinstance(poller, epoll):
        return False
    reactor._poller = BusyPoller(poller, at_work)
    return True
