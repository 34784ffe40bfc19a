"""
What is below a connection of kombu's.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

from taskqueue.client.aio import reached
from taskqueue.client.all_calls import AllCalls
from taskqueue.client.blocking import BlockingClient
from taskqueue.client.messages import Submission
from taskqueue.client.options import ClientOptions
from taskqueue.client.submitting import Answer
from taskqueue.contrib.kombu.direct import DirectClient, can_be_direct
from taskqueue.errors import ConnectionLost, UnknownQueue

_T = TypeVar("_T")

#: How long to try to connect where nobody says it, seconds.
CONNECT_S = 5.0


class Loop(BlockingClient):
    """
    The client whose event loop works for consumers, in a thread of its own.

    @ivar closing: nothing more is to be tried on it.
    @ivar forked: this process was forked off the one that has the connection.  What was
        consumed is that one's.
    """

    closing = False
    forked = False
    _loop: asyncio.AbstractEventLoop | None = None

    def reach_within(self, limit_s: float) -> None:
        """
        Connect.

        @raises CannotConnect: there is no broker, or it did not answer in time; or what it
            refused the connection with.
        """
        thread, client = self._running()
        thread.run(reached(client, limit_s))
        self._loop = self.run(_loop_of)

    def soon(self, function: Callable[..., object], *args: Any) -> None:
        """
        Call C{function} in the event loop's thread, after what was asked before this.

        @raises ConnectionLost: the connection is closed, or another process's.
        """
        if self._loop is None:
            raise ConnectionLost("this connection is closed: make another one")
        try:
            self._loop.call_soon_threadsafe(function, *args)
        except RuntimeError:
            raise ConnectionLost("this connection is closed: make another one") from None

    def left_behind(self) -> None:
        """This process was forked: the loop is its parent's."""
        self.forked, self._loop = True, None
        super().left_behind()

    def close(self) -> None:
        """Disconnect; what is unanswered fails."""
        self._loop = None
        super().close()


class Link:
    """
    What one connection of kombu's has of the broker: a client for what is asked, and one with
    an event loop for what comes, once something is consumed.
    """

    def __init__(self, address: str, how: ClientOptions) -> None:
        """
        @param how: see L{ClientSettings}.
        @raises BadRequest: the address is none, or a file of TLS or of the key cannot be used.
        """
        self._address = address
        self._how = how
        self._pid = os.getpid()
        self._direct = DirectClient(address, how) if can_be_direct(address) else None
        self._loop: Loop | None = None

    @property
    def forked(self) -> bool:
        """Whether it was made by another process; what was consumed is that one's."""
        return self._pid != os.getpid()

    def reach_within(self, limit_s: float) -> None:
        """
        Connect.

        @raises CannotConnect: there is no broker, or it did not answer in time; or what it
            refused the connection with.
        """
        if self._direct is None:
            self.loop(limit_s)
        else:
            self._direct.reach(limit_s)

    def loop(self, limit_s: float = CONNECT_S) -> Loop:
        """
        The client that works for consumers.

        @raises CannotConnect: as L{reach_within}.
        """
        if self._loop is None:
            loop = Loop(self._address, **self._how)
            try:
                loop.reach_within(limit_s)
            except BaseException:
                loop.close()
                raise
            self._loop = loop
        return self._loop

    def run(self, call: Callable[[AllCalls], Coroutine[Any, Any, _T]]) -> _T:
        """Make a call and wait for what it gives."""
        return self.loop().run(call) if self._direct is None else self._direct.run(call)

    # --- calls that are several of the client's -------------------------------------------------

    def submit_together(
        self, tasks: Sequence[Submission], for_s: float | None = None
    ) -> list[Answer]:
        """
        Submit tasks in one request; when this returns, the broker will not lose them.

        @param for_s: how long to go on with those that are refused for now; C{None}: for an
            answer's time where the broker is the reason, and not at all where a queue is full.
        @return: for each its id, or why it was not accepted.
        """

        async def submit(calls: AllCalls) -> list[Answer]:
            items = [calls.item(task) for task in tasks]
            return await calls.submit_chunk(items, None, calls.patience(for_s))

        return self.run(submit)

    def depth(self, queue: str) -> int:
        """How many tasks wait in a queue."""
        found = self.run(lambda calls: calls.queue(queue))
        return 0 if found is None else int(found["depth"])

    def purge_all(self, queue: str) -> int:
        """Cancel all that waits in a queue; returns how many tasks that were."""
        cancelled = 0
        while True:
            try:
                purged = self.run(lambda calls: calls.purge(queue))
            except UnknownQueue:  # nothing has ever been in it
                return cancelled
            cancelled += purged.cancelled
            if not purged.left or not purged.cancelled:
                return cancelled

    def close(self) -> None:
        """Disconnect; what is unanswered fails."""
        if self._direct is not None:
            self._direct.close()
        if self._loop is not None and not self.forked:
            self._loop.close()


async def _loop_of(calls: AllCalls) -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()
