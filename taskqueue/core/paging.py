"""
Paging: payloads that leave memory for the store, and come back when their turn nears.

Most of what a backlog takes in memory are payloads that nobody looks at until they
are claimed.  Where there is a bound, payloads may take an eighth of it: beyond that
they leave memory once they are stored, those that were stored last first, as they
stand behind the others.  The rest is for the tasks themselves; at the bound nothing
more is let in.  (A fixed share, as an allocator seldom gives back what one kind of
object took to another kind.)

A claim takes tasks in their order, wherever their payloads are; those that are
missing are read from the store before it is answered.  Of a lane that is being
worked off, the next payloads are read ahead.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from taskqueue.core.delivery import Delivery
from taskqueue.core.lanes import Lane
from taskqueue.core.policy import Policy
from taskqueue.core.task import WAITING, Task

if TYPE_CHECKING:
    from taskqueue.core.books import Books

#: A smaller payload takes little more than the note of its size would.
SMALLEST_BYTES = 64

#: About what a payload in memory takes beside its bytes.
PAYLOAD_BYTES = 64

#: So much may be on its way to the store in any case.
LEAST_UNSTORED_BYTES = 32 * 2**20

#: Lists shorter than this are not worth compacting.
_SMALL = 1024

#: So many of the next tasks of a lane are looked at and read ahead, and so many bytes at most.
AHEAD_TASKS = 1000
AHEAD_BYTES = 4 * 2**20

#: Reading ahead begins when a payload is missing so close to the front.
AHEAD_FROM = AHEAD_TASKS // 2


def share_of_payloads(memory_bytes: int) -> int:
    """How many bytes payloads may have in memory, where so many are the bound."""
    return memory_bytes // 8


def share_of_unstored(memory_bytes: int) -> int:
    """
    The same of what new tasks take on their way to the store: where nobody waits for it,
    nothing else bounds that.
    """
    return max(memory_bytes // 8, LEAST_UNSTORED_BYTES)


def payloads_to_read(policy: Policy) -> int | None:
    """How many bytes of payloads a start need read; C{None} for all there are."""
    if policy.memory_bytes is None or not policy.paging:
        return None
    return share_of_payloads(policy.memory_bytes)


def page_out(books: Books, stored: Sequence[Task]) -> None:
    """
    Let payloads leave memory, where too much is in it: the latest first.

    @param stored: tasks that are in the store now, in the order of submission.
    """
    bound = books.policy.memory_bytes
    if bound is None or not books.policy.paging:
        return
    pageable = books.pageable
    pageable.extend([task for task in stored if task.held_bytes >= SMALLEST_BYTES])
    excess = books.held_bytes - share_of_payloads(bound)
    while excess > 0 and pageable:
        task = pageable.pop()
        size = task.held_bytes
        if size >= SMALLEST_BYTES and task.state in WAITING:
            task.body = size
            books.held_bytes -= size
            books.paged += 1
            books.paged_bytes += size
            excess -= size
    if len(pageable) > 2 * (len(books.tasks) - books.paged) + _SMALL:
        books.pageable = [task for task in pageable if _may_leave(task)]


def _may_leave(task: Task) -> bool:
    return task.state in WAITING and task.held_bytes >= SMALLEST_BYTES


def begin_paging(books: Books) -> None:
    """There is a bound from now on: note what may leave memory; takes its time."""
    books.count_unstored()
    written = set(books.changes.being_stored)
    books.pageable = [
        task
        for task in books.tasks.values()
        if task.stored and task not in written and _may_leave(task)
    ]
    page_out(books, ())


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
