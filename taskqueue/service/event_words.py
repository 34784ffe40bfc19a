"""
The words of events: what they say, and what somebody wants to hear.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from taskqueue.core.lanes import Queue
from taskqueue.core.moments import Now
from taskqueue.core.overview import describe_queue
from taskqueue.core.periodic import PeriodicRow
from taskqueue.core.task import STATE_WORDS, Task
from taskqueue.core.workers import Worker

#: What can be listened to.
KINDS = ("task", "queue", "worker", "periodic", "stats")

#: As much of an error as is told, characters.
LONGEST_ERROR = 500

#: A worker's incarnation, whether it is connected, and what it was told.
Standing = tuple[int, bool, str | None]


class Event(NamedTuple):
    """
    Something that happened.

    @ivar number: larger than that of any event before.
    @ivar kind: one of L{KINDS}; or C{"many"}, which goes to whom C{"task"} does.
    @ivar queue: where it happened, C{None} where it has none; as for C{type}, C{task}.
    @ivar data: a JSON object.
    """

    number: int
    kind: str
    queue: str | None
    type: str | None
    task: str | None
    data: bytes


class Wanted(NamedTuple):
    """
    What somebody wants to hear of; C{None} restricts nothing.
    """

    kinds: frozenset[str] = frozenset(KINDS)
    queues: frozenset[str] | None = None
    types: frozenset[str] | None = None
    tasks: frozenset[str] | None = None

    @property
    def is_special(self) -> bool:
        """Whether not all tasks are wanted."""
        return not (self.queues is None and self.types is None and self.tasks is None)

    def matches(self, event: Event) -> bool:
        """Whether C{event} is wanted."""
        return (
            ("task" if event.kind == "many" else event.kind) in self.kinds
            and (self.queues is None or event.queue is None or event.queue in self.queues)
            and (self.types is None or event.type is None or event.type in self.types)
            and (self.tasks is None or event.task is None or event.task in self.tasks)
        )

    def asks_for(self, task: Task) -> bool:
        """Whether C{task} is one of few that are wanted."""
        return (
            self.is_special
            and "task" in self.kinds
            and (self.queues is None or task.queue in self.queues)
            and (self.types is None or task.type in self.types)
            and (self.tasks is None or task.id in self.tasks)
        )


class EventListener(Protocol):
    """Whoever is told of events."""

    def hear(self, events: Sequence[Event]) -> None:
        """These happened, in this order."""

    def over(self) -> None:
        """Nothing more will be told: the broker stops."""


def view_change(task: Task, at: float) -> dict[str, Any]:
    """A task as an event tells of it."""
    view: dict[str, Any] = {
        "id": task.id,
        "queue": task.queue,
        "type": task.type,
        "priority": task.priority,
        "state": STATE_WORDS[task.state],
        "attempt": task.attempt,
        "at": at,
    }
    error = task.error
    more = {
        "worker": task.worker,
        "error": None if error is None else error[:LONGEST_ERROR],
        "run_at": task.run_at,
        "ended_at": task.ended_at,
        "cancel_requested": task.cancel_requested or None,
    }
    return view | {name: value for name, value in more.items() if value is not None}


def view_queue(queue: Queue, now: Now) -> dict[str, Any]:
    """A queue as it is described, and whether it takes new tasks."""
    view = describe_queue(queue, now)
    return {**view, "draining": view["max_depth"] == 0}


def view_standing(row: PeriodicRow) -> dict[str, Any]:
    """A periodic task as an event tells of it."""
    definition = row.definition
    return {
        "name": definition.name,
        "type": definition.type,
        "queue": definition.queue,
        "paused": row.paused,
        "next_at": row.next_at,
        "last_at": row.last_at,
        "last_task": row.last_task,
        "fired": row.fired,
        "skipped": row.skipped,
    }


def view_of_worker(worker: Worker) -> dict[str, Any]:
    """A worker as an event tells of it."""
    return {
        "id": worker.name,
        "incarnation": worker.incarnation,
        "connected": worker.link is not None,
        "order": worker.order,
        "in_hand": worker.in_hand,
        "leases": len(worker.leases),
    }


def place_of(row: PeriodicRow | None) -> tuple[str | None, str | None]:
    """The queue and the type of its tasks; C{None} for what is gone."""
    return (None, None) if row is None else (row.definition.queue, row.definition.type)


def standing_of(worker: Worker) -> Standing:
    """What there is to tell of a worker when it changes."""
    return worker.incarnation, worker.link is not None, worker.order


def change_of(before: Standing | None, now: Standing) -> str | None:
    """What happened to a worker, C{None} for nothing."""
    if before is None or before[0] != now[0]:
        return "registered"
    if before[2] != now[2]:
        return "ordered"
    if before[1] != now[1]:
        return "connected" if now[1] else "disconnected"
    return None
