"""
What the core tells the store: durable facts, collected into batches.

The core marks every task, queue and counter that it touched; L{Changes.drain}
turns the marks into one L{Batch} of plain rows.  A task that changed several
times since the last drain is written once, as it stands now.  All changes of
one command are in one batch, and a batch is stored whole or not at all: so
the stored state is always a state that the core was in between two commands.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from taskqueue.core.rows import (
    EVENTS,
    Batch,
    HistoryRow,
    OpenWindow,
    QueueRow,
    TaskRow,
    TaskUpdate,
    ValueRow,
    empty_batch,
)
from taskqueue.core.task import State, Task
from taskqueue.core.value_marks import ValueMarks

if TYPE_CHECKING:
    from taskqueue.core.periodic import PeriodicRow

__all__ = [
    "EVENTS",
    "Batch",
    "Changes",
    "HistoryRow",
    "Marked",
    "OpenWindow",
    "QueueRow",
    "TaskRow",
    "TaskUpdate",
    "ValueRow",
    "empty_batch",
    "row_of",
]


def row_of(task: Task, *, with_payload: bool = True) -> TaskRow:
    """The task as it stands now, if wanted with its payload as far as it is in memory."""
    (row,) = _rows_of((task,))
    return row if with_payload else row._replace(payload=None)


def _rows_of(tasks: Iterable[Task]) -> list[TaskRow]:
    """Each without a call of its own, as all that is new comes through here."""
    return [
        _new(
            TaskRow,
            (
                task.seq,
                task.id,
                (lane := task.lane).queue.name,
                lane.type,
                task.priority,
                task.submitted_at,
                (extras := task.extras).expires_at,
                task.options,
                extras.headers,
                extras.depends_on,
                extras.unique,
                None if type(body := task.body) is int else body,
                _NUMBERS[task.state],
                extras.run_at,
                (past := task.past).attempt,
                past.failures,
                past.losses,
                past.token,
                past.worker,
                0 if (lease := task.lease) is None else lease.holder.incarnation,
                None if lease is None else lease.lease_s,
                past.claimed_at,
                past.ended_at,
                past.cancel_requested,
                past.error,
                past.result,
            ),
        )
        for task in tasks
    ]


def _updates_of(tasks: Iterable[Task]) -> list[TaskUpdate]:
    return [
        _new(
            TaskUpdate,
            (
                task.seq,
                _NUMBERS[task.state],
                task.extras.run_at,
                (past := task.past).attempt,
                past.failures,
                past.losses,
                past.token,
                past.worker,
                0 if (lease := task.lease) is None else lease.holder.incarnation,
                None if lease is None else lease.lease_s,
                past.claimed_at,
                past.ended_at,
                past.cancel_requested,
                past.error,
                past.result,
            ),
        )
        for task in tasks
    ]


#: By L{State}: an enumeration's member is no plain integer, and to convert it costs more.
_NUMBERS = tuple(map(int, State))

#: Makes a named tuple of a plain one, without a call of a Python function.
_new = tuple.__new__


class Marked(NamedTuple):
    """
    What has changed since the last drain, for those who look on.

    @ivar queues: their names.
    @ivar periodics: by name; C{None} for those that are gone.
    """

    tasks: list[Task]
    queues: list[str]
    periodics: list[tuple[str, PeriodicRow | None]]


class Changes:
    """
    The marks that the core sets, until somebody drains them.

    @ivar ended: tasks that ended since, in the order in which they did.
    @ivar values: the marks of values.
    """

    __slots__ = (
        "_again",
        "_history",
        "_new",
        "_periodics",
        "_queues",
        "_removed",
        "_stored",
        "_tasks",
        "_token_ceiling",
        "ended",
        "values",
    )

    def __init__(self, values: ValueMarks | None = None) -> None:
        self.values = ValueMarks() if values is None else values
        self._new: list[Task] = []
        self._again: dict[int, Task] = {}
        self._stored: list[Task] = []
        self._tasks: dict[int, Task] = {}
        self._history: list[HistoryRow] = []
        self._queues: dict[str, QueueRow] = {}
        self._periodics: dict[str, PeriodicRow | None] = {}
        self._removed: list[int] = []
        self._token_ceiling: int | None = None
        self.ended: list[Task] = []

    def __bool__(self) -> bool:
        return bool(
            self._tasks
            or self._new
            or self._again
            or self._queues
            or self._periodics
            or self._removed
            or self._history
            or self.values.marked
            or self._token_ceiling is not None
        )

    def __len__(self) -> int:
        tasks = len(self._new) + len(self._again) + len(self._tasks)
        return tasks + len(self._history) + len(self._removed) + len(self.values.marked)

    def enter(self, tasks: Iterable[Task]) -> None:
        """These tasks are new: the store has none with their C{seq}."""
        self._new.extend(tasks)

    def enter_again(self, task: Task) -> None:
        """C{task} takes the place of one that the store has, as a whole; it may do so twice."""
        self._again[task.seq] = task

    def _whole(self) -> list[Task]:
        """The tasks that are to be written as a whole, so that they need no update beside that."""
        again = self._again
        if not again:
            return self._new
        for seq in again:
            self._tasks.pop(seq, None)
        # Of a task that ended and came back before it was ever stored, only what it is now.
        new = [task for task in self._new if task.seq not in again]
        return [*new, *again.values()]

    def touch(self, task: Task) -> None:
        """C{task} has changed."""
        if task.stored:
            self._tasks[task.seq] = task

    def touch_all(self, tasks: Iterable[Task]) -> None:
        """These tasks have changed."""
        self._tasks.update({task.seq: task for task in tasks if task.stored})

    def record(self, row: HistoryRow) -> None:
        """Something happened that a task's row alone does not tell."""
        self._history.append(row)

    def history_of(self, seq: int) -> list[HistoryRow]:
        """What was recorded of a task and is not drained yet."""
        return [row for row in self._history if row.seq == seq]

    def set_queue(self, row: QueueRow) -> None:
        """An operator set something on a queue."""
        self._queues[row.name] = row

    def set_periodic(self, name: str, row: PeriodicRow | None) -> None:
        """A periodic task stands so now, or (C{None}) is gone."""
        self._periodics[name] = row

    def remove(self, seq: int) -> None:
        """The ended task with this C{seq} is to be forgotten."""
        self._removed.append(seq)

    def reserve_tokens(self, ceiling: int) -> None:
        """Tokens below C{ceiling} may be given out once this is stored."""
        self._token_ceiling = ceiling

    def marked(self) -> Marked:
        """What is marked; it stays so."""
        tasks = [*self._whole(), *self._tasks.values()]
        return Marked(tasks, list(self._queues), list(self._periodics.items()))

    @property
    def unstored(self) -> Sequence[Task]:
        """All new tasks that are not stored yet."""
        return self._stored + self._whole()

    @property
    def being_stored(self) -> Sequence[Task]:
        """Those of them that were drained."""
        return self._stored

    def take_stored(self) -> list[Task]:
        """All that was drained is stored; returns the new tasks in it since the last call."""
        stored, self._stored = self._stored, []
        self.values.stored()
        return stored

    def drain(self, next_seq: int) -> tuple[Batch, list[Task]]:
        """
        Everything marked since the last drain.

        @return: what to store, and the tasks that ended, whose outcome may be
            told once it is stored.
        """
        new = self._whole()
        inserts = _rows_of(new)
        for task in new:
            task.stored = True
        drained = self._stored + new if self._stored else new
        updates = _updates_of(self._tasks.values())
        periodics = self._periodics
        values = (
            inserts,
            updates,
            self._history,
            list(self._queues.values()),
            self._removed,
            self._token_ceiling,
            next_seq,
            [row for row in periodics.values() if row is not None] if periodics else (),
            [name for name, row in periodics.items() if row is None] if periodics else (),
            *self.values.drain(),
        )
        batch = _new(Batch, values)
        ended = self.ended
        self.__init__(self.values)  # type: ignore[misc]
        self._stored = drained
        return batch, ended
