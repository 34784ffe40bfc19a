"""
Tasks: submitting one, or many.
"""

from __future__ import annotations

from typing import Any

from taskqueue.core.task import State
from taskqueue.errors import BadRequest
from taskqueue.operations import tasks as operations
from taskqueue.operations.fields import Form, raw_list, raw_object
from taskqueue.operations.views import view_error
from taskqueue.web.api import shapes
from taskqueue.web.api.answers import Header, Reply
from taskqueue.web.api.endpoints import ROOT, Body, Content, Endpoint, links
from taskqueue.web.api.problems import problem_of_view
from taskqueue.web.api.reading import with_payload
from taskqueue.web.api.tasks import cancel_task, delete_task, get_payload, get_task
from taskqueue.web.api.visits import Visit
from taskqueue.wire import MessageType


async def submit_task(visit: Visit) -> Reply:
    """Submit one task."""
    answer = await visit.ask(MessageType.SUBMIT_TASK, {"tasks": [with_payload(visit.body)]})
    [item] = _each(answer)
    if "error" in item:
        raise problem_of_view(item["error"])
    location = f"{ROOT}/tasks/{item['id']}"
    return Reply(200 if item["existing"] else 201, item, {"location": location})


BATCH = Form({"tasks": raw_list, "common": raw_object}, required=("tasks",))


async def submit_tasks(visit: Visit) -> Reply:
    """Submit many tasks, each of which is taken or refused by itself."""
    header = dict(visit.body)
    header["tasks"], refused = _payloads_read(header["tasks"])
    answer = await visit.ask(MessageType.SUBMIT_TASK, header)
    items = _each(answer)
    for position, error in refused.items():
        items[position] = {"error": error}
    refusals = [item["error"]["code"] for item in items if "error" in item]
    visit.service.traffic.nacks.update(refusals)
    accepted = len(items) - len(refusals)
    return Reply(200, {"accepted": accepted, "refused": len(refusals), "tasks": items})


def _payloads_read(raw: list[Any]) -> tuple[list[Any], dict[int, Header]]:
    """The items with payloads as bytes; and by position those that have none that can be."""
    items: list[Any] = []
    refused: dict[int, Header] = {}
    for position, item in enumerate(raw):
        try:
            items.append(with_payload(item))
        except BadRequest as error:
            refused[position] = view_error(error)
            items.append(None)  # refused by the operation too
    return items, refused


def _each(answer: Header) -> list[Header]:
    """What became of each submitted task, of an answer to SUBMIT_TASK."""
    states, existing = answer.get("states", {}), set(answer.get("existing", ()))
    items: list[Header] = [
        {
            "id": task,
            "state": states.get(str(position), State.PENDING.word),
            "existing": position in existing,
        }
        for position, task in enumerate(answer["tasks"])
    ]
    for error in answer.get("errors", ()):
        items[error["item"]] = {"error": {n: v for n, v in error.items() if n != "item"}}
    return items


_LOCATION = {"Location": "the address of the task"}
_COMMON = shapes.fields_of(operations.COMMON)
_ITEM = {"description": "A task as POST /tasks takes it; each is taken or refused by itself."}

#: What can be done with a task that an answer names.
_TO_TASK = links("id", "$response.body#/id", get_task, get_payload, cancel_task, delete_task)

ENDPOINTS = (
    Endpoint(
        "POST",
        "/tasks",
        "Tasks",
        submit_task,
        "Submit a task",
        {
            201: Content("It is stored.", "Submitted", headers=_LOCATION, links=_TO_TASK),
            200: Content("There was one with this id or key.", "Submitted", headers=_LOCATION),
        },
        body=Body(None, shapes.fields_of(operations.TASK), needed=True),
        refusals=(409, 413, 429),
    ),
    Endpoint(
        "POST",
        "/tasks/batch",
        "Tasks",
        submit_tasks,
        "Submit many tasks",
        {200: Content("What became of each, in order.", "SubmittedBatch")},
        body=Body(
            BATCH,
            shapes.fields_of(
                BATCH,
                instead={
                    "tasks": shapes.listed(_ITEM),
                    "common": _COMMON,
                },
            ),
            needed=True,
        ),
        refusals=(413,),
    ),
)
