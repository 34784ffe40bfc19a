"""
What becomes of clients when their process forks or ends.
"""

from __future__ import annotations

import atexit
import encodings.idna  # noqa: F401  # see _forked
import os
import sys
import threading
from concurrent.futures import thread  # noqa: F401  # see _forked
from contextlib import suppress
from typing import Any, Protocol
from weakref import WeakSet


class Forked(Protocol):
    """What has a connection, and perhaps threads."""

    def left_behind(self) -> None:
        """This process was forked: they are its parent's.  Begin anew."""


class Mortal(Forked, Protocol):
    """What is to be closed when the interpreter ends."""

    def close(self) -> None:
        """End its threads and its connection."""


_here: WeakSet[Mortal] = WeakSet()
_told_of_forks: WeakSet[Forked] = WeakSet()
_parents: list[Any] = []


def watch_over(client: Mortal) -> None:
    """Close this one when the interpreter ends, and tell it when the process was forked."""
    _here.add(client)
    tell_of_forks(client)


def tell_of_forks(client: Forked) -> None:
    """Tell this one when the process was forked."""
    _told_of_forks.add(client)


def leave_alone(inherited: Any) -> None:
    """Never tear this down: what is the parent's too would be torn down with it."""
    _parents.append(inherited)


def disown(inherited: Any) -> None:
    """
    Leave a file descriptor to the parent of this process, which was forked.  The number stays
    taken, so that nothing of another meaning is ever closed by what still refers to it.

    @param inherited: the number, or what may have C{fileno}; one that is closed is left as it is.
    """
    number = inherited
    if not isinstance(number, int):
        try:
            number = inherited.fileno()
        except (AttributeError, ValueError):  # a closed selector says it in this way
            return
    if number < 0:
        return
    nothing = os.open(os.devnull, os.O_RDWR)
    try:
        os.dup2(nothing, number, inheritable=False)
    finally:
        os.close(nothing)


def renew_lock_in_child(module: str) -> None:
    """
    Have a module's C{_lock} made anew where the process was forked: one that another thread, or
    greenlet, held at that moment is never let go there, or not for long.

    @param module: its name, which it has as C{__name__}.
    """
    of = sys.modules[module]
    os.register_at_fork(after_in_child=lambda: setattr(of, "_lock", threading.Lock()))


def _ending() -> None:
    for client in list(_here):
        with suppress(Exception):
            client.close()


def _forked() -> None:
    """
    Only the thread that forked is in the child, and a lock that another held is never let go
    there.  Ours are made anew.  Those of modules that are just being imported are not: what the
    connecting threads would import when they first need it (a pool to look up names, the codec
    of host names) is imported above, before there are any.
    """
    for client in list(_told_of_forks):
        client.left_behind()


atexit.register(_ending)
os.register_at_fork(after_in_child=_forked)
