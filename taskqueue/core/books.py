"""
The books: every task in memory, and how tasks come in and move.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from random import Random
from typing import TYPE_CHECKING, NamedTuple

from taskqueue.core.changes import Changes, HistoryRow
from taskqueue.core.counters import Counters, Histogram
from taskqueue.core.dependencies import Dependencies
from taskqueue.core.failures import Failures
from taskqueue.core.lanes import Lane, Queue
from taskqueue.core.leases import Holder, Leases
from taskqueue.core.moments import Now
from taskqueue.core.paging import PAYLOAD_BYTES, share_of_unstored
from taskqueue.core.policy import Policy
from taskqueue.core.schedule import Schedule
from taskqueue.core.seen import SeenIds
from taskqueue.core.sizes import LINE_BYTES, ROW_BYTES, TASK_BYTES, WATCHED_BYTES, extra_bytes
from taskqueue.core.task import NO_EXTRAS, TIERS, WAITING, State, Task, tier_of
from taskqueue.core.unique import UniqueKeys
from taskqueue.core.values import Values
from taskqueue.core.waiting import Claim, WaitingClaims
from taskqueue.core.workers import Workers
from taskqueue.errors import QueueFull, StoreUnavailable

if TYPE_CHECKING:
    from taskqueue.core.periodic import PeriodicRow

#: How many tokens are reserved at a time: often enough not to waste numbers,
#: seldom enough to cost nothing.
TOKEN_BLOCK = 1_000_000

#: 1 for each state that counts towards a queue's depth.
_DEPTH = tuple(int(state in WAITING) for state in State)


#: What a producer is told to wait where tasks take too much memory, seconds.
FULL_RETRY_S = 1.0

#: How many characters of an error an event in a task's history keeps.
LONGEST_DETAIL = 4000


class Notice(NamedTuple):
    """
    Something that a holder should hear at once.

    @ivar kind: C{"lease_lost"} or C{"cancel"}.
    """

    holder: Holder
    kind: str
    task_id: str
    token: int
    reason: str


class Books:
    """
    The state of the broker.

    @ivar tasks: every live task by id.
    @ivar ended: tasks that ended lately, oldest first; at least those whose
        end is not stored yet.
    @ivar forgotten: C{seq}s of tasks that were deleted lately: whoever read one
        from the store before that must not act on it.
    @ivar seen: ids of ended tasks that are in the store only.
    @ivar delayed: scheduled and failed tasks, by when they become ready.
    @ivar expiring: waiting tasks with an expiry.
    @ivar keys: who holds which unique key.
    @ivar periodics: the periodic tasks by name.
    @ivar values: the values under keys.
    @ivar touched: lanes that got a ready task since claims were last served.
    @ivar reading: lanes of which payloads are being read ahead.
    @ivar tier_waits: from ready to claimed, by tier, since the broker started.
    @ivar failures: the newest deliveries that came to nothing.
    @ivar notices: what holders should hear; whoever passes them on empties it.
    @ivar withdrawn: claims that wait no longer and get nothing; whoever answers
        them empties it.
    @ivar retired: what queues that were given up had counted.
    @ivar lanes_left: how many more may be made; C{None}: to be counted.
    @ivar depth: waiting tasks of all queues.
    @ivar open_lines: in its one place, how many lines (one for each priority) all lanes have.
    @ivar held_bytes: payload bytes of live tasks that are in memory.
    @ivar paged: live tasks whose payload stands in the store only.
    @ivar paged_bytes: of these payloads together.
    @ivar kept_bytes: about what the store takes in memory for all tasks, ended ones too, beside
        payloads of live ones; 0 where it is on a medium.
    @ivar pageable: stored tasks whose payloads may leave memory, the latest last, where
        there is a bound; and some that have ended or were claimed.
    @ivar extra_bytes: see L{extra_bytes}; of all live tasks.
    @ivar unstored_bytes: about what tasks take beside that until they are stored: a row each,
        and what is written, which holds their payloads once more.
    """

    def __init__(
        self,
        policy: Policy,
        random: Random,
        new_id: Callable[[], str],
        new_ids: Callable[[int], Sequence[str]] | None = None,
    ) -> None:
        """
        @param new_id: gives an id that no task has had.
        @param new_ids: gives so many of them, at less cost than one by one.
        """
        self.policy = policy
        self.random = random
        self.new_id = new_id
        self.new_ids = new_ids or (lambda count: [new_id() for _ in range(count)])
        self.queues: dict[str, Queue] = {}
        self.open_lines = [0]
        self.tasks: dict[str, Task] = {}
        self.ended: dict[str, Task] = {}
        self.seen = SeenIds()
        self.forgotten: OrderedDict[int, None] = OrderedDict()
        self.delayed = Schedule()
        self.expiring = Schedule()
        self.dependencies = Dependencies()
        self.keys = UniqueKeys()
        self.periodics: dict[str, PeriodicRow] = {}
        self.values = Values()
        self.leases = Leases()
        self.claims = WaitingClaims()
        self.workers = Workers(policy.max_workers)
        self.tier_waits = [Histogram() for _ in TIERS]
        self.failures = Failures()
        self.changes = Changes()
        self.touched: dict[Lane, None] = {}
        self.reading: set[Lane] = set()
        self.notices: list[Notice] = []
        self.withdrawn: list[Claim] = []
        self.retired = Counters()
        self.depth = 0
        self.held_bytes = self.extra_bytes = self.unstored_bytes = 0
        self.paged = self.paged_bytes = self.kept_bytes = 0
        self.pageable: list[Task] = []
        self.lanes_left: int | None = None
        self.next_seq = 1
        self.next_token = 1
        self.token_ceiling = 1
        self._asked_ceiling = 1
        for name in policy.queues:
            self.queue(name)

    # --- names and numbers ----------------------------------------------------

    def queue(self, name: str) -> Queue:
        """The queue with this name, made if need be."""
        queue = self.queues.get(name)
        if queue is None:
            policy = self.policy.for_queue(name)
            queue = self.queues[name] = Queue(name, policy, self.open_lines)
        return queue

    def withdraw_claims(self, holder: Holder) -> None:
        """No claim of C{holder} waits any longer."""
        for claim in list(holder.claims.values()):
            self.claims.remove(claim)
            self.withdrawn.append(claim)

    def find(self, task_id: str) -> Task | None:
        """The task with this id, as far as it is in memory."""
        return self.tasks.get(task_id) or self.ended.get(task_id)

    def tokens_left(self) -> int:
        """
        How many tokens can be given out now; asks for more in good time.

        @raises StoreUnavailable: none, as the store has reserved no more.
        """
        left = self.token_ceiling - self.next_token
        if left < TOKEN_BLOCK // 2 and self._asked_ceiling <= self.token_ceiling:
            self._asked_ceiling = self.token_ceiling + TOKEN_BLOCK
            self.changes.reserve_tokens(self._asked_ceiling)
        if left <= 0:
            raise StoreUnavailable(
                "no lease tokens can be given out until the store works again", retry_after_s=1.0
            )
        return left

    def tokens_reserved(self, ceiling: int) -> None:
        """The store has noted that tokens below C{ceiling} may be in use."""
        self.token_ceiling = self._asked_ceiling = ceiling

    # --- moves ------------------------------------------------------------------

    def enter(self, task: Task, state: State) -> None:
        """A new task is in C{state} from now on."""
        self.know(task, state)
        self.changes.enter((task,))
        self.unstored_bytes += task.held_bytes + ROW_BYTES

    def enter_ready(self, tasks: Sequence[Task]) -> None:
        """
        New tasks of one lane are ready, each later in line than any task
        before; none of them expires.
        """
        lane, count = tasks[0].lane, len(tasks)
        queue = lane.queue
        lane.counts[State.PENDING] += count
        self.depth += count
        queue.depth += count
        live, held_bytes, priority, alike = self.tasks, 0, tasks[0].priority, True
        for task in tasks:
            live[task.id] = task
            held_bytes += len(task.body)  # type: ignore[arg-type]  # a new task's payload is here
            if task.extras is not NO_EXTRAS:
                self.extra_bytes += extra_bytes(task)
            if task.priority != priority:
                alike = False
        self.held_bytes += held_bytes
        self.unstored_bytes += held_bytes + count * ROW_BYTES
        for line in (tasks,) if alike else _by_priority(tasks):
            queue.tiers[tier_of(line[0].priority)] += len(line)
            lane.extend(line)
        self.changes.enter(tasks)
        self.touched[lane] = None

    def know(self, task: Task, state: State) -> None:
        """Take the books' notice of a task that was not in memory, in C{state}."""
        task.state = state
        self.tasks[task.id] = task
        self._hold(task)
        task.lane.counts[state] += 1
        self._count_depth(task, _DEPTH[state])

    def _hold(self, task: Task) -> None:
        """Count what a live task takes beside itself."""
        body = task.body
        if isinstance(body, int):
            self.paged += 1
            self.paged_bytes += body
        elif body is not None:
            self.held_bytes += len(body)
        if task.extras is not NO_EXTRAS:
            self.extra_bytes += extra_bytes(task)

    def count_unstored(self) -> None:
        """Reckon anew what is on its way to the store."""
        new = self.changes.unstored
        self.unstored_bytes = sum([task.held_bytes for task in new]) + len(new) * ROW_BYTES

    def _let_go(self, task: Task) -> None:
        """A live task has ended: what it takes counts no longer."""
        body = task.body
        if isinstance(body, int):
            self.paged -= 1
            self.paged_bytes -= body
        elif body is not None:
            self.held_bytes -= len(body)
        if task.extras is not NO_EXTRAS:
            self.extra_bytes -= extra_bytes(task)

    @property
    def memory_bytes(self) -> int:
        """About how many bytes all live tasks, all values, and what the store keeps take."""
        watched = len(self.delayed) + len(self.expiring) + len(self.leases)
        watched += len(self.dependencies) + len(self.keys)
        counted = len(self.tasks) * TASK_BYTES + watched * WATCHED_BYTES
        counted += (len(self.tasks) - self.paged) * PAYLOAD_BYTES + self.open_lines[0] * LINE_BYTES
        counted += self.held_bytes + self.extra_bytes + self.kept_bytes
        return counted + self.values.memory_bytes

    def check_memory(self, bound: int, size: int, count: int) -> None:
        """
        @param bound: what tasks may take in memory, bytes.
        @param size: payload bytes of C{count} new tasks.
        @raises QueueFull: they would not fit, or more is on its way to the store than may be.
        """
        taken, coming, most = self.memory_bytes, self.unstored_bytes, share_of_unstored(bound)
        if taken + size + count * (TASK_BYTES + PAYLOAD_BYTES) > bound:
            reason = (
                f"the broker's tasks take about {taken} bytes of memory, of the {bound} that "
                f"memory_limit leaves them"
            )
        elif coming and coming + size + count * ROW_BYTES > most:
            reason = (
                f"tasks come faster than the store takes them: about {coming} bytes wait for it, "
                f"of the {most} that memory_limit leaves to that"
            )
        else:
            return
        raise QueueFull(reason, retry_after_s=FULL_RETRY_S)

    def move(self, task: Task, state: State) -> None:
        """Note that a task changed its state."""
        counts = task.lane.counts
        counts[task.state] -= 1
        counts[state] += 1
        change = _DEPTH[state] - _DEPTH[task.state]
        if change:
            self._count_depth(task, change)
        task.state = state
        self.changes.touch(task)

    def start(self, lane: Lane, tasks: Sequence[Task]) -> None:
        """Pending tasks of one lane, taken out of it, are in progress from now on."""
        count = len(tasks)
        lane.counts[State.PENDING] -= count
        lane.counts[State.IN_PROGRESS] += count
        self.depth -= count
        queue = lane.queue
        queue.depth -= count
        priority, tier, tiers = tasks[0].priority, tier_of(tasks[0].priority), queue.tiers
        for task in tasks:
            if task.priority != priority:
                priority, tier = task.priority, tier_of(task.priority)
            tiers[tier] -= 1
            task.state = State.IN_PROGRESS
            if task.extras.unique is not None:
                self.keys.task_claimed(task)
        self.changes.touch_all(tasks)

    def _count_depth(self, task: Task, change: int) -> None:
        queue = task.lane.queue
        self.depth += change
        queue.depth += change
        queue.tiers[tier_of(task.priority)] += change

    def make_ready(self, task: Task) -> None:
        """The task (whose books are in order) stands in its lane from now on."""
        self._watch_expiry(task)
        task.lane.push(task)
        self.touched[task.lane] = None

    def delay(self, task: Task, run_at: float) -> None:
        """The task is looked at again at C{run_at}."""
        task.run_at = run_at
        self._watch_expiry(task)
        self.delayed.add(task, run_at)

    def block(self, task: Task, missing: set[str]) -> None:
        """The task waits for the tasks in C{missing}."""
        self._watch_expiry(task)
        self.dependencies.block(task, missing)

    def _watch_expiry(self, task: Task) -> None:
        expires_at = task.extras.expires_at
        if expires_at is not None:
            self.expiring.add(task, expires_at)

    def wait_or_run(self, task: Task, now: Now) -> None:
        """Move a task to scheduled or pending, by its C{run_at}."""
        run_at = task.extras.run_at
        if run_at is not None and run_at > now.wall:
            self.move(task, State.SCHEDULED)
            self.delay(task, run_at)
        else:
            self.move(task, State.PENDING)
            self.make_ready(task)

    def record(
        self, task: Task, now: Now, event: str, detail: str | None, *, delivery: bool = False
    ) -> None:
        """
        Add to the task's history; C{delivery} says that one ended with it.  A
        long detail is cut: the newest error stands in the task, whole.
        """
        self.changes.record(
            HistoryRow(
                task.seq,
                now.wall,
                event,
                task.attempt,
                task.worker if delivery else None,
                task.claimed_at if delivery else None,
                _short(detail),
            )
        )


def _by_priority(tasks: Sequence[Task]) -> list[list[Task]]:
    lines: dict[int, list[Task]] = {}
    for task in tasks:
        lines.setdefault(task.priority, []).append(task)
    return list(lines.values())


def _short(detail: str | None) -> str | None:
    if detail is None or len(detail) <= LONGEST_DETAIL:
        return detail
    return f"{detail[: LONGEST_DETAIL - 1]}…"
