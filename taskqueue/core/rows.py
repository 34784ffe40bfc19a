"""
Rows: durable facts as the store keeps them, and the batches in which it is given them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from taskqueue.core.task import State, TaskOptions, Unique

if TYPE_CHECKING:
    from taskqueue.core.periodic import PeriodicRow


class TaskRow(NamedTuple):
    """
    Everything durable about one task, as the store keeps and returns it.

    @ivar state: a L{State}, as a plain integer.
    @ivar payload: bytes; C{None} where a read did not ask for it.
    @ivar worker: the name of the holder of the newest lease.
    @ivar incarnation: of the registered worker that holds the lease; 0 where
        nobody does, or a claimer that never registered.
    @ivar lease_s: the length of the current lease, seconds.
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
    unique: Unique | None
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


class OpenWindow(NamedTuple):
    """
    An ended task that still holds its unique key.

    @ivar unique: with an end.
    """

    seq: int
    id: str
    state: State
    unique: Unique


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
    "run_now",
    "killed",
    "buried",
)


#: How a delivery was lost, as the detail of the event begins: others go by these for ever.
LEASE_EXPIRED = "lease expired"
CONNECTION_LOST = "connection lost"

#: Why a dead letter was revived, where nobody asked for that itself.
CLAIMED_BY_ID = "claimed by its id"


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


class ValueRow(NamedTuple):
    """
    A value under its key, as it is and as the store keeps it.

    @ivar version: a number that no write before it had.
    @ivar expires_at: the wall-clock moment from which on there is no such value;
        C{None}: it stays.
    """

    namespace: str
    key: str
    value: bytes
    version: int
    expires_at: float | None = None


class Batch(NamedTuple):
    """
    What one commit makes durable, all or nothing.

    @ivar inserts: tasks the store has not seen, or that changed in what updates
        do not carry (a revival drops the expiry), as L{TaskRow}s.
    @ivar updates: changes to tasks that it has, as L{TaskUpdate}s.
    @ivar history: L{HistoryRow}s to add.
    @ivar queues: L{QueueRow}s to insert or replace, by name.
    @ivar removed: C{seq}s of tasks to forget entirely.
    @ivar token_ceiling: no token at or above it has been given out; C{None}
        where it is unchanged.
    @ivar next_seq: the next unused C{seq}.
    @ivar periodics: periodic tasks to insert or replace, by name.
    @ivar dropped: names of periodic tasks to forget.
    @ivar values: values to insert or replace, by namespace and key.
    @ivar unset: the (namespace, key) of values to forget; none of them is in C{values}.
    """

    inserts: list[TaskRow]
    updates: list[TaskUpdate]
    history: list[HistoryRow]
    queues: list[QueueRow]
    removed: list[int]
    token_ceiling: int | None
    next_seq: int
    periodics: Sequence[PeriodicRow] = ()
    dropped: Sequence[str] = ()
    values: Sequence[ValueRow] = ()
    unset: Sequence[tuple[str, str]] = ()

    @property
    def facts(self) -> int:
        """How many facts it holds."""
        return (
            len(self.inserts)
            + len(self.updates)
            + len(self.history)
            + len(self.queues)
            + len(self.removed)
            + len(self.periodics)
            + len(self.dropped)
            + len(self.values)
            + len(self.unset)
            + (self.token_ceiling is not None)
        )

    def __bool__(self) -> bool:
        return self.facts > 0


def empty_batch(next_seq: int = 1) -> Batch:
    """A batch without a change."""
    return Batch([], [], [], [], [], None, next_seq)
