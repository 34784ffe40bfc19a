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

#: Takes at least one command, the first, from those that wait, and carries it out.
Handler = Callable[[Session, deque[Command]], None]


def _refuse(session: Session, waiting: deque[Command]) -> None:
    """Reply to what was not understood."""
    session.replies.add(waiting.popleft().body)


def _quit(session: Session, waiting: deque[Command]) -> None:
    """Close the connection, when all that was said before is replied to."""
    waiting.clear()
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


def carry_out(session: Session, waiting: deque[Command]) -> None:
    """
    Carry out the commands that wait, until one of them has to wait for its reply.

    @raises FatalClientError: whoever gives them may not come in.
    """
    if not session.came_in:
        session.come_in()
    connection, replies = session.connection, session.replies
    counts = session.beanstalkd.commands
    while waiting and not connection.paused and not connection.closing:
        verb, before, counted = waiting[0].verb, len(waiting), waiting[0].counted
        if verb != "reserve":
            counts[counted] += 1
        try:
            HANDLERS[verb](session, waiting)
        except FatalClientError:
            raise
        except TaskQueueError as error:
            replies.refuse(error)
        # Those in a row are counted like the first; reserves, which may wait, as they are taken.
        if verb != "reserve":
            counts[counted] += before - len(waiting) - 1
    session.give()
