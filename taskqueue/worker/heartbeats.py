"""
Saying that a worker is alive, often enough for the leases that it holds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from taskqueue.errors import TaskQueueError

#: A lease is renewed this often in its length, so that one lost heartbeat is survived.
BEATS_A_LEASE = 3.0


class Heartbeats:
    """
    Beats at the interval that the broker asks for, or faster where a lease is short.

    A beat that is still unanswered when the next one is due takes its place:
    what waits for a connection does not pile up.
    """

    _log = Logger()

    def __init__(
        self,
        beat: Callable[[], Awaitable[None]],
        shortest_lease_s: Callable[[], float | None],
        reactor: Any,
    ) -> None:
        """
        @param beat: does it once.
        @param shortest_lease_s: of what is held, C{None} where nothing is.
        """
        self._beat = beat
        self._shortest_lease_s = shortest_lease_s
        self._reactor = reactor
        self._interval_s = 0.0
        self._next: Any = None
        self._under_way: Deferred[None] | None = None

    def start(self, interval_s: float) -> None:
        """Beat at once, and every C{interval_s} seconds from now on."""
        self.stop()
        self._interval_s = interval_s
        self._next = self._reactor.callLater(0, self._tick)

    def stop(self) -> None:
        """Beat no more."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        self._interval_s = 0.0

    def hurry(self) -> None:
        """Something is held now whose lease may be shorter than all before."""
        if self._next is not None:
            due_s = self._next.getTime() - self._reactor.seconds()
            if self._wanted_s() < due_s:
                self._next.reset(self._wanted_s())

    def _wanted_s(self) -> float:
        lease_s = self._shortest_lease_s()
        if lease_s is None:
            return self._interval_s
        return min(self._interval_s, lease_s / BEATS_A_LEASE)

    def _schedule(self) -> None:
        self._next = self._reactor.callLater(self._wanted_s(), self._tick)

    def _tick(self) -> None:
        self._next = None
        if self._under_way is None:
            self._under_way = Deferred.fromCoroutine(self._once())
            if self._under_way.called:
                self._under_way = None
        if self._interval_s:
            self._schedule()

    async def _once(self) -> None:
        try:
            await self._beat()
        except TaskQueueError as error:
            self._log.warn("a heartbeat was not answered: {error}", error=error)
        except Exception:
            self._log.failure("a heartbeat failed")
        finally:
            self._under_way = None
