"""
Operations on tasks: submit them, follow them, change their fate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from taskqueue.core.changes import TaskRow
from taskqueue.core.intake import Accepted, Submission
from taskqueue.core.task import (
    DEFAULT_OPTIONS,
    DEFAULT_PRIORITY,
    HIGHEST_PRIORITY,
    LOWEST_PRIORITY,
    STATE_WORDS,
    STATES_BY_WORD,
    UNTIL_BY_WORD,
    State,
    TaskOptions,
)
from taskqueue.errors import BadRequest, PayloadTooLarge, TaskQueueError
from taskqueue.operations.answers import WhenStored
from taskqueue.operations.batches import Batch, either
from taskqueue.operations.caller import Caller
from taskqueue.operations.fields import (
    Form,
    boolean,
    headers,
    integer,
    list_of,
    moment,
    name_text,
    nullable,
    number,
    one_of,
    payload,
    raw_list,
    raw_object,
    task_id,
    text,
)
from taskqueue.operations.views import (
    view_errors,
    view_history,
    view_states,
    view_task,
)
from taskqueue.store.interface import Filter, Page
from taskqueue.wire.typed import Message

Header = dict[str, Any]

_T = TypeVar("_T")

#: How many tasks one request may name, where the configuration sets no bound.
MOST_TASKS = 1000

#: How many tasks one connection may watch.
MOST_WATCHED = 100_000

#: The check of a task's priority.
PRIORITY = integer(LOWEST_PRIORITY, HIGHEST_PRIORITY)

#: How many failures or losses may be allowed to a task.
MOST_RETRIES = 1000

#: The longest pause before a retry, seconds: a year.
LONGEST_DELAY_S = 86_400.0 * 365

#: How many tasks one may depend on.
MOST_DEPENDENCIES = 1000

#: The longest unique key, characters.
LONGEST_KEY = 256

#: The check of a task's headers.
HEADERS = headers(8192)

#: The options of a task that differ from its queue's.
OPTIONS = {
    "max_retries": nullable(integer(0, MOST_RETRIES)),
    "max_lost": nullable(integer(0, MOST_RETRIES)),
    "lease_s": nullable(number()),
    "retry_delay_s": nullable(number(0.0, LONGEST_DELAY_S)),
    "retry_max_delay_s": nullable(number(0.0, LONGEST_DELAY_S)),
    "retry_jitter": nullable(number(0.0, 1.0)),
    "on_dependency_failure": one_of("dead_letter", "run"),
}

#: What a submitted task and C{common} may both say.
_SHARED = {
    "type": name_text,
    "queue": name_text,
    "priority": PRIORITY,
    "run_at": nullable(moment),
    "run_in_s": nullable(number()),
    "expires_at": nullable(moment),
    "expires_in_s": nullable(number()),
    "headers": HEADERS,
    "depends_on": list_of(task_id, MOST_DEPENDENCIES),
    "unique_until": one_of(*UNTIL_BY_WORD),
    "unique_for_s": nullable(number()),
    **OPTIONS,
}

COMMON = Form(_SHARED)
TASK = Form(
    {
        **_SHARED,
        "id": nullable(task_id),
        "payload": payload,
        "unique": nullable(text(LONGEST_KEY, least=1)),
    },
    required=("type",),
)
SUBMIT = Form({"tasks": raw_list, "common": raw_object, "watch": boolean}, required=("tasks",))


@lru_cache(maxsize=1024)
def shared_options(*values: Any) -> TaskOptions:
    """Options with these values, which are one object as long as they are in use."""
    return TaskOptions(*values)


def options_of(values: Header) -> TaskOptions:
    """Equal options of many tasks are one object."""
    if values.keys().isdisjoint(OPTIONS):
        return DEFAULT_OPTIONS
    defaults = DEFAULT_OPTIONS
    return shared_options(*(values.get(n, getattr(defaults, n)) for n in TaskOptions._fields))


class _SubmissionReader:
    """Makes submissions of raw items, as one request wants them."""

    def __init__(self, common: Header, max_payload_bytes: int, now: float) -> None:
        self._common = COMMON.parse(common, "common")
        self._form = TASK
        if "type" in self._common:
            self._form = Form(TASK.fields)
        self._max_payload_bytes = max_payload_bytes
        self._now = now

    def __call__(self, raw: Any) -> Submission:
        values = self._form.parse(raw, "the task")
        if self._common:
            values = {**self._common, **values}
        content = values.get("payload", b"")
        if len(content) > self._max_payload_bytes:
            raise PayloadTooLarge(
                f"the payload has {len(content)} bytes, at most {self._max_payload_bytes} "
                f"(max_payload_bytes) are accepted",
                limit=self._max_payload_bytes,
            )
        return submission_of(values, self._now)


def submission_of(values: Header, now: float) -> Submission:
    """
    The task that checked fields describe.

    @param now: the wall-clock moment from which distances are counted.
    @raises BadRequest: a moment is given in two ways.
    """
    return Submission(
        values["type"],
        values.get("payload", b""),
        values.get("queue", "default"),
        values.get("priority", DEFAULT_PRIORITY),
        values.get("id"),
        either(values, "run_at", "run_in_s", now),
        either(values, "expires_at", "expires_in_s", now),
        options_of(values),
        values.get("headers"),
        values.get("depends_on", ()),
        values.get("unique"),
        UNTIL_BY_WORD[values.get("unique_until", "success")],
        values.get("unique_for_s"),
    )


def submit(caller: Caller, values: Header) -> WhenStored | Deferred[Message]:
    """SUBMIT_TASK."""
    service = caller.service
    config = service.config
    read = _SubmissionReader(
        values.get("common", {}), config.limits.max_payload_bytes, service.moments().wall
    )
    batch = Batch(values["tasks"], config.broker.max_batch_submit, read, "tasks")
    return submit_items(
        caller,
        batch.items,
        values.get("watch", False),
        lambda found: view_accepted(batch.merge(found)),
    )


def submit_items(
    caller: Caller,
    items: Sequence[Submission],
    watch: bool,
    view: Callable[[list[Accepted | TaskQueueError]], Message],
) -> WhenStored | Deferred[Message]:
    """
    Submit for C{caller}, who, with C{watch}, is told how the tasks end.

    @param view: makes the answer of what became of each item.
    @raises BadRequest: it watches too many tasks.
    """
    service = caller.service
    if watch:
        _check_watched(caller, len(items))
    else:
        found = service.submit_new(items)
        if found is not None:
            return WhenStored(view(found))
    answers = service.submit(items, caller if watch else None)
    if watch:
        answers.addBoth(_forget_if_gone, caller)
    return answers.addCallback(view)


def _forget_if_gone(result: _T, caller: Caller) -> _T:
    """A caller that left while its ids were looked up in the store watches nothing."""
    if not caller.open:
        caller.service.watches.drop(caller)
    return result


def view_accepted(answers: list[Accepted | TaskQueueError]) -> Header:
    """What became of the submitted tasks."""
    view: Header = {"tasks": [a.id if isinstance(a, Accepted) else None for a in answers]}
    accepted = [(i, a) for i, a in enumerate(answers) if isinstance(a, Accepted)]
    states = {str(i): STATE_WORDS[a.state] for i, a in accepted if a.state is not State.PENDING}
    if states:
        view["states"] = states
    existing = [i for i, a in accepted if a.existing]
    if existing:
        view["existing"] = existing
    if len(accepted) < len(answers):
        view |= view_errors(answers)
    return view


# --- following -----------------------------------------------------------------

_IDS = list_of(task_id, MOST_TASKS)

STATUS = Form({"tasks": _IDS, "history": boolean, "result": boolean}, required=("tasks",))


def status(caller: Caller, values: Header) -> Deferred[Header]:
    """QUERY_STATUS."""
    return Deferred.fromCoroutine(_status(caller, values))


async def _status(caller: Caller, values: Header) -> Header:
    service = caller.service
    rows = await service.status(values["tasks"])
    with_result = values.get("result", False)
    if with_result:
        _check_size(rows, service.config.limits.max_frame_bytes)
    views: list[Header | None] = []
    for row in rows:
        if row is None:
            views.append(None)
            continue
        view = view_task(row, result=with_result)
        progress = service.progress(row.id)
        if progress is not None:
            view["progress"] = progress
        if values.get("history"):
            view["history"] = view_history(await service.reader.history(row.seq))
        views.append(view)
    return {"tasks": views}


def _check_size(rows: list[TaskRow | None], max_frame_bytes: int) -> None:
    size = sum(len(row.result or b"") for row in rows if row is not None)
    if size > max_frame_bytes // 2:
        raise BadRequest(
            f"the results have {size} bytes together, more than fits into one answer: ask for "
            f"fewer tasks at a time"
        )


WATCH = Form(
    {"tasks": list_of(task_id, 10_000), "queues": list_of(name_text, 1000)},
)


def watch(caller: Caller, values: Header) -> Deferred[Header]:
    """WATCH: the tasks that have ended are told of right after the answer."""
    service = caller.service
    ids = values.get("tasks", ())
    _check_watched(caller, len(ids))
    service.watches.add_queues(caller, values.get("queues", ()))

    def answer(rows: list[TaskRow | None]) -> Header:
        unknown = [i for i, row in zip(ids, rows, strict=True) if row is None]
        return {"unknown": unknown} if unknown else {}

    return service.watch(caller, ids).addCallback(answer)


def unwatch(caller: Caller, values: Header) -> Header:
    """UNWATCH."""
    caller.service.watches.remove(caller, values.get("tasks", ()))
    caller.service.watches.remove_queues(caller, values.get("queues", ()))
    return {}


def _check_watched(caller: Caller, more: int) -> None:
    watched = caller.service.watches.count(caller)
    if watched + more > MOST_WATCHED:
        raise BadRequest(
            f"this connection watches {watched} tasks; at most {MOST_WATCHED} can be watched "
            f"at a time"
        )


LIST = Form(
    {
        "states": list_of(one_of(*STATES_BY_WORD), len(State)),
        "queue": name_text,
        "type": name_text,
        "worker": text(128),
        "priority_from": integer(LOWEST_PRIORITY, HIGHEST_PRIORITY + 1),
        "priority_to": integer(LOWEST_PRIORITY, HIGHEST_PRIORITY + 1),
        "submitted_from": moment,
        "submitted_to": moment,
        "ended_from": moment,
        "ended_to": moment,
        "error_contains": text(1000),
        "limit": integer(1, MOST_TASKS),
        "after": nullable(integer()),
        "order": one_of("newest", "oldest"),
    }
)


def list_tasks(caller: Caller, values: Header) -> Deferred[Header]:
    """LIST_TASKS."""
    limit = values.pop("limit", 100)
    page = Page(limit, values.pop("after", None), values.pop("order", "newest") == "newest")
    states = values.pop("states", None)
    wanted = Filter(
        states=None if states is None else [STATES_BY_WORD[word] for word in states], **values
    )

    def answer(rows: list[TaskRow]) -> Header:
        last = rows[-1].seq if len(rows) == limit else None
        return {"tasks": [view_task(row) for row in rows], "next": last}

    return caller.service.find(wanted, page).addCallback(answer)


PAYLOAD = Form({"task": task_id}, required=("task",))


def get_payload(caller: Caller, values: Header) -> Deferred[Header]:
    """GET_PAYLOAD."""
    wanted = values["task"]
    content = caller.service.payload(wanted)
    return content.addCallback(lambda found: {"tasks": [{"id": wanted, "payload": found}]})


# --- changing ------------------------------------------------------------------

IDS = Form({"tasks": _IDS}, required=("tasks",))
CANCEL = Form({"tasks": _IDS, "running": boolean}, required=("tasks",))
RETRY = Form({"tasks": _IDS, "max_retries": nullable(integer(0, 1000))}, required=("tasks",))

#: Makes an answer of the answers for the items of a batch.
_View = Callable[[list[Any]], Header]


def cancel(caller: Caller, values: Header) -> Deferred[Header]:
    """CANCEL_TASK."""
    answers = caller.service.cancel(values["tasks"], values.get("running", False))
    return answers.addCallback(view_states)


def retry(caller: Caller, values: Header) -> Deferred[Header]:
    """RETRY_TASK."""
    answers = caller.service.retry(values["tasks"], values.get("max_retries"))
    return answers.addCallback(view_states)


def delete(caller: Caller, values: Header) -> Deferred[Header]:
    """DELETE_TASK."""
    answers = caller.service.delete(values["tasks"])
    return answers.addCallback(
        lambda found: {"deleted": sum(a is None for a in found), **view_errors(found)}
    )
