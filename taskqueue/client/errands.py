"""
A client's call that a thread waits for while the event loop runs it in another.

What C{asyncio.run_coroutine_threadsafe} does takes a task, two futures that are chained, and five
turns of the loop.  A client's calls await nothing but futures, so they need none of that: they
are begun in the turn that hears of them, and whoever waits is woken in the one that ends them.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar, cast

_T = TypeVar("_T")


class Errand(Generic[_T]):
    """
    A coroutine that awaits futures of asyncio only, and asks for no current task.

    @param coroutine: not begun.
    @param done: told when it has ended, in the loop's thread.
    """

    __slots__ = (
        "_awaited",
        "_begun",
        "_cancelled",
        "_coroutine",
        "_done",
        "_ended",
        "_error",
        "_value",
    )

    def __init__(
        self, coroutine: Coroutine[Any, Any, _T], done: Callable[[Errand[Any]], None]
    ) -> None:
        self._coroutine = coroutine
        self._done = done
        self._awaited: asyncio.Future[Any] | None = None
        self._begun = self._cancelled = False
        self._value: _T | None = None
        self._error: BaseException | None = None
        self._ended = threading.Lock()
        self._ended.acquire()

    # --- in the thread that waits -------------------------------------------------------------

    def wait(self) -> _T:
        """What it returns, or raises."""
        self._ended.acquire()
        if self._error is not None:
            try:
                raise self._error
            finally:
                self._error = None  # its traceback refers to this frame
        return cast(_T, self._value)

    # --- in the loop's thread -----------------------------------------------------------------

    def begin(self) -> None:
        """Run it until it first waits, unless that was done."""
        if not self._begun:
            self._begun = True
            self._go_on()

    def cancel(self) -> None:
        """
        Have it end, in the next turn.  Where what it waits for has come already, it is
        interrupted all the same, as a task is: nobody takes what it would return.
        """
        if self._awaited is None or not self._awaited.cancel():
            self._cancelled = True
        self.begin()  # who was to have it begun may have been interrupted

    def _go_on(self) -> None:
        if self._cancelled:
            self._cancelled = False
            self._step(self._coroutine.throw, asyncio.CancelledError())
        else:
            self._step(self._coroutine.send, None)

    def _step(self, go_on: Callable[[Any], Any], given: Any) -> None:
        try:
            awaited = go_on(given)
        except StopIteration as stop:
            self._end(stop.value, None)
        except BaseException as error:
            self._end(None, error)
        else:
            self._wait_for(awaited)

    def _wait_for(self, awaited: Any) -> None:
        if not asyncio.isfuture(awaited):
            wrong = RuntimeError(f"a client's call awaits {awaited!r}, which is no future")
            self._step(self._coroutine.throw, wrong)
            return
        # As a task does: a future that is yielded, and not awaited, is a mistake.
        awaited._asyncio_future_blocking = False
        self._awaited = awaited
        awaited.add_done_callback(self._wake)

    def _wake(self, awaited: asyncio.Future[Any]) -> None:
        self._awaited = None
        self._go_on()

    def _end(self, value: Any, error: BaseException | None) -> None:
        self._value, self._error = value, error
        self._done(self)
        self._ended.release()
