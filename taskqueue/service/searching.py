"""
Searching, a while at a time.

A search for what is rare looks at every task there is, which takes long where there are
many; and all that is read from the store is read in one thread.  So a search
looks at one window of submissions after another, and ends when its time is up, with what
it has found and the place where to go on.
"""

from __future__ import annotations

from typing import NamedTuple

from taskqueue.core.changes import TaskRow
from taskqueue.core.ledger import Ledger
from taskqueue.core.task import State
from taskqueue.service.tasks import TaskCommands
from taskqueue.store.interface import Filter, Page

#: How long a search looks, seconds.
WITHIN_S = 0.025

#: How many submissions are looked at first; then twice as many each time, as long as that
#: takes little time.
FIRST_WINDOW = 20_000

#: What is little time: this part of all.
_LITTLE = 0.25


class Found(NamedTuple):
    """
    What a search has found so far.

    @ivar next: what to give as C{after} for what follows, C{None} where nothing does.
        Where it is given, there may be fewer tasks than the page holds, even none.
    """

    rows: list[TaskRow]
    next: int | None


async def search(
    service: TaskCommands, filter: Filter, page: Page, within_s: float = WITHIN_S
) -> Found:
    """
    Look for tasks, as they durably stand, for about C{within_s} seconds.

    @raises StoreError: the store cannot be read.
    """
    if not _can_match(service.broker.ledger, filter):
        return Found([], None)
    if service.store.inline:
        return _whole(await service.find(filter, page), page)
    began = service.moments().mono
    newest = service.broker.ledger.next_seq
    place = page.after
    if place is None:
        place = newest if page.descending else 0
    window, rows, find = FIRST_WINDOW, list[TaskRow](), service.find
    while True:
        last = place - window if page.descending else place + window
        asked = service.moments().mono
        part = Page(page.limit - len(rows), place, page.descending, last)
        rows += await find(filter, part)
        if len(rows) >= page.limit:
            return _whole(rows, page)
        if last <= 1 if page.descending else last >= newest:
            return Found(rows, None)
        now = service.moments().mono
        if now - began >= within_s:
            return Found(rows, last)
        if now - asked < within_s * _LITTLE:
            window *= 2
        place, find = last, service.reader.find


def _can_match(ledger: Ledger, filter: Filter) -> bool:
    """Whether there is a task of this queue, type and state at all, as the books say."""
    named = (filter.queue, filter.queues, filter.type, filter.states)
    if all(one is None for one in named):
        return True
    queue = ledger.queues.get(filter.queue or "")
    queues = ledger.queues.values() if filter.queue is None else [] if queue is None else [queue]
    if filter.queues is not None:
        queues = [each for each in queues if each.name in filter.queues]
    states = State if filter.states is None else filter.states
    for each in queues:
        lane = each.lanes.get(filter.type or "")
        lanes = each.lanes.values() if filter.type is None else [] if lane is None else [lane]
        if any(one.counts[state] for one in lanes for state in states):
            return True
    return False


def _whole(rows: list[TaskRow], page: Page) -> Found:
    """A page as the store gives it: where it is not full, nothing follows."""
    return Found(rows, rows[-1].seq if rows and len(rows) >= page.limit else None)
