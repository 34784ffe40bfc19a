"""
The words of events: what they say, and what somebody wants to hear.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from taskqueue import strictjson
from taskqueue.core.lanes import Queue
from taskqueue.core.moments import Now
from taskqueue.core.overview import describe_queue
from taskqueue.core.periodic import PeriodicRow
from taskqueue.core.task import STATE_WORDS, State, Task
from taskqueue.core.workers import Worker

#: What can be listened to.
KINDS = ("task", "queue", "worker", "periodic", "stats")

#: How many queues a count of changes names.
MOST_QUEUES = 50

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
    @ivar counted: of C{"many"}, how many tasks of each queue came into each state; it is not kept.
    """

    number: int
    kind: str
    queue: str | None
    type: str | None
    task: str | None
    data: bytes
    counted: Mapping[tuple[str, State], int] | None = None


class Wanted(NamedTuple):
    """
    What somebody wants to hear of; C{None} restricts nothing.

    @ivar may_read: whether it may hear of a queue; what is of no queue, it does not hear then,
        and of tasks that are only counted, those of its queues.
    """

    kinds: frozenset[str] = frozenset(KINDS)
    queues: frozenset[str] | None = None
    types: frozenset[str] | None = None
    tasks: frozenset[str] | None = None
    may_read: Callable[[str], bool] | None = None

    @property
    def is_special(self) -> bool:
        """Whether not all tasks are wanted."""
        told = (self.queues, self.types, self.tasks, self.may_read)
        return any(restriction is not None for restriction in told)

    def matches(self, event: Event) -> bool:
        """Whether C{event} is wanted."""
        return (
            ("task" if event.kind == "many" else event.kind) in self.kinds
            and (self.queues is None or event.queue is None or event.queue in self.queues)
            and (self.types is None or event.type is None or event.type in self.types)
            and (self.tasks is None or event.task is None or event.task in self.tasks)
            and (self.may_read is None or (event.queue is not None and self.may_read(event.queue)))
        )

    def told(self, event: Event) -> Event | None:
        """What somebody who wants this is told of C{event}, C{None} for nothing."""
        if self.may_read is None or event.counted is None:
            return event if self.matches(event) else None
        own = {at: n for at, n in event.counted.items() if self.may_read(at[0])}
        if not own or "task" not in self.kinds:
            return None
        at = strictjson.loads_object(event.data)["at"]
        return event._replace(data=strictjson.dumps(view_counted(own, at)))

    def asks_for(self, task: Task) -> bool:
        """Whether C{task} is one of few that are wanted."""
        return (
            self.is_special
            and "task" in self.kinds
            and (self.queues is None or task.queue in self.queues)
            and (self.types is None or task.type in self.types)
            and (self.tasks is None or task.id in self.tasks)
            and (self.may_read is None or self.may_read(task.queue))
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


def view_counted(counted: Mapping[tuple[str, State], int], at: float) -> dict[str, Any]:
    """
    Tasks that changed and were only counted, as an event tells of them.

    @param counted: how many of each queue came into each state.
    """
    states: Counter[State] = Counter()
    queues: Counter[str] = Counter()
    for (queue, state), count in counted.items():
        states[state] += count
        queues[queue] += count
    return {
        "at": at,
        "count": states.total(),
        "states": {STATE_WORDS[state]: n for state, n in sorted(states.items())},
        "queues": dict(queues.most_common(MOST_QUEUES)),
    }


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
