"""
MUTATE and FLUSH: what people do to many jobs at once.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from taskqueue.access.permissions import Action
from taskqueue.core.changes import TaskRow
from taskqueue.core.task import WAITING, State
from taskqueue.errors import BadRequest, TaskQueueError
from taskqueue.frontends.faktory import resp
from taskqueue.frontends.faktory.arguments import Command, json_object
from taskqueue.frontends.faktory.filtering import JobFilter, read_filter
from taskqueue.frontends.faktory.numbers import SETS
from taskqueue.frontends.faktory.queues import ask
from taskqueue.operations.auditing import record
from taskqueue.operations.authorization import admit, may, require
from taskqueue.operations.needs import NEEDS
from taskqueue.operations.visibility import each_allowed, narrowed
from taskqueue.service.searching import search
from taskqueue.store.interface import Filter, Page
from taskqueue.strictjson import dumps
from taskqueue.wire import MessageType

if TYPE_CHECKING:
    from taskqueue.frontends.faktory.session import FaktorySession

#: Jobs that are looked for, and touched, at a time.
PAGE = 250

#: Payloads, each of which may be large, that are looked at at a time.
PAYLOADS = 10

_NEED = NEEDS[MessageType.CANCEL_TASK]

#: What of a command stands in the audit log.
_TOLD = ("cmd", "target", "filter")

Act = Callable[["FaktorySession", Sequence[str]], Awaitable[None]]


async def mutate(session: FaktorySession, command: Command) -> bytes:
    """MUTATE: what is done to the jobs of a set that match a filter."""
    if b" " in (command.rest or b""):
        raise BadRequest("invalid format: MUTATE takes JSON without spaces")
    said = json_object(command)
    what, target = said.get("cmd"), said.get("target")
    if not isinstance(what, str) or what not in _ACTIONS:
        raise BadRequest(f"unknown mutate operation: cmd is one of {', '.join(_ACTIONS)}")
    if not isinstance(target, str) or target not in _ACTIONS[what]:
        raise BadRequest("invalid target for mutation command: it is scheduled, retries or dead")
    wanted = JobFilter() if what == "clear" else read_filter(said.get("filter"))
    act = _ACTIONS[what][target]
    session.service.fair_use.request(session.identity, session.host)
    count = 0
    try:
        admit(session, _NEED, {})
        async for ids in _matching(session, SETS[target], wanted):
            if ids:
                await act(session, ids)
                count += len(ids)
    except TaskQueueError as error:
        _note(session, said, count, error.code)
        raise
    _note(session, said, count, "ok")
    return resp.OK


def _note(session: FaktorySession, said: Mapping[str, Any], count: int, outcome: str) -> None:
    """Write into the audit log what was asked for, and how many jobs were touched."""
    about = dumps({name: said[name] for name in _TOLD if name in said}).decode("utf-8")
    record(session, "faktory_mutate", about, count, outcome)


async def _matching(
    session: FaktorySession, state: State, wanted: JobFilter
) -> AsyncIterator[list[str]]:
    """The ids of the jobs in a set that match, where the caller may touch them, page by page."""
    if wanted.ids is not None:
        found = await session.service.status(wanted.ids)
        yield [row.id for row in found if row and row.state == state and _may_touch(session, row)]
        return
    async for rows in _pages(session, Filter(states=[state], type=wanted.type)):
        if wanted.pattern is None:
            yield [row.id for row in rows]
            continue
        for first in range(0, len(rows), PAYLOADS):
            some = rows[first : first + PAYLOADS]
            payloads = await session.service.payloads_of(some)
            known = [row for row in some if row.seq in payloads]
            yield [row.id for row in known if wanted.fits(row, payloads[row.seq])]


async def _pages(session: FaktorySession, wanted: Filter) -> AsyncIterator[list[TaskRow]]:
    """
    Tasks that match, where the caller may touch them, oldest first; ends where nobody waits for
    the answer any more.
    """
    narrow = narrowed(session, wanted, MessageType.CANCEL_TASK)
    after: int | None = None
    while session.open:
        page = Page(PAGE, after, descending=False)
        rows, after = await search(session.service, narrow, page)
        if rows:
            yield rows
        if after is None:
            return


def _may_touch(session: FaktorySession, row: TaskRow) -> bool:
    return may(session, Action.CANCEL, row.queue)


# --- what is done ------------------------------------------------------------------------


async def _cancel(session: FaktorySession, ids: Sequence[str]) -> None:
    await ask(session, MessageType.CANCEL_TASK, tasks=list(ids))


async def _give_up(session: FaktorySession, ids: Sequence[str]) -> None:
    await ask(session, MessageType.CANCEL_TASK, tasks=list(ids), running=True)


async def _delete(session: FaktorySession, ids: Sequence[str]) -> None:
    await ask(session, MessageType.DELETE_TASK, tasks=list(ids))


async def _revive(session: FaktorySession, ids: Sequence[str]) -> None:
    await ask(session, MessageType.RETRY_TASK, tasks=list(ids))


async def _run_now(session: FaktorySession, ids: Sequence[str]) -> None:
    await _each(session, ids, session.service.broker.control.run_now)


async def _kill(session: FaktorySession, ids: Sequence[str]) -> None:
    await _each(session, ids, session.service.broker.control.kill)


async def _leave(session: FaktorySession, ids: Sequence[str]) -> None:
    """They are where they would be moved to."""


async def _each(
    session: FaktorySession, ids: Sequence[str], command: Callable[[str, Any], Any]
) -> None:
    """Do something to each of these tasks; what has changed meanwhile stays as it is."""
    service = session.service

    def change(allowed: Sequence[str]) -> Any:
        service.check_open()
        return service.journal.barrier(service.each(command, allowed))

    await each_allowed(session, MessageType.CANCEL_TASK, ids, change)


_DISCARD: Mapping[str, Act] = {"scheduled": _cancel, "retries": _cancel, "dead": _delete}

_ACTIONS: Mapping[str, Mapping[str, Act]] = {
    "clear": _DISCARD,
    "discard": _DISCARD,
    "kill": {"scheduled": _kill, "retries": _kill, "dead": _leave},
    "requeue": {"scheduled": _run_now, "retries": _run_now, "dead": _revive},
}


# --- everything --------------------------------------------------------------------------


#: Everything goes in this order: a job that is cancelled may make dead letters of others.
_FLUSHED: Sequence[tuple[Sequence[State], Act]] = (
    (WAITING, _cancel),
    ((State.IN_PROGRESS,), _give_up),
    ((State.DEAD_LETTER,), _delete),
)


async def flush(session: FaktorySession, command: Command) -> bytes:
    """FLUSH: no job waits any more, what runs is to be given up, and there are no dead letters."""
    session.service.fair_use.request(session.identity, session.host)
    count = 0
    try:
        require(session, Action.CANCEL, None)
        for states, act in _FLUSHED:
            async for rows in _pages(session, Filter(states=list(states))):
                await act(session, [row.id for row in rows])
                count += len(rows)
    except TaskQueueError as error:
        _note(session, {"cmd": "flush"}, count, error.code)
        raise
    _note(session, {"cmd": "flush"}, count, "ok")
    return resp.OK
