"""
The client's event loop in asyncio.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from txaio import aio

from taskqueue.client.framework import Delayed

_T = TypeVar("_T")


class AsyncioFramework:
    """
    Futures and a loop.

    @param loop: the one that all of this client runs on.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._txaio = aio.with_config(loop=loop)
        # The loop itself keeps no hold of its tasks.
        self._tasks: set[asyncio.Task[Any]] = set()

    def create_future(self, canceller: Callable[[Any], None]) -> asyncio.Future[Any]:
        """A future, and what is called when it is cancelled."""
        future: asyncio.Future[Any] = self._txaio.create_future(canceller=canceller)
        return future

    def resolve(self, future: Any, value: Any) -> bool:
        """Let it have its value, unless it was cancelled; returns whether it was not."""
        if future.done():
            return False
        self._txaio.resolve(future, value)
        return True

    def value_of(self, future: Any) -> Any:
        """The value that it has, C{None} where it has none."""
        if not future.done() or future.cancelled() or future.exception() is not None:
            return None
        return future.result()

    def reject(self, future: Any, error: Exception) -> None:
        """Let it fail, unless it was cancelled."""
        if not future.done():
            self._txaio.reject(future, error)

    def call_later(self, delay_s: float, function: Callable[..., object], *args: Any) -> Delayed:
        """Call C{function} in C{delay_s} seconds."""
        delayed: Delayed = self._loop.call_later(delay_s, function, *args)
        return delayed

    def spawn(self, coroutine: Coroutine[Any, Any, _T]) -> asyncio.Task[_T]:
        """Run a coroutine, from the loop's next turn on."""
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def seconds(self) -> float:
        """The loop's time."""
        return self._loop.time()
