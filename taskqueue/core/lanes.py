"""
Queues, and which ready task of theirs is next.

A queue keeps a heap of its lanes' first tasks (see L{taskqueue.core.lane}), which is put right
when it is looked at: so ten thousand lanes cost no more than one, but for a logarithm.
"""

from __future__ import annotations

from collections.abc import Collection
from heapq import heapify, heappop, heappush, heapreplace

from taskqueue.core.counters import Counters
from taskqueue.core.lane import Lane
from taskqueue.core.policy import QueuePolicy
from taskqueue.core.task import State, Task

__all__ = ["Lane", "Queue"]

#: Heaps shorter than this are not worth compacting.
_SMALL = 64


class Queue:
    """
    A named stream of tasks: its lanes, its bounds, whether it is paused.

    @ivar lanes: every lane by type.
    @ivar busy: those that have a ready task.
    @ivar depth: waiting tasks (pending, scheduled, blocked, failed).
    @ivar tiers: waiting tasks by priority tier.
    @ivar open_lines: in its one place, how many lines all lanes have, those of others that share
        it included.
    @ivar resume_at: wall-clock end of a timed pause.
    @ivar max_depth: a bound set while running; C{None} for the policy's.
    @ivar retired: what lanes that were given up had counted.
    """

    __slots__ = (
        "_heads",
        "busy",
        "depth",
        "lanes",
        "max_depth",
        "name",
        "open_lines",
        "paused",
        "policy",
        "resume_at",
        "retired",
        "tiers",
    )

    def __init__(self, name: str, policy: QueuePolicy, open_lines: list[int] | None = None) -> None:
        self.name = name
        self.open_lines = [0] if open_lines is None else open_lines
        self.policy = policy
        self.lanes: dict[str, Lane] = {}
        self.busy: dict[str, Lane] = {}
        self._heads: list[tuple[int, Lane]] = []
        self.depth = 0
        self.tiers = [0, 0, 0]
        self.paused = policy.paused
        self.resume_at: float | None = None
        self.max_depth: int | None = None
        self.retired = Counters()

    @property
    def bound(self) -> int | None:
        """The bound on waiting tasks that is in force."""
        return self.policy.max_depth if self.max_depth is None else self.max_depth

    def lane(self, task_type: str) -> Lane:
        """The lane of a type, made if need be."""
        lane = self.lanes.get(task_type)
        if lane is None:
            lane = self.lanes[task_type] = Lane(self, task_type)
        return lane

    def count(self, state: State) -> int:
        """How many of the queue's tasks are in C{state}."""
        return sum(lane.counts[state] for lane in self.lanes.values())

    def head_changed(self, lane: Lane) -> None:
        """A lane has another first task, or none any more."""
        if lane.head is None:
            self.busy.pop(lane.type, None)
            return
        self.busy[lane.type] = lane
        heads = self._heads
        heappush(heads, (lane.head, lane))
        if len(heads) > 2 * len(self.busy) + _SMALL:
            self._heads = _heads_of(self.busy.values())

    def take(self, types: Collection[str] | None, limit: int) -> list[Task]:
        """
        Take out up to C{limit} ready tasks, strictly by order key.

        This is the one place that decides which task goes next.

        @param types: the types wanted, C{None} for any.
        """
        if types is None:
            return self._take_any(limit)
        lanes = self._wanted(types)
        if len(lanes) == 1:
            return self._take_from(lanes[0], limit)
        return self._take_merged(lanes, limit)

    def head(self, types: Collection[str] | None) -> int | None:
        """
        The order key of the first ready task, C{None} where there is none.

        @param types: the types wanted, C{None} for any.
        """
        if types is not None:
            keys = (lane.head for lane in self._wanted(types))
            return min((key for key in keys if key is not None), default=None)
        heads = self._heads
        while heads:
            key, lane = heads[0]
            if lane.head == key:
                return key
            heappop(heads)
        return None

    @property
    def first(self) -> Task | None:
        """The ready task that is next, C{None} where there is none."""
        return None if self.head(None) is None else self._heads[0][1].first

    def _wanted(self, types: Collection[str]) -> list[Lane]:
        """The busy lanes of these types, found from the shorter side."""
        busy = self.busy
        if len(types) <= len(busy):
            return [busy[name] for name in types if name in busy]
        return [lane for name, lane in busy.items() if name in types]

    def _take_from(self, lane: Lane, limit: int) -> list[Task]:
        tasks = lane.take(limit)
        self.head_changed(lane)
        return tasks

    def _take_merged(self, lanes: list[Lane], limit: int) -> list[Task]:
        heads = _heads_of(lanes)
        tasks: list[Task] = []
        touched: dict[str, Lane] = {}
        while heads and len(tasks) < limit:
            lane = heads[0][1]
            tasks += lane.take(1)
            touched[lane.type] = lane
            if lane.head is not None:
                heapreplace(heads, (lane.head, lane))
            else:
                heappop(heads)
        for lane in touched.values():
            self.head_changed(lane)
        return tasks

    def _take_any(self, limit: int) -> list[Task]:
        """Like the merge, over the heap of heads that is kept up to date lazily."""
        heads = self._heads
        tasks: list[Task] = []
        while heads and len(tasks) < limit:
            key, lane = heads[0]
            if lane.head != key:
                heappop(heads)
                continue
            tasks += lane.take(1 if len(heads) > 1 else limit - len(tasks))
            if lane.size:
                heapreplace(heads, (lane.head, lane))
            else:
                heappop(heads)
                del self.busy[lane.type]
        return tasks


def _heads_of(lanes: Collection[Lane]) -> list[tuple[int, Lane]]:
    """A heap of the first order keys of lanes that have one."""
    heads = [(lane.head, lane) for lane in lanes if lane.head is not None]
    heapify(heads)
    return heads
