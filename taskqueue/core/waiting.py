"""
Claims that found nothing and wait.

Claims that want the same queues and types wait in one line; a queue knows the
lines that want something of it.  So a claim waits and leaves in O(1), and
finding who is next for a lane costs one step per distinct wish, not per
waiting claim.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from heapq import heapify, heappop, heappush
from math import inf
from typing import Any

from taskqueue.core.leases import Holder

#: What a line's claims have in common: queues in order of preference, and types.
Wish = tuple[tuple[str, ...], frozenset[str] | None]

#: Claims of one line by serial; an ordered dictionary finds its first in O(1)
#: even after many removals at the front.
Line = OrderedDict[int, "Claim"]

#: Heaps shorter than this are not worth compacting.
_SMALL = 1024


class Claim:
    """
    A request for tasks that may wait.

    @ivar queues: names, in order of preference.
    @ivar by_priority: the order of the queues does not count, but that of their tasks: strictly
        by priority and place in line over all of them.
    @ivar types: the types wanted, C{None} for any.
    @ivar limit: how many tasks at most.
    @ivar max_bytes: about as many bytes as all tasks together may take in a
        message, C{None} for any number; one task is always given.
    @ivar lease_s: length of the leases; C{None} for what task or queue say.
    @ivar deadline: monotonic moment until which it waits.
    @ivar serial: arrival number: the lowest is served first.
    @ivar absent: of the tasks that it got, the C{seq}s of those whose payloads
        must be read from the store, by token.
    @ivar reply: whatever the caller needs to answer it; not looked at here.
    """

    __slots__ = (
        "absent",
        "by_priority",
        "deadline",
        "holder",
        "lease_s",
        "limit",
        "max_bytes",
        "queues",
        "reply",
        "serial",
        "types",
    )

    def __init__(
        self,
        holder: Holder,
        queues: tuple[str, ...],
        types: frozenset[str] | None,
        limit: int,
        lease_s: float | None = None,
        deadline: float = 0.0,
        max_bytes: int | None = None,
        by_priority: bool = False,
    ) -> None:
        self.holder = holder
        self.queues = queues
        self.types = types
        self.limit = limit
        self.lease_s = lease_s
        self.deadline = deadline
        self.max_bytes = max_bytes
        self.by_priority = by_priority
        self.serial = 0
        self.absent: dict[int, int] = {}
        self.reply: Any = None


class WaitingClaims:
    """
    Every waiting claim, in fair order.

    @ivar waiting: all of them by serial; only to be looked at.
    """

    __slots__ = ("_by_queue", "_deadlines", "_lines", "_next_serial", "waiting")

    def __init__(self) -> None:
        self._next_serial = 1
        self.waiting: dict[int, Claim] = {}
        self._lines: dict[Wish, Line] = {}
        self._by_queue: dict[str, dict[Wish, Line]] = {}
        self._deadlines: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self.waiting)

    def __iter__(self) -> Iterator[Claim]:
        return iter(list(self.waiting.values()))

    def add(self, claim: Claim) -> None:
        """Let C{claim} wait, behind those that wait already."""
        claim.serial = self._next_serial
        self._next_serial += 1
        wish = (claim.queues, claim.types)
        line = self._lines.get(wish)
        if line is None:
            line = self._lines[wish] = OrderedDict()
            for queue in claim.queues:
                self._by_queue.setdefault(queue, {})[wish] = line
        line[claim.serial] = self.waiting[claim.serial] = claim
        claim.holder.claims[claim.serial] = claim
        heappush(self._deadlines, (claim.deadline, claim.serial))
        if len(self._deadlines) > 2 * len(self.waiting) + _SMALL:
            self._deadlines = [(c.deadline, serial) for serial, c in self.waiting.items()]
            heapify(self._deadlines)

    def remove(self, claim: Claim) -> bool:
        """
        C{claim} waits no longer.

        @return: whether it was waiting.
        """
        if self.waiting.pop(claim.serial, None) is None:
            return False
        del claim.holder.claims[claim.serial]
        wish = (claim.queues, claim.types)
        line = self._lines[wish]
        del line[claim.serial]
        if not line:
            self._drop(wish)
        return True

    def _drop(self, wish: Wish) -> None:
        del self._lines[wish]
        for queue in set(wish[0]):
            lines = self._by_queue[queue]
            del lines[wish]
            if not lines:
                del self._by_queue[queue]

    def first_for(self, queue: str, task_type: str) -> Claim | None:
        """The claim that has waited longest for such a task."""
        lines = self._by_queue.get(queue)
        if not lines:
            return None
        first: Claim | None = None
        for (_, types), line in lines.items():
            if types is None or task_type in types:
                claim = line[next(iter(line))]
                if first is None or claim.serial < first.serial:
                    first = claim
        return first

    def wants(self, queue: str, task_type: str) -> bool:
        """Whether any claim waits for such a task."""
        return self.first_for(queue, task_type) is not None

    def next_at(self) -> float:
        """
        The monotonic moment before which no claim has waited as long as it would, infinity where
        there is none.
        """
        deadlines = self._deadlines
        while deadlines and deadlines[0][1] not in self.waiting:
            heappop(deadlines)
        return deadlines[0][0] if deadlines else inf

    def expired(self, mono: float) -> list[Claim]:
        """Take out the claims whose waiting time is over."""
        found: list[Claim] = []
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= mono:
            claim = self.waiting.get(heappop(deadlines)[1])
            if claim is not None:
                self.remove(claim)
                found.append(claim)
        return found
