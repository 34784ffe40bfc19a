"""
Periodic tasks: looking, putting, pausing, triggering.
"""

from __future__ import annotations

from typing import Any

from taskqueue.access.permissions import Action
from taskqueue.errors import BadRequest
from taskqueue.operations import periodics as operations
from taskqueue.operations.authorization import require
from taskqueue.operations.fields import Form, list_of, one_of
from taskqueue.service.ticks import next_tick
from taskqueue.web.api import shapes
from taskqueue.web.api.answers import Header, Reply, page_of, readable
from taskqueue.web.api.endpoints import ROOT, Body, Content, Endpoint, links
from taskqueue.web.api.problems import problem_of_view
from taskqueue.web.api.reading import with_payload
from taskqueue.web.api.visits import Visit
from taskqueue.wire import MessageType

#: How many ticks ahead are told of.
UPCOMING = 5


async def list_periodics(visit: Visit) -> Reply:
    """List periodic tasks by name."""
    answer = await visit.ask(MessageType.LIST_PERIODIC, visit.query)
    following = answer["next"]
    return page_of("periodics", answer["periodics"], following, visit.next_page(following))


def _view(visit: Visit) -> Header:
    """
    The periodic task as it is.

    @raises UnknownPeriodic: there is none.
    """
    row = visit.service.broker.periodics.get(visit.places["name"])
    return operations.view_periodic(row)


async def get_periodic(visit: Visit) -> Reply:
    """One periodic task, with its next ticks, and its payload where that is asked for."""
    visit.admit(MessageType.LIST_PERIODIC)
    operations.check_periodic(visit.visitor, MessageType.LIST_PERIODIC, visit.places["name"])
    row = visit.service.broker.periodics.get(visit.places["name"])
    ticks: list[float] = []
    at = row.next_at
    while at is not None and len(ticks) < UPCOMING:
        ticks.append(at)
        at = next_tick(row.definition, at)
    view = _view(visit) | {"upcoming": ticks}
    if "payload" in visit.query.get("include", ()):
        view["payload"] = row.definition.payload
    return Reply(200, readable(view, "payload"))


def _check_readable(visit: Visit, queue: Any) -> None:
    """
    The answer shows the periodic task: so its queue must be readable.

    @raises Forbidden: it is not.
    """
    if type(queue) is str:
        require(visit.visitor, Action.READ, queue)


async def put_periodic(visit: Visit) -> Reply:
    """Make or replace a periodic task."""
    name = visit.places["name"]
    if "name" in visit.body:
        raise BadRequest("the name stands in the path, and nowhere else", field="name")
    known = name in visit.service.broker.ledger.periodics
    item = with_payload({**visit.body, "name": name})
    _check_readable(visit, visit.body.get("queue", "default"))
    answer = await visit.ask(MessageType.PUT_PERIODIC, {"periodics": [item]})
    for error in answer.get("errors", ()):
        raise problem_of_view(error)
    location = visit.address(visit.path).partition("?")[0]
    return Reply(200 if known else 201, _view(visit), {"location": location})


async def delete_periodic(visit: Visit) -> Reply:
    """Forget a periodic task; tasks that it submitted stay."""
    await visit.ask(MessageType.DELETE_PERIODIC, {"name": visit.places["name"]})
    return Reply(204)


async def pause_periodic(visit: Visit) -> Reply:
    """Let a periodic task rest."""
    return await _pause(visit, True)


async def resume_periodic(visit: Visit) -> Reply:
    """Let a periodic task go on."""
    return await _pause(visit, False)


async def _pause(visit: Visit, paused: bool) -> Reply:
    name = visit.places["name"]
    row = operations.check_periodic(visit.visitor, MessageType.PAUSE_PERIODIC, name)
    if row is not None:
        _check_readable(visit, row.definition.queue)
    await visit.ask(MessageType.PAUSE_PERIODIC, {"name": name, "paused": paused})
    return Reply(200, _view(visit))


async def trigger_periodic(visit: Visit) -> Reply:
    """Submit a periodic task's task now."""
    answer = await visit.ask(MessageType.TRIGGER_PERIODIC, {"name": visit.places["name"]})
    location = f"{ROOT}/tasks/{answer['task']}"
    return Reply(201, {"id": answer["task"]}, {"location": location})


_PERIODIC = Content("The periodic task as it is now.", "Periodic")
_LOCATION = {"Location": "its address"}

#: What can be done with a periodic task.
_TO_PERIODIC = links(
    "name",
    "$request.path.name",
    get_periodic,
    pause_periodic,
    resume_periodic,
    trigger_periodic,
    delete_periodic,
)

ENDPOINTS = (
    Endpoint(
        "GET",
        "/periodics",
        "Periodic tasks",
        list_periodics,
        "List periodic tasks",
        {200: Content("A page of them.", "PeriodicPage", headers={"Link": "the next page"})},
        query=operations.LIST,
    ),
    Endpoint(
        "GET",
        "/periodics/{name}",
        "Periodic tasks",
        get_periodic,
        "Get a periodic task",
        {200: Content("The periodic task.", "Periodic")},
        query=Form({"include": list_of(one_of("payload"), 1)}),
        refusals=(404,),
    ),
    Endpoint(
        "PUT",
        "/periodics/{name}",
        "Periodic tasks",
        put_periodic,
        "Make or replace a periodic task",
        {
            201: Content("It is made.", "Periodic", headers=_LOCATION, links=_TO_PERIODIC),
            200: Content("It is replaced.", "Periodic", headers=_LOCATION),
        },
        body=Body(None, shapes.fields_of(operations.PERIODIC, without=("name",)), needed=True),
        refusals=(413,),
    ),
    Endpoint(
        "DELETE",
        "/periodics/{name}",
        "Periodic tasks",
        delete_periodic,
        "Forget a periodic task",
        {204: Content("It is gone.")},
        refusals=(404,),
    ),
    Endpoint(
        "POST",
        "/periodics/{name}/pause",
        "Periodic tasks",
        pause_periodic,
        "Let a periodic task rest",
        {200: _PERIODIC},
        body=Body(Form({})),
        refusals=(404,),
    ),
    Endpoint(
        "POST",
        "/periodics/{name}/resume",
        "Periodic tasks",
        resume_periodic,
        "Let a periodic task go on",
        {200: _PERIODIC},
        body=Body(Form({})),
        refusals=(404,),
    ),
    Endpoint(
        "POST",
        "/periodics/{name}/trigger",
        "Periodic tasks",
        trigger_periodic,
        "Submit a periodic task's task now",
        {201: Content("It is submitted.", "Triggered", headers={"Location": "the task's"})},
        body=Body(Form({})),
        refusals=(404, 409, 429),
    ),
)
