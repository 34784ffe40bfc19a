"""
Reading the database with what it does not have yet laid over it.

C{generations} are what is pending, oldest first.  Each is looked at after the
database has been read, and had been taken hold of before: so what comes into the
database in between is seen at least once.  What is seen twice is, of each task, a
state that it had in the meantime.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from taskqueue.core.changes import HistoryRow, TaskRow
from taskqueue.store.pending import Pending, rewritten, updated

Generations = tuple[Pending, ...]


def as_it_stands(seq: int, row: TaskRow | None, generations: Generations) -> TaskRow | None:
    """
    A task after what is pending.

    @param row: as the database has it.
    """
    for pending in generations:
        if seq in pending.removed:
            row = None
        newer = pending.inserts.get(seq)
        if newer is not None:
            row = newer if row is None else rewritten(row, newer)
        update = pending.updates.get(seq)
        if update is not None and row is not None:
            row = updated(row, update)
    return row


def records(
    ids: Sequence[str], generations: Generations, read: Callable[[Sequence[str]], list[TaskRow]]
) -> list[TaskRow]:
    """C{IStore.records}; C{read} is that of the database."""
    by_id: dict[str, TaskRow] = {}
    for row in read(ids):
        found = as_it_stands(row.seq, row, generations)
        if found is not None:
            by_id[row.id] = found
    for task_id in ids:
        if task_id not in by_id:
            for pending in generations:
                seq = pending.ids.get(task_id)
                new = None if seq is None else as_it_stands(seq, None, generations)
                if new is not None:
                    by_id[task_id] = new._replace(payload=None)
    return [by_id[task_id] for task_id in dict.fromkeys(ids) if task_id in by_id]


def numbered(
    seqs: Sequence[int], generations: Generations, read: Callable[[Sequence[int]], list[TaskRow]]
) -> list[TaskRow]:
    """C{IStore.numbered}; C{read} is that of the database."""
    stored = {row.seq: row for row in read(seqs)}
    rows = [as_it_stands(seq, stored.get(seq), generations) for seq in dict.fromkeys(seqs)]
    return [row._replace(payload=None) for row in rows if row is not None]


def payloads(
    seqs: Sequence[int],
    generations: Generations,
    read: Callable[[Sequence[int]], dict[int, bytes]],
) -> dict[int, bytes]:
    """C{IStore.payloads}; C{read} is that of the database."""
    found = read(seqs)
    for pending in generations:
        for seq in seqs:
            if seq in pending.removed:
                found.pop(seq, None)
            row = pending.inserts.get(seq)
            if row is not None and row.payload is not None:
                found.setdefault(seq, row.payload)
    return found


def history(seq: int, stored: list[HistoryRow], generations: Generations) -> list[HistoryRow]:
    """C{IStore.history}; C{stored} is what the database says."""
    for pending in generations:
        if seq in pending.removed:
            stored = []
        known = {event[:4] for event in stored}  # the database's key
        for event in list(pending.history.get(seq, ())):
            if event[:4] not in known:
                known.add(event[:4])
                stored = [*stored, event]
    return stored
