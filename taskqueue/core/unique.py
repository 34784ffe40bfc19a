"""
Unique keys: at most one task holds each.

Whether a task holds its key follows from the task alone: from how long it is
to hold it, its state, and the time.  So there is no lock to be stored, and none
that a crash could leave behind; what stands here is only an index, which is made
anew from the tasks at every start.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import NamedTuple, Protocol

from taskqueue.core.task import FIRST_ENDED, State, Task, Unique, Until

_SMALL = 64


class KeyHolder(NamedTuple):
    """
    The task that holds a key.

    @ivar state: of an ended task; a live one is asked itself.
    """

    id: str
    seq: int
    state: State
    ends_at: float | None


class _Keyed(Protocol):
    """What a task in memory and a row of the store have in common."""

    @property
    def unique(self) -> Unique | None: ...
    @property
    def state(self) -> int: ...
    @property
    def attempt(self) -> int: ...


def holds(task: _Keyed, wall: float) -> bool:
    """Whether C{task}, by what it says itself, holds its key at the moment C{wall}."""
    unique = task.unique
    if unique is None or (unique.ends_at is not None and unique.ends_at <= wall):
        return False
    if unique.until is Until.WINDOW:
        return True
    if task.state >= FIRST_ENDED:
        return False
    return unique.until is not Until.START or task.attempt == 0


class UniqueKeys:
    """
    Who holds which key.  Where the clock was set back, a task may by its own
    words hold a key again that another one took meanwhile: the later one has it.

    @ivar holders: who holds each key, or held it until its time was over.
    @ivar ends: a heap of (moment, C{seq}, key): when keys become free.
    """

    __slots__ = ("ends", "holders")

    def __init__(self) -> None:
        self.holders: dict[str, KeyHolder] = {}
        self.ends: list[tuple[float, int, str]] = []

    def __len__(self) -> int:
        return len(self.holders)

    def holder(self, key: str, wall: float) -> KeyHolder | None:
        """Who holds C{key} at the moment C{wall}."""
        holder = self.holders.get(key)
        if holder is not None and holder.ends_at is not None and holder.ends_at <= wall:
            del self.holders[key]
            return None
        return holder

    def take(self, task: Task) -> None:
        """C{task} holds its key, which nobody else does, from now on."""
        assert task.unique is not None
        self._enter(task.unique, KeyHolder(task.id, task.seq, task.state, task.unique.ends_at))

    def restore(self, unique: Unique, task_id: str, seq: int, state: State) -> None:
        """A task held its key when the store was written last."""
        known = self.holders.get(unique.key)
        if known is None or known.seq < seq:
            self._enter(unique, KeyHolder(task_id, seq, state, unique.ends_at))

    def _enter(self, unique: Unique, holder: KeyHolder) -> None:
        self.holders[unique.key] = holder
        if holder.ends_at is not None:
            heappush(self.ends, (holder.ends_at, holder.seq, unique.key))
            if len(self.ends) > 2 * len(self.holders) + _SMALL:
                self.ends = [
                    (known.ends_at, known.seq, key)
                    for key, known in self.holders.items()
                    if known.ends_at is not None
                ]
                heapify(self.ends)

    def task_claimed(self, task: Task) -> None:
        """C{task}, which has a key, was claimed."""
        assert task.unique is not None
        if task.unique.until is Until.START:
            self.release(task.unique.key, task.seq)

    def task_ended(self, task: Task) -> None:
        """C{task}, which has a key, has ended."""
        assert task.unique is not None
        key = task.unique.key
        if task.unique.until is not Until.WINDOW:
            self.release(key, task.seq)
        elif (known := self.holders.get(key)) is not None and known.seq == task.seq:
            self.holders[key] = known._replace(state=task.state)

    def release(self, key: str, seq: int) -> None:
        """The task with this C{seq} holds C{key} no longer, if it did."""
        known = self.holders.get(key)
        if known is not None and known.seq == seq:
            del self.holders[key]

    def lapse(self, wall: float, limit: int) -> int:
        """
        Free keys whose time is over.

        @return: how many moments were looked at, C{limit} at most.
        """
        ends = self.ends
        count = 0
        while count < limit and ends and ends[0][0] <= wall:
            _, seq, key = heappop(ends)
            self.release(key, seq)
            count += 1
        return count
