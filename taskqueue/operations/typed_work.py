"""
Claims and results as typed values.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from taskqueue.core.delivery import Delivery, Outcome
from taskqueue.core.task import STATE_WORDS, STATES_BY_WORD, State
from taskqueue.errors import TaskQueueError
from taskqueue.operations import work
from taskqueue.operations.caller import Caller
from taskqueue.operations.fields import LARGEST_INTEGER, is_name
from taskqueue.operations.typed_values import Duration, Name, Prepared, Size, are_task_ids
from taskqueue.operations.views import view_states
from taskqueue.wire.typed import AnswerHeader, HeaderReader, Message, Reply, TypedHeader

# --- claiming --------------------------------------------------------------------

_Queues = Annotated[tuple[Name, ...], Meta(min_length=1, max_length=work.MOST_QUEUES)]
_Types = Annotated[tuple[Name, ...], Meta(min_length=1, max_length=work.MOST_TYPES)]


class _Claim(TypedHeader, gc=False):
    """The header of CLAIM_TASK."""

    queues: _Queues | UnsetType = UNSET
    types: _Types | UnsetType | None = UNSET
    limit: Annotated[int, Meta(ge=1, le=LARGEST_INTEGER)] = 1
    wait_s: Duration | UnsetType = UNSET
    lease_s: Duration | None = None


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
    result_size: Size = 0
    error: Annotated[str, Meta(max_length=work.LONGEST_ERROR)] | None = None
    permanent: bool = False
    retry_in_s: Duration | None = None


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
