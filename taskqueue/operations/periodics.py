"""
Operations on periodic tasks.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from taskqueue.access.permissions import Action
from taskqueue.core.periodic import CATCH_UP, Periodic, PeriodicRow, unknown_periodic
from taskqueue.errors import BadRequest, Conflict, PayloadTooLarge, TaskQueueError
from taskqueue.operations.authorization import action_of, require
from taskqueue.operations.batches import Batch, read_with
from taskqueue.operations.caller import Caller
from taskqueue.operations.fields import (
    Form,
    boolean,
    headers,
    integer,
    name_text,
    nullable,
    number,
    one_of,
    payload,
    raw_list,
    text,
)
from taskqueue.operations.tasks import OPTIONS, PRIORITY, options_of
from taskqueue.operations.views import view_errors, view_options
from taskqueue.operations.visibility import may_know, readable
from taskqueue.wire import MessageType

Header = dict[str, Any]

#: How many periodic tasks one request may put or list.
MOST_PERIODICS = 1000

#: How long the payload of a periodic task may be, bytes: it is stored anew with each tick.
LONGEST_PAYLOAD_BYTES = 65_536

#: Depending on others is for tasks that are submitted by hand.
_OPTIONS = {name: check for name, check in OPTIONS.items() if name != "on_dependency_failure"}

#: A year: who needs longer pauses says so with cron.
_LONGEST_S = 31_536_000.0

PERIODIC = Form(
    {
        "name": name_text,
        "type": name_text,
        "cron": nullable(text(256, least=1)),
        "tz": text(64, least=1),
        "every_s": nullable(number(1.0, _LONGEST_S)),
        "catch_up": one_of(*CATCH_UP),
        "catch_up_window_s": number(),
        "overlap": boolean,
        "payload": payload,
        "queue": name_text,
        "priority": PRIORITY,
        "expires_in_s": nullable(number(1.0, _LONGEST_S)),
        "headers": headers(8192),
        **_OPTIONS,
    },
    required=("name", "type"),
)
PUT = Form({"periodics": raw_list}, required=("periodics",))


def _definition(values: Header) -> Periodic:
    if (values.get("cron") is None) == (values.get("every_s") is None):
        raise BadRequest("give one of cron and every_s: when is it due?")
    if len(values.get("payload", b"")) > LONGEST_PAYLOAD_BYTES:
        raise PayloadTooLarge(
            f"the payload has {len(values['payload'])} bytes, that of a periodic task at most "
            f"{LONGEST_PAYLOAD_BYTES}",
            limit=LONGEST_PAYLOAD_BYTES,
        )
    own = {name: value for name, value in values.items() if name not in _OPTIONS}
    return Periodic(**own, options=options_of(values))


def put(caller: Caller, values: Header) -> Deferred[Header]:
    """PUT_PERIODIC."""

    def define(item: Header) -> Periodic:
        definition = _definition(item)
        check_putting(caller, definition)
        return definition

    read = read_with(PERIODIC, define, "the periodic task")
    batch = Batch(values["periodics"], MOST_PERIODICS, read, "periodics")

    def answer(found: list[PeriodicRow | TaskQueueError]) -> Header:
        answers = batch.merge(found)
        views = [_view_put(a) if isinstance(a, PeriodicRow) else None for a in answers]
        return {"periodics": views, **view_errors(answers)}

    return caller.service.put_periodics(batch.items).addCallback(answer)


def _view_put(row: PeriodicRow) -> Header:
    """Never longer than what was asked: who put many must be able to read the answer."""
    return {"name": row.definition.name, "paused": row.paused, "next_at": row.next_at}


LIST = Form({"limit": integer(1, MOST_PERIODICS), "after": nullable(text(128))})


def list_periodics(caller: Caller, values: Header) -> Header:
    """LIST_PERIODIC."""
    limit = values.get("limit", MOST_PERIODICS)
    after = values.get("after") or ""
    if caller.restricted is None:
        rows = caller.service.periodics(after, limit)
    else:
        every = caller.service.periodics(after)
        rows = [row for row in every if readable(caller, row.definition.queue)][:limit]
    following = rows[-1].definition.name if len(rows) == limit else None
    return {"periodics": [view_periodic(row) for row in rows], "next": following}


NAME = Form({"name": name_text}, required=("name",))
PAUSE = Form({"name": name_text, "paused": boolean}, required=("name", "paused"))


def delete(caller: Caller, values: Header) -> Deferred[Header]:
    """DELETE_PERIODIC."""
    check_periodic(caller, MessageType.DELETE_PERIODIC, values["name"])
    return caller.service.delete_periodic(values["name"]).addCallback(lambda _: {})


def pause(caller: Caller, values: Header) -> Deferred[Header]:
    """PAUSE_PERIODIC."""
    check_periodic(caller, MessageType.PAUSE_PERIODIC, values["name"])
    paused = caller.service.pause_periodic(values["name"], values["paused"])
    return paused.addCallback(lambda row: {"next_at": row.next_at})


def trigger(caller: Caller, values: Header) -> Deferred[Header]:
    """TRIGGER_PERIODIC."""
    check_periodic(caller, MessageType.TRIGGER_PERIODIC, values["name"])
    return caller.service.trigger_periodic(values["name"]).addCallback(lambda task: {"task": task})


def check_periodic(caller: Caller, kind: MessageType, name: str) -> PeriodicRow | None:
    """
    Let a caller do something with a periodic task; one that is not there, or is none of its
    business, is for the service to miss.

    @return: the periodic task, C{None} where there is none.
    @raises Forbidden: it may not do this, but see it.
    @raises UnknownPeriodic: it may not know of it.
    """
    row = caller.service.broker.ledger.periodics.get(name)
    if row is None or caller.restricted is None:
        return row
    action, queue = action_of(kind), row.definition.queue
    if not may_know(caller.restricted, action, queue):
        raise unknown_periodic(name)
    require(caller, action, queue)
    return row


def check_putting(caller: Caller, definition: Periodic) -> None:
    """
    Let a caller put a periodic task: into its queue, and out of that of the one it replaces.

    @raises Forbidden: it may not submit there.
    @raises Conflict: the name is taken by one that the caller may not know of.
    """
    permissions = caller.restricted
    if permissions is None:
        return
    require(caller, Action.SUBMIT, definition.queue)
    row = caller.service.broker.ledger.periodics.get(definition.name)
    if row is not None and not may_know(permissions, Action.SUBMIT, row.definition.queue):
        raise Conflict(
            f"the name {definition.name!r} is taken by a periodic task that you may not read: take "
            f"another one"
        )
    if row is not None:
        require(caller, Action.SUBMIT, row.definition.queue)


def view_periodic(row: PeriodicRow) -> Header:
    """A periodic task, without the bytes of its payload."""
    definition = row.definition
    view: Header = {
        "name": definition.name,
        "type": definition.type,
        "queue": definition.queue,
        "priority": definition.priority,
        "catch_up": definition.catch_up,
        "catch_up_window_s": definition.catch_up_window_s,
        "overlap": definition.overlap,
        "payload_bytes": len(definition.payload),
        "paused": row.paused,
        "next_at": row.next_at,
        "last_at": row.last_at,
        "last_task": row.last_task,
        "fired": row.fired,
        "skipped": row.skipped,
    }
    if definition.cron is None:
        view["every_s"] = definition.every_s
    else:
        view |= {"cron": definition.cron, "tz": definition.tz}
    if definition.expires_in_s is not None:
        view["expires_in_s"] = definition.expires_in_s
    return view | view_options(definition.options, definition.headers)
