"""
The administrative commands: whoever may give them, and how often.
"""

from __future__ import annotations

from taskqueue.access.permissions import Action
from taskqueue.errors import Forbidden
from taskqueue.frontends.beanstalkd.session import Session
from taskqueue.operations.auditing import record
from taskqueue.operations.authorization import action_of, require
from taskqueue.wire import MessageType


def allow(session: Session, kind: MessageType, queue: str) -> None:
    """
    Let somebody ask for what C{kind} does, in a queue.  The audit log tells of it where they
    may not.

    @raises RateLimited: they ask too often.
    @raises Forbidden: they may not.
    """
    session.service.fair_use.request(session.identity, session.host)
    try:
        require(session, action_of(kind), queue)
    except Forbidden as error:
        record(session, kind.name.lower(), f"queue {queue}", None, error.code)
        raise


def may_know(session: Session, queue: str) -> bool:
    """Whether somebody may be told of the jobs of a queue."""
    return session.may(Action.READ, queue)
