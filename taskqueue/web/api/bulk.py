"""
Bulk actions: the same done to all tasks that match, a page at a time, or counted
only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import NamedTuple

from taskqueue.core.changes import TaskRow
from taskqueue.core.task import ENDED_STATES, LIVE_STATES, STATES_BY_WORD, WAITING, State
from taskqueue.errors import BadRequest, Forbidden
from taskqueue.operations import lookups
from taskqueue.operations.auditing import record
from taskqueue.operations.authorization import action_of as action_needed
from taskqueue.operations.authorization import may
from taskqueue.operations.fields import (
    Form,
    boolean,
    integer,
    list_of,
    moment,
    nullable,
    one_of,
    raw_object,
    task_id,
    text,
)
from taskqueue.operations.tasks import MOST_TASKS
from taskqueue.operations.views import view_task
from taskqueue.operations.visibility import narrowed
from taskqueue.service.searching import search
from taskqueue.store.interface import Filter, Page
from taskqueue.strictjson import dumps
from taskqueue.web.api import shapes
from taskqueue.web.api.answers import Header, Reply
from taskqueue.web.api.endpoints import Body, Content, Endpoint
from taskqueue.web.api.grouping import LONGEST_GROUP, group_of
from taskqueue.web.api.visits import Visit, Visitor
from taskqueue.wire import MessageType

#: Tasks that are looked for, and touched, at a time.
PAGE = 250

#: How many tasks one request counts or touches, where it does not say.
LIMIT = 10_000

#: Tasks that a dry run shows, and refusals that an answer tells one by one.
_TOLD = 10

_BY_STATE = ("UNKNOWN_TASK", "CONFLICT")

SELECTION = Form(
    {
        **{
            name: check
            for name, check in lookups.LIST.fields.items()
            if name not in ("limit", "after", "order")
        },
        "error_group": text(LONGEST_GROUP),
    }
)

_SHARED = {
    "ids": list_of(task_id, MOST_TASKS, least=1),
    "filter": raw_object,
    "dry_run": boolean,
    "as_of": moment,
    "limit": integer(1, 100_000),
}
_MAX_RETRIES = {"max_retries": nullable(integer(0, 1000))}

BULK = Form(
    {
        "action": one_of("cancel", "retry", "delete"),
        **_SHARED,
        "running": boolean,
        **_MAX_RETRIES,
    },
    required=("action",),
)
RETRY = Form({**_SHARED, **_MAX_RETRIES})

#: Of ids nobody knows in which state they are until they are gone.
DELETE = Form({name: check for name, check in _SHARED.items() if name != "ids"})


class Action(NamedTuple):
    """
    What is done.

    @ivar states: tasks in these states only.
    @ivar fields: of the operation, beside the tasks.
    """

    name: str
    kind: MessageType
    states: tuple[State, ...]
    fields: Header

    @property
    def moment(self) -> str:
        """Up to which of its moments a task was there."""
        return "submitted_to" if self.name == "cancel" else "ended_to"


def action_of(body: Header) -> Action:
    """
    The action that a request asks for.

    @raises BadRequest: it has a field that is not for this action.
    """
    name = body["action"]
    for field, only in (("running", "cancel"), ("max_retries", "retry")):
        if field in body and name != only:
            raise BadRequest(f"{field} is for {only} only, not for {name}", field=field)
    if name == "retry":
        fields = {"max_retries": body.get("max_retries")}
        return Action(name, MessageType.RETRY_TASK, (State.DEAD_LETTER,), fields)
    if name == "delete":
        return Action(name, MessageType.DELETE_TASK, ENDED_STATES, {})
    wanted = body.get("filter", {}).get("states")
    named = type(wanted) is list and State.IN_PROGRESS.word in wanted
    running = body.get("running", False) or named
    states = LIVE_STATES if running else WAITING
    return Action(name, MessageType.CANCEL_TASK, states, {"running": running})


class Selection:
    """
    The tasks that a request is about.
    """

    def __init__(self, visitor: Visitor, given: Header, action: Action, as_of: float) -> None:
        """
        @param visitor: who wants to touch them: those that it may not are not among them.
        @param given: the fields of the filter.
        @raises BadRequest: a field cannot be what it is.
        @raises Forbidden: it names a queue where the visitor may not do this.
        """
        values = SELECTION.parse(given, "filter")
        self._group = values.pop("error_group", None)
        words = values.pop("states", None)
        states = action.states if words is None else [STATES_BY_WORD[word] for word in words]
        if not set(states) <= set(action.states):
            allowed = ", ".join(state.word for state in action.states)
            raise BadRequest(f"{action.name} is for tasks that are {allowed}", field="states")
        # What comes up later was not there when somebody looked.
        values[action.moment] = min(values.get(action.moment, as_of), as_of)
        self._filter = narrowed(visitor, Filter(states=list(states), **values), action.kind)

    async def pages(self, visit: Visit) -> AsyncIterator[list[TaskRow]]:
        """
        The matching tasks, oldest first, a page at a time; it may be empty.
        Ends where nobody waits for the answer any more.
        """
        after: int | None = None
        while visit.open:
            page = Page(PAGE, after, descending=False)
            rows, after = await search(visit.service, self._filter, page)
            yield [row for row in rows if self._group in (None, group_of(row.error))]
            if after is None:
                return


class _Tally:
    """What came of it."""

    def __init__(self) -> None:
        self.done = self.moved = self.refusals = 0
        self.refused: list[Header] = []

    def count(self, ids: Sequence[str], errors: Sequence[Header], *, may_move: bool) -> None:
        self.done += len(ids) - len(errors)
        for error in errors:
            # A key that another task holds is no change of this one.
            if may_move and error["code"] in _BY_STATE and "holder" not in error:
                self.moved += 1
                continue
            self.refusals += 1
            if len(self.refused) < _TOLD:
                told = {"code": error["code"], "message": error["message"]}
                self.refused.append({"id": ids[error["item"]], **told})


async def act(visit: Visit, body: Header, only: tuple[State, ...] | None = None) -> Reply:
    """
    Do, or count, what a request asks for.

    @param only: to tasks in these states, instead of all that the action is for.
    """
    if ("ids" in body) == ("filter" in body):
        raise BadRequest("give one of ids and filter: an empty filter is for all", field="filter")
    action = action_of(body)
    if only is not None:
        action = action._replace(states=only)
    as_of = body.get("as_of", visit.service.moments().wall)
    dry_run = body.get("dry_run", False)
    told: Header = {"action": action.name, "dry_run": dry_run, "as_of": as_of}
    if dry_run:
        found = await _carry_out(visit, action, body, as_of, dry_run=True)
    else:
        found = await _audited(visit, action, body, as_of)
    return Reply(200, told | found)


async def _carry_out(
    visit: Visit, action: Action, body: Header, as_of: float, *, dry_run: bool
) -> Header:
    visit.admit(action.kind)
    if "ids" in body:
        return await (_look_at if dry_run else _do_these)(visit, action, list(body["ids"]))
    selection = Selection(visit.visitor, body["filter"], action, as_of)
    limit = body.get("limit", LIMIT)
    return await (_survey if dry_run else _do_all)(visit, action, selection, limit)


async def _audited(visit: Visit, action: Action, body: Header, as_of: float) -> Header:
    try:
        found = await _carry_out(visit, action, body, as_of, dry_run=False)
    except Forbidden as error:
        _note(visit, action, body, error.code)
        raise
    if "filter" in body:
        refusals = found["refusals"]
        outcome = f"{refusals} refused" if refusals else "ok"
        _note(visit, action, body, outcome, found["done"])
    return found


def _note(
    visit: Visit, action: Action, body: Header, outcome: str, count: int | None = None
) -> None:
    """
    Write into the audit log what was asked for.  That the tasks of a page were cancelled,
    retried or deleted stands there too; but not which filter found them, nor that it found none.
    """
    about = {"ids": len(body["ids"])} if "ids" in body else {"filter": body["filter"]}
    told = dumps(about).decode("utf-8")
    record(visit.visitor, f"bulk_{action.name}", told, count, outcome)


async def _look_at(visit: Visit, action: Action, ids: list[str]) -> Header:
    answer = await visit.ask(MessageType.QUERY_STATUS, {"tasks": ids})
    words = {state.word for state in action.states}
    meant = [
        view
        for view in answer["tasks"]
        if view is not None
        and view["state"] in words
        and may(visit.visitor, action_needed(action.kind), view["queue"])
    ]
    return {"count": len(meant), "more": False, "sample": meant[:_TOLD]}


async def _do_these(visit: Visit, action: Action, ids: list[str]) -> Header:
    tally = _Tally()
    await _do(visit, action, ids, tally, may_move=False)
    return _result(tally, more=False)


async def _survey(visit: Visit, action: Action, selection: Selection, limit: int) -> Header:
    count, sample = 0, list[TaskRow]()
    async for rows in selection.pages(visit):
        count += len(rows)
        sample += rows[: _TOLD - len(sample)]
        if count > limit:
            break
    views = [view_task(row) for row in sample[: min(_TOLD, limit)]]
    return {"count": min(count, limit), "more": count > limit, "sample": views}


async def _do_all(visit: Visit, action: Action, selection: Selection, limit: int) -> Header:
    tally, touched = _Tally(), 0
    async for rows in selection.pages(visit):
        ids = [row.id for row in rows[: limit - touched]]
        if ids:
            await _do(visit, action, ids, tally, may_move=True)
        touched += len(ids)
        if len(ids) < len(rows):
            return _result(tally, more=True)
    return _result(tally, more=False)


async def _do(
    visit: Visit, action: Action, ids: list[str], tally: _Tally, *, may_move: bool
) -> None:
    answer = await visit.ask(action.kind, {"tasks": ids, **action.fields})
    tally.count(ids, answer.get("errors", ()), may_move=may_move)


def _result(tally: _Tally, *, more: bool) -> Header:
    return {
        "done": tally.done,
        "changed_meanwhile": tally.moved,
        "refusals": tally.refusals,
        "refused": tally.refused,
        "more": more,
    }


def body_of(form: Form) -> Body:
    """The body of a bulk action."""
    instead = {"filter": shapes.fields_of(SELECTION)}
    return Body(form, shapes.fields_of(form, instead=instead), needed=True)


async def act_in_bulk(visit: Visit) -> Reply:
    """Cancel, retry or delete all tasks that match."""
    return await act(visit, visit.body)


RESULT: dict[int, Content] = {200: Content("What was done, or would be.", "BulkResult")}

ENDPOINTS = (
    Endpoint(
        "POST",
        "/tasks/bulk",
        "Tasks",
        act_in_bulk,
        "Cancel, retry or delete all tasks that match",
        RESULT,
        body=body_of(BULK),
        refusals=(413,),
    ),
)
