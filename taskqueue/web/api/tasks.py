"""
Tasks: looking, following, changing their fate.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from taskqueue.core.changes import TaskRow
from taskqueue.core.control import unknown_task
from taskqueue.core.task import DEFAULT_OPTIONS, FIRST_ENDED, STATES_BY_WORD
from taskqueue.errors import BatchTooLarge, Conflict
from taskqueue.operations import fates, lookups
from taskqueue.operations.fields import Form, list_of, moment, number, one_of
from taskqueue.operations.views import view_task
from taskqueue.operations.visibility import narrowed, rows_of, watched
from taskqueue.operations.visibility import readable as readable_queue
from taskqueue.service.searching import search
from taskqueue.store.interface import Filter, Page
from taskqueue.web.api.answers import Header, Reply, page_of, readable
from taskqueue.web.api.endpoints import Body, Content, Endpoint
from taskqueue.web.api.problems import problem_of_view
from taskqueue.web.api.reading import moment_text
from taskqueue.web.api.visits import Visit
from taskqueue.wire import MessageType

#: How long one request may wait for a task to end, seconds.
LONGEST_WAIT_S = 300.0
WAIT_S = 30.0

_BINARY = "application/octet-stream"

# --- looking ---------------------------------------------------------------------


def _queried(name: str) -> str:
    """What a field of LIST_TASKS is called in a query."""
    return "state" if name == "states" else name


#: The parameters of a list of tasks.
SEARCH = Form(
    {
        _queried(name): moment_text if check is moment else check
        for name, check in lookups.LIST.fields.items()
    }
)


async def list_tasks(visit: Visit) -> Reply:
    """List or search tasks, a page at a time."""
    return await found(visit, visit.query)


async def found(visit: Visit, query: Header) -> Reply:
    """
    The page of tasks that a query asks for; where it takes long to find them, a part
    of it.
    """
    values = dict(query)
    descending = values.pop("order", "newest") == "newest"
    page = Page(values.pop("limit", 100), values.pop("after", None), descending)
    words = values.pop("state", None)
    states = None if words is None else [STATES_BY_WORD[word] for word in words]
    visit.count(MessageType.LIST_TASKS)
    visit.admit(MessageType.LIST_TASKS)
    wanted = narrowed(visit.visitor, Filter(states=states, **values))
    rows, following = await search(visit.service, wanted, page)
    views = [view_task(row) for row in rows]
    _check_size(views, visit.service.config.limits.max_frame_bytes)
    return page_of("tasks", views, following, visit.next_page(following))


def _check_size(views: list[Header], most_bytes: int) -> None:
    """
    @raises BatchTooLarge: the errors of so many tasks are more than one answer holds.
    """
    size = sum([len(view.get("error", "")) for view in views])
    if size > most_bytes // 2:
        raise BatchTooLarge(
            f"the errors of these {len(views)} tasks have {size} characters, more than fits into "
            f"one answer: ask for fewer at a time",
            limit=len(views) // 2,
        )


#: How many tasks that wait for a task are told of.
MOST_DEPENDENTS = 1000

_PARTS = ("payload", "result", "history", "dependents", "options")
INCLUDE = Form({"include": list_of(one_of(*_PARTS), len(_PARTS), least=1)})


async def get_task(visit: Visit) -> Reply:
    """One task, with its payload, result, history, dependents and options if asked for."""
    task, include = visit.places["id"], visit.query.get("include", ())
    view = await _status(visit, result="result" in include, history="history" in include)
    if "payload" in include:
        view["payload"] = await _payload(visit, task)
    if "dependents" in include:
        waiting = visit.service.broker.ledger.dependencies.dependents(view["id"])
        seen = [one.id for one in waiting if readable_queue(visit.visitor, one.queue)]
        view["dependents"] = seen[:MOST_DEPENDENTS]
    if "options" in include:
        view["options"] = await _options(visit, task)
    return Reply(200, readable(view, "payload", "result"), kept=True)


async def _status(visit: Visit, **wanted: bool) -> Header:
    task = visit.places["id"]
    answer = await visit.ask(MessageType.QUERY_STATUS, {"tasks": [task], **wanted})
    view: Header | None = answer["tasks"][0]
    if view is None:
        raise unknown_task(task)
    return view


async def _options(visit: Visit, task: str) -> Header:
    """How a task is to be treated, where it differs from its queue."""
    row = (await rows_of(visit.visitor, [task]))[0]
    if row is None:
        raise unknown_task(task)
    given = row.options._asdict()
    usual = DEFAULT_OPTIONS._asdict()
    return {name: value for name, value in given.items() if value != usual[name]}


async def _payload(visit: Visit, task: str) -> bytes:
    answer = await visit.ask(MessageType.GET_PAYLOAD, {"task": task})
    content: bytes = answer["tasks"][0]["payload"]
    return content


async def get_payload(visit: Visit) -> Reply:
    """The payload of a task as it is."""
    content = await _payload(visit, visit.places["id"])
    return Reply(200, content, _as_file(visit, "payload"), _BINARY)


async def get_result(visit: Visit) -> Reply:
    """The result of a completed task as it is."""
    view = await _status(visit, result=True)
    if "result" not in view:
        raise Conflict(
            f"task {view['id']} is {view['state']}: only completed tasks have a result",
            task=view["id"],
            state=view["state"],
        )
    return Reply(200, view["result"], _as_file(visit, "result"), _BINARY)


def _as_file(visit: Visit, what: str) -> Header:
    """Nobody's bytes are to be run by a browser."""
    name = f"{visit.places['id']}-{what}"
    return {"content-disposition": f'attachment; filename="{name}"'}


WAIT = Form({"wait_s": number(0.0, LONGEST_WAIT_S)})


async def wait_for_task(visit: Visit) -> Reply:
    """Wait until a task has ended."""
    task = visit.places["id"]
    visit.admit(MessageType.WATCH)
    ended: Deferred[TaskRow | None] = Deferred()

    def over(row: TaskRow | None) -> None:
        if not ended.called:
            ended.callback(row)

    visit.visitor.when_ended(lambda rows: over(rows[0] if rows else None))
    visit.wait(lambda: over(None))
    service = visit.service
    wait_s = visit.query.get("wait_s", WAIT_S)
    time_out = service.reactor.callLater(wait_s, over, None)
    try:
        row = (await watched(visit.visitor, [task]))[0]
        if row is None:
            raise unknown_task(task)
        if row.state < FIRST_ENDED:
            row = await ended
    finally:
        if time_out.active():
            time_out.cancel()
        service.watches.drop(visit.visitor)
    if row is not None:
        return Reply(200, readable(view_task(row, result=True), "result"))
    return Reply(202, readable(await _status(visit, result=True), "result"))


# --- changing --------------------------------------------------------------------


async def cancel_task(visit: Visit) -> Reply:
    """Cancel a task that waits; with running, ask for one in progress too."""
    header = {"tasks": [visit.places["id"]], **visit.body}
    state = _only(await visit.ask(MessageType.CANCEL_TASK, header))
    view = {"id": visit.places["id"], "state": state}
    return Reply(200 if STATES_BY_WORD[state] >= FIRST_ENDED else 202, view)


async def retry_task(visit: Visit) -> Reply:
    """Let a dead letter run again, with fresh retries."""
    header = {"tasks": [visit.places["id"]], **visit.body}
    state = _only(await visit.ask(MessageType.RETRY_TASK, header))
    return Reply(200, {"id": visit.places["id"], "state": state})


async def run_task_now(visit: Visit) -> Reply:
    """Make a task ready that waits for its time or for a retry."""
    state = _only(await visit.ask(MessageType.RUN_NOW, {"tasks": [visit.places["id"]]}))
    return Reply(200, {"id": visit.places["id"], "state": state})


async def delete_task(visit: Visit) -> Reply:
    """Forget an ended task entirely."""
    answer = await visit.ask(MessageType.DELETE_TASK, {"tasks": [visit.places["id"]]})
    _check(answer)
    return Reply(204)


def _only(answer: Header) -> str:
    _check(answer)
    state: str = answer["states"][0]
    return state


def _check(answer: Header) -> None:
    """
    @raises Problem: the one item of the request was refused.
    """
    for error in answer.get("errors", ()):
        raise problem_of_view(error)


def _without(form: Form, *names: str) -> Form:
    return Form({name: check for name, check in form.fields.items() if name not in names})


_TASK = Content("The task.", "Task")

ENDPOINTS = (
    Endpoint(
        "GET",
        "/tasks",
        "Tasks",
        list_tasks,
        "List or search tasks",
        {200: Content("A page of tasks.", "TaskPage", headers={"Link": "the next page"})},
        query=SEARCH,
        refusals=(413,),
    ),
    Endpoint(
        "GET",
        "/tasks/{id}",
        "Tasks",
        get_task,
        "Get a task",
        {200: _TASK, 304: Content("It has not changed.")},
        query=INCLUDE,
        refusals=(404,),
    ),
    Endpoint(
        "GET",
        "/tasks/{id}/payload",
        "Tasks",
        get_payload,
        "Get a task's payload",
        {200: Content("The bytes.", {"type": "string", "format": "binary"}, _BINARY)},
        refusals=(404,),
    ),
    Endpoint(
        "GET",
        "/tasks/{id}/result",
        "Tasks",
        get_result,
        "Get a task's result",
        {200: Content("The bytes.", {"type": "string", "format": "binary"}, _BINARY)},
        refusals=(404, 409),
    ),
    Endpoint(
        "GET",
        "/tasks/{id}/outcome",
        "Tasks",
        wait_for_task,
        "Wait until a task has ended",
        {200: Content("It has ended.", "Task"), 202: Content("It has not, so far.", "Task")},
        query=WAIT,
        refusals=(404,),
    ),
    Endpoint(
        "POST",
        "/tasks/{id}/cancel",
        "Tasks",
        cancel_task,
        "Cancel a task",
        {
            200: Content("It is cancelled.", "TaskState"),
            202: Content("Its worker is told.", "TaskState"),
        },
        body=Body(_without(fates.CANCEL, "tasks")),
        refusals=(404, 409),
    ),
    Endpoint(
        "POST",
        "/tasks/{id}/retry",
        "Tasks",
        retry_task,
        "Let a dead letter run again",
        {200: Content("It runs again.", "TaskState")},
        body=Body(_without(fates.RETRY, "tasks")),
        refusals=(404, 409),
    ),
    Endpoint(
        "POST",
        "/tasks/{id}/run-now",
        "Tasks",
        run_task_now,
        "Run a task before its time",
        {200: Content("It is ready.", "TaskState")},
        refusals=(404, 409),
    ),
    Endpoint(
        "DELETE",
        "/tasks/{id}",
        "Tasks",
        delete_task,
        "Forget an ended task",
        {204: Content("It is gone.")},
        refusals=(404, 409),
    ),
)
