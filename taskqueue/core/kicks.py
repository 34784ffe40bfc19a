"""
Kicks: what lies aside, or waits for its time, runs now.
"""

from __future__ import annotations

from collections.abc import Iterable

from taskqueue.core.control import Control
from taskqueue.core.ledger import Ledger
from taskqueue.core.moments import Now
from taskqueue.core.rows import TaskRow
from taskqueue.errors import Conflict, UnknownTask


class Kicks:
    """The desk for those who do not want to wait."""

    def __init__(self, ledger: Ledger, control: Control) -> None:
        self._ledger = ledger
        self._control = control

    def run_soonest_now(self, queue: str, limit: int, now: Now) -> int:
        """
        As L{Control.run_now}, of the tasks of a queue that would be ready soonest.

        @return: how many there were, C{limit} at most.
        """
        tasks = self._ledger.delayed.soonest(queue, limit)
        for task in tasks:
            self._control.run_now(task.id, now)
        return len(tasks)

    def revive_all(self, rows: Iterable[TaskRow], now: Now, *, why: str | None = None) -> list[int]:
        """
        Revive dead letters, passing over those that cannot be: they are none any more, or another
        task holds their unique key.

        @param rows: as the store has them, with their payloads.
        @param why: as for L{Control.revive}.
        @return: the C{seq}s of those that were revived.
        """
        revived: list[int] = []
        for row in rows:
            try:
                self._control.revive(row, now, why=why)
            except (Conflict, UnknownTask):
                continue
            revived.append(row.seq)
        return revived
