"""
peek: looking at jobs without taking them.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from taskqueue.access.permissions import Action
from taskqueue.core.rows import TaskRow
from taskqueue.core.task import FIRST_ENDED, State
from taskqueue.errors import UnknownTask
from taskqueue.frontends.beanstalkd.commands import Command
from taskqueue.frontends.beanstalkd.mapping import STATE_NAMES
from taskqueue.frontends.beanstalkd.replies import NOT_FOUND, chunk
from taskqueue.frontends.beanstalkd.session import Session
from taskqueue.service.kicks import Peeked


def peek(session: Session, command: Command) -> None:
    """Carry out a peek."""
    number = command.number
    task = session.find_now(number)
    if task is None or task.state >= FIRST_ENDED:
        session.ask_for(number, lambda row: _found_row(session, row))
    elif session.may(Action.READ, task.queue) and task.payload is not None:
        session.replies.add(_shown(number, task.payload))
    else:
        session.ask_for(number, lambda row: _found_row(session, row))


def _found_row(session: Session, row: TaskRow) -> bytes | Deferred[bytes]:
    """Show a job that the store knows, or whose body it has."""
    if State(row.state) not in STATE_NAMES or not session.may(Action.READ, row.queue):
        return NOT_FOUND
    read = session.service.payload(row.id)
    return read.addCallback(lambda body: _shown(row.seq, body)).addErrback(_gone)


def _gone(failure: Failure) -> bytes:
    """It was deleted in the meantime."""
    failure.trap(UnknownTask)
    return NOT_FOUND


def _shown(number: int, body: bytes) -> bytes:
    return chunk(f"FOUND {number}", body)


def peek_ready(session: Session, command: Command) -> None:
    """Carry out a peek-ready."""
    _peek_first(session, session.service.peek_ready)


def peek_delayed(session: Session, command: Command) -> None:
    """Carry out a peek-delayed."""
    _peek_first(session, session.service.peek_delayed)


def peek_buried(session: Session, command: Command) -> None:
    """Carry out a peek-buried."""
    _peek_first(session, session.service.peek_dead)


def _peek_first(
    session: Session,
    look: Callable[[str], Deferred[Peeked | None]],
) -> None:
    """Show what is first in the tube that is used."""
    tube = session.tube.name
    if not session.may(Action.READ, tube):
        session.replies.add(NOT_FOUND)
        return

    def told(found: Peeked | None) -> bytes:
        return NOT_FOUND if found is None else _shown(found[0].seq, found[1])

    session.reply_later(look(tube).addCallback(told).addErrback(_gone))
