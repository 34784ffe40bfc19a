"""
Moments that will come: tasks to be looked at again at a wall-clock time.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush

from taskqueue.core.task import Task

_SMALL = 64


class Schedule:
    """
    Tasks by the moment at which they are due.  A task stands in it once at
    most; taking it out is O(1), and the heap is rebuilt when leftovers
    outnumber tasks.
    """

    __slots__ = ("_heap", "_moments", "tasks")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int]] = []
        self._moments: dict[int, float] = {}
        self.tasks: dict[int, Task] = {}

    def __len__(self) -> int:
        return len(self.tasks)

    def add(self, task: Task, at: float) -> None:
        """Look at C{task} at C{at}, instead of any earlier arrangement."""
        self.tasks[task.seq] = task
        self._moments[task.seq] = at
        heappush(self._heap, (at, task.seq))
        if len(self._heap) > 2 * len(self.tasks) + _SMALL:
            self._heap = [(moment, seq) for seq, moment in self._moments.items()]
            heapify(self._heap)

    def discard(self, task: Task) -> None:
        """Forget C{task}, if it stands here."""
        if self.tasks.pop(task.seq, None) is not None:
            del self._moments[task.seq]

    def next_at(self) -> float | None:
        """The earliest moment, C{None} where there is none."""
        heap = self._heap
        while heap:
            at, seq = heap[0]
            if self._moments.get(seq) == at:
                return at
            heappop(heap)
        return None

    def due(self, wall: float, limit: int) -> list[Task]:
        """Take out up to C{limit} tasks whose moment has come, earliest first."""
        found: list[Task] = []
        while len(found) < limit:
            at = self.next_at()
            if at is None or at > wall:
                break
            seq = heappop(self._heap)[1]
            del self._moments[seq]
            found.append(self.tasks.pop(seq))
        return found
