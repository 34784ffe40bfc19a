"""
What carries out which command.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping

from taskqueue.errors import FatalClientError, TaskQueueError
from taskqueue.frontends.beanstalkd import (
    choosing,
    finishing,
    kicking,
    pausing,
    peeking,
    reserving,
    statistics,
    submitting,
)
from taskqueue.frontends.beanstalkd.commands import REFUSED, Command
from taskqueue.frontends.beanstalkd.session import Session

#: Carries out a command.
Handler = Callable[[Session, Command], None]

#: Takes at least one command, the first, from those that wait, and carries it out: the first two
#: are of one kind.
RunHandler = Callable[[Session, deque[Command]], None]


def _refuse(session: Session, command: Command) -> None:
    """Reply to what was not understood."""
    session.replies.add(command.body)


def _quit(session: Session, _: Command) -> None:
    """Close the connection, when all that was said before is replied to."""
    session.quit()


HANDLERS: Mapping[str, Handler] = {
    REFUSED: _refuse,
    "quit": _quit,
    "put": submitting.put,
    "use": choosing.use,
    "watch": choosing.watch,
    "ignore": choosing.ignore,
    "list-tubes": choosing.list_tubes,
    "list-tube-used": choosing.list_tube_used,
    "list-tubes-watched": choosing.list_tubes_watched,
    "reserve": reserving.reserve,
    "reserve-job": reserving.reserve_job,
    "delete": finishing.delete,
    "pause-tube": pausing.pause_tube,
    "peek": peeking.peek,
    "peek-ready": peeking.peek_ready,
    "peek-delayed": peeking.peek_delayed,
    "peek-buried": peeking.peek_buried,
    "kick": kicking.kick,
    "kick-job": kicking.kick_job,
    "release": finishing.release,
    "bury": finishing.bury,
    "stats": statistics.stats,
    "stats-tube": statistics.stats_tube,
    "stats-job": statistics.stats_job,
    "touch": finishing.touch,
}


RUN_HANDLERS: Mapping[str, RunHandler] = {
    "put": submitting.put_many,
    "reserve": reserving.reserve_many,
    "delete": finishing.delete_many,
}


def carry_out(session: Session, waiting: deque[Command]) -> None:
    """
    Carry out the commands that wait, until one of them has to wait for its reply.

    @raises FatalClientError: whoever gives them may not come in.
    """
    if not session.came_in:
        session.come_in()
    connection = session.connection
    while waiting and not connection.paused and not connection.closing:
        verb = waiting[0].verb
        try:
            if len(waiting) > 1 and waiting[1].verb == verb and verb in RUN_HANDLERS:
                _carry_out_run(session, waiting)
            else:
                _carry_out_one(session, waiting.popleft())
        except FatalClientError:
            raise
        except TaskQueueError as error:
            session.replies.refuse(error)
        session.rest_if_long()
    session.give()


def carry_out_only(session: Session, command: Command) -> None:
    """
    Carry out a command that has come alone.

    @raises FatalClientError: whoever gives it may not come in.
    """
    if not session.came_in:
        session.come_in()
    try:
        _carry_out_one(session, command)
    except FatalClientError:
        raise
    except TaskQueueError as error:
        session.replies.refuse(error)
    session.give()


def _carry_out_one(session: Session, command: Command) -> None:
    session.beanstalkd.commands[command.counted] += 1
    HANDLERS[command.verb](session, command)


def _carry_out_run(session: Session, waiting: deque[Command]) -> None:
    """Carry out commands of one kind that come one after another, as far as that can be in one."""
    verb, counted, before = waiting[0].verb, waiting[0].counted, len(waiting)
    try:
        RUN_HANDLERS[verb](session, waiting)
    finally:
        # Those in a row are counted like the first; reserves, which differ, as they are taken.
        if verb != "reserve":
            session.beanstalkd.commands[counted] += before - len(waiting)
