"""
What the core tells the store: durable facts, collected into batches.

The core marks every task, queue and counter that it touched; L{Changes.drain}
turns the marks into one L{Batch} of plain rows.  A task that changed several
times since the last drain is written once, as it stands now.  All changes of
one command are in one batch, and a batch is stored whole or not at all: so
the stored state is always a state that the core was in between two commands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from taskqueue.core.task import DEFAULT_OPTIONS, State

if TYPE_CHECKING:
    from taskqueue.core.task import Task, TaskOptions


class TaskRow(NamedTuple):
    """
    Everything durable about one task, as the store keeps and returns it.

    @ivar state: a L{State}, as a plain integer.
    @ivar payload: bytes; C{None} where a read did not ask for it.
    @ivar incarnation: of the worker that holds or last held the lease; 0 for a
        claimer that never registered.
    @ivar lease_s: the length of the current or newest lease, seconds.
    """

    seq: int
    id: str
    queue: str
    type: str
    priority: int
    submitted_at: float
    expires_at: float | None
    options: TaskOptions
    headers: str | None
    depends_on: tuple[str, ...]
    payload: bytes | None
    state: int
    run_at: float | None
    attempt: int
    failures: int
    losses: int
    token: int
    worker: str | None
    incarnation: int
    lease_s: float | None
    claimed_at: float | None
    ended_at: float | None
    cancel_requested: bool
    error: str | None
    result: bytes | None


class TaskUpdate(NamedTuple):
    """The columns of a stored task that can change, by its C{seq}."""

    seq: int
    state: int
    run_at: float | None
    attempt: int
    failures: int
    losses: int
    token: int
    worker: str | None
    incarnation: int
    lease_s: float | None
    claimed_at: float | None
    ended_at: float | None
    cancel_requested: bool
    error: str | None
    result: bytes | None


class HistoryRow(NamedTuple):
    """
    One event in a task's life that its row alone does not tell: a failed,
    lost, released or cancelled delivery, a revival, a failed dependency.
    (Submission, the newest delivery and the end stand in the row.)

    @ivar event: one of L{EVENTS}.
    @ivar at: wall-clock seconds.
    @ivar started_at: when the delivery that ended here was claimed, or C{None}.
    """

    seq: int
    at: float
    event: str
    attempt: int
    worker: str | None
    started_at: float | None
    detail: str | None


EVENTS = (
    "failed",
    "lost",
    "released",
    "snoozed",
    "cancel_requested",
    "cancelled",
    "expired",
    "dead_letter",
    "dependency_failed",
    "revived",
)


class QueueRow(NamedTuple):
    """
    What an operator set on a queue while the broker ran.

    @ivar resume_at: wall-clock moment at which a timed pause ends, or C{None}.
    @ivar max_depth: bound on waiting tasks, C{None} for the configured one.
    """

    name: str
    paused: bool
    resume_at: float | None
    max_depth: int | None


class Batch(NamedTuple):
    """
    What one commit makes durable, all or nothing.

    @ivar inserts: tasks the store has not seen, as L{TaskRow}s.
    @ivar updates: changes to tasks that it has, as L{TaskUpdate}s.
    @ivar history: L{HistoryRow}s to add.
    @ivar queues: L{QueueRow}s to insert or replace, by name.
    @ivar removed: C{seq}s of tasks to forget entirely.
    @ivar token_ceiling: no token at or above it has been given out; C{None}
        where it is unchanged.
    @ivar next_seq: the next unused C{seq}.
    """

    inserts: list[TaskRow]
    updates: list[TaskUpdate]
    history: list[HistoryRow]
    queues: list[QueueRow]
    removed: list[int]
    token_ceiling: int | None
    next_seq: int

    def __len__(self) -> int:  # the number of facts, not of fields
        return (
            len(self.inserts)
            + len(self.updates)
            + len(self.history)
            + len(self.queues)
            + len(self.removed)
            + (self.token_ceiling is not None)
        )

    def __bool__(self) -> bool:
        return len(self) > 0


def empty_batch(next_seq: int = 1) -> Batch:
    """A batch without a change."""
    return Batch([], [], [], [], [], None, next_seq)


__all__ = [
    "DEFAULT_OPTIONS",
    "EVENTS",
    "Batch",
    "HistoryRow",
    "QueueRow",
    "State",
    "TaskRow",
    "TaskUpdate",
    "empty_batch",
]
