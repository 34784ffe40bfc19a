"""
What a client says and hears, as values.

Moments (C{*_at}) are seconds since the epoch, durations (C{*_s}) seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple, TypedDict

from taskqueue.client.answers import state_from
from taskqueue.client.codecs import BYTES, Bytes, Codec, codec_of
from taskqueue.core.task import DEFAULT_PRIORITY, State
from taskqueue.errors import BadRequest, TaskFailed
from taskqueue.ids import new_task_id
from taskqueue.wire import Header


class SubmitOptions(TypedDict, total=False):
    """How a task is to be treated; see L{Submission}."""

    queue: str
    priority: int
    id: str | None
    run_at: float | datetime | None
    run_in_s: float | None
    expires_at: float | datetime | None
    expires_in_s: float | None
    max_retries: int | None
    max_lost: int | None
    lease_s: float | None
    retry_delay_s: float | None
    retry_max_delay_s: float | None
    retry_jitter: float | None
    on_dependency_failure: str | None
    depends_on: Sequence[str] | None
    headers: Mapping[str, str] | None
    unique: str | None
    unique_until: str | None
    unique_for_s: float | None
    run_in: Duration
    expires_in: Duration
    lease: Duration
    retry_delay: Duration
    retry_max_delay: Duration
    unique_for: Duration


#: Seconds.
Duration = float | timedelta | None

#: Short names of fields; their values may be C{timedelta}.
_SHORT = {
    name: f"{name}_s"
    for name in (
        *("run_in", "expires_in", "lease", "retry_delay", "retry_max_delay", "unique_for"),
        *("every", "catch_up_window"),
    )
}


def in_full(given: Mapping[str, Any]) -> dict[str, Any]:
    """Options by their full names, with plain numbers."""
    return {_SHORT.get(name, name): _number(value) for name, value in given.items()}


@dataclass(frozen=True, slots=True)
class Submission:
    """
    A task to submit.  What is C{None} is left to the queue or the broker.

    @ivar type: the name of the handler that can run it.
    @ivar payload: what that handler is given: bytes, or what C{codec} can write;
        C{None} is nothing.
    @ivar priority: 0-255, higher first.
    @ivar id: a UUID; submitting one twice gives the same task.  One is made up
        where there is none.
    @ivar run_at: do not run it before; or C{run_in_s} seconds from now.
    @ivar expires_at: do not begin it after; or C{expires_in_s} seconds from now.
    @ivar max_retries: how often it is tried again after a failure.
    @ivar max_lost: how many workers it may lose.
    @ivar depends_on: ids of tasks that must be completed before.
    @ivar on_dependency_failure: C{"dead_letter"} or C{"run"}.
    @ivar headers: for the handler and whoever looks at the task.
    @ivar unique: a key that at most one task has at a time; who submits another
        one with it is given that task.
    @ivar unique_until: how long the task keeps its key: until C{"success"} (it has
        ended), C{"start"} (it was claimed), or for a C{"window"} of
        C{unique_for_s} seconds, whatever becomes of it.
    @ivar unique_for_s: the window, or the longest time in the other two cases.
    @ivar codec: for the payload and the result; C{None}: the client's.
    """

    type: str
    payload: Any = None
    queue: str = "default"
    priority: int = DEFAULT_PRIORITY
    id: str | None = None
    run_at: float | None = None
    run_in_s: float | None = None
    expires_at: float | None = None
    expires_in_s: float | None = None
    max_retries: int | None = None
    max_lost: int | None = None
    lease_s: float | None = None
    retry_delay_s: float | None = None
    retry_max_delay_s: float | None = None
    retry_jitter: float | None = None
    on_dependency_failure: str | None = None
    depends_on: Sequence[str] | None = None
    headers: Mapping[str, str] | None = None
    unique: str | None = None
    unique_until: str | None = None
    unique_for_s: float | None = None
    codec: str | Codec | None = None

    @classmethod
    def of(cls, given: Submission | Mapping[str, Any]) -> Submission:
        """
        C{given}, or a submission with the fields that a mapping names.  Durations
        may stand without C{_s}, and be C{timedelta}; moments may be C{datetime}.

        @raises BadRequest: a field is missing or unknown.
        """
        if isinstance(given, Submission):
            return given
        given = in_full(given)
        unknown = set(given) - {field.name for field in fields(cls)}
        if unknown:
            raise BadRequest(f"a task has no field {', '.join(map(repr, sorted(unknown)))}")
        if "type" not in given:
            raise BadRequest('a task needs a "type", the name of the handler that can run it')
        return cls(**given)

    def encoded(self, default: Codec) -> tuple[Submission, Codec]:
        """
        The same with its payload as bytes, and the codec for its result.  Bytes that
        are submitted without naming a codec are answered with bytes.

        @raises BadRequest: the codec cannot write the payload.
        """
        codec = default if self.codec is None else codec_of(self.codec)
        if isinstance(self.payload, Bytes):
            return self, BYTES if self.codec is None else codec
        if self.payload is None:
            return self, codec
        return replace(self, payload=codec.encode(self.payload)), codec

    def item(self) -> tuple[str, Header]:
        """The task's id, and what SUBMIT_TASK says of it."""
        # The broker reads ids of any case, and answers and events name them in lower case.
        task_id = str(self.id or new_task_id()).lower()
        header = {
            "id": task_id,
            "type": self.type,
            "queue": self.queue,
            "priority": self.priority,
            "payload": b"" if self.payload is None else BYTES.encode(self.payload),
        }
        options = _options(self)
        if options != _NO_OPTIONS:
            header |= {n: v for n, v in zip(_OPTIONS, options, strict=True) if v is not None}
            if self.depends_on is not None:
                header["depends_on"] = list(self.depends_on)
            if self.headers is not None:
                header["headers"] = dict(self.headers)
        return task_id, header


#: The fields that few tasks have.
_OPTIONS = tuple(
    name
    for name in Submission.__slots__
    if name not in ("id", "type", "queue", "priority", "payload", "codec")
)
_NO_OPTIONS = (None,) * len(_OPTIONS)
_options = attrgetter(*_OPTIONS)


def _number(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value.total_seconds()
    return value.timestamp() if isinstance(value, datetime) else value


class Delivery(NamedTuple):
    """
    A claimed task.

    @ivar attempt: 1 for the first delivery.
    @ivar lease: the token to give with everything that is said about it.
    @ivar lease_s: how long the claimer has.
    @ivar failures: how many deliveries failed before this one.
    @ivar losses: how many were lost.
    """

    id: str
    type: str
    queue: str
    priority: int
    payload: bytes
    attempt: int
    lease: int
    lease_s: float
    submitted_at: float
    failures: int
    losses: int
    headers: dict[str, str]

    @classmethod
    def from_wire(cls, item: Header) -> Delivery:
        """The delivery that an item of a claim's answer tells of."""
        # One call for each is a third of what a loop over the names costs.
        got: Callable[[str], Any] = item.get
        return cls(
            got("id"),
            got("type"),
            got("queue"),
            got("priority"),
            got("payload") or b"",
            got("attempt"),
            got("lease"),
            got("lease_s"),
            got("submitted_at"),
            got("failures"),
            got("losses"),
            got("headers") or {},
        )

    @classmethod
    def all_of(cls, answer: Header) -> list[Delivery]:
        """The deliveries in a claim's answer, which may have been read as such."""
        tasks: list[Any] = answer["tasks"]
        return [task if type(task) is cls else cls.from_wire(task) for task in tasks]

    @property
    def holding(self) -> tuple[str, int]:
        """The task's id and the token."""
        return self.id, self.lease


class Report(NamedTuple):
    """
    How a delivery ended.

    @ivar status: L{State.COMPLETED}, L{State.FAILED}, or L{State.CANCELLED} for
        one that yields to a request to cancel.
    @ivar permanent: a failure that no retry can mend.
    @ivar retry_in_s: the pause before the next try, instead of the policy's.
    """

    task: str
    lease: int
    status: State
    result: bytes = b""
    error: str | None = None
    permanent: bool = False
    retry_in_s: float | None = None

    def item(self) -> Header:
        """What TASK_RESULT says of it."""
        item: Header = {"task": self.task, "lease": self.lease, "status": self.status.word}
        if self.status is State.COMPLETED:
            item["result"] = self.result
        if self.error is not None:
            item["error"] = self.error
        if self.permanent:
            item["permanent"] = True
        if self.retry_in_s is not None:
            item["retry_in_s"] = self.retry_in_s
        return item


class Outcome(NamedTuple):
    """
    How a task ended.

    @ivar result: what its handler returned; C{None} unless it was completed.
    """

    task: str
    type: str
    queue: str
    state: State
    attempt: int
    ended_at: float
    error: str | None
    worker: str | None
    result: bytes | None

    @classmethod
    def from_wire(cls, event: Header) -> Outcome:
        """The outcome that an event tells of."""
        state = state_from(event["state"])
        result = event.get("result") or b"" if state is State.COMPLETED else None
        told: dict[str, Any] = {name: event.get(name) for name in cls._fields}
        return cls(**{**told, "state": state, "result": result})

    def value(self) -> bytes:
        """
        The result.

        @raises TaskFailed: there is none; its fields are C{task}, C{state} and
            C{error}, which may hold a traceback below its first line.
        """
        if self.result is not None:
            return self.result
        ended = {State.DEAD_LETTER: "failed for good", State.EXPIRED: "expired"}
        why = f": {self.error.splitlines()[0]}" if self.error else ""
        raise TaskFailed(
            f"task {self.task} {ended.get(self.state, 'was ' + self.state.word)}{why}",
            task=self.task,
            state=self.state,
            error=self.error,
        )


class Lost(NamedTuple):
    """A delivery that its holder has no more, or should give up, and why."""

    task: str
    lease: int
    reason: str


class Orders(NamedTuple):
    """
    What a heartbeat brings back.

    @ivar leases: how many the broker says the worker holds.
    @ivar lost: of the tokens that the heartbeat named, those that it does not hold.
    @ivar cancel: deliveries that should be given up.
    @ivar order: C{"quiet"} (claim no more), C{"terminate"} (stop), or C{None}.
    """

    leases: int
    lost: list[int]
    cancel: list[tuple[str, int]]
    order: str | None


class TaskList(NamedTuple):
    """
    One page of tasks.

    @ivar next: what to ask for as C{after}; C{None} on the last page.
    """

    tasks: list[dict[str, Any]]
    next: int | None


class Purged(NamedTuple):
    """How many waiting tasks a purge cancelled, and how many it left."""

    cancelled: int
    left: int


@dataclass(frozen=True, kw_only=True)
class Search:
    """
    Which tasks to list; C{None} does not restrict.

    @ivar states: words such as C{"dead_letter"}.
    @ivar limit: 1-1000 a page.
    @ivar after: where the page before ended; see L{TaskList.next}.
    @ivar order: C{"newest"} or C{"oldest"} first.
    """

    states: Sequence[str] | None = None
    queue: str | None = None
    type: str | None = None
    worker: str | None = None
    priority_from: int | None = None
    priority_to: int | None = None
    submitted_from: float | None = None
    submitted_to: float | None = None
    ended_from: float | None = None
    ended_to: float | None = None
    error_contains: str | None = None
    limit: int = 100
    after: int | None = None
    order: str = "newest"

    def header(self) -> Header:
        """What LIST_TASKS says."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    def from_place(self, after: int) -> Search:
        """The page that begins where another one ended."""
        return replace(self, after=after)
