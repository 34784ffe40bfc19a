"""
Leases: who may finish which delivery, and until when.

A holder that sends heartbeats renews all its leases at once by one number, the
moment of its newest heartbeat; a lease's own deadline matters where it is
later.  Each lease is watched at a deadline that may be outdated: when that comes,
the true one is worked out, and the lease is watched anew if it is still ahead.
So a heartbeat costs the same for a worker with one lease and with a thousand.

Leases of one length end in the order in which they were given: they are watched
in a line, which costs less than a heap.  Whatever does not fit into a line (it was
watched anew, shortened, or found by a restart, or there are many lengths)
stands in a heap.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from math import inf
from typing import TYPE_CHECKING, Any

from taskqueue.core.task import Task

if TYPE_CHECKING:
    from taskqueue.core.waiting import Claim

#: Heaps and lines shorter than this are not worth compacting.
_SMALL = 1024

#: So many lengths of leases have lines.
MOST_LINES = 16


class Holder:
    """
    Whoever claims: a connection, a program in this process, or (a subclass) a
    registered worker.

    @ivar name: what people see: a worker's id, or a claimer's name.
    @ivar incarnation: 0 where it never registered.
    @ivar renewed_at: monotonic moment from which all its leases run anew.
    @ivar leases: its leases by token.
    @ivar to_cancel: those of them whose task somebody asked to cancel.
    @ivar claims: its waiting claims by arrival number.
    @ivar link: whatever the service uses to reach it, C{None} when it is away.
    @ivar owner: to whom it belongs, C{None} for nobody: of use to who lets callers in.
    """

    __slots__ = (
        "claims",
        "incarnation",
        "leases",
        "link",
        "name",
        "owner",
        "renewed_at",
        "to_cancel",
    )

    def __init__(self, name: str, incarnation: int = 0) -> None:
        self.name = name
        self.incarnation = incarnation
        self.renewed_at = -inf
        self.leases: dict[int, Lease] = {}
        self.to_cancel: dict[int, Lease] = {}
        self.claims: dict[int, Claim] = {}
        self.link: Any = None
        self.owner: str | None = None


class Lease:
    """
    The right to finish one delivery.

    @ivar deadline: monotonic moment; the holder's renewals may move the true
        one further.
    @ivar watched_at: the deadline at first, by which it stands in a line.
    @ivar progress: the newest report of the worker, as JSON-able value.
    """

    __slots__ = ("deadline", "holder", "lease_s", "progress", "task", "token", "watched_at")

    def __init__(
        self, task: Task, token: int, holder: Holder, lease_s: float, deadline: float
    ) -> None:
        self.task = task
        self.token = token
        self.holder = holder
        self.lease_s = lease_s
        self.deadline = self.watched_at = deadline
        self.progress: Any = None

    @property
    def is_over(self) -> bool:
        """Whether it has been ended."""
        return self.task.lease is not self

    @property
    def ends_at(self) -> float:
        """The monotonic moment at which the lease ends, as things stand."""
        renewed = self.holder.renewed_at + self.lease_s
        return max(self.deadline, renewed)


class Leases:
    """All leases, by token and by deadline."""

    __slots__ = ("_deadlines", "_lines", "by_token")

    def __init__(self) -> None:
        self.by_token: dict[int, Lease] = {}
        self._lines: dict[float, deque[Lease]] = {}
        self._deadlines: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self.by_token)

    def grant(
        self, task: Task, token: int, holder: Holder, lease_s: float, deadline: float
    ) -> Lease:
        """Give C{holder} the lease named C{token} on C{task}."""
        self.grant_alike([task], token, holder, lease_s, deadline)
        return self.by_token[token]

    def grant_alike(
        self, tasks: Iterable[Task], token: int, holder: Holder, lease_s: float, deadline: float
    ) -> None:
        """
        Give C{holder} leases on these tasks, all until C{deadline}.

        @param token: of the first; the others are numbered from there.
        """
        by_token, held, line = self.by_token, holder.leases, self._lines.get(lease_s)
        if line is None and len(self._lines) < MOST_LINES:
            line = self._lines[lease_s] = deque()
        elif line and deadline < line[-1].watched_at:
            line = None
        for task in tasks:
            lease = Lease(task, token, holder, lease_s, deadline)
            task.lease = by_token[token] = held[token] = lease
            if task.past.cancel_requested:  # before a restart
                holder.to_cancel[token] = lease
            if line is None:
                self._watch(lease)
            else:
                line.append(lease)
            token += 1
        if line is not None and len(line) > 2 * len(by_token) + _SMALL:
            self._lines[lease_s] = deque([one for one in line if one.task.lease is one])

    def extend(self, lease: Lease, lease_s: float, deadline: float) -> None:
        """
        Let the lease end at C{deadline} instead, earlier or later; renewals
        give it C{lease_s} from then on.
        """
        sooner = deadline < lease.ends_at
        lease.lease_s = lease_s
        lease.deadline = deadline
        if sooner:
            self._watch(lease)

    def _watch(self, lease: Lease) -> None:
        heappush(self._deadlines, (lease.deadline, lease.token))
        if len(self._deadlines) > 2 * len(self.by_token) + _SMALL:
            self._compact()

    def end(self, lease: Lease) -> None:
        """The lease is over, for whatever reason."""
        task, token = lease.task, lease.token
        del self.by_token[token]
        del lease.holder.leases[token]
        if task.past.cancel_requested:
            del lease.holder.to_cancel[token]
        task.lease = None

    def next_expired(self, mono: float) -> Lease | None:
        """
        A lease whose end has come, C{None} when there is none.  The caller ends
        it: it is not found a second time.
        """
        for lease_s in list(self._lines):
            lease = self._first_expired(lease_s, mono)
            if lease is not None:
                return lease
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= mono:
            token = heappop(deadlines)[1]
            lease = self.by_token.get(token)
            if lease is None:
                continue
            ends_at = lease.ends_at
            if ends_at <= mono:
                return lease
            heappush(deadlines, (ends_at, token))
        return None

    def _first_expired(self, lease_s: float, mono: float) -> Lease | None:
        """
        The first lease in a line whose end has come; what else comes up is
        watched anew, or is over.
        """
        line = self._lines[lease_s]
        found: Lease | None = None
        while line and found is None and (line[0].is_over or line[0].watched_at <= mono):
            lease = line.popleft()
            if lease.is_over:
                continue
            ends_at = lease.ends_at
            if ends_at <= mono:
                found = lease
            else:
                heappush(self._deadlines, (ends_at, lease.token))
        if not line:
            del self._lines[lease_s]
        return found

    def next_at(self) -> float:
        """
        The monotonic moment at which the first lease is to be looked at, infinity where there is
        none: no lease ends before it.
        """
        at = min((line[0].watched_at for line in self._lines.values() if line), default=inf)
        return min(at, self._deadlines[0][0]) if self._deadlines else at

    def watched(self) -> dict[int, float]:
        """By token, the moment at which each lease is looked at next; takes its time."""
        moments: dict[int, float] = {}
        for deadline, token in self._deadlines:
            moments[token] = min(deadline, moments.get(token, deadline))
        for line in self._lines.values():
            for lease in line:
                moments[lease.token] = min(
                    lease.watched_at, moments.get(lease.token, lease.watched_at)
                )
        return moments

    def _compact(self) -> None:
        """Drop what outnumbers the leases: deadlines of those that are over, or were extended."""
        self._deadlines = [(lease.deadline, token) for token, lease in self.by_token.items()]
        heapify(self._deadlines)
