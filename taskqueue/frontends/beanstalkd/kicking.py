"""
kick: jobs that are buried or delayed are ready at once.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from taskqueue.core.rows import TaskRow
from taskqueue.core.task import State
from taskqueue.errors import Conflict, UnknownTask
from taskqueue.frontends.beanstalkd.commands import Command
from taskqueue.frontends.beanstalkd.recording import allow, may_know
from taskqueue.frontends.beanstalkd.replies import KICKED, NOT_FOUND
from taskqueue.frontends.beanstalkd.session import Session
from taskqueue.operations.auditing import record
from taskqueue.wire import MessageType

#: The states from which a job can be kicked.
KICKABLE = (State.DEAD_LETTER, State.SCHEDULED, State.FAILED)


def kick(session: Session, command: Command) -> None:
    """Carry out a kick."""
    tube = session.tube.name
    allow(session, MessageType.RETRY_TASK, tube)

    def told(count: int) -> bytes:
        record(session, "retry_task", f"queue {tube}; limit {command.number}", count)
        return b"KICKED %d\r\n" % count

    kicked = session.service.kick(tube, command.number)
    session.reply_later(kicked.addCallback(told), promise=True)


def kick_job(session: Session, command: Command) -> None:
    """Carry out a kick-job."""
    session.ask_for(command.number, lambda row: _kick_job(session, row), promise=True)


def _kick_job(session: Session, row: TaskRow) -> bytes | Deferred[bytes]:
    task = session.service.broker.ledger.tasks.get(row.id)
    state = State(row.state) if task is None else task.state
    if state not in KICKABLE or not may_know(session, row.queue):
        return NOT_FOUND
    allow(session, MessageType.RETRY_TASK, row.queue)

    def told(_: State) -> bytes:
        record(session, "retry_task", f"tasks {row.id}", 1)
        return KICKED

    def not_kicked(failure: Failure) -> bytes:
        failure.trap(Conflict, UnknownTask)
        return NOT_FOUND

    return session.service.kick_task(row.id).addCallback(told).addErrback(not_kicked)
