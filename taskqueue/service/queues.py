"""
Commands on queues.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from taskqueue.core.overview import describe_queue
from taskqueue.service.commands import Commands, answered


class QueueCommands(Commands):
    """Commands on queues."""

    # --- queues ---------------------------------------------------------------------

    @answered
    def pause(self, queue: str, for_s: float | None = None) -> Deferred[None]:
        """Fires when a queue is paused, for C{for_s} seconds or until it is resumed."""
        self.check_open()
        now = self.moments()
        self.broker.control.pause(queue, now, for_s)
        self.after(now)
        return self.journal.barrier(None)

    @answered
    def resume(self, queue: str) -> Deferred[None]:
        """Fires when a queue's pause is over; fails with L{UnknownQueue}."""
        self.check_open()
        self.broker.control.resume(queue)
        self.after(self.moments())
        return self.journal.barrier(None)

    @answered
    def bound(self, queue: str, max_depth: int | None) -> Deferred[None]:
        """Fires when a queue's bound on waiting tasks is set; 0 drains it."""
        self.check_open()
        self.broker.control.bound(queue, max_depth)
        self.after(self.moments())
        return self.journal.barrier(None)

    @answered
    def purge(self, queue: str, limit: int = 10_000) -> Deferred[tuple[int, int]]:
        """
        Cancel up to C{limit} waiting tasks of a queue.

        @return: fires with how many were cancelled and how many still wait; fails
            with L{UnknownQueue}.
        """
        self.check_open()
        now = self.moments()
        counts = self.broker.control.purge(queue, limit, now)
        self.after(now)
        return self.journal.barrier(counts)

    def queues(
        self,
        after: str = "",
        limit: int | None = None,
        wanted: Callable[[str], bool] | None = None,
    ) -> list[dict[str, Any]]:
        """
        Up to C{limit} queues in numbers, by name, those beyond the name C{after}.

        @param wanted: whether a queue, by its name, is among them; C{None} for all.
        """
        now = self.moments()
        queues = self.broker.ledger.queues
        names = sorted(name for name in queues if name > after and (wanted is None or wanted(name)))
        return [describe_queue(queues[name], now) for name in names[:limit]]
