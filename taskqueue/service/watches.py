"""
Who wants to hear how tasks end.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from twisted.logger import Logger

from taskqueue.core.changes import TaskRow, row_of
from taskqueue.core.ledger import Notice
from taskqueue.core.task import Task


class Listener(Protocol):
    """Whoever can be told: a connection, or code in this process."""

    def outcomes(self, rows: Sequence[TaskRow]) -> None:
        """These tasks ended; each row has the result, but no payload."""

    def notice(self, notice: Notice) -> None:
        """Something about a delivery that this listener holds."""


class Watches:
    """
    Listeners by the tasks, and by the queues, that they watch.

    @ivar total: how many tasks all of them watch, a task counted once for each.
    """

    _log = Logger()

    def __init__(self) -> None:
        self._by_task: dict[str, list[Listener]] = {}
        self._by_queue: dict[str, list[Listener]] = {}
        self._watched: dict[Listener, dict[str, None]] = {}
        self._watched_queues: dict[Listener, dict[str, None]] = {}
        self.total = 0

    def __len__(self) -> int:
        return len(self._by_task)

    def count(self, listener: Listener) -> int:
        """How many tasks C{listener} watches."""
        return len(self._watched.get(listener, ()))

    def count_queues(self, listener: Listener) -> int:
        """How many queues C{listener} watches."""
        return len(self._watched_queues.get(listener, ()))

    def is_watching(self, listener: Listener) -> bool:
        """Whether C{listener} waits to be told of anything."""
        return listener in self._watched or listener in self._watched_queues

    def add(self, listener: Listener, task_ids: Iterable[str]) -> None:
        """Tell C{listener} once when each of these tasks ends."""
        watched = self._watched.setdefault(listener, {})
        for task_id in task_ids:
            if task_id not in watched:
                watched[task_id] = None
                self.total += 1
                self._by_task.setdefault(task_id, []).append(listener)
        self._tidy(listener)

    def remove(self, listener: Listener, task_ids: Iterable[str]) -> list[str]:
        """
        Do not tell C{listener} about these tasks.

        @return: those that it would have been told about.
        """
        watched = self._watched.get(listener, {})
        removed: list[str] = []
        for task_id in list(task_ids):
            if task_id in watched:
                del watched[task_id]
                self.total -= 1
                self._forget(task_id, listener)
                removed.append(task_id)
        self._tidy(listener)
        return removed

    def _tidy(self, listener: Listener) -> None:
        """Keep no hold of a listener that watches nothing."""
        if not self._watched.get(listener, True):
            del self._watched[listener]

    def _forget(self, task_id: str, listener: Listener) -> None:
        listeners = self._by_task[task_id]
        listeners.remove(listener)
        if not listeners:
            del self._by_task[task_id]

    def add_queues(self, listener: Listener, queues: Iterable[str]) -> None:
        """Tell C{listener} of every task that ends in these queues, until it is dropped."""
        for queue in queues:
            watched = self._watched_queues.setdefault(listener, {})
            if queue not in watched:
                watched[queue] = None
                self._by_queue.setdefault(queue, []).append(listener)

    def remove_queues(self, listener: Listener, queues: Iterable[str]) -> None:
        """Do not tell C{listener} about these queues any more."""
        watched = self._watched_queues.get(listener, {})
        for queue in list(queues):
            if queue in watched:
                del watched[queue]
                self._by_queue[queue].remove(listener)
                if not self._by_queue[queue]:
                    del self._by_queue[queue]
        if not watched:
            self._watched_queues.pop(listener, None)

    def drop(self, listener: Listener) -> None:
        """C{listener} is gone."""
        self.remove(listener, list(self._watched.get(listener, ())))
        self.remove_queues(listener, list(self._watched_queues.get(listener, ())))

    def tell(self, tasks: Iterable[Task]) -> None:
        """These tasks have ended, for good and all that a crash could do."""
        if not self._by_task and not self._by_queue:
            return
        heard: dict[Listener, dict[int, TaskRow]] = {}
        for task in tasks:
            listeners = self._by_task.pop(task.id, [])
            self.total -= len(listeners)
            for listener in listeners:
                del self._watched[listener][task.id]
                self._tidy(listener)
            listeners = listeners + self._by_queue.get(task.queue, [])
            if listeners:
                row = row_of(task, with_payload=False)
                for listener in listeners:
                    heard.setdefault(listener, {})[row.seq] = row
        for listener, rows in heard.items():
            try:
                listener.outcomes(list(rows.values()))
            except Exception:
                self._log.failure("a listener failed, and others are told all the same")
