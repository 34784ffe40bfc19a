"""
Handing out: claims, and which tasks they get.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heapify, heappop, heapreplace
from itertools import groupby
from math import inf
from operator import attrgetter

from taskqueue.core.counters import Histogram
from taskqueue.core.delivery import Delivery
from taskqueue.core.lanes import Lane, Queue
from taskqueue.core.ledger import Ledger
from taskqueue.core.moments import Now
from taskqueue.core.submission import check_lease
from taskqueue.core.task import NO_EXTRAS, NO_PAST, Past, State, Task, tier_of
from taskqueue.core.waiting import Claim
from taskqueue.core.workers import Worker
from taskqueue.errors import BadRequest, Conflict, StoreUnavailable

_LANE = attrgetter("lane")

#: About what a delivery takes in a message beside its payload and headers.
_TASK_BYTES = 512

_new = tuple.__new__  # makes a named tuple without a call of a Python function


class HandOut:
    """The desk at which tasks are claimed."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    # --- claims ---------------------------------------------------------------

    def claim(self, claim: Claim, now: Now) -> list[Delivery]:
        """
        Hand over what is ready and wanted, without waiting.

        @return: up to C{claim.limit} tasks, and C{claim.max_bytes} bytes if that
            is more than one, those of payloads that are not in memory, which
            C{claim.absent} tells of, included; queues in the claim's order of
            preference, and within a queue, or over all of them where the claim is
            C{by_priority}, strictly by priority, first come first served.
        @raises BadRequest: C{claim.limit} is no number of tasks, or
            C{claim.lease_s} is out of bounds.
        @raises Conflict: the worker was told to stop claiming.
        @raises StoreUnavailable: no tokens are left, as the store fails.
        """
        if claim.limit < 1:
            raise BadRequest(
                f"a claim asks for 1 task at least, not for {claim.limit}", field="limit"
            )
        if claim.lease_s is not None:
            check_lease(claim.lease_s, self._ledger.policy)
        holder = claim.holder
        if isinstance(holder, Worker) and holder.order is not None:
            raise Conflict(
                f"worker {holder.name!r} was told to {holder.order}: it gets no more tasks",
                worker=holder.name,
            )
        return self._hand_out(claim, now)

    def _hand_out(self, claim: Claim, now: Now) -> list[Delivery]:
        ledger = self._ledger
        limit = min(claim.limit, ledger.tokens_left())
        if limit == 1:
            return self._hand_out_one(claim, now)
        room = inf if claim.max_bytes is None else claim.max_bytes
        if claim.by_priority and len(claim.queues) > 1:
            return self._hand_out_strictly(claim, limit, room, now)
        found: list[Delivery] = []
        for name in claim.queues:
            queue = ledger.queues.get(name)
            if queue is None or queue.paused:
                continue
            while len(found) < limit and queue.busy:
                taken = queue.take(claim.types, limit - len(found))
                if not taken:
                    break
                chosen, room = self._choose(taken, room, not found, now)
                for lane, tasks in groupby(chosen, _LANE):
                    found += self._deliver(lane, list(tasks), claim, now)
                if room < 0:
                    return found
        return found

    def _hand_out_one(self, claim: Claim, now: Now) -> list[Delivery]:
        """One task, or none."""
        while (queue := self._next_for(claim)) is not None:
            chosen, _ = self._choose(queue.take(claim.types, 1), inf, True, now)
            if chosen:
                return self._deliver(chosen[0].lane, chosen, claim, now)
        return []

    def _next_for(self, claim: Claim) -> Queue | None:
        """The queue that has the next task for a claim, C{None} where there is none."""
        queues, types, first, lowest = self._ledger.queues, claim.types, None, inf
        for name in claim.queues:
            queue = queues.get(name)
            if queue is None or not queue.busy or queue.paused:
                continue
            head = queue.head(types)
            if head is None:
                continue
            if not claim.by_priority:
                return queue
            if head < lowest:
                first, lowest = queue, head
        return first

    def _hand_out_strictly(self, claim: Claim, limit: int, room: float, now: Now) -> list[Delivery]:
        """From all queues of a claim as if they were one."""
        heads = self._heads_for(claim)
        found: list[Delivery] = []
        while heads and len(found) < limit and room >= 0:
            queue = heads[0][1]
            taken = queue.take(claim.types, 1 if len(heads) > 1 else limit - len(found))
            chosen, room = self._choose(taken, room, not found, now)
            for lane, tasks in groupby(chosen, _LANE):
                found += self._deliver(lane, list(tasks), claim, now)
            head = queue.head(claim.types)
            if head is None:
                heappop(heads)
            else:
                heapreplace(heads, (head, queue))
        return found

    def _heads_for(self, claim: Claim) -> list[tuple[int, Queue]]:
        """A heap of the queues that have something for a claim, by what is first in each."""
        queues, heads = self._ledger.queues, []
        for name in claim.queues:
            queue = queues.get(name)
            if queue is not None and queue.busy and not queue.paused:
                head = queue.head(claim.types)
                if head is not None:
                    heads.append((head, queue))
        heapify(heads)
        return heads

    def _choose(
        self, taken: list[Task], room: float, first: bool, now: Now
    ) -> tuple[list[Task], float]:
        """
        Of tasks that were taken out of their lanes, those that fit into C{room}
        bytes of a message (headers count twice, as they stand in the message's header,
        which has a bound of its own): one at least, where none was found before
        (C{first}).  Those that have expired end, the rest goes back to its place.

        @return: the tasks, and the room that is left: below 0 where that was all.
        """
        if len(taken) > 1:
            plain = [len(t.body) for t in taken if t.extras is NO_EXTRAS and type(t.body) is bytes]
            left_over = room - sum(plain) - _TASK_BYTES * len(taken)
            if left_over >= 0 and len(plain) == len(taken):
                return taken, left_over  # what nearly all are
        chosen: list[Task] = []
        for position, task in enumerate(taken):
            extras, body = task.extras, task.body
            if extras is not NO_EXTRAS:
                expires_at = extras.expires_at
                if expires_at is not None and expires_at <= now.wall:
                    self._ledger.finish(task, State.EXPIRED, now, taken=True)
                    continue
                room -= 2 * len(extras.headers or "")
            room -= _TASK_BYTES + (body if isinstance(body, int) else len(body or b""))
            if room < 0 and not (first and not chosen):
                for left in taken[position:]:
                    left.lane.push(left)
                    self._ledger.touched[left.lane] = None
                break
            chosen.append(task)
        return chosen, room

    def _deliver(self, lane: Lane, tasks: list[Task], claim: Claim, now: Now) -> list[Delivery]:
        """Grant a lease on each of these tasks, which were taken out of C{lane}."""
        ledger, found = self._ledger, []
        for lease_s, alike in _by_lease(tasks, claim.lease_s, lane.queue.policy.lease_s):
            token = ledger.next_token
            ledger.next_token += len(alike)
            found += _deliveries(lane, alike, claim, token, lease_s, now.wall)
            ends_at = now.mono + lease_s
            ledger.leases.grant_alike(alike, token, claim.holder, lease_s, ends_at)
        _count(lane, tasks, now.wall, ledger.tier_waits)
        ledger.start(lane, tasks)
        return found

    def claim_task(self, task_id: str, claim: Claim, now: Now) -> list[Delivery]:
        """
        Hand over one task that is ready, or waits for its time or a retry, whatever stands before
        it, and whether its queue is paused or not.

        @param claim: in whose name, and for how long.
        @return: the delivery; none where there is no such task, or it does not wait like this.
        @raises StoreUnavailable: no tokens are left, as the store fails.
        """
        ledger = self._ledger
        ledger.tokens_left()
        task = ledger.tasks.get(task_id)
        if task is None:
            return []
        if task.state is State.PENDING:
            task.lane.withdraw(task)
        elif task.state is State.SCHEDULED or task.state is State.FAILED:
            ledger.delayed.discard(task)
            task.run_at = now.wall  # given back, it need not wait again
            ledger.move(task, State.PENDING)
        else:
            return []
        chosen, _ = self._choose([task], inf, True, now)
        return self._deliver(task.lane, chosen, claim, now) if chosen else []

    def serve(self, now: Now) -> list[tuple[Claim, list[Delivery]]]:
        """
        Serve waiting claims from the lanes that got tasks since the last call,
        those that have waited longest first.

        @return: the claims that were served (they wait no longer), with their tasks.
        """
        ledger = self._ledger
        served: list[tuple[Claim, list[Delivery]]] = []
        while ledger.touched and len(ledger.claims):
            touched, ledger.touched = ledger.touched, {}
            try:
                for lane in touched:
                    self._serve_from(lane, served, now)
            except StoreUnavailable:
                ledger.touched.update(touched)  # for the next call
                return served
        ledger.touched.clear()
        return served

    def _serve_from(self, lane: Lane, served: list[tuple[Claim, list[Delivery]]], now: Now) -> None:
        claims, queue = self._ledger.claims, lane.queue
        while lane.size and not queue.paused:
            claim = claims.first_for(queue.name, lane.type)
            if claim is None:
                return
            deliveries = self._hand_out(claim, now)
            if deliveries:
                claims.remove(claim)
                served.append((claim, deliveries))


def _by_lease(
    tasks: list[Task], wanted_s: float | None, customary_s: float
) -> list[tuple[float, list[Task]]]:
    """
    Tasks in a row that get leases of one length, with that length.

    @param wanted_s: as the claim says, before what their options say.
    """
    if wanted_s or len(tasks) == 1:
        return [(wanted_s or tasks[0].options.lease_s or customary_s, tasks)]
    runs: list[tuple[float, list[Task]]] = []
    alike: list[Task] = []
    options = None
    for task in tasks:
        if task.options is not options:
            options, alike = task.options, []
            runs.append((options.lease_s or customary_s, alike))
        alike.append(task)
    return runs


def _deliveries(
    lane: Lane, tasks: list[Task], claim: Claim, token: int, lease_s: float, wall: float
) -> list[Delivery]:
    """
    Note in these tasks' past that they are delivered.

    @param token: of the first; the others are numbered from there.
    @return: what the claimer gets.
    """
    name, queue, task_type = claim.holder.name, lane.queue.name, lane.type
    found: list[Delivery] = []
    for task in tasks:
        past, extras, body = task.past, task.extras, task.body
        if past is NO_PAST:
            past = task.past = Past(1, token, name, wall)
        else:
            past.attempt += 1
            past.token, past.worker, past.claimed_at = token, name, wall
        values = (
            task.id,
            task_type,
            queue,
            task.priority,
            b"" if body is None or isinstance(body, int) else body,
            past.attempt,
            token,
            lease_s,
            extras.headers,
            task.submitted_at,
            past.failures,
            past.losses,
        )
        found.append(_new(Delivery, values))
        if isinstance(body, int):
            claim.absent[token] = task.seq
        token += 1
    return found


def _count(lane: Lane, tasks: list[Task], wall: float, tiers: Sequence[Histogram]) -> None:
    """Count these tasks as claimed, and how long they had been ready; that by tier too."""
    counters = lane.counters
    counters.claimed += len(tasks)
    alike, since, priority = 0, 0.0, 0  # tasks of one submission have been ready equally long
    for task in tasks:
        run_at = task.extras.run_at
        ready_at = task.submitted_at
        if run_at is not None and run_at > ready_at:
            ready_at = run_at
        if (ready_at != since or task.priority != priority) and alike:
            counters.wait.observe(wall - since, alike)
            tiers[tier_of(priority)].observe(wall - since, alike)
            alike = 0
        since, priority = ready_at, task.priority
        alike += 1
    counters.wait.observe(wall - since, alike)
    tiers[tier_of(priority)].observe(wall - since, alike)
