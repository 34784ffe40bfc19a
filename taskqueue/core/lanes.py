"""
Lanes and queues: which ready task is next.

A lane holds the ready tasks of one (queue, type).  Each lane is a heap of
order keys beside a dictionary of the tasks by key: the dictionary says what is
ready, the heap in which order, and a key in the heap without a task in the
dictionary is a leftover to skip.  So taking a task out of the middle (cancel,
expiry) is one dictionary removal; the heap is rebuilt only when leftovers
outnumber tasks, which keeps every operation at amortised O(log n).
"""

from __future__ import annotations

from collections.abc import Collection
from heapq import heapify, heappop, heappush, heapreplace

from taskqueue.core.counters import Counters
from taskqueue.core.policy import QueuePolicy
from taskqueue.core.task import State, Task

#: Heaps shorter than this are not worth compacting.
_SMALL = 64


class Lane:
    """
    The ready tasks of one type in one queue, and the counts of all of its tasks.

    @ivar counts: tasks of this lane by L{State}; of ended states: how many are
        still kept in the store.
    @ivar heap: order keys; C{heap[0]} is always the key of a ready task.
    """

    __slots__ = ("counters", "counts", "heap", "queue", "ready", "type")

    def __init__(self, queue: Queue, task_type: str) -> None:
        self.queue = queue
        self.type = task_type
        self.heap: list[int] = []
        self.ready: dict[int, Task] = {}
        self.counts = [0] * len(State)
        self.counters = Counters()

    def push(self, task: Task) -> None:
        """Put a task in at its place in line."""
        key = task.key
        heap = self.heap
        self.ready[key] = task
        heappush(heap, key)
        if heap[0] == key:
            self.queue.head_changed(self)

    def pop(self) -> Task:
        """Take the first task out; the lane must not be empty."""
        task = self.ready.pop(heappop(self.heap))
        self._prune()
        return task

    def discard(self, task: Task) -> None:
        """Take one task out, wherever it stands; harmless if it was taken already."""
        if self.ready.pop(task.key, None) is None:
            return
        if self.heap[0] == task.key:
            self._prune()
            self.queue.head_changed(self)
        elif len(self.heap) > 2 * len(self.ready) + _SMALL:
            self.heap = list(self.ready)
            heapify(self.heap)

    def _prune(self) -> None:
        """Drop leftovers from the head of the heap."""
        heap, ready = self.heap, self.ready
        while heap and heap[0] not in ready:
            heappop(heap)


class Queue:
    """
    A named stream of tasks: its lanes, its bounds, whether it is paused.

    @ivar lanes: every lane by type.
    @ivar busy: those that have a ready task.
    @ivar depth: waiting tasks (pending, scheduled, blocked, failed).
    @ivar tiers: waiting tasks by priority tier.
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
        "paused",
        "policy",
        "resume_at",
        "retired",
        "tiers",
    )

    def __init__(self, name: str, policy: QueuePolicy) -> None:
        self.name = name
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
        if not lane.heap:
            self.busy.pop(lane.type, None)
            return
        self.busy[lane.type] = lane
        heads = self._heads
        heappush(heads, (lane.heap[0], lane))
        if len(heads) > 2 * len(self.busy) + _SMALL:
            self._heads = [(busy.heap[0], busy) for busy in self.busy.values()]
            heapify(self._heads)

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

    def _wanted(self, types: Collection[str]) -> list[Lane]:
        """The busy lanes of these types, found from the shorter side."""
        busy = self.busy
        if len(types) <= len(busy):
            return [busy[name] for name in types if name in busy]
        return [lane for name, lane in busy.items() if name in types]

    def _take_from(self, lane: Lane, limit: int) -> list[Task]:
        tasks = [lane.pop() for _ in range(min(limit, len(lane.ready)))]
        self.head_changed(lane)
        return tasks

    def _take_merged(self, lanes: list[Lane], limit: int) -> list[Task]:
        heads = [(lane.heap[0], lane) for lane in lanes]
        heapify(heads)
        tasks: list[Task] = []
        touched: dict[str, Lane] = {}
        while heads and len(tasks) < limit:
            lane = heads[0][1]
            tasks.append(lane.pop())
            touched[lane.type] = lane
            if lane.heap:
                heapreplace(heads, (lane.heap[0], lane))
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
            if not lane.heap or lane.heap[0] != key:
                heappop(heads)
                continue
            tasks.append(lane.pop())
            if lane.heap:
                heapreplace(heads, (lane.heap[0], lane))
            else:
                heappop(heads)
                del self.busy[lane.type]
        return tasks
