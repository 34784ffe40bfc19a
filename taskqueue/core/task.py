"""
The task: what is submitted, what becomes of it, and the words for both.
"""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, Generic, NamedTuple, Self, TypeVar, overload

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

#: The lowest that a task can have which came by another door: those of beanstalkd have 2**32.
LEAST_PRIORITY = HIGHEST_PRIORITY - (2**32 - 1)

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


#: In place of a bound on failures or losses: none, unless the queue's own section of the
#: configuration sets one.
UNLESS_SET = -1


class TaskOptions(NamedTuple):
    """
    How one task is to be treated, where it differs from its queue.  C{None}
    means: as the queue says.  Equal options share one object.

    @ivar max_retries: may be L{UNLESS_SET}, as may C{max_lost}.
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


class Extras:
    """
    What only some tasks were given, or got by a retry or a pause.

    @ivar run_at: the moment before which it must not run (again).
    """

    __slots__ = ("depends_on", "expires_at", "headers", "run_at", "unique")

    def __init__(self) -> None:
        self.headers: str | None = None
        self.depends_on: tuple[str, ...] = ()
        self.unique: Unique | None = None
        self.run_at: float | None = None
        self.expires_at: float | None = None


class Past:
    """
    What a task has been through since it was submitted.

    @ivar attempt: how often it was delivered.
    @ivar token: the fencing token of the newest delivery, 0 before the first.
    @ivar worker: the name of whom it was delivered to last.
    """

    __slots__ = (
        "attempt",
        "cancel_requested",
        "claimed_at",
        "ended_at",
        "error",
        "failures",
        "losses",
        "result",
        "token",
        "worker",
    )

    def __init__(
        self,
        attempt: int = 0,
        token: int = 0,
        worker: str | None = None,
        claimed_at: float | None = None,
    ) -> None:
        self.attempt = attempt
        self.token = token
        self.worker = worker
        self.claimed_at = claimed_at
        self.failures = self.losses = 0
        self.cancel_requested = False
        self.ended_at: float | None = None
        self.error: str | None = None
        self.result: bytes | None = None


#: What all tasks share that have nothing of the kind: never to be changed.
NO_EXTRAS = Extras()
NO_PAST = Past()

_T = TypeVar("_T")


class _Part(Generic[_T]):
    """
    An attribute that stands in a part of the task; the task gets a part of its
    own when one is set for the first time.
    """

    def __init__(self, part: str, shared: Extras | Past) -> None:
        self._part = part
        self._shared = shared

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, task: None, owner: type) -> Self: ...
    @overload
    def __get__(self, task: Task, owner: type) -> _T: ...
    def __get__(self, task: Task | None, owner: type) -> _T | Self:
        if task is None:
            return self
        value: _T = getattr(getattr(task, self._part), self._name)
        return value

    def __set__(self, task: Task, value: _T) -> None:
        part = getattr(task, self._part)
        if part is self._shared:
            part = type(part)()
            setattr(task, self._part, part)
        setattr(part, self._name, value)


class Task:
    """
    One unit of work and its whole state while it lives.

    Moments (C{*_at}, C{run_at}) are wall-clock seconds since the epoch.
    C{seq} is the place in line: assigned at submission, kept for life.
    C{body} is the payload; its size where it stands in the store only; C{None}
    once the task has ended and its end is stored.

    Most tasks wait, without a history: so a task has slots for what each one
    needs, and what the others need stands in its C{extras} and its C{past},
    which all tasks that need none share.
    """

    __slots__ = (
        "body",
        "extras",
        "id",
        "lane",
        "lease",
        "options",
        "past",
        "priority",
        "seq",
        "state",
        "stored",
        "submitted_at",
    )

    headers = _Part["str | None"]("extras", NO_EXTRAS)
    depends_on = _Part[tuple[str, ...]]("extras", NO_EXTRAS)
    unique = _Part["Unique | None"]("extras", NO_EXTRAS)
    run_at = _Part["float | None"]("extras", NO_EXTRAS)
    expires_at = _Part["float | None"]("extras", NO_EXTRAS)

    attempt = _Part[int]("past", NO_PAST)
    failures = _Part[int]("past", NO_PAST)
    losses = _Part[int]("past", NO_PAST)
    token = _Part[int]("past", NO_PAST)
    worker = _Part["str | None"]("past", NO_PAST)
    claimed_at = _Part["float | None"]("past", NO_PAST)
    ended_at = _Part["float | None"]("past", NO_PAST)
    cancel_requested = _Part[bool]("past", NO_PAST)
    error = _Part["str | None"]("past", NO_PAST)
    result = _Part["bytes | None"]("past", NO_PAST)

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
        self.body: bytes | int | None = payload
        self.submitted_at = submitted_at
        self.options = options
        self.state = State.PENDING
        self.extras = NO_EXTRAS
        self.past = NO_PAST
        self.lease: Lease | None = None
        self.stored = False

    @property
    def payload(self) -> bytes | None:
        """What the handler gets, as far as it is in memory."""
        body = self.body
        return None if isinstance(body, int) else body

    @property
    def held_bytes(self) -> int:
        """How many bytes of payload are in memory."""
        body = self.body
        return 0 if body is None or isinstance(body, int) else len(body)

    @property
    def payload_bytes(self) -> int:
        """How many bytes the payload has, wherever it is; 0 once the end is stored."""
        body = self.body
        if isinstance(body, int):
            return body
        return 0 if body is None else len(body)

    @property
    def is_settled(self) -> bool:
        """Whether it has ended, and its end is stored."""
        return self.body is None

    @property
    def key(self) -> int:
        """By which ready tasks are ordered; see L{order_key}."""
        return order_key(self.priority, self.seq)

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
