"""
Looking at tasks, and following them.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from taskqueue.access.permissions import Action
from taskqueue.core.changes import TaskRow
from taskqueue.core.task import HIGHEST_PRIORITY, LEAST_PRIORITY, STATES_BY_WORD, State
from taskqueue.errors import BadRequest, TaskQueueError
from taskqueue.operations.authorization import require_each
from taskqueue.operations.caller import Caller
from taskqueue.operations.fields import (
    Form,
    any_queue,
    boolean,
    integer,
    list_of,
    moment,
    name_text,
    nullable,
    one_of,
    task_id,
    text,
)
from taskqueue.operations.tasks import IDS, MOST_TASKS, check_watched
from taskqueue.operations.views import view_history, view_task
from taskqueue.operations.visibility import look_up, narrowed, rows_of, watched
from taskqueue.store.interface import Filter, Page

Header = dict[str, Any]

STATUS = Form({"tasks": IDS, "history": boolean, "result": boolean}, required=("tasks",))


def status(caller: Caller, values: Header) -> Deferred[Header]:
    """QUERY_STATUS."""
    return Deferred.fromCoroutine(_status(caller, values))


async def _status(caller: Caller, values: Header) -> Header:
    service = caller.service
    rows = await rows_of(caller, values["tasks"])
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


#: How many queues one connection may watch.
MOST_WATCHED_QUEUES = 1000

WATCH = Form(
    {"tasks": list_of(task_id, 10_000), "queues": list_of(any_queue, MOST_WATCHED_QUEUES)},
)


def watch(caller: Caller, values: Header) -> Deferred[Header]:
    """WATCH: the tasks that have ended are told of right after the answer."""
    ids, queues = values.get("tasks", ()), values.get("queues", ())
    check_watched(caller, len(ids))
    watched_queues = caller.service.watches.count_queues(caller)
    if watched_queues + len(queues) > MOST_WATCHED_QUEUES:
        raise BadRequest(
            f"this connection watches {watched_queues} queues; at most {MOST_WATCHED_QUEUES} can "
            f"be watched at a time"
        )
    require_each(caller, Action.READ, queues)
    caller.service.watches.add_queues(caller, queues)

    def answer(rows: list[TaskRow | None]) -> Header:
        unknown = [i for i, row in zip(ids, rows, strict=True) if row is None]
        return {"unknown": unknown} if unknown else {}

    return watched(caller, ids).addCallback(answer)


def unwatch(caller: Caller, values: Header) -> Header:
    """UNWATCH."""
    caller.service.watches.remove(caller, values.get("tasks", ()))
    caller.service.watches.remove_queues(caller, values.get("queues", ()))
    return {}


LIST = Form(
    {
        "states": list_of(one_of(*STATES_BY_WORD), len(State)),
        "queue": any_queue,
        "type": name_text,
        "worker": text(128),
        "priority_from": integer(LEAST_PRIORITY, HIGHEST_PRIORITY + 1),
        "priority_to": integer(LEAST_PRIORITY, HIGHEST_PRIORITY + 1),
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

    return caller.service.find(narrowed(caller, wanted), page).addCallback(answer)


PAYLOAD = Form({"task": task_id}, required=("task",))


def get_payload(caller: Caller, values: Header) -> Deferred[Header]:
    """GET_PAYLOAD."""
    wanted = values["task"]
    if caller.restricted is None:
        content = caller.service.payload(wanted)
    else:
        content = Deferred.fromCoroutine(_payload(caller, wanted))
    return content.addCallback(lambda found: {"tasks": [{"id": wanted, "payload": found}]})


async def _payload(caller: Caller, wanted: str) -> bytes:
    [row] = await look_up(caller, Action.READ, [wanted])
    if isinstance(row, TaskQueueError):
        raise row
    return await caller.service.payload(wanted)
