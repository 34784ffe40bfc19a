"""
Submissions as typed values.

Most batches are of tasks that have a payload and perhaps an id, a type, a queue and a
priority; such a batch is read first.  Where one of them says more, all are read anew,
as tasks with details.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Raw, Struct, UnsetType

from taskqueue import strictjson
from taskqueue.core.intake import Accepted, Submission
from taskqueue.core.task import (
    HIGHEST_PRIORITY,
    LOWEST_PRIORITY,
    UNTIL_BY_WORD,
    State,
    TaskOptions,
)
from taskqueue.errors import TaskQueueError
from taskqueue.operations import tasks
from taskqueue.operations.batches import either
from taskqueue.operations.caller import Caller
from taskqueue.operations.fields import LATEST_MOMENT, is_name
from taskqueue.operations.typed_values import Duration, Name, Prepared, Size, are_task_ids
from taskqueue.wire.typed import AnswerHeader, HeaderReader, Message, Reply, TypedHeader

_Moment = Annotated[float, Meta(ge=0.0, le=LATEST_MOMENT)]
_Retries = Annotated[int, Meta(ge=0, le=tasks.MOST_RETRIES)]
_Delay = Annotated[float, Meta(ge=0.0, le=tasks.LONGEST_DELAY_S)]
_Share = Annotated[float, Meta(ge=0.0, le=1.0)]
_Ids = Annotated[tuple[str, ...], Meta(max_length=tasks.MOST_DEPENDENCIES)]
_Key = Annotated[str, Meta(min_length=1, max_length=tasks.LONGEST_KEY)]


class _Task(Struct, forbid_unknown_fields=True, gc=False):
    """An item of SUBMIT_TASK.  What cannot be sent stands for what was not."""

    size: Size = 0
    id: str | None = None
    type: Name = ""
    queue: Name = ""
    priority: Annotated[int, Meta(ge=LOWEST_PRIORITY, le=HIGHEST_PRIORITY)] = -1


class _DetailedTask(_Task, forbid_unknown_fields=True, gc=False):
    """An item with all that one may have.  What was not sent is as all tasks have it."""

    run_at: _Moment | UnsetType | None = UNSET
    run_in_s: Duration | None = None
    expires_at: _Moment | UnsetType | None = UNSET
    expires_in_s: Duration | None = None
    max_retries: _Retries | UnsetType | None = UNSET
    max_lost: _Retries | UnsetType | None = UNSET
    lease_s: Duration | UnsetType | None = UNSET
    retry_delay_s: _Delay | UnsetType | None = UNSET
    retry_max_delay_s: _Delay | UnsetType | None = UNSET
    retry_jitter: _Share | UnsetType | None = UNSET
    on_dependency_failure: Literal["dead_letter", "run"] | UnsetType = UNSET
    headers: dict[str, str] | UnsetType = UNSET
    depends_on: _Ids | UnsetType = UNSET
    unique: _Key | None = None
    unique_until: Literal["success", "start", "window"] | UnsetType = UNSET
    unique_for_s: Duration | UnsetType | None = UNSET


class _Submit(TypedHeader, gc=False):
    """The header of SUBMIT_TASK."""

    tasks: Sequence[_Task]
    common: Raw | UnsetType = UNSET
    watch: bool = False


class _SubmitDetailed(_Submit, gc=False):
    """The same, of tasks with details."""

    tasks: Sequence[_DetailedTask]


class _Submitted(AnswerHeader, gc=False):
    """The answer where every task is new, and pending."""

    tasks: list[str]


_SUBMIT = HeaderReader(_Submit)
_SUBMIT_DETAILED = HeaderReader(_SubmitDetailed)

#: Nothing is shared: the type is for each item to say.
_NOTHING_SHARED = Submission("")

#: Longer ones, with headers or many dependencies, are seldom sent twice.
_LONGEST_COMMON = 1024

_NO_OPTIONS = (UNSET,) * len(TaskOptions._fields)


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
    read = _SUBMIT.read(body) or _SUBMIT_DETAILED.read(body)
    if read is None:
        return None
    header, start = read
    config = caller.service.config
    if len(header.tasks) > config.broker.max_batch_submit:
        return None
    shared: Submission | None = _NOTHING_SHARED
    if header.common is not UNSET:
        common = bytes(header.common)
        shared = _shared(common) if len(common) <= _LONGEST_COMMON else None
    if shared is None:
        return None
    made = _submissions(shared, header.tasks, body, start, config.limits.max_payload_bytes)
    if made is not None and isinstance(header, _SubmitDetailed):
        made = _detailed(made, header.tasks, shared, caller.service.moments().wall)
    if made is None:
        return None
    return Prepared(header.id, tasks.submit_items, (made, header.watch, _reply_accepted))


def _submissions(
    shared: Submission, items: Sequence[_Task], body: bytes, start: int, most_bytes: int
) -> list[Submission] | None:
    """
    The tasks of a batch, but for details.

    @param start: where in the body their payloads begin.
    @return: C{None} where something is not certainly right.
    """
    # Made without their constructor, a call in Python that costs more than all the rest.
    make, kind = tuple.__new__, Submission
    shared_type, _, shared_queue, shared_priority, _, *rest = shared
    last_type = last_queue = ""
    ids = []
    made = []
    for item in items:
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
        made.append(make(kind, (type_, body[start:end], queue, priority, task_id, *rest)))
        start = end
    right = start == len(body) and (not ids or are_task_ids(ids))
    return made if right else None


def _detailed(
    plain: list[Submission], items: Sequence[_DetailedTask], shared: Submission, now: float
) -> list[Submission] | None:
    """
    The tasks of a batch with their details.

    @param now: the wall-clock moment from which distances are counted.
    @return: C{None} where something is not certainly right.
    """
    try:
        made = [
            _with_details(task, item, shared, now) for task, item in zip(plain, items, strict=True)
        ]
    except TaskQueueError:
        return None
    named = [task_id for task in made for task_id in task.depends_on]
    return made if are_task_ids(named) else None


def _with_details(
    plain: Submission, item: _DetailedTask, shared: Submission, now: float
) -> Submission:
    """
    @raises BadRequest: a moment is given in two ways, or the headers are too long.
    """
    run_at = shared.run_at if item.run_at is UNSET else item.run_at
    expires_at = shared.expires_at if item.expires_at is UNSET else item.expires_at
    headers, depends_on, until = item.headers, item.depends_on, item.unique_until
    details = (
        _moment(run_at, item.run_in_s, now),
        _moment(expires_at, item.expires_in_s, now),
        _options(item, shared.options),
        shared.headers if headers is UNSET else tasks.HEADERS(headers, "headers"),
        shared.depends_on if depends_on is UNSET else depends_on,
        item.unique,
        shared.unique_until if until is UNSET else UNTIL_BY_WORD[until],
        shared.unique_for_s if item.unique_for_s is UNSET else item.unique_for_s,
    )
    return tuple.__new__(Submission, plain[:5] + details)


def _moment(at: float | None, in_s: float | None, now: float) -> float | None:
    return at if in_s is None else either({"at": at, "in_s": in_s}, "at", "in_s", now)


def _options(item: _DetailedTask, shared: TaskOptions) -> TaskOptions:
    given: tuple[Any, ...] = (
        item.max_retries,
        item.max_lost,
        item.lease_s,
        item.retry_delay_s,
        item.retry_max_delay_s,
        item.retry_jitter,
        item.on_dependency_failure,
    )
    if given == _NO_OPTIONS:
        return shared
    pairs = zip(given, shared, strict=True)
    return tasks.shared_options(*[other if own is UNSET else own for own, other in pairs])


def _reply_accepted(answers: list[Accepted | TaskQueueError]) -> Message:
    pending = State.PENDING
    ids = [a.id for a in answers if type(a) is Accepted and a.state is pending and not a.existing]
    return Reply(_Submitted(ids)) if len(ids) == len(answers) else tasks.view_accepted(answers)
