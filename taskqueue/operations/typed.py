"""
The hot operations on typed values: from a frame straight to what the service wants,
and from what it says to the answer.

Only what is certainly right and usual is read here; whatever else a request has (an
option of one task, an id in upper case, a batch that is too large) is left to the
untyped operation of the same name, which treats each item and each error with care.
What is read here must come to the same there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from taskqueue import strictjson
from taskqueue.core.delivery import Delivery, Outcome
from taskqueue.core.intake import Accepted, Submission
from taskqueue.core.task import (
    HIGHEST_PRIORITY,
    LOWEST_PRIORITY,
    STATE_WORDS,
    STATES_BY_WORD,
    State,
)
from taskqueue.errors import TaskQueueError
from taskqueue.operations import tasks, work
from taskqueue.operations.caller import Caller
from taskqueue.operations.fields import LARGEST_INTEGER, LONGEST_NAME, LONGEST_S, is_name
from taskqueue.operations.views import view_states
from taskqueue.wire import MessageType
from taskqueue.wire.typed import (
    AnswerHeader,
    HeaderReader,
    Message,
    Reply,
    RequestId,
    TypedHeader,
)


class Prepared(Struct, frozen=True):
    """
    A request that was read.

    @ivar id: what to answer it with, C{None} for nothing.
    @ivar run: carries it out, given the caller and C{arguments}; returns what the
        untyped operation does, the answer perhaps as a L{Reply}.
    """

    id: RequestId
    run: Callable[..., Any]
    arguments: tuple[Any, ...]


#: Reads a frame, for a caller; C{None} where that is for the untyped operation to do.
Prepare = Callable[[Caller, bytes], Prepared | None]

_Name = Annotated[str, Meta(min_length=1, max_length=LONGEST_NAME)]
_Size = Annotated[int, Meta(ge=0, le=LARGEST_INTEGER)]
_Duration = Annotated[float, Meta(ge=0.0, le=LONGEST_S)]

# --- ids -------------------------------------------------------------------------

#: Every digit of an id becomes C{x}, every byte that it cannot have, C{?}.
_KINDS = bytes(
    ord("x") if chr(byte) in "0123456789abcdef" else byte if chr(byte) in "-," else ord("?")
    for byte in range(256)
)
_SHAPE = b"xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx,"


def are_task_ids(texts: Sequence[str]) -> bool:
    """Whether all these texts are ids of tasks, in lower case; looked at all at once."""
    found = ",".join(texts).encode("utf-8", "replace").translate(_KINDS)
    return found == (_SHAPE * len(texts))[:-1]


# --- submitting ------------------------------------------------------------------


class _NewTask(Struct, forbid_unknown_fields=True, gc=False):
    """An item of SUBMIT_TASK.  What cannot be sent stands for what was not."""

    size: _Size = 0
    id: str | None = None
    type: _Name = ""
    queue: _Name = ""
    priority: Annotated[int, Meta(ge=LOWEST_PRIORITY, le=HIGHEST_PRIORITY)] = -1


class _Submit(TypedHeader, gc=False):
    """The header of SUBMIT_TASK."""

    tasks: list[_NewTask]
    common: Raw | UnsetType = UNSET
    watch: bool = False


class _Submitted(AnswerHeader, gc=False):
    """The answer where every task is new, and pending."""

    tasks: list[str]


_SUBMIT = HeaderReader(_Submit)

#: Nothing is shared: the type is for each item to say.
_NOTHING_SHARED = Submission("")

#: Longer ones, with headers or many dependencies, are seldom sent twice.
_LONGEST_COMMON = 1024


@lru_cache(maxsize=256)
def _shared(common: bytes) -> Submission | None:
    """
    What all tasks of a batch have in common, as a task; without a type where it
    names none.

    @param common: JSON.
    @return: C{None} where there is something wrong, or something that depends on the
        moment.
    """
    try:
        values = tasks.COMMON.parse(strictjson.loads(common), "common")
    except TaskQueueError:
        return None
    if not values.keys().isdisjoint(("run_in_s", "expires_in_s")):
        return None
    return tasks.submission_of({"type": "", **values}, 0.0)


def prepare_submit(caller: Caller, body: bytes) -> Prepared | None:
    """Read SUBMIT_TASK."""
    read = _SUBMIT.read(body)
    if read is None:
        return None
    header, start = read
    new, config = header.tasks, caller.service.config
    if len(new) > config.broker.max_batch_submit:
        return None
    shared: Submission | None = _NOTHING_SHARED
    if header.common is not UNSET:
        common = bytes(header.common)
        shared = _shared(common) if len(common) <= _LONGEST_COMMON else None
    if shared is None:
        return None
    submissions = _submissions(shared, new, body, start, config.limits.max_payload_bytes)
    if submissions is None:
        return None
    return Prepared(header.id, tasks.submit_items, (submissions, header.watch, _reply_accepted))


def _submissions(
    shared: Submission, new: list[_NewTask], body: bytes, start: int, most_bytes: int
) -> list[Submission] | None:
    """
    The tasks of a batch.

    @param start: where in the body their payloads begin.
    @return: C{None} where something is not certainly right.
    """
    # Made without their constructor, a call in Python that costs more than all the rest.
    make, kind = tuple.__new__, Submission
    shared_type, _, shared_queue, shared_priority, _, *rest = shared
    last_type = last_queue = ""
    ids = []
    submissions = []
    for item in new:
        type_, queue, task_id = item.type or shared_type, item.queue or shared_queue, item.id
        if type_ != last_type or queue != last_queue:
            if not (is_name(type_) and is_name(queue)):
                return None
            last_type, last_queue = type_, queue
        if task_id is not None:
            ids.append(task_id)
        if item.size > most_bytes:
            return None
        priority = shared_priority if item.priority < 0 else item.priority
        end = start + item.size
        submissions.append(make(kind, (type_, body[start:end], queue, priority, task_id, *rest)))
        start = end
    return submissions if start == len(body) and are_task_ids(ids) else None


def _reply_accepted(answers: list[Accepted | TaskQueueError]) -> Message:
    pending = State.PENDING
    ids = [a.id for a in answers if type(a) is Accepted and a.state is pending and not a.existing]
    return Reply(_Submitted(ids)) if len(ids) == len(answers) else tasks.view_accepted(answers)


# --- claiming --------------------------------------------------------------------

_Queues = Annotated[tuple[_Name, ...], Meta(min_length=1, max_length=work.MOST_QUEUES)]
_Types = Annotated[tuple[_Name, ...], Meta(min_length=1, max_length=work.MOST_TYPES)]


class _Claim(TypedHeader, gc=False):
    """The header of CLAIM_TASK."""

    queues: _Queues | UnsetType = UNSET
    types: _Types | UnsetType | None = UNSET
    limit: Annotated[int, Meta(ge=1, le=LARGEST_INTEGER)] = 1
    wait_s: _Duration | UnsetType = UNSET
    lease_s: _Duration | None = None


class _ClaimedTask(Struct, gc=False):
    """An item of its answer; see L{Delivery}."""

    id: str
    type: str
    queue: str
    priority: int
    attempt: int
    lease: int
    lease_s: float
    submitted_at: float
    failures: int
    losses: int
    headers: Raw | UnsetType
    size: int


class _Claimed(AnswerHeader, gc=False):
    """The answer to a claim."""

    tasks: list[_ClaimedTask]


_CLAIM = HeaderReader(_Claim)


def prepare_claim(caller: Caller, body: bytes) -> Prepared | None:
    """Read CLAIM_TASK."""
    read = _CLAIM.read(body)
    if read is None:
        return None
    header, start = read
    wanted: dict[str, Any] = {"limit": header.limit, "lease_s": header.lease_s}
    names: list[str] = []
    if header.queues is not UNSET:
        wanted["queues"] = header.queues
        names += header.queues
    if header.types is not UNSET:
        wanted["types"] = header.types
        names += header.types or ()
    if header.wait_s is not UNSET:
        wanted["wait_s"] = header.wait_s
    if start != len(body) or not all(map(is_name, names)):
        return None
    return Prepared(header.id, work.claim_tasks, (wanted, _reply_claimed))


def _reply_claimed(deliveries: list[Delivery]) -> Reply:
    items = []
    payloads = []
    # Looked up by their names, the fields would cost as much as all that is done with them.
    for delivery in deliveries:
        i, type_, queue, level, payload, attempt, lease, lease_s, text, at, failed, lost = delivery
        told = UNSET if text is None else Raw(text)
        size = len(payload)
        payloads.append(payload)
        items.append(
            _ClaimedTask(
                i, type_, queue, level, attempt, lease, lease_s, at, failed, lost, told, size
            )
        )
    return Reply(_Claimed(items), payloads)


# --- results ---------------------------------------------------------------------


class _Result(Struct, forbid_unknown_fields=True, gc=False):
    """An item of TASK_RESULT."""

    task: str
    lease: Annotated[int, Meta(ge=1, le=LARGEST_INTEGER)]
    status: Literal["completed", "failed", "cancelled"]
    result_size: _Size = 0
    error: Annotated[str, Meta(max_length=work.LONGEST_ERROR)] | None = None
    permanent: bool = False
    retry_in_s: _Duration | None = None


class _Report(TypedHeader, gc=False):
    """The header of TASK_RESULT."""

    results: list[_Result]


class _States(AnswerHeader, gc=False):
    """The answer where every result was taken."""

    states: list[str]


_REPORT = HeaderReader(_Report)


def prepare_report(caller: Caller, body: bytes) -> Prepared | None:
    """Read TASK_RESULT."""
    read = _REPORT.read(body)
    if read is None:
        return None
    header, start = read
    told, config = header.results, caller.service.config
    if len(told) > config.broker.max_batch_results:
        return None
    outcomes = _outcomes(told, body, start, config.limits.max_payload_bytes)
    if outcomes is None:
        return None
    return Prepared(header.id, work.report_outcomes, (outcomes, _reply_states))


def _outcomes(
    told: list[_Result], body: bytes, start: int, most_bytes: int
) -> list[Outcome] | None:
    """
    What is told of a batch.

    @param start: where in the body the results begin.
    @return: C{None} where something is not certainly right.
    """
    make, kind, states = tuple.__new__, Outcome, STATES_BY_WORD
    outcomes = []
    for item in told:
        size, status = item.result_size, item.status
        if size > most_bytes or (size and status != "completed"):
            return None
        end = start + size
        error, permanent, retry_s = item.error, item.permanent, item.retry_in_s
        values = item.task, item.lease, states[status], body[start:end], error, permanent, retry_s
        outcomes.append(make(kind, values))
        start = end
    right = start == len(body) and are_task_ids([item.task for item in told])
    return outcomes if right else None


def _reply_states(answers: list[State | TaskQueueError]) -> Message:
    try:
        # An error is no index.
        return Reply(_States([STATE_WORDS[a] for a in answers]))  # type: ignore[index]
    except TypeError:
        return view_states(answers)


#: By the number of the message.
PREPARE: Mapping[int, tuple[str, Prepare]] = {
    int(kind): (kind.name.lower(), prepare)
    for kind, prepare in (
        (MessageType.SUBMIT_TASK, prepare_submit),
        (MessageType.CLAIM_TASK, prepare_claim),
        (MessageType.TASK_RESULT, prepare_report),
    )
}
