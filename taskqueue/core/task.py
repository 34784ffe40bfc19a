"""
The task: what is submitted, what becomes of it, and the words for both.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from taskqueue.core.lanes import Lane
    from taskqueue.core.leases import Lease


class State(IntEnum):
    """
    Where a task is in its life.  The numbers are what the store keeps: never
    reuse one.  Everything from L{COMPLETED} on has ended.
    """

    PENDING = 0
    SCHEDULED = 1
    BLOCKED = 2
    IN_PROGRESS = 3
    FAILED = 4
    COMPLETED = 5
    DEAD_LETTER = 6
    CANCELLED = 7
    EXPIRED = 8

    @property
    def word(self) -> str:
        """The state's name on the wire, in logs and in labels."""
        return STATE_WORDS[self]


STATE_WORDS: tuple[str, ...] = tuple(state.name.lower() for state in State)
STATES_BY_WORD: dict[str, State] = {state.name.lower(): state for state in State}

#: The first state that is an end; comparing is cheaper than a set look-up.
FIRST_ENDED = State.COMPLETED

#: States in which a task waits: it counts towards the depth of its queue.
WAITING = (State.PENDING, State.SCHEDULED, State.BLOCKED, State.FAILED)

LIVE_STATES = tuple(s for s in State if s < FIRST_ENDED)
ENDED_STATES = tuple(s for s in State if s >= FIRST_ENDED)

LOWEST_PRIORITY = 0
HIGHEST_PRIORITY = 255

#: Name, lowest, highest and customary value of each priority tier.
TIERS: tuple[tuple[str, int, int, int], ...] = (
    ("low", 0, 99, 50),
    ("normal", 100, 199, 150),
    ("high", 200, 255, 255),
)
DEFAULT_PRIORITY = 150


def tier_of(priority: int) -> int:
    """The index into L{TIERS} of the tier that holds C{priority}."""
    if priority >= 200:
        return 2
    return 1 if priority >= 100 else 0


class TaskOptions(NamedTuple):
    """
    How one task is to be treated, where it differs from its queue.  C{None}
    means: as the queue says.  Equal options share one object.
    """

    max_retries: int | None = None
    max_lost: int | None = None
    lease_s: float | None = None
    retry_delay_s: float | None = None
    retry_max_delay_s: float | None = None
    retry_jitter: float | None = None
    on_dependency_failure: str = "dead_letter"


DEFAULT_OPTIONS = TaskOptions()


class Until(IntEnum):
    """
    How long a task holds its unique key.  The numbers are what the store keeps:
    never reuse one.

    C{SUCCESS}: until it has ended; C{START}: until its first claim; C{WINDOW}:
    for a time from its submission, whatever becomes of it.
    """

    SUCCESS = 0
    START = 1
    WINDOW = 2

    @property
    def word(self) -> str:
        """Its name on the wire."""
        return self.name.lower()


UNTIL_BY_WORD: dict[str, Until] = {until.word: until for until in Until}


class Unique(NamedTuple):
    """
    The key that a task shares with no other task while it holds it.

    @ivar ends_at: wall-clock moment from which it holds it no longer, C{None}
        where only its life decides; never C{None} for C{WINDOW}.
    """

    key: str
    until: Until = Until.SUCCESS
    ends_at: float | None = None


class Task:
    """
    One unit of work and its whole state while it lives.

    Moments (C{*_at}, C{run_at}) are wall-clock seconds since the epoch.
    C{seq} is the place in line: assigned at submission, kept for life.
    C{token} is the fencing token of the newest delivery, 0 before the first.
    C{payload} is C{None} once the task has ended and its end is stored.
    """

    __slots__ = (
        "attempt",
        "cancel_requested",
        "claimed_at",
        "depends_on",
        "ended_at",
        "error",
        "expires_at",
        "failures",
        "headers",
        "id",
        "key",
        "lane",
        "lease",
        "losses",
        "options",
        "payload",
        "priority",
        "result",
        "run_at",
        "seq",
        "state",
        "stored",
        "submitted_at",
        "token",
        "unique",
        "worker",
    )

    id: str
    seq: int
    lane: Lane
    priority: int
    key: int
    payload: bytes | None
    headers: str | None
    options: TaskOptions
    depends_on: tuple[str, ...]
    unique: Unique | None
    state: State
    attempt: int
    failures: int
    losses: int
    token: int
    worker: str | None
    lease: Lease | None
    cancel_requested: bool
    submitted_at: float
    run_at: float | None
    expires_at: float | None
    claimed_at: float | None
    ended_at: float | None
    error: str | None
    result: bytes | None
    stored: bool

    def __init__(
        self,
        task_id: str,
        seq: int,
        lane: Lane,
        priority: int,
        payload: bytes,
        submitted_at: float,
        options: TaskOptions = DEFAULT_OPTIONS,
    ) -> None:
        self.id = task_id
        self.seq = seq
        self.lane = lane
        self.priority = priority
        self.key = order_key(priority, seq)
        self.payload = payload
        self.submitted_at = submitted_at
        self.options = options
        self.headers = None
        self.unique = None
        self.depends_on = ()
        self.state = State.PENDING
        self.attempt = self.failures = self.losses = self.token = 0
        self.worker = self.lease = None
        self.cancel_requested = False
        self.run_at = self.expires_at = self.claimed_at = self.ended_at = None
        self.error = self.result = None
        self.stored = False

    @property
    def type(self) -> str:
        """The name of the handler that can run this task."""
        return self.lane.type

    @property
    def queue(self) -> str:
        """The name of the queue that the task stands in."""
        return self.lane.queue.name

    def __repr__(self) -> str:
        return f"<Task {self.id} {self.lane.queue.name}/{self.lane.type} {self.state.word}>"


#: Bits of an order key that hold the place in line; 2**48 tasks outlast any broker.
_SEQ_BITS = 48


def order_key(priority: int, seq: int) -> int:
    """
    The integer by which ready tasks are ordered, smallest first: higher
    priority before lower, then first come, first served.  C{priority} is any
    integer: only the native protocol holds it to 0-255.
    """
    return (-priority << _SEQ_BITS) + seq
