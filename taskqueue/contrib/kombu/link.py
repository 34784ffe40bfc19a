"""
The connection below one of kombu's: a client that waits, whose event loop also works for
consumers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from taskqueue.client.aio import reached
from taskqueue.client.all_calls import AllCalls
from taskqueue.client.blocking import BlockingClient
from taskqueue.client.messages import Submission
from taskqueue.client.submitting import Answer
from taskqueue.errors import ConnectionLost, UnknownQueue


class Link(BlockingClient):
    """
    @ivar closing: nothing more is to be tried on it.
    @ivar forked: this process was forked off the one that has the connection.  What was
        consumed is that one's; to publish makes a new connection.
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

    # --- the end ------------------------------------------------------------------------------

    def left_behind(self) -> None:
        """This process was forked: the loop is its parent's."""
        self.forked, self._loop = True, None
        super().left_behind()

    def close(self) -> None:
        """Disconnect; what is unanswered fails."""
        self._loop = None
        super().close()


async def _loop_of(calls: AllCalls) -> asyncio.AbstractEventLoop:
    return asyncio.get_running_loop()
