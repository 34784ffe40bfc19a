"""
What is said most, as typed values: deliveries and outcomes read straight from their
frames, and results written straight into theirs.

As at the broker, only what is certainly right is read or written so; whatever else there
is goes the careful way, which tells what is wrong with it, and it means the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Annotated, Literal

from msgspec import UNSET, Meta, MsgspecError, Struct, UnsetType
from msgspec.json import Encoder

from taskqueue.client.messages import Delivery, Outcome, Report
from taskqueue.core.task import STATES_BY_WORD, State
from taskqueue.wire import Header, MessageType, decode, encode
from taskqueue.wire.frames import frame
from taskqueue.wire.typed import LARGEST_INTEGER, HeaderReader, TypedHeader

_Size = Annotated[int, Meta(ge=0, le=LARGEST_INTEGER)]

#: Made without their constructors, calls in Python that cost more than all the rest.
_make = tuple.__new__


def read_message(body: bytes) -> tuple[MessageType, Header]:
    """
    Read a message of the broker, as L{decode<taskqueue.wire.decode>} does; but where it
    delivers tasks, or tells how some ended and nothing else, the items of C{"tasks"} are
    of L{Delivery}, those of C{"events"} of L{Outcome}.

    @param body: a frame without its length.
    @raises ClientError: it makes no sense.
    """
    kind = body[0] if body else 0
    if kind == MessageType.ACK:
        header = _read_deliveries(body)
        if header is not None:
            return MessageType.ACK, header
    elif kind == MessageType.EVENT:
        header = _read_outcomes(body)
        if header is not None:
            return MessageType.EVENT, header
    return decode(body)


# --- deliveries ---------------------------------------------------------------------------


class _Task(Struct, forbid_unknown_fields=True, gc=False):
    """An item of the answer to CLAIM_TASK; see L{Delivery}."""

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
    headers: dict[str, str] | None = None
    size: _Size = 0


class _Claimed(TypedHeader, gc=False):
    """The answer to CLAIM_TASK."""

    tasks: list[_Task]


_CLAIMED = HeaderReader(_Claimed)


def _read_deliveries(body: bytes) -> Header | None:
    """C{None}: it is not certainly right, or the answer to something else."""
    read = _CLAIMED.read(body)
    if read is None:
        return None
    header, start = read
    deliveries = []
    for task in header.tasks:
        end = start + task.size
        told = (
            *(task.id, task.type, task.queue, task.priority, body[start:end], task.attempt),
            *(task.lease, task.lease_s, task.submitted_at, task.failures, task.losses),
            task.headers or {},
        )
        deliveries.append(_make(Delivery, told))
        start = end
    return {"id": header.id, "tasks": deliveries} if start == len(body) else None


# --- outcomes -----------------------------------------------------------------------------


class _Event(Struct, forbid_unknown_fields=True, gc=False):
    """An item of an EVENT; see L{Outcome}."""

    event: Literal["outcome"]
    task: str
    type: str
    queue: str
    state: str
    attempt: int
    ended_at: float
    error: str | None = None
    worker: str | None = None
    result_size: _Size = 0


class _Events(TypedHeader, gc=False):
    """An EVENT."""

    events: list[_Event]


_EVENTS = HeaderReader(_Events)


def _read_outcomes(body: bytes) -> Header | None:
    """C{None}: it is not certainly right, or tells of something else too."""
    read = _EVENTS.read(body)
    if read is None:
        return None
    header, start = read
    completed = State.COMPLETED
    outcomes = []
    for event in header.events:
        state = STATES_BY_WORD.get(event.state)
        if state is None:
            return None
        end = start + event.result_size
        told = (
            *(event.task, event.type, event.queue, state, event.attempt, event.ended_at),
            *(event.error, event.worker, body[start:end] if state is completed else None),
        )
        outcomes.append(_make(Outcome, told))
        start = end
    return {"events": outcomes} if start == len(body) else None


# --- results ------------------------------------------------------------------------------


class _Result(Struct, omit_defaults=True, gc=False):
    """An item of TASK_RESULT; see L{Report}."""

    task: str
    lease: int
    status: str
    result_size: int | UnsetType = UNSET
    error: str | None = None
    permanent: bool = False
    retry_in_s: float | None = None


class _Results(Struct, gc=False):
    """The header of TASK_RESULT."""

    id: int
    results: list[_Result]


_encode = Encoder().encode


def encode_reports(reports: Sequence[Report], request_id: int) -> bytes:
    """
    TASK_RESULT as a whole frame.

    @raises BadRequest: something in it cannot be sent.
    """
    items = []
    attached = []
    for task, lease, status, result, error, permanent, retry_in_s in reports:
        size: int | UnsetType = UNSET
        if status is State.COMPLETED:
            if type(result) is not bytes:
                break
            size = len(result)
            attached.append(result)
        # Infinity and the like, which JSON has no form for, would become null.
        if retry_in_s is not None and not isfinite(retry_in_s):
            break
        items.append(_Result(task, lease, status.word, size, error, bool(permanent), retry_in_s))
    else:
        try:
            return frame(MessageType.TASK_RESULT, _encode(_Results(request_id, items)), attached)
        except (MsgspecError, UnicodeError, TypeError, OverflowError):
            pass  # half a character in an error, for one
    told = {"id": request_id, "results": [report.item() for report in reports]}
    return encode(MessageType.TASK_RESULT, told)
