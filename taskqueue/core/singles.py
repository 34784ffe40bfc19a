"""
One task at a time, where nothing but what is a matter of course is to be done: a desk that
spares what a batch needs.

It keeps the same books in the same words as L{taskqueue.core.intake} and
L{taskqueue.core.results}; only what would sort, compare or group a batch is left out.
"""

from __future__ import annotations

from taskqueue.core.intake import Intake
from taskqueue.core.leases import Lease
from taskqueue.core.ledger import Ledger
from taskqueue.core.moments import Now
from taskqueue.core.results import Results
from taskqueue.core.room import lane_for, queue_for
from taskqueue.core.task import Task, TaskOptions
from taskqueue.ids import numbered_id


class Singles:
    """The desk for those who bring one task."""

    def __init__(self, ledger: Ledger, intake: Intake, results: Results) -> None:
        self._ledger = ledger
        self._intake = intake
        self._results = results

    def submit_numbered(
        self,
        task_type: str,
        body: bytes,
        queue_name: str,
        priority: int,
        options: TaskOptions,
        now: Now,
    ) -> int:
        """
        Submit a task that can run at once, and whose id carries its number; its lease may be of
        any length.

        @return: the number.
        @raises QueueFull: a bound would be passed.
        """
        ledger = self._ledger
        queue = queue_for(ledger, queue_name)
        self._intake.check_room(queue, len(body))
        lane = lane_for(ledger, queue, task_type)
        number = ledger.next_seq
        task = Task(numbered_id(number), number, lane, priority, body, now.wall, options)
        ledger.next_seq = number + 1
        lane.counters.submitted += 1
        ledger.enter_ready((task,))
        return number

    def complete(self, lease: Lease, result: bytes | None, now: Now) -> None:
        """
        The delivery under a lease was completed.

        @param lease: one that is not over.
        """
        self._ledger.leases.end(lease)
        self._results.note(lease, result)
        self._results.complete_alike(lease.task.lane, [lease.task], now)
