"""
Delivery: claims, and what workers say about the tasks they hold.
"""

from __future__ import annotations

from math import inf
from typing import Any, NamedTuple, Protocol

from taskqueue.core.intake import check_lease
from taskqueue.core.lanes import Lane
from taskqueue.core.leases import Holder, Lease
from taskqueue.core.ledger import Ledger, Notice
from taskqueue.core.moments import Now
from taskqueue.core.retry import retry_delay_s
from taskqueue.core.task import State, Task
from taskqueue.core.waiting import Claim
from taskqueue.core.workers import Worker
from taskqueue.errors import BadRequest, Conflict, LeaseLost, StoreUnavailable

#: The error of a task whose worker gave none.
NO_REASON = "failed without a reason"


class Delivery(NamedTuple):
    """
    A task in a worker's hands.

    @ivar lease: the fencing token, to be given with whatever the worker says
        about this delivery.
    @ivar attempt: 1 for the first delivery.
    """

    id: str
    type: str
    queue: str
    priority: int
    payload: bytes
    attempt: int
    lease: int
    lease_s: float
    headers: str | None
    submitted_at: float
    failures: int
    losses: int


class Outcome(NamedTuple):
    """
    How a delivery ended.

    @ivar lease: the token it was delivered with.
    @ivar status: C{COMPLETED}, C{FAILED}, or C{CANCELLED} for a worker that
        yields to a cancel request.
    @ivar permanent: a failure that no retry can mend.
    @ivar retry_in_s: a pause before the retry other than the policy's.
    """

    task: str
    lease: int
    status: State
    result: bytes = b""
    error: str | None = None
    permanent: bool = False
    retry_in_s: float | None = None


class Desk:
    """The desk at which tasks are claimed and results handed in."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    # --- claims ---------------------------------------------------------------

    def claim(self, claim: Claim, now: Now) -> list[Delivery]:
        """
        Hand over what is ready and wanted, without waiting.

        @return: up to C{claim.limit} tasks, and C{claim.max_bytes} bytes if that
            is more than one; queues in the claim's order of
            preference, and within a queue strictly by priority, first come
            first served.
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
        room = inf if claim.max_bytes is None else claim.max_bytes
        found: list[Delivery] = []
        for name in claim.queues:
            queue = ledger.queues.get(name)
            if queue is None or queue.paused:
                continue
            while len(found) < limit and queue.busy:
                tasks = queue.take(claim.types, limit - len(found))
                if not tasks:
                    break
                for position, task in enumerate(tasks):
                    if task.expires_at is not None and task.expires_at <= now.wall:
                        ledger.finish(task, State.EXPIRED, now)
                        continue
                    room -= _weight_bytes(task)
                    if room < 0 and found:
                        for left in tasks[position:]:
                            left.lane.push(left)
                            ledger.touched[left.lane] = None
                        return found
                    found.append(self._deliver(task, claim, now))
        return found

    def _deliver(self, task: Task, claim: Claim, now: Now) -> Delivery:
        ledger, lane, holder = self._ledger, task.lane, claim.holder
        token = ledger.next_token
        ledger.next_token = token + 1
        lease_s = claim.lease_s or task.options.lease_s or lane.queue.policy.lease_s
        ready_at = max(task.submitted_at, task.run_at or 0.0)
        task.attempt += 1
        task.token = token
        task.worker = holder.name
        task.claimed_at = now.wall
        lane.counters.claimed += 1
        lane.counters.wait.observe(now.wall - ready_at)
        ledger.leases.grant(task, token, holder, lease_s, now.mono + lease_s)
        ledger.move(task, State.IN_PROGRESS)
        if task.unique is not None:
            ledger.keys.task_claimed(task)
        return Delivery(
            task.id,
            lane.type,
            lane.queue.name,
            task.priority,
            task.payload or b"",
            task.attempt,
            token,
            lease_s,
            task.headers,
            task.submitted_at,
            task.failures,
            task.losses,
        )

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
        while lane.heap and not queue.paused:
            claim = claims.first_for(queue.name, lane.type)
            if claim is None:
                return
            deliveries = self._hand_out(claim, now)
            if deliveries:
                claims.remove(claim)
                served.append((claim, deliveries))

    # --- results ----------------------------------------------------------------

    def report(self, outcome: Outcome, now: Now) -> State:
        """
        A delivery ended.  Said twice, it counts once.

        @return: the task's state thereafter.
        @raises LeaseLost: the token is not the task's current one.
        @raises Conflict: it yields to a cancel request that nobody made.
        """
        ledger = self._ledger
        lease = ledger.leases.by_token.get(outcome.lease)
        if lease is None or lease.task.id != outcome.task:
            return self._repeated(outcome)
        task = lease.task
        if outcome.status is State.CANCELLED and not task.cancel_requested:
            raise Conflict(f"nobody asked to cancel task {task.id}", task=task.id)
        ledger.leases.end(lease)
        claimed_at = task.claimed_at or now.wall
        task.lane.counters.processing.observe(now.wall - claimed_at)
        if outcome.status is State.COMPLETED:
            self._complete(task, outcome, lease, now)
        elif outcome.status is State.CANCELLED or task.cancel_requested:
            ledger.record(task, now, "cancelled", outcome.error, delivery=True)
            ledger.finish(task, State.CANCELLED, now, outcome.error)
        else:
            self._fail(task, outcome, lease, now)
        return task.state

    def _repeated(self, outcome: Outcome) -> State:
        task = self._ledger.find(outcome.task)
        if task is not None and tells(outcome, task):
            return task.state
        raise lease_lost(outcome.task, outcome.lease)

    def _complete(self, task: Task, outcome: Outcome, lease: Lease, now: Now) -> None:
        if isinstance(lease.holder, Worker):
            lease.holder.completed += 1
        task.lane.counters.completed += 1
        task.result = outcome.result
        task.error = None
        self._ledger.finish(task, State.COMPLETED, now)

    def _fail(self, task: Task, outcome: Outcome, lease: Lease, now: Now) -> None:
        ledger, counters = self._ledger, task.lane.counters
        if isinstance(lease.holder, Worker):
            lease.holder.failed += 1
        counters.failed += 1
        task.failures += 1
        task.error = outcome.error or NO_REASON
        ledger.record(task, now, "failed", task.error, delivery=True)
        options, policy = task.options, task.lane.queue.policy
        retries = policy.max_retries if options.max_retries is None else options.max_retries
        if outcome.permanent or task.failures > retries:
            ledger.finish(task, State.DEAD_LETTER, now, task.error)
            return
        counters.retried += 1
        pause_s = outcome.retry_in_s
        if pause_s is None:
            pause_s = retry_delay_s(task.failures, options, policy, ledger.random.random)
        ledger.move(task, State.FAILED)
        ledger.delay(task, now.wall + pause_s)

    def lease(self, task_id: str, token: int) -> Lease:
        """
        The lease with this token on this task.

        @raises LeaseLost: there is none.
        """
        lease = self._ledger.leases.by_token.get(token)
        if lease is None or lease.task.id != task_id:
            raise lease_lost(task_id, token)
        return lease

    def extend(self, task_id: str, token: int, lease_s: float | None, now: Now) -> float:
        """
        Let a lease run anew from now, for C{lease_s} (C{None}: its own length).
        That is its length from now on: heartbeats renew it for as long, and
        after a restart it has as long again.

        @return: the seconds that it runs from now.
        @raises LeaseLost: it is over.
        @raises BadRequest: C{lease_s} is out of bounds.
        """
        lease = self.lease(task_id, token)
        if lease_s is None:
            lease_s = lease.lease_s
        else:
            check_lease(lease_s, self._ledger.policy)
        if lease_s != lease.lease_s:
            self._ledger.changes.touch(lease.task)
        self._ledger.leases.extend(lease, lease_s, now.mono + lease_s)
        return lease_s

    def report_progress(self, task_id: str, token: int, progress: Any) -> bool:
        """
        Note how far a delivery has come.

        @return: whether somebody asked to cancel the task.
        @raises LeaseLost: the lease is over.
        """
        lease = self.lease(task_id, token)
        lease.progress = progress
        return lease.task.cancel_requested

    def release(self, task_id: str, token: int, delay_s: float, now: Now) -> State:
        """
        Give a task back, to run at once or after a pause; no retry is spent.

        @return: the task's state thereafter.
        @raises LeaseLost: the lease is over.
        """
        ledger = self._ledger
        lease = self.lease(task_id, token)
        task = lease.task
        ledger.leases.end(lease)
        task.lane.counters.released += 1
        ledger.record(task, now, "snoozed" if delay_s > 0 else "released", None, delivery=True)
        if task.cancel_requested:
            ledger.finish(task, State.CANCELLED, now)
            return task.state
        task.run_at = now.wall + delay_s if delay_s > 0 else task.run_at
        ledger.wait_or_run(task, now)
        return task.state

    # --- losses -----------------------------------------------------------------

    def lose(self, lease: Lease, reason: str, now: Now) -> None:
        """A delivery ended without a word: the lease ran out, or its holder is gone."""
        ledger, task = self._ledger, lease.task
        ledger.leases.end(lease)
        ledger.notices.append(Notice(lease.holder, "lease_lost", task.id, lease.token, reason))
        if isinstance(lease.holder, Worker):
            lease.holder.lost += 1
        task.lane.counters.lost += 1
        task.losses += 1
        ledger.record(task, now, "lost", reason, delivery=True)
        options, policy = task.options, task.lane.queue.policy
        max_lost = policy.max_lost if options.max_lost is None else options.max_lost
        if task.cancel_requested:
            ledger.finish(task, State.CANCELLED, now)
        elif task.losses > max_lost:
            ledger.finish(
                task,
                State.DEAD_LETTER,
                now,
                f"lost {task.losses} times, more than max_lost ({max_lost}); the last time: "
                f"{reason}",
            )
        else:
            ledger.move(task, State.PENDING)
            ledger.make_ready(task)

    def lose_all(self, holder: Holder, reason: str, now: Now) -> int:
        """
        All leases of C{holder} end.

        @return: how many there were.
        """
        leases = list(holder.leases.values())
        for lease in leases:
            self.lose(lease, reason, now)
        return len(leases)


class _Ended(Protocol):
    """What a task in memory and a row of the store have in common."""

    @property
    def token(self) -> int: ...
    @property
    def state(self) -> int: ...
    @property
    def error(self) -> str | None: ...
    @property
    def cancel_requested(self) -> bool: ...


def tells(outcome: Outcome, task: _Ended) -> bool:
    """
    Whether C{task} stands as C{outcome} would have left it: the worker said
    the same before, and did not hear the answer.
    """
    if task.token != outcome.lease:
        return False
    if outcome.status is not State.FAILED:
        return task.state == outcome.status
    if task.state == State.DEAD_LETTER:
        return task.error == (outcome.error or NO_REASON)
    yielded = task.state == State.CANCELLED and task.cancel_requested
    return task.state == State.FAILED or yielded


def _weight_bytes(task: Task) -> int:
    """
    About as many bytes as a delivery takes in a message; headers count twice, as
    they stand in the message's header, which has a bound of its own.
    """
    return 512 + len(task.payload or b"") + 2 * len(task.headers or "")


def lease_lost(task_id: str, token: int) -> LeaseLost:
    """The error for a token that is not the current one of its task."""
    return LeaseLost(
        f"{token} is not the current lease of task {task_id}: it ran out or was ended, and the "
        f"task may be with another worker",
        task=task_id,
        lease=token,
    )
