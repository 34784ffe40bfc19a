"""
Lines: ready tasks of one priority, first come first.
"""

from __future__ import annotations

from collections.abc import Sequence

from taskqueue.core.task import State, Task

#: So many places at the front are left before they are swept out.
_SMALL = 64

_PENDING = State.PENDING


class Line(list["Task | None"]):
    """
    Tasks of one priority, first come first.

    @ivar gone: how many at the front were taken; C{None} stands for each.
    @ivar leftovers: how many of the others have ended.
    """

    __slots__ = ("gone", "leftovers")

    def __init__(self, tasks: Sequence[Task] = ()) -> None:
        super().__init__(tasks)
        self.gone = self.leftovers = 0

    def take(self, limit: int) -> list[Task]:
        """Take out the first C{limit}, or all there are, leftovers among them."""
        start, end = self.gone, min(self.gone + limit, len(self))
        taken = self[start:end]
        self[start:end] = [None] * (end - start)
        if end > _SMALL and end * 2 > len(self):
            del self[:end]
            end = 0
        self.gone = end
        return taken  # type: ignore[return-value]  # only what was taken is None

    @property
    def first(self) -> Task:
        """The first that was not taken; there must be one."""
        return self[self.gone]  # type: ignore[return-value]  # only what was taken is None

    @property
    def size(self) -> int:
        """How many wait."""
        return len(self) - self.gone - self.leftovers

    def ready(self) -> list[Task]:
        """Those that wait."""
        return [task for task in self if task is not None and task.state is _PENDING]
