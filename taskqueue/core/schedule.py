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

    Of queues that somebody asks about there are heaps of their own, made when they are needed.
    """

    __slots__ = ("_heap", "_moments", "_of_queues", "tasks")

    def __init__(self) -> None:
        self._heap: list[tuple[float, int]] = []
        self._moments: dict[int, float] = {}
        self._of_queues: dict[str, list[tuple[float, int]]] = {}
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
        if self._of_queues:
            self._note(task.lane.queue.name, (at, task.seq))

    def _note(self, queue: str, entry: tuple[float, int]) -> None:
        heap = self._of_queues.get(queue)
        if heap is None:
            return
        heappush(heap, entry)
        if len(heap) > 2 * len(self.tasks) + _SMALL:
            del self._of_queues[queue]

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

    def soonest(self, queue: str, limit: int) -> list[Task]:
        """
        The first C{limit} tasks of a queue to be due, earliest first; they stay here.  The first
        time that somebody asks about a queue, all tasks are looked at.
        """
        heap = self._of_queues.pop(queue, None)
        if heap is None:
            heap = [
                (moment, seq)
                for seq, moment in self._moments.items()
                if self.tasks[seq].lane.queue.name == queue
            ]
            heapify(heap)
        found: list[tuple[float, int]] = []
        while heap and len(found) < limit:
            entry = heappop(heap)
            # A task that came back to the moment that it had stands here twice.
            if self._moments.get(entry[1]) == entry[0] and entry not in found[-1:]:
                found.append(entry)
        if heap or found:
            for entry in found:
                heappush(heap, entry)
            self._of_queues[queue] = heap
        return [self.tasks[seq] for _, seq in found]

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
