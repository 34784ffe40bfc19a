"""
Commands on one task at a time, for doors whose protocol has no other: as
L{taskqueue.service.tasks} and L{taskqueue.service.work}, but what only a batch needs is left out.

Nobody waits here: what is answered may be told when all that has changed so far is stored.
"""

from __future__ import annotations

from taskqueue.core.leases import Lease
from taskqueue.core.task import TaskOptions
from taskqueue.service.commands import Commands


class SingleCommands(Commands):
    """Commands on one task at a time."""

    def submit_numbered(
        self, task_type: str, body: bytes, queue: str, priority: int, options: TaskOptions
    ) -> int:
        """
        Submit a task that can run at once, and whose id carries its number; its lease may be of
        any length.

        @return: the number.
        @raises QueueFull: a bound would be passed.
        @raises ShuttingDown: the broker stops.
        @raises StoreUnavailable: the store fails.
        """
        self.check_open()
        now = self.moments()
        number = self.broker.singles.submit_numbered(task_type, body, queue, priority, options, now)
        self.after(now)
        return number

    def complete(self, lease: Lease, result: bytes | None) -> None:
        """
        The delivery under a lease was completed.

        @param lease: one that is not over.
        @raises ShuttingDown: the broker stops.
        @raises StoreUnavailable: the store fails.
        """
        self.check_open()
        now = self.moments()
        self.broker.singles.complete(lease, result, now)
        self.after(now)
