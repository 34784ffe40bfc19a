"""
delete, release, bury, touch: what becomes of jobs that somebody has reserved; and of others, where
anybody may delete them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred

from taskqueue.access.permissions import Action
from taskqueue.core.delivery import Outcome
from taskqueue.core.desk import Desk
from taskqueue.core.leases import Lease
from taskqueue.core.moments import Now
from taskqueue.core.rows import TaskRow
from taskqueue.core.task import FIRST_ENDED, State, Task
from taskqueue.errors import TaskQueueError
from taskqueue.frontends.beanstalkd.commands import Command
from taskqueue.frontends.beanstalkd.mapping import priority_of
from taskqueue.frontends.beanstalkd.replies import (
    BURIED,
    DELETED,
    NOT_FOUND,
    RELEASED,
    TOUCHED,
)
from taskqueue.frontends.beanstalkd.session import Session
from taskqueue.operations.auditing import record

_new = tuple.__new__  # makes a named tuple without a call of a Python function


def delete(session: Session, command: Command) -> None:
    """Carry out a delete."""
    lease = session.lease(command.number)
    if lease is None:
        _delete_other(session, command.number)
        return
    session.tubes.count_deletes(lease.task.lane.queue.name)
    session.service.complete(lease, b"")
    session.replies.promise_one(DELETED)


def delete_many(session: Session, waiting: deque[Command]) -> None:
    """Carry out the deletes that come first in C{waiting}, in one go those of reserved jobs."""
    outcomes: dict[int, Outcome] = {}
    while waiting and waiting[0].verb == "delete" and waiting[0].number not in outcomes:
        number = waiting[0].number
        lease = session.lease(number)
        if lease is None:
            break
        waiting.popleft()
        task = lease.task
        session.tubes.count_deletes(task.lane.queue.name)
        outcomes[number] = _new(
            Outcome, (task.id, lease.token, State.COMPLETED, b"", None, False, None)
        )
    if outcomes:
        _complete(session, list(outcomes.values()))
    else:
        _delete_other(session, waiting.popleft().number)


def _complete(session: Session, outcomes: list[Outcome]) -> None:
    try:
        session.service.report_now(outcomes)
    except TaskQueueError as error:
        for _ in outcomes:
            session.replies.refuse(error)
    else:
        session.replies.promise([DELETED] * len(outcomes))


def _delete_other(session: Session, number: int) -> None:
    """Delete a job that is not reserved by this connection."""
    task = session.find_now(number)
    if task is not None and task.state < FIRST_ENDED:
        session.replies.promise([_cancel(session, task)])
    else:
        session.ask_for(number, lambda row: _delete_stored(session, row), promise=True)


def _cancel(session: Session, task: Task) -> bytes:
    """Delete a job that waits; one that somebody else has reserved is as good as unknown."""
    if task.state is State.IN_PROGRESS or not session.may(Action.CANCEL, task.queue):
        return NOT_FOUND
    service = session.service
    service.check_open()
    session.tubes.count_deletes(task.queue)
    control = service.broker.control
    service.each(lambda task_id, now: control.cancel(task_id, False, now), [task.id])
    record(session, "cancel_task", f"tasks {task.id}", 1)
    return DELETED


def _delete_stored(session: Session, row: TaskRow) -> bytes | Deferred[bytes]:
    """Delete a job that the store knows: it is buried, or is a task of another door."""
    task = session.service.broker.ledger.tasks.get(row.id)
    if task is not None:
        return _cancel(session, task)
    if row.state != State.DEAD_LETTER or not session.may(Action.CANCEL, row.queue):
        return NOT_FOUND

    session.tubes.count_deletes(row.queue)

    def told(errors: list[TaskQueueError | None]) -> bytes:
        if errors[0] is not None:  # somebody else was first
            session.tubes.count_deletes(row.queue, -1)
            return NOT_FOUND
        record(session, "delete_task", f"tasks {row.id}", 1)
        return DELETED

    return session.service.delete([row.id]).addCallback(told)


def release(session: Session, command: Command) -> None:
    """Carry out a release."""
    delay_s, priority = float(command.delay_s), priority_of(command.priority)

    def give_back(desk: Desk, lease: Lease, now: Now) -> None:
        desk.release(lease.task.id, lease.token, delay_s, now, priority=priority)

    _part_with(session, command.number, give_back, RELEASED)


def bury(session: Session, command: Command) -> None:
    """Carry out a bury."""
    priority = priority_of(command.priority)

    def lay_aside(desk: Desk, lease: Lease, now: Now) -> None:
        desk.bury(lease.task.id, lease.token, now, priority=priority)

    _part_with(session, command.number, lay_aside, BURIED)


def _part_with(
    session: Session, number: int, part: Callable[[Desk, Lease, Now], None], reply: bytes
) -> None:
    """End a reservation by C{part}, and say C{reply} when that is stored."""
    lease = session.lease(number)
    if lease is None:
        session.replies.add(NOT_FOUND)
        return
    service = session.service
    service.check_open()
    now = service.moments()
    part(service.broker.desk, lease, now)
    service.after(now)
    session.replies.promise((reply,))


def touch(session: Session, command: Command) -> None:
    """Carry out a touch: the reservation runs anew."""
    lease = session.lease(command.number)
    if lease is None:
        session.replies.add(NOT_FOUND)
        return
    service = session.service
    now = service.moments()
    service.broker.desk.extend(lease.task.id, lease.token, None, now)
    service.after(now)
    session.replies.add(TOUCHED)
