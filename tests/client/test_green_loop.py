"""
The event loop that clients share where threads are greenlets.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from types import SimpleNamespace
from typing import Any

from taskqueue.client import blocking
from taskqueue.client.blocking import BlockingClient
from taskqueue.client.green_loop import SharedLoop, loop_for, threads_are_greenlets
from taskqueue.client.loop_thread import LoopThread
from taskqueue.errors import ConnectionLost
from tests.contrib.programs import FrameworkTestCase


class SharedLoopTests(FrameworkTestCase):
    """In threads, which take turns as greenlets do."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(SharedLoop, "_all", None)
        self.patch(blocking, "loop_for", lambda name: SharedLoop())
        self.addCleanup(lambda: SharedLoop._all.stop() if SharedLoop._all else None)

    def begin(self) -> BlockingClient:
        client = BlockingClient(self.address)
        self.addCleanup(client.close)
        client.ping()
        return client

    def test_one_for_all(self) -> None:
        before = threading.active_count()
        clients = [self.begin() for _ in range(3)]
        self.assertEqual(threading.active_count(), before + 1)
        for client in clients:
            client.submit("t", queue=self.name)
        self.assertEqual(self.states(), {"pending": 3})

    def test_one_that_is_closed_leaves_the_others(self) -> None:
        one, other = self.begin(), self.begin()
        failed: list[BaseException] = []

        def wait() -> None:
            try:
                one.claim([self.name], wait_s=30)
            except ConnectionLost as error:
                failed.append(error)

        waiting = threading.Thread(target=wait)
        waiting.start()
        one.close()
        waiting.join(10)
        self.assertEqual(len(failed), 1)
        self.assertRaises(ConnectionLost, one.ping)
        self.assertGreater(other.ping(), 0)

    def test_what_was_begun_ends_with_its_share(self) -> None:
        one, other = SharedLoop(), SharedLoop()
        begun, goes_on = one.begin(asyncio.sleep(30)), other.begin(asyncio.sleep(0.01, "on"))
        one.stop()
        self.assertRaises(ConnectionLost, one.wait, begun)
        self.assertRaises(ConnectionLost, one.run, asyncio.sleep(0))
        self.assertEqual(other.wait(goes_on), "on")

    def test_fork(self) -> None:
        """As it is in the child, where greenlets are still there."""
        one = SharedLoop()
        begun = one.begin(asyncio.sleep(30))
        inherited = SharedLoop._all
        assert inherited is not None
        self.patch(LoopThread, "left_behind", lambda loop: None)
        one.left_behind()
        self.assertRaises(ConnectionLost, one.wait, begun)
        self.assertEqual(SharedLoop().run(asyncio.sleep(0, "anew")), "anew")
        self.assertIsNot(SharedLoop._all, inherited)
        self.assertTrue(inherited._loop.is_closed())


class WhereThreadsAreGreenlets(FrameworkTestCase):
    def stand_in(self, name: str, **functions: Any) -> None:
        self.patch(sys, "modules", {**sys.modules, name: SimpleNamespace(**functions)})

    def test_not_here(self) -> None:
        self.assertFalse(threads_are_greenlets())
        loop = loop_for("x")
        self.addCleanup(loop.stop)
        self.assertIs(type(loop), LoopThread)

    def test_gevent(self) -> None:
        patched: list[str] = []
        self.stand_in("gevent.monkey", is_module_patched=lambda name: name in patched)
        self.assertFalse(threads_are_greenlets())
        patched.append("threading")
        self.assertTrue(threads_are_greenlets())

    def test_eventlet(self) -> None:
        patched: list[str] = []
        self.stand_in("eventlet.patcher", is_monkey_patched=lambda name: name in patched)
        self.assertFalse(threads_are_greenlets())
        patched.append("thread")
        self.assertTrue(threads_are_greenlets())
        self.patch(SharedLoop, "_all", None)
        loop = loop_for("x")
        self.addCleanup(SharedLoop._all.stop)  # type: ignore[union-attr]  # it is there now
        self.assertIs(type(loop), SharedLoop)
