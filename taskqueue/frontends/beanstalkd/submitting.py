"""
put: jobs become tasks.
"""

from __future__ import annotations

from collections import deque

from taskqueue.access.permissions import Action
from taskqueue.core.submission import Accepted, Submission
from taskqueue.errors import ShuttingDown, TaskQueueError
from taskqueue.frontends.beanstalkd.commands import Command
from taskqueue.frontends.beanstalkd.mapping import JOB_TYPE, options_of, priority_of
from taskqueue.frontends.beanstalkd.replies import DRAINING
from taskqueue.frontends.beanstalkd.session import Session
from taskqueue.ids import NUMBERED, NUMBERED_HEAD
from taskqueue.operations.authorization import forbidden

#: So many puts in a row are carried out in one go.
MOST_AT_ONCE = 1000

_new = tuple.__new__  # makes a named tuple without a call of a Python function

#: What the fields of a submission are that a put says nothing of, from C{headers} on.
_REST = Submission(JOB_TYPE)[8:]


def put(session: Session, command: Command) -> None:
    """Carry out a put."""
    if command.delay_s:
        put_many(session, deque((command,)))
        return
    session.put_some = True
    service, tube = session.service, session.tube.name
    if session.beanstalkd.draining:
        session.replies.add(DRAINING)
        return
    _check_may_put(session, tube, 1)
    _, _, pri, _, ttr_s, _, body, _ = command
    try:
        number = service.submit_numbered(JOB_TYPE, body, tube, priority_of(pri), options_of(ttr_s))
    except ShuttingDown:
        session.replies.add(DRAINING)
    else:
        session.replies.promise_one(b"INSERTED %d\r\n" % number)


def put_many(session: Session, waiting: deque[Command]) -> None:
    """Carry out the puts that come first in C{waiting}."""
    session.put_some = True
    commands = _in_a_row(session, waiting)
    if session.beanstalkd.draining:
        session.replies.say([DRAINING] * len(commands))
        return
    try:
        answers = _submit(session, commands)
    except ShuttingDown:
        session.replies.say([DRAINING] * len(commands))
    except TaskQueueError as error:
        for _ in commands:
            session.replies.refuse(error)
    else:
        _reply(session, answers)


def _in_a_row(session: Session, waiting: deque[Command]) -> list[Command]:
    """
    Take the puts that can be carried out at once, which is as if they were one after another:
    whoever waits for a job must get the first one that it can have, not the most urgent of them.
    """
    first = waiting.popleft()
    commands = [first]
    if session.service.broker.ledger.claims.waiting:
        while waiting and waiting[0].verb == "put" and waiting[0].priority == first.priority:
            commands.append(waiting.popleft())
    else:
        while waiting and waiting[0].verb == "put" and len(commands) < MOST_AT_ONCE:
            commands.append(waiting.popleft())
    return commands


def _check_may_put(session: Session, tube: str, count: int) -> None:
    """
    @raises Forbidden: nobody may put jobs into the tube here.
    @raises RateLimited: too many are put.
    """
    if session.restricted is not None and not session.may(Action.SUBMIT, tube):
        raise forbidden(session, Action.SUBMIT, tube)
    fair_use = session.service.fair_use
    if fair_use.counts_tasks:
        fair_use.tasks(session.identity, session.host, count)


def _submit(session: Session, commands: list[Command]) -> list[Accepted | TaskQueueError]:
    """
    @raises TaskQueueError: none of them is accepted.
    """
    service, tube = session.service, session.tube.name
    _check_may_put(session, tube, len(commands))
    items = []
    for _, _, pri, delay_s, ttr_s, _, body, _ in commands:
        run_at = service.moments().wall + delay_s if delay_s else None
        fields = (JOB_TYPE, body, tube, priority_of(pri), NUMBERED, run_at, None, options_of(ttr_s))
        items.append(_new(Submission, fields + _REST))
    answers = service.submit_new(items, any_lease=True)
    assert answers is not None, "numbers are never looked up in the store"
    return answers


def _reply(session: Session, answers: list[Accepted | TaskQueueError]) -> None:
    replies, start = session.replies, len(NUMBERED_HEAD)
    inserted: list[bytes] = []
    for answer in answers:
        if isinstance(answer, TaskQueueError):
            replies.promise(inserted)
            inserted = []
            replies.refuse(answer)
        else:
            inserted.append(b"INSERTED %d\r\n" % int(answer.id[start:], 16))
    replies.promise(inserted)
