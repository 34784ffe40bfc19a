"""
Recounting the books a little at a time, while others go on changing them.

Tasks are looked at one by one, in many turns.  What changes meanwhile is told by the
batches that are drained to be stored: each holds every task that was changed since
the one before, as it stands then.  So in the moment after a batch was drained, what
was noted here is what is so, and the sums can be compared with the books, exactly.

Of each task one number is kept, and the size of its payload, in pages of arrays: a
million tasks take some ten megabytes.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from taskqueue.core.changes import Batch, TaskRow
from taskqueue.core.lanes import Queue
from taskqueue.core.leases import Lease
from taskqueue.core.ledger import Ledger
from taskqueue.core.task import FIRST_ENDED, LIVE_STATES, WAITING, State, Task, tier_of
from taskqueue.core.workers import Worker

# What is noted of a task, in the bits of one number: its state + 1 (0: it does not
# live), its tier, whether it changed since the recount began, whether the store
# has it, and its lane.
_STATE = 0b1111
_TIER_AT = 4
_CHANGED = 1 << 6
_STORED = 1 << 7
_LANE_AT = 8
_KIND = ~(_CHANGED | _STORED)

_PAGE_AT = 6
_PAGE = 1 << _PAGE_AT

#: Queue and type.
_Lane = tuple[str, str]


class _Sums(NamedTuple):
    """
    @ivar states: tasks by lane and state.
    @ivar tiers: waiting tasks by queue and tier.
    """

    states: Counter[tuple[_Lane, State]]
    tiers: Counter[tuple[str, int]]


class Recount:
    """
    One recount of the live tasks of a ledger.

    @ivar payload_bytes: of the tasks that were counted, wherever their payloads are.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._pages: dict[int, tuple[array[int], array[int]]] = {}
        self._lanes: list[_Lane] = []
        self._numbers: dict[_Lane, int] = {}
        self._kinds: Counter[int] = Counter()
        self.payload_bytes = 0

    # --- counting -----------------------------------------------------------------

    def visit(self, task: Task) -> str | None:
        """
        Count a task as it stands now.

        @return: what is wrong about its place, C{None} where nothing is, or it has ended.
        """
        state = task.state
        if state >= FIRST_ENDED:
            return None
        self._note(
            task.seq,
            self._kind(task.queue, task.type, task.priority, state),
            task.payload_bytes,
            0,
        )
        return _misplaced(self._ledger, task)

    def drained(self, batch: Batch) -> None:
        """All that a batch holds stands so now."""
        for row in batch.inserts:
            live = row.state < FIRST_ENDED
            state = State(row.state)
            kind = self._kind(row.queue, row.type, row.priority, state) if live else 0
            self._note(row.seq, kind, self._size_of(row) if live else 0, _CHANGED)
        for update in batch.updates:
            kinds, sizes = self._page(update.seq)
            place = update.seq % _PAGE
            kind = kinds[place] & _KIND
            if update.state >= FIRST_ENDED or not kind & _STATE:
                self._note(update.seq, 0, 0, _CHANGED)
            else:
                kind = kind & ~_STATE | update.state + 1
                self._note(update.seq, kind, sizes[place], _CHANGED)

    def _size_of(self, row: TaskRow) -> int:
        """How long the payload is; of one that is in the store only, as was known before."""
        if row.payload is None:
            return self._page(row.seq)[1][row.seq % _PAGE]
        return len(row.payload)

    def _kind(self, queue: str, task_type: str, priority: int, state: State) -> int:
        lane = queue, task_type
        number = self._numbers.get(lane)
        if number is None:
            number = self._numbers[lane] = len(self._lanes)
            self._lanes.append(lane)
        return number << _LANE_AT | tier_of(priority) << _TIER_AT | state + 1

    def _page(self, seq: int) -> tuple[array[int], array[int]]:
        number = seq >> _PAGE_AT
        page = self._pages.get(number)
        if page is None:
            page = self._pages[number] = array("q", bytes(8 * _PAGE)), array("q", bytes(8 * _PAGE))
        return page

    def _note(self, seq: int, kind: int, size: int, flag: int) -> None:
        kinds, sizes = self._page(seq)
        place = seq % _PAGE
        known = kinds[place]
        if known & _STATE:
            self._kinds[known & _KIND] -= 1
        if kind:
            self._kinds[kind] += 1
        self.payload_bytes += size - sizes[place]
        kinds[place] = kind | known & ~_KIND | flag
        sizes[place] = size

    # --- the store ------------------------------------------------------------------

    def compare(self, row: TaskRow) -> str | None:
        """
        The store has a live task, as C{row} says.

        @return: how memory differs; that counts only unless the task C{changed}.
        """
        self._page(row.seq)[0][row.seq % _PAGE] |= _STORED
        if self.changed(row.seq):
            return None
        task = self._ledger.tasks.get(row.id)
        word = State(row.state).word
        if task is None or task.seq != row.seq:
            return f"task {row.id} is {word} in the store, and not live in memory"
        for name, stored, held in (
            ("state", word, task.state.word),
            ("queue", row.queue, task.queue),
            ("type", row.type, task.type),
            ("priority", row.priority, task.priority),
            ("attempt", row.attempt, task.attempt),
            ("token", row.token, task.token),
        ):
            if stored != held:
                return f"task {row.id}: {name} is {stored} in the store, {held} in memory"
        return None

    def changed(self, seq: int) -> bool:
        """Whether a task was changed since the recount began, as far as that was drained."""
        return bool(self._page(seq)[0][seq % _PAGE] & _CHANGED)

    def not_stored(self) -> Iterator[Sequence[int]]:
        """
        The C{seq}s of live tasks that did not change, and that the store was not said to
        have; for one page after another, most of which have none.
        """
        for number in list(self._pages):
            yield [
                number << _PAGE_AT | place
                for place, kind in enumerate(self._pages[number][0])
                if kind & _STATE and not kind & (_CHANGED | _STORED)
            ]

    # --- what comes of it -----------------------------------------------------------

    def differences(self) -> Iterator[str]:
        """
        How the books differ from the recount, a sentence each.  To be asked when all
        tasks were visited and nothing waits to be drained.
        """
        ledger, sums = self._ledger, self._sums()
        for name, booked, counted in (
            ("live tasks", len(ledger.tasks), sum(sums.states.values())),
            ("waiting tasks (depth)", ledger.depth, sum(sums.tiers.values())),
            (
                "payload bytes (held_bytes and paged_bytes)",
                ledger.held_bytes + ledger.paged_bytes,
                self.payload_bytes,
            ),
            ("leases, against tasks in progress", len(ledger.leases), _running(sums)),
        ):
            if booked != counted:
                yield f"{name}: the books say {booked}, recounted {counted}"
        for lane in {lane for lane, _ in sums.states}:
            queue = ledger.queues.get(lane[0])
            if queue is None or lane[1] not in queue.lanes:
                yield f"lane {'/'.join(lane)} has tasks, and is not in the books"
        for queue in ledger.queues.values():
            yield from _queue_differences(queue, sums)

    def _sums(self) -> _Sums:
        states: Counter[tuple[_Lane, State]] = Counter()
        tiers: Counter[tuple[str, int]] = Counter()
        for kind, count in self._kinds.items():
            if count:
                lane, state = self._lanes[kind >> _LANE_AT], State((kind & _STATE) - 1)
                states[lane, state] += count
                if state in WAITING:
                    tiers[lane[0], kind >> _TIER_AT & 0b11] += count
        return _Sums(states, tiers)


def _running(sums: _Sums) -> int:
    return sum(n for (_, state), n in sums.states.items() if state is State.IN_PROGRESS)


def _queue_differences(queue: Queue, sums: _Sums) -> Iterator[str]:
    tiers = [sums.tiers[queue.name, tier] for tier in range(3)]
    if queue.depth != sum(tiers):
        yield f"queue {queue.name}: depth is {queue.depth}, recounted {sum(tiers)}"
    if queue.tiers != tiers:
        yield f"queue {queue.name}: tiers are {queue.tiers}, recounted {tiers}"
    for lane in queue.lanes.values():
        name = queue.name, lane.type
        for state in LIVE_STATES:
            counted = sums.states[name, state]
            if lane.counts[state] != counted:
                yield (
                    f"lane {'/'.join(name)}: {lane.counts[state]} are {state.word},"
                    f" recounted {counted}"
                )
        if lane.size != lane.counts[State.PENDING]:
            yield (
                f"lane {'/'.join(name)}: {lane.size} stand in it,"
                f" {lane.counts[State.PENDING]} are pending"
            )


def _misplaced(ledger: Ledger, task: Task) -> str | None:
    """Why a live task is not where its state says, C{None} where it is."""
    state, lease, extras = task.state, task.lease, task.extras
    if ledger.tasks.get(task.id) is not task:
        return f"{task!r} is not among the live tasks"
    if (lease is not None) is not (state is State.IN_PROGRESS):
        return f"{task!r} has {'a' if lease else 'no'} lease"
    if lease is not None:
        return _unfounded(ledger, lease)
    if state is State.SCHEDULED or state is State.FAILED:
        if ledger.delayed.tasks.get(task.seq) is not task:
            return f"{task!r} is not among those whose time comes"
    elif state is State.BLOCKED and not ledger.dependencies.missing(task):
        return f"{task!r} waits for nothing"
    if extras.expires_at is not None and ledger.expiring.tasks.get(task.seq) is not task:
        return f"{task!r} will not expire"
    return None


def _unfounded(ledger: Ledger, lease: Lease) -> str | None:
    """Why a lease does not hold, C{None} where it does."""
    token, task, holder = lease.token, lease.task, lease.holder
    if ledger.leases.by_token.get(token) is not lease:
        return f"{task!r} has a lease, token {token}, that is over"
    if task.lease is not lease or task.token != token or ledger.tasks.get(task.id) is not task:
        return f"token {token} is not the current one of {task!r}"
    if holder.leases.get(token) is not lease:
        return f"token {token} of {task!r} is unknown to its holder {holder.name}"
    if isinstance(holder, Worker) and ledger.workers.find(holder.name) is not holder:
        return f"token {token} of {task!r} is held by worker {holder.name}, which is not registered"
    return None


def unfounded(ledger: Ledger, lease: Lease) -> str | None:
    """What is wrong about a lease, C{None} where nothing is, or it was ended meanwhile."""
    if ledger.leases.by_token.get(lease.token) is not lease:
        return None
    return _unfounded(ledger, lease)


def unfounded_of(ledger: Ledger, worker: Worker) -> Iterator[str]:
    """What is wrong about the leases that a worker counts as its own."""
    for token, lease in worker.leases.items():
        if ledger.leases.by_token.get(token) is not lease:
            yield f"worker {worker.name} counts on token {token} of {lease.task!r}, which is over"
