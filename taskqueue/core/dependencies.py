"""
Who waits for whom.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from heapq import heappop, heappush

from taskqueue.core.task import Task


class Dependencies:
    """
    The edges between blocked tasks and the unfinished ones they wait for.
    """

    __slots__ = ("_dependents", "_missing")

    def __init__(self) -> None:
        self._dependents: dict[str, dict[int, Task]] = {}
        self._missing: dict[int, set[str]] = {}

    def __len__(self) -> int:
        return len(self._missing)

    def block(self, task: Task, on: Iterable[str]) -> None:
        """C{task} waits for the tasks with these ids."""
        missing = self._missing[task.seq] = set(on)
        for dependency in missing:
            self._dependents.setdefault(dependency, {})[task.seq] = task

    def missing(self, task: Task) -> frozenset[str]:
        """The ids that C{task} still waits for."""
        return frozenset(self._missing.get(task.seq, ()))

    def discard(self, task: Task) -> None:
        """C{task} waits for nothing any more."""
        for dependency in self._missing.pop(task.seq, ()):
            dependents = self._dependents[dependency]
            del dependents[task.seq]
            if not dependents:
                del self._dependents[dependency]

    def dependents(self, task_id: str) -> list[Task]:
        """The tasks that wait for the task with this id, in order of submission."""
        waiting = self._dependents.get(task_id)
        return [waiting[seq] for seq in sorted(waiting)] if waiting else []

    def settle(self, task: Task, dependency: str) -> bool:
        """
        C{task} need not wait for C{dependency} any more.

        @return: whether that was the last one.
        """
        missing = self._missing[task.seq]
        missing.discard(dependency)
        dependents = self._dependents[dependency]
        del dependents[task.seq]
        if not dependents:
            del self._dependents[dependency]
        if missing:
            return False
        del self._missing[task.seq]
        return True


def order_batch(
    ids: Sequence[str | None], depends_on: Mapping[int, Iterable[str]]
) -> tuple[list[int], set[int]]:
    """
    The order in which the items of one batch can be submitted, each after
    those of the batch that it depends on, and otherwise as given.

    @param ids: the id that each item chose, C{None} where it chose none.
    @param depends_on: for the items that depend on something: on which ids.
    @return: the positions in order, and the positions that cannot be ordered
        because they are part of a cycle or depend on one.
    """
    first_with: dict[str, int] = {}
    for position, task_id in enumerate(ids):
        if task_id is not None:
            first_with.setdefault(task_id, position)
    needs: dict[int, set[int]] = {}
    needed_by: dict[int, list[int]] = {}
    for position, dependencies in depends_on.items():
        inside = {first_with[d] for d in dependencies if d in first_with}
        if inside:
            needs[position] = inside
            for other in inside:
                needed_by.setdefault(other, []).append(position)
    order: list[int] = []
    ready = [position for position in range(len(ids)) if position not in needs]  # is a heap
    while ready:
        position = heappop(ready)
        order.append(position)
        for other in needed_by.get(position, ()):
            needs[other].discard(position)
            if not needs[other]:
                del needs[other]
                heappush(ready, other)
    return order, set(needs)
