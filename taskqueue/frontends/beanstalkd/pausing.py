"""
pause-tube: nobody reserves from a tube for a while.
"""

from __future__ import annotations

from taskqueue.access.permissions import Action
from taskqueue.frontends.beanstalkd.commands import Command
from taskqueue.frontends.beanstalkd.recording import allow
from taskqueue.frontends.beanstalkd.replies import NOT_FOUND, PAUSED
from taskqueue.frontends.beanstalkd.session import Session
from taskqueue.operations.auditing import record
from taskqueue.wire import MessageType


def pause_tube(session: Session, command: Command) -> None:
    """Carry out a pause-tube; one of 0 seconds ends a pause."""
    name, for_s = command.tube, command.delay_s
    tube = session.tubes.find(name) if session.may(Action.READ, name) else None
    if tube is None:
        session.replies.add(NOT_FOUND)
        return
    allow(session, MessageType.PAUSE_QUEUE, name)
    service = session.service
    service.check_open()
    now, control = service.moments(), service.broker.control
    if for_s:
        control.pause(name, now, float(for_s))
    elif (queue := service.broker.ledger.queues.get(name)) is not None and queue.paused:
        control.resume(name)
    tube.pauses += 1
    tube.pause_s = for_s
    service.after(now)
    record(session, "pause_queue", f"queue {name}; for_s {for_s}", None)
    session.replies.promise((PAUSED,))
