"""
Tasks by their numbers: their places in line, for protocols whose ids are numbers.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from taskqueue import ids
from taskqueue.core.changes import TaskRow
from taskqueue.core.task import Task
from taskqueue.service.tasks import TaskCommands


class NumberCommands(TaskCommands):
    """
    Finding tasks by number.  Whatever was submitted has one, also under another id.
    """

    def number_of(self, task_id: str) -> int | None:
        """The number of a task that is live, or has a number for an id; else C{None}."""
        number = ids.number_of(task_id)
        if number is None:
            task = self.broker.ledger.find(task_id)
            number = None if task is None else task.seq
        return number

    def numbered_now(self, number: int) -> Task | None:
        """The task in memory that carries this number in its id, live or ended lately."""
        return self.broker.ledger.find(ids.numbered_id(number))

    def find_numbered(self, number: int) -> Deferred[TaskRow | None]:
        """
        Fires with the task of this number, whatever its id, as C{status} gives it; C{None}
        where there is none.
        """
        return Deferred.fromCoroutine(self._find_numbered(number))

    async def _find_numbered(self, number: int) -> TaskRow | None:
        if not 0 < number < self.broker.ledger.next_seq:
            return None
        task_id = ids.numbered_id(number)
        if self.broker.ledger.find(task_id) is None:
            task_id = await self._id_of(number) or task_id
        [row] = await self._status([task_id])
        return row if row is not None and row.seq == number else None

    async def _id_of(self, number: int) -> str | None:
        """The id of the task with a number, from the store, or of one that is not there yet."""
        for task in self.broker.ledger.changes.unstored:
            if task.seq == number:
                return task.id
        rows = await self.reader.numbered([number])
        return rows[0].id if rows else None
