"""
A thread with an event loop, and who is interrupted while he calls it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from taskqueue.client.blocking import BlockingClient
from taskqueue.client.loop_thread import LoopThread
from tests.contrib.programs import FrameworkTestCase


async def gives(value: int) -> int:
    return value


class InterruptedTests(FrameworkTestCase):
    """A signal's handler runs in the thread that it interrupts, wherever that is."""

    def setUp(self) -> None:
        super().setUp()
        self.thread = LoopThread("test")
        self.addCleanup(self.thread.stop)

    def interrupt(self, handler: Callable[[], None]) -> None:
        """Let C{handler} run in the middle of the next call, which holds the lock."""
        schedule = self.thread._loop.call_soon_threadsafe

        def interrupted(*args: Any, **how: Any) -> Any:
            self.thread._loop.call_soon_threadsafe = schedule  # type: ignore[method-assign]
            handler()
            return schedule(*args, **how)

        self.thread._loop.call_soon_threadsafe = interrupted  # type: ignore[method-assign]

    def test_its_handler_may_call_as_well(self) -> None:
        got: list[int] = []
        self.interrupt(lambda: got.append(self.thread.call(gives(1))))
        self.assertEqual(self.thread.call(gives(2)), 2)
        self.assertEqual(got, [1])

    def test_its_handler_may_use_the_client_as_well(self) -> None:
        client = BlockingClient(self.address)
        self.addCleanup(client.close)
        client.ping()
        with client._lock:  # as every call does for a moment
            self.assertGreater(client.ping(), 0)

    def test_one_that_was_not_begun_yet_is_given_up(self) -> None:
        """It does not keep the loop from ending."""

        def interrupt() -> None:
            raise KeyboardInterrupt

        self.interrupt(interrupt)
        self.assertRaises(KeyboardInterrupt, self.thread.call, asyncio.sleep(30))
        self.thread.call(gives(1))
        self.assertEqual(self.thread._errands, set())
