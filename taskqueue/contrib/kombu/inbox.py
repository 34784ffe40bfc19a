"""
Where deliveries wait for the thread that consumes, and how that is woken.
"""

from __future__ import annotations

import os
import selectors
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Inbox(Generic[_T]):
    """
    Filled in one thread, emptied in another.

    Its file descriptor is readable while something may be in it: for event loops, and for
    waiting.
    """

    def __init__(self) -> None:
        self._items: deque[Sequence[_T]] = deque()
        self._error: Exception | None = None
        self._signalled = False
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)
        self._selector = selectors.DefaultSelector()  # eventlet leaves no poll in "select"
        self._selector.register(self._reading, selectors.EVENT_READ)

    def fileno(self) -> int:
        """What is readable; -1 when closed."""
        return self._reading

    # --- the event loop's side --------------------------------------------------------------

    def put(self, items: Sequence[_T]) -> None:
        """Have these consumed, all at once."""
        self._items.append(items)
        self._signal()

    def fail(self, error: Exception) -> None:
        """Have this raised, when what is in here was taken."""
        self._error = error
        self._signal()

    def _signal(self) -> None:
        if not self._signalled:
            self._signalled = True
            with suppress(OSError):  # full, which says it too; or closed
                os.write(self._writing, b"\0")

    # --- the consumer's side ----------------------------------------------------------------

    def take(self) -> list[_T]:
        """
        What has come.

        @raises Exception: nothing has, and what L{fail} was told is so.
        """
        with suppress(OSError):
            os.read(self._reading, 16)
        # Whatever is put from here on signals anew, and all that was put before is seen.
        self._signalled = False
        taken = self._pop_all()
        if not taken and self._error is not None:
            error, self._error = self._error, None
            raise error
        if taken and self._error is not None:
            self._signal()
        return taken

    def _pop_all(self) -> list[_T]:
        taken: list[_T] = []
        with suppress(IndexError):
            while True:
                taken.extend(self._items.popleft())
        return taken

    def withdraw(self, wanted: Callable[[_T], bool]) -> list[_T]:
        """Take out those that are not to be consumed any more."""
        taken = self._pop_all()
        kept = [item for item in taken if not wanted(item)]
        if kept:
            self._items.appendleft(kept)
        return [item for item in taken if wanted(item)]

    def wait(self, timeout_s: float | None) -> bool:
        """Wait until something may be in here; returns whether that was in time."""
        return bool(self._selector.select(None if timeout_s is None else max(0.0, timeout_s)))

    def close(self) -> None:
        """End it; what is left is not consumed."""
        self._selector.close()
        reading, writing = self._reading, self._writing
        self._reading = self._writing = -1
        for end in (reading, writing):
            if end >= 0:
                with suppress(OSError):
                    os.close(end)
