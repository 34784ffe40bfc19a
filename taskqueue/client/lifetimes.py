"""
What becomes of clients when their process forks or ends.
"""

from __future__ import annotations

import atexit
import os
from contextlib import suppress
from typing import Any, Protocol
from weakref import WeakSet


class Mortal(Protocol):
    """What has threads and a connection."""

    def close(self) -> None:
        """End both."""

    def left_behind(self) -> None:
        """This process was forked: both are its parent's.  Begin anew."""


_here: WeakSet[Mortal] = WeakSet()
_parents: list[Any] = []


def watch_over(client: Mortal) -> None:
    """Close this one when the interpreter ends, and tell it when the process was forked."""
    _here.add(client)


def leave_alone(inherited: Any) -> None:
    """Never tear this down: what is the parent's too would be torn down with it."""
    _parents.append(inherited)


def _ending() -> None:
    for client in list(_here):
        with suppress(Exception):
            client.close()


def _forked() -> None:
    for client in list(_here):
        client.left_behind()


atexit.register(_ending)
os.register_at_fork(after_in_child=_forked)
