"""
The dead letters of a queue that have been so longest, wherever they stand: in the database, or
not there yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from taskqueue.core.changes import TaskRow, TaskUpdate
from taskqueue.core.task import State
from taskqueue.store.overlay import Generations, as_it_stands


class Stored(Protocol):
    """The database."""

    def reading(self) -> AbstractContextManager[None]:
        """What is read within it is of one moment."""

    def dead_seqs(self, queue: str, limit: int) -> list[int]:
        """The C{seq}s of a queue's first dead letters, in their order."""

    def bare(self, seqs: Sequence[int]) -> list[TaskRow]:
        """The tasks with these C{seq}s, without payload and result."""


def find(queue: str, limit: int, generations: Generations, stored: Stored) -> list[TaskRow]:
    """C{IStore.dead_letters}, of the database with what is pending laid over it."""
    # Those that were changed are looked at as they stand; of the others the database is asked.
    newest = _newest(generations)
    with stored.reading():
        seqs = _unchanged(queue, limit, newest, stored)
        dead = int(State.DEAD_LETTER)
        seqs += [seq for seq, row in newest.items() if row is not None and row.state == dead]
        rows = {row.seq: row for row in stored.bare(seqs)}
    standing = [as_it_stands(seq, rows.get(seq), generations) for seq in seqs]
    found = [
        row
        for row in standing
        if row is not None and row.queue == queue and row.state == State.DEAD_LETTER
    ]
    found.sort(key=lambda row: (row.ended_at or 0.0, row.seq))
    return [row._replace(payload=None, result=None) for row in found[:limit]]


def _newest(generations: Generations) -> dict[int, TaskRow | TaskUpdate | None]:
    """What was said last of each task that is pending, C{None} where it is to go."""
    newest: dict[int, TaskRow | TaskUpdate | None] = {}
    for each in generations:
        newest.update(dict.fromkeys(each.removed.copy()))
        newest.update(each.inserts.copy())
        newest.update(each.updates.copy())
    return newest


def _unchanged(
    queue: str, limit: int, changed: dict[int, TaskRow | TaskUpdate | None], stored: Stored
) -> list[int]:
    """The first C{limit} dead letters of the database that nothing is pending of."""
    ask = limit
    while True:
        seqs = stored.dead_seqs(queue, ask)
        found = [seq for seq in seqs if seq not in changed]
        if len(found) >= limit or len(seqs) < ask:
            return found[:limit]
        ask *= 4
