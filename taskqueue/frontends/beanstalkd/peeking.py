"""
peek: looking at jobs without taking them.
"""

from __future__ import annotations

from collections import deque

from twisted.internet.defer import Deferred

from taskqueue.access.permissions import Action
from taskqueue.core.rows import TaskRow
from taskqueue.core.task import FIRST_ENDED, State, Task
from taskqueue.frontends.beanstalkd.commands import Command
from taskqueue.frontends.beanstalkd.mapping import STATE_NAMES
from taskqueue.frontends.beanstalkd.replies import NOT_FOUND, chunk
from taskqueue.frontends.beanstalkd.session import Session


def peek(session: Session, waiting: deque[Command]) -> None:
    """Carry out a peek."""
    number = waiting.popleft().number
    task = session.find_now(number)
    if task is not None and task.state < FIRST_ENDED:
        _show(session, number, task)
    else:
        session.ask_for(number, lambda row: _found(session, number, row))


def _show(session: Session, number: int, task: Task) -> None:
    """Reply with a job that is in memory, but perhaps for its body."""
    payload = task.payload
    if not session.may(Action.READ, task.queue):
        session.replies.add(NOT_FOUND)
    elif payload is not None:
        session.replies.add(chunk(f"FOUND {number}", payload))
    else:
        read = session.service.payload(task.id)
        session.reply_later(read.addCallback(lambda body: chunk(f"FOUND {number}", body)))


def _found(session: Session, number: int, row: TaskRow) -> bytes | Deferred[bytes]:
    if State(row.state) not in STATE_NAMES or not session.may(Action.READ, row.queue):
        return NOT_FOUND
    read = session.service.payload(row.id)
    return read.addCallback(lambda body: chunk(f"FOUND {number}", body))
