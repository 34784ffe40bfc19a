"""
Kicks: what lies aside, or waits for its time, runs now.
"""

from __future__ import annotations

from collections.abc import Iterable

from taskqueue.core.control import Control, ended_already, unknown_task
from taskqueue.core.ledger import Ledger
from taskqueue.core.moments import Now
from taskqueue.core.rows import TaskRow
from taskqueue.core.task import FIRST_ENDED, State, Task
from taskqueue.errors import Conflict, UnknownTask


class Kicks:
    """The desk for those who do not want to wait."""

    def __init__(self, ledger: Ledger, control: Control) -> None:
        self._ledger = ledger
        self._control = control

    def run_now(self, task_id: str, now: Now) -> State:
        """
        Make a task ready that waits for its time: for its C{run_at}, or for its retry.  It keeps
        its priority and its place in line.

        @return: the task's state thereafter.
        @raises UnknownTask: there is none in memory (it may be in the store).
        @raises Conflict: it does not wait for its time.
        """
        task = self._ledger.find(task_id)
        if task is None:
            raise unknown_task(task_id)
        if task.state >= FIRST_ENDED:
            raise ended_already(task_id, task.state)
        if task.state is not State.SCHEDULED and task.state is not State.FAILED:
            raise Conflict(
                f"task {task_id} is {task.state.word}: only tasks that are scheduled, or failed "
                f"and wait for a retry, can be run at once",
                task=task_id,
                state=task.state.word,
            )
        self._run_now(task, now)
        return task.state

    def run_soonest_now(self, queue: str, limit: int, now: Now) -> int:
        """
        As L{run_now}, of the tasks of a queue that would be ready soonest.

        @return: how many there were, C{limit} at most.
        """
        tasks = self._ledger.delayed.soonest(queue, limit)
        for task in tasks:
            self._run_now(task, now)
        return len(tasks)

    def _run_now(self, task: Task, now: Now) -> None:
        ledger = self._ledger
        ledger.delayed.discard(task)
        ledger.record(task, now, "run_now", None)
        task.run_at = now.wall
        ledger.move(task, State.PENDING)
        ledger.make_ready(task)

    def revive_all(self, rows: Iterable[TaskRow], now: Now) -> list[int]:
        """
        Revive dead letters, passing over those that cannot be: they are none any more, or another
        task holds their unique key.

        @param rows: as the store has them, with their payloads.
        @return: the C{seq}s of those that were revived.
        """
        revived: list[int] = []
        for row in rows:
            try:
                self._control.revive(row, now)
            except (Conflict, UnknownTask):
                continue
            revived.append(row.seq)
        return revived
