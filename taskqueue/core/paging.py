"""
Paging: payloads that leave memory for the store, and come back when their turn nears.

Most of what a backlog takes in memory are payloads that nobody looks at until they
are claimed.  Where what the tasks take passes three quarters of the bound, new
payloads leave memory as soon as they are stored: they stand behind those that are
there.  The rest of the bound is for what is on its way to the store, what is read
ahead, and for the tasks themselves; at the bound nothing more is let in.

A claim takes tasks in their order, wherever their payloads are; those that are
missing are read from the store before it is answered.  Of a lane that is being
worked off, the next payloads are read ahead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from taskqueue.core.delivery import Delivery
from taskqueue.core.lanes import Lane
from taskqueue.core.task import WAITING, Task

if TYPE_CHECKING:
    from taskqueue.core.books import Books

#: A smaller payload takes little more than the note of its size would.
SMALLEST_BYTES = 64

#: So many of the next tasks of a lane are looked at and read ahead, and so many bytes at most.
AHEAD_TASKS = 1000
AHEAD_BYTES = 4 * 2**20

#: Reading ahead begins when a payload is missing so close to the front.
AHEAD_FROM = AHEAD_TASKS // 2


def paging_bytes(memory_bytes: int) -> int:
    """From how many bytes on payloads leave memory, where so many are the bound."""
    return memory_bytes // 4 * 3


def page_out(books: Books, stored: Sequence[Task]) -> None:
    """
    Let payloads leave memory, where too much is in it: the latest first.

    @param stored: tasks that are in the store now, in the order of submission.
    """
    bound = books.policy.memory_bytes
    if bound is None or not books.policy.paging:
        return
    excess = books.memory_bytes - paging_bytes(bound)
    for task in reversed(stored):
        if excess <= 0:
            return
        size = task.held_bytes
        if size >= SMALLEST_BYTES and task.state in WAITING:
            task.body = size
            books.held_bytes -= size
            books.paged += 1
            books.paged_bytes += size
            excess -= size


def read_ahead(books: Books, lane: Lane) -> list[Task]:
    """
    Whose payloads should be read, as a lane is being worked off: of the next
    tasks those that are missing, if one is missing soon.
    """
    bound = books.policy.memory_bytes
    if not books.paged or not _is_near(lane):
        return []
    room = AHEAD_BYTES if bound is None else min(AHEAD_BYTES, bound - books.memory_bytes)
    found: list[Task] = []
    for task in lane.upcoming(AHEAD_TASKS):
        if isinstance(task.body, int):
            room -= task.body
            if room < 0:
                break
            found.append(task)
    return found


def _is_near(lane: Lane) -> bool:
    """Whether the first task of the lane, or one a little behind it, is missing its payload."""
    return any(isinstance(task.body, int) for task in lane.samples(AHEAD_FROM))


def page_in(books: Books, tasks: Sequence[Task], payloads: Mapping[int, bytes]) -> None:
    """
    Payloads were read ahead.

    @param tasks: those of L{read_ahead}, whatever became of them meanwhile.
    @param payloads: by C{seq}.
    """
    for task in tasks:
        payload = payloads.get(task.seq)
        if payload is not None and isinstance(task.body, int) and task.state in WAITING:
            task.body = payload
            books.held_bytes += len(payload)
            books.paged -= 1
            books.paged_bytes -= len(payload)


def completed(
    deliveries: Sequence[Delivery], absent: Mapping[int, int], payloads: Mapping[int, bytes]
) -> list[Delivery]:
    """
    Deliveries with the payloads that they lacked.

    @param absent: the C{seq}s of those, by token.
    @param payloads: by C{seq}; all of them are there.
    """
    return [
        delivery._replace(payload=payloads[absent[delivery.lease]])
        if delivery.lease in absent
        else delivery
        for delivery in deliveries
    ]
