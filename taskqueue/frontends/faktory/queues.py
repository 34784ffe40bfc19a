"""
QUEUE: pausing, resuming and removing queues, and how long jobs wait in them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from twisted.internet.defer import Deferred

from taskqueue.access.permissions import Action
from taskqueue.core.overview import oldest_ready_s
from taskqueue.errors import BadRequest, Forbidden, UnknownQueue
from taskqueue.frontends.faktory import resp
from taskqueue.frontends.faktory.arguments import Command, queue_name, words
from taskqueue.frontends.faktory.numbers import ready
from taskqueue.operations.auditing import record
from taskqueue.operations.authorization import may, require_each
from taskqueue.operations.table import OPERATIONS, perform
from taskqueue.wire import MessageType

if TYPE_CHECKING:
    from taskqueue.frontends.faktory.session import FaktorySession

#: Stands for all queues.
ALL = "*"

#: How much of a command that is not allowed stands in the audit log, characters.
_LONGEST_ABOUT = 500

#: How many tasks are cancelled at a time: others wait no longer for their turn.
PURGED_AT_A_TIME = 10_000


async def queue(session: FaktorySession, command: Command) -> bytes:
    """QUEUE, with what is to be done and the names of queues."""
    said = words(command)
    what, names = (said[0].upper(), said[1:]) if said else ("", [])
    if what == "LATENCY":
        return resp.bulk_json(_latencies(session, names))
    change = _CHANGES.get(what)
    if change is None:
        known = ", ".join([*_CHANGES, "LATENCY"])
        raise BadRequest(f"no such QUEUE subcommand: {what[:40]}: there are {known}")
    if not names:
        raise BadRequest(f"QUEUE {what} takes the names of queues, or {ALL} for all")
    session.service.fair_use.request(session.identity, session.host)
    try:
        queues = _named(session, names)
    except Forbidden as error:
        about = f"{what.lower()} {' '.join(names)}"[:_LONGEST_ABOUT]
        record(session, "faktory_queue", about, None, error.code)
        raise
    for name in queues:
        await change(session, name)
    return resp.OK


def _named(session: FaktorySession, names: Sequence[str]) -> list[str]:
    """The queues that are meant; of all, those where the caller may do something about them."""
    if names[0] == ALL:
        every = sorted(session.service.broker.ledger.queues)
        return [name for name in every if may(session, Action.CANCEL, name)]
    found = [queue_name(name) for name in names]
    require_each(session, Action.CANCEL, found)
    return found


async def ask(session: FaktorySession, kind: MessageType, **fields: Any) -> dict[str, Any]:
    """Carry out an operation of the table, which the audit log tells of, and return its answer."""
    answer = perform(session, kind, OPERATIONS[kind], fields)
    assert isinstance(answer, Deferred), kind
    header = await answer
    assert isinstance(header, dict), kind
    return header


async def _pause(session: FaktorySession, name: str) -> None:
    await ask(session, MessageType.PAUSE_QUEUE, queue=name)


async def _resume(session: FaktorySession, name: str) -> None:
    try:
        await ask(session, MessageType.RESUME_QUEUE, queue=name)
    except UnknownQueue:
        return  # nothing of it is paused


async def _remove(session: FaktorySession, name: str) -> None:
    """
    Nothing waits in a queue any more that could be fetched from it; what is scheduled, or waits for
    its retry, still comes.
    """
    found = session.service.broker.ledger.queues.get(name)
    if found is None:
        return
    while left := ready(found):
        await ask(session, MessageType.PURGE_QUEUE, queue=name, limit=min(left, PURGED_AT_A_TIME))
    if found.paused:
        await _resume(session, name)
    session.knows.removed.add(name)


_CHANGES: Mapping[str, Callable[[FaktorySession, str], Awaitable[None]]] = {
    "PAUSE": _pause,
    "RESUME": _resume,
    "REMOVE": _remove,
}


def _latencies(session: FaktorySession, names: Sequence[str]) -> dict[str, float]:
    """For how long the job that has waited longest has, by queue; seconds."""
    if ALL in names:
        raise BadRequest("QUEUE LATENCY does not support wildcards")
    if not names:
        raise BadRequest("QUEUE LATENCY takes the names of queues")
    found = [queue_name(name) for name in names]
    require_each(session, Action.READ, found)
    queues, now = session.service.broker.ledger.queues, session.service.moments()
    known = {name: queues.get(name) for name in found}
    return {name: 0.0 if one is None else oldest_ready_s(one, now) for name, one in known.items()}
