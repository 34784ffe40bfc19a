"""
use, watch, ignore, and the lists of tubes.
"""

from __future__ import annotations

from collections.abc import Iterable

from taskqueue.access.permissions import Action
from taskqueue.frontends.beanstalkd.commands import Command
from taskqueue.frontends.beanstalkd.replies import NOT_IGNORED, chunk
from taskqueue.frontends.beanstalkd.session import Session


def use(session: Session, command: Command) -> None:
    """Carry out a use."""
    name = command.tube
    tube = session.tubes.use(name)
    session.tubes.stop_using(session.tube)
    session.tube = tube
    session.replies.add(f"USING {name}\r\n".encode("ascii"))


def watch(session: Session, command: Command) -> None:
    """Carry out a watch."""
    name = command.tube
    if name not in session.watched:
        session.watched.add(session.tubes.watch(name))
        session.watch_changed()
    session.replies.add(_watching(session))


def ignore(session: Session, command: Command) -> None:
    """Carry out an ignore."""
    name = command.tube
    if name in session.watched:
        if len(session.watched) == 1:
            session.replies.add(NOT_IGNORED)
            return
        session.tubes.stop_watching(session.watched.remove(name))
        session.watch_changed()
    session.replies.add(_watching(session))


def _watching(session: Session) -> bytes:
    return b"WATCHING %d\r\n" % len(session.watched)


def list_tube_used(session: Session, command: Command) -> None:
    """Carry out a list-tube-used."""
    session.replies.add(f"USING {session.tube.name}\r\n".encode("ascii"))


def list_tubes_watched(session: Session, command: Command) -> None:
    """Carry out a list-tubes-watched."""
    session.replies.add(_listed(tube.name for tube in session.watched.tubes))


def list_tubes(session: Session, command: Command) -> None:
    """Carry out a list-tubes: those that the client may know of."""
    own = {session.tube.name, *(tube.name for tube in session.watched.tubes)}
    session.replies.add(
        _listed(
            name for name in session.tubes.names() if name in own or session.may(Action.READ, name)
        )
    )


def _listed(names: Iterable[str]) -> bytes:
    lines = ["---", *(f"- {name}" for name in names), ""]
    return chunk("OK", "\n".join(lines).encode("utf-8"))
