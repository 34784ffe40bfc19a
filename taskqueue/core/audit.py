"""
The books against a recount: what must be true of a ledger between commands.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from math import inf

from taskqueue.core.lanes import Lane, Queue
from taskqueue.core.ledger import Ledger
from taskqueue.core.sizes import extra_bytes
from taskqueue.core.task import FIRST_ENDED, LIVE_STATES, WAITING, State, Task, tier_of
from taskqueue.core.unique import holds


def audit(ledger: Ledger) -> list[str]:
    """
    Recount everything; takes time in proportion to the number of tasks.

    @return: a sentence for each disagreement; empty where all is well.
    """
    return [
        *_audit_totals(ledger),
        *_audit_places(ledger),
        *_audit_leases(ledger),
        *_audit_dependencies(ledger),
        *_audit_moments(ledger),
        *_audit_keys(ledger),
        *_audit_periodics(ledger),
        *_audit_values(ledger),
        *(problem for queue in ledger.queues.values() for problem in _audit_queue(ledger, queue)),
    ]


def _audit_totals(ledger: Ledger) -> Iterator[str]:
    waiting = sum(task.state in WAITING for task in ledger.tasks.values())
    if waiting != ledger.depth:
        yield f"depth is {ledger.depth}, {waiting} tasks wait"
    yield from _audit_memory(ledger)
    held = sum(len(task.payload or b"") for task in ledger.tasks.values())
    if held != ledger.held_bytes:
        yield f"held_bytes is {ledger.held_bytes}, tasks hold {held}"
    for task in ledger.ended.values():
        if task.state < FIRST_ENDED or task.id in ledger.tasks:
            yield f"{task!r} counts as ended"
    tokens = [task.token for task in ledger.tasks.values() if task.token]
    if any(token >= ledger.next_token for token in tokens):
        yield "a token was given out that is still to come"


def _audit_memory(ledger: Ledger) -> Iterator[str]:
    paged = sum(isinstance(task.body, int) for task in ledger.tasks.values())
    if paged != ledger.paged:
        yield f"{ledger.paged} payloads are in the store only, recounted {paged}"
    sizes = sum(task.body for task in ledger.tasks.values() if isinstance(task.body, int))
    if sizes != ledger.paged_bytes:
        yield f"paged_bytes is {ledger.paged_bytes}, recounted {sizes}"
    lanes = [lane for queue in ledger.queues.values() for lane in queue.lanes.values()]
    lines = sum(len(lane.lines) for lane in lanes)
    if [lines] != ledger.open_lines:
        yield f"{ledger.open_lines} lines are open, recounted {lines}"
    extra = sum(extra_bytes(task) for task in ledger.tasks.values())
    if extra != ledger.extra_bytes:
        yield f"extra_bytes is {ledger.extra_bytes}, recounted {extra}"
    for task in ledger.tasks.values():
        if task.is_settled or (isinstance(task.body, int) and not task.stored):
            yield f"the payload of {task!r} is nowhere"


def _audit_places(ledger: Ledger) -> Iterator[str]:
    """Each live task stands in the one place that its state says."""
    lanes = [lane for queue in ledger.queues.values() for lane in queue.lanes.values()]
    ready = {(lane, task.seq) for lane in lanes for task in _standing_in(lane)}
    for task in ledger.tasks.values():
        places = {
            State.PENDING: (task.lane, task.seq) in ready,
            State.SCHEDULED: ledger.delayed.tasks.get(task.seq) is task,
            State.FAILED: ledger.delayed.tasks.get(task.seq) is task,
            State.BLOCKED: bool(ledger.dependencies.missing(task)),
            State.IN_PROGRESS: task.lease is not None,
        }
        if task.state >= FIRST_ENDED:
            yield f"{task!r} has ended but counts as live"
        elif not places[task.state]:
            yield f"{task!r} is not where its state says"
        if task.state is not State.PENDING and (task.lane, task.seq) in ready:
            yield f"{task!r} stands in its lane"
        if task.state is not State.IN_PROGRESS and task.lease is not None:
            yield f"{task!r} has a lease"
        expires = task.state in WAITING and task.expires_at is not None
        if expires and ledger.expiring.tasks.get(task.seq) is not task:
            yield f"{task!r} will not expire"
    pending = sum(task.state is State.PENDING for task in ledger.tasks.values())
    standing = sum(lane.size for lane in lanes)
    if not standing == pending == len(ready):
        yield f"{pending} tasks are pending, {len(ready)} stand in lanes, which count {standing}"


def _standing_in(lane: Lane) -> list[Task]:
    """The tasks in a lane, but for those that have ended."""
    lined = [task for line in lane.lines.values() for task in line if task is not None]
    return [*(task for task in lined if task.state < FIRST_ENDED), *lane.returned.values()]


def _audit_leases(ledger: Ledger) -> Iterator[str]:
    for token, lease in ledger.leases.by_token.items():
        if lease.task.lease is not lease or lease.task.token != token:
            yield f"token {token} is not the current one of {lease.task!r}"
        if lease.holder.leases.get(token) is not lease:
            yield f"token {token} is unknown to its holder {lease.holder.name}"
        if (token in lease.holder.to_cancel) is not lease.task.cancel_requested:
            yield f"{lease.task!r} is to be cancelled or not, its holder does not know it"
    running = sum(task.state is State.IN_PROGRESS for task in ledger.tasks.values())
    if running != len(ledger.leases):
        yield f"{running} tasks are in progress, {len(ledger.leases)} leases exist"
    for worker in ledger.workers:
        for token in worker.leases:
            if token not in ledger.leases.by_token:
                yield f"worker {worker.name} has token {token}, which is over"
        if not worker.to_cancel.keys() <= worker.leases.keys():
            yield f"worker {worker.name} is to cancel what it does not hold"


def _audit_dependencies(ledger: Ledger) -> Iterator[str]:
    """Who waits is known to whom it waits for, and everybody waited for is live."""
    edges = ledger.dependencies
    waiting = {task.seq: task for task in ledger.tasks.values() if task.state is State.BLOCKED}
    if len(edges) != len(waiting):
        yield f"{len(waiting)} tasks are blocked, {len(edges)} are known to wait"
    for task in waiting.values():
        for dependency in edges.missing(task):
            if dependency not in ledger.tasks:
                yield f"{task!r} waits for {dependency}, which is not live"
            if task not in edges.dependents(dependency):
                yield f"{task!r} waits for {dependency}, which does not know it"


def _audit_moments(ledger: Ledger) -> Iterator[str]:
    """Each moment that will come stands in its heap, not later than it comes."""
    watched = ledger.leases.watched()
    for token, lease in ledger.leases.by_token.items():
        if token not in watched or watched[token] > lease.ends_at:
            yield f"the end of lease {token} on {lease.task!r} comes too late"
    for schedule in (ledger.delayed, ledger.expiring):
        entries = set(schedule._heap)
        for seq, task in schedule.tasks.items():
            if (schedule._moments.get(seq), seq) not in entries:
                yield f"the moment of {task!r} comes too late"
            if ledger.tasks.get(task.id) is not task:
                yield f"{task!r} is not live, and a moment of it is still to come"


def _audit_keys(ledger: Ledger) -> Iterator[str]:
    """Whoever holds a key may hold it, and whoever may is known, or gave way to a later one."""
    keys = ledger.keys
    for key, holder in keys.holders.items():
        task = ledger.find(holder.id)
        if task is not None:
            mine = task.seq == holder.seq and task.unique is not None and task.unique.key == key
            if not mine or not holds(task, -inf):
                yield f"key {key!r} is held by {task!r}, which does not hold it"
        if holder.ends_at is not None and (holder.ends_at, holder.seq, key) not in keys.ends:
            yield f"key {key!r} will not be free in time"
    for task in ledger.tasks.values():
        if task.unique is None or task.unique.ends_at is not None or not holds(task, -inf):
            continue
        found = keys.holders.get(task.unique.key)
        if found is None or found.seq != task.seq:
            yield f"{task!r} holds the key {task.unique.key!r}, which is not known"


def _audit_periodics(ledger: Ledger) -> Iterator[str]:
    for name, row in ledger.periodics.items():
        if row.definition.name != name:
            yield f"periodic task {row.definition.name!r} counts as {name!r}"
        if row.paused and row.next_at is not None:
            yield f"periodic task {name!r} is paused, and due at {row.next_at}"
        done = row.ticked_at
        if done is not None and row.next_at is not None and row.next_at <= done:
            yield f"periodic task {name!r} is due at {row.next_at}, which it dealt with"


def _audit_values(ledger: Ledger) -> Iterator[str]:
    problems: list[str] = []
    ledger.values.audit(problems.append)
    yield from problems
    for row in ledger.values.everything():
        if row.version >= ledger.next_seq:
            yield f"value {row.key!r} of {row.namespace!r} has a version that is still to come"


def _audit_queue(ledger: Ledger, queue: Queue) -> Iterator[str]:
    mine = [task for task in ledger.tasks.values() if task.lane.queue is queue]
    waiting = [task for task in mine if task.state in WAITING]
    if queue.depth != len(waiting):
        yield f"queue {queue.name}: depth is {queue.depth}, {len(waiting)} tasks wait"
    tiers = Counter(tier_of(task.priority) for task in waiting)
    if queue.tiers != [tiers[0], tiers[1], tiers[2]]:
        yield f"queue {queue.name}: tiers are {queue.tiers}, recounted {dict(tiers)}"
    recount = Counter((task.lane.type, task.state) for task in mine)
    for lane in queue.lanes.values():
        for state in LIVE_STATES:
            if lane.counts[state] != recount[lane.type, state]:
                yield (
                    f"lane {queue.name}/{lane.type}: {lane.counts[state]} {state.word}, "
                    f"recounted {recount[lane.type, state]}"
                )
        if any(count < 0 for count in lane.counts):
            yield f"lane {queue.name}/{lane.type}: a count is negative: {lane.counts}"
        yield from _audit_lines(lane, f"lane {queue.name}/{lane.type}")
        if bool(lane.size) != (queue.busy.get(lane.type) is lane):
            yield f"lane {queue.name}/{lane.type}: busy or not, the queue does not know it"
    heads = {(key, lane.type) for key, lane in queue._heads}
    for lane in queue.busy.values():
        if (lane.head, lane.type) not in heads:
            yield f"lane {queue.name}/{lane.type}: not among the lanes that are looked at"


def _audit_lines(lane: Lane, name: str) -> Iterator[str]:
    """Whoever is in a lane stands in order, and the first is known to be first."""
    keys = [task.key for task in _standing_in(lane)]
    if lane.head != min(keys, default=None):
        yield f"{name}: its first task is not first"
    leftovers = 0
    for priority, line in lane.lines.items():
        lined = [task for task in line[line.gone :] if task is not None]
        ended = sum(task.state >= FIRST_ENDED for task in lined)
        if ended != line.leftovers:
            yield f"{name}: {line.leftovers} leftovers of priority {priority}, recounted {ended}"
        leftovers += ended
        seqs = [task.seq for task in lined]
        if seqs != sorted(seqs) or any(task.priority != priority for task in lined):
            yield f"{name}: priority {priority} is out of order"
        if any(line[: line.gone]) or len(lined) + line.gone != len(line):
            yield f"{name}: priority {priority} has gaps"
        elif not lined or lined[0].state is not State.PENDING:
            yield f"{name}: the first of priority {priority} is not ready"
    if leftovers != lane.leftovers:
        yield f"{name}: {lane.leftovers} leftovers, recounted {leftovers}"
    if not lane.lines.keys() <= {-priority for priority in lane._priorities}:
        yield f"{name}: its priorities are {lane._priorities}"
    if any(key != task.key or key not in lane._keys for key, task in lane.returned.items()):
        yield f"{name}: a task that came back is not where its key says"
