"""
Claims that are given up in the moment in which they are answered: the tasks go back.

An event loop of asyncio tells a future's readers a turn after it was cancelled, or has its
value.  What comes in between is neither early nor late.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.client import work
from taskqueue.client.all_calls import AllCalls
from taskqueue.client.futures import AsyncioFramework
from taskqueue.client.session import Session
from taskqueue.errors import QueueFull
from taskqueue.wire import Header, MessageType
from tests.client.peer import Peer

TASK = {"id": "019b74ff-0000-7000-8000-000000000001", "type": "t", "lease": 7}


class Claimer:
    """A client without a network, in the loop that runs, with a claim under way."""

    def __init__(self) -> None:
        self.session = Session(AsyncioFramework(asyncio.get_running_loop()), "test", 10.0)
        self.calls = AllCalls(self.session)
        self.peer = Peer(self.session).welcome()

    async def claim(self) -> tuple[asyncio.Task[Any], Header]:
        """A claim that the broker has received: the task, and the request."""
        claim = asyncio.ensure_future(self.calls.claim(["q"]))
        await asyncio.sleep(0)
        return claim, self.peer.expect(MessageType.CLAIM_TASK)

    async def until_said(self) -> None:
        while not self.peer.got:
            await asyncio.sleep(0.001)

    async def settle(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


class GivenUpTests(SynchronousTestCase):
    def run_in_loop(self, scene: Callable[[Claimer], Coroutine[Any, Any, None]]) -> Claimer:
        async def main() -> Claimer:
            claimer = Claimer()
            await scene(claimer)
            await claimer.settle()
            claimer.session.close()
            return claimer

        return asyncio.run(main())

    def assertGivenBack(self, claimer: Claimer) -> None:
        request = claimer.peer.expect(MessageType.RELEASE_TASK)
        self.assertEqual(request["leases"], [{"task": TASK["id"], "lease": 7}])
        self.assertEqual(claimer.peer.got, [])

    def test_answered_right_after_it_was_given_up(self) -> None:
        async def scene(claimer: Claimer) -> None:
            claim, request = await claimer.claim()
            claim.cancel()
            claimer.peer.ack(request, tasks=[TASK])

        self.assertGivenBack(self.run_in_loop(scene))

    def test_given_up_right_after_it_was_answered(self) -> None:
        async def scene(claimer: Claimer) -> None:
            claim, request = await claimer.claim()
            claimer.peer.ack(request, tasks=[TASK])
            claim.cancel()

        self.assertGivenBack(self.run_in_loop(scene))

    def test_answered_long_after_it_was_given_up(self) -> None:
        async def scene(claimer: Claimer) -> None:
            claim, request = await claimer.claim()
            claim.cancel()
            await claimer.settle()
            claimer.peer.ack(request, tasks=[TASK])

        self.assertGivenBack(self.run_in_loop(scene))

    def test_the_broker_cannot_take_them_back_for_now(self) -> None:
        """Then they are given back again: nobody would get them before the lease is over."""

        async def scene(claimer: Claimer) -> None:
            claim, request = await claimer.claim()
            claim.cancel()
            claimer.peer.ack(request, tasks=[TASK, TASK | {"lease": 8}])
            nack = claimer.peer.expect(MessageType.RELEASE_TASK)
            claimer.peer.nack(nack, "STORE_UNAVAILABLE", retry_after_s=0.001)
            await claimer.until_said()
            error = {"item": 0, "code": "TOO_MANY_REQUESTS", "retry_after_s": 0.001}
            again = claimer.peer.expect(MessageType.RELEASE_TASK)
            self.assertEqual(len(again["leases"]), 2)
            claimer.peer.ack(again, states=[None, "pending"], errors=[error])
            await claimer.until_said()

        self.patch(work, "_PAUSE_S", 0.001)
        self.assertGivenBack(self.run_in_loop(scene))

    def test_answered_with_nothing(self) -> None:
        async def scene(claimer: Claimer) -> None:
            for answer_first in (True, False):
                claim, request = await claimer.claim()
                steps = [partial(claimer.peer.ack, request, tasks=[]), claim.cancel]
                for step in steps if answer_first else reversed(steps):
                    step()
                await claimer.settle()

        self.assertEqual(self.run_in_loop(scene).peer.got, [])

    def test_refused(self) -> None:
        """An error is nothing to give back, and whoever asked still hears it."""

        async def scene(claimer: Claimer) -> None:
            claim, request = await claimer.claim()
            claimer.peer.nack(request, "QUEUE_FULL")
            await claimer.settle()
            self.assertIsInstance(claim.exception(), QueueFull)
            claim, request = await claimer.claim()
            claimer.peer.nack(request, "QUEUE_FULL")
            claim.cancel()
            claim, request = await claimer.claim()
            claim.cancel()
            claimer.peer.nack(request, "QUEUE_FULL")

        self.assertEqual(self.run_in_loop(scene).peer.got, [])

    def test_answered_and_taken(self) -> None:
        async def scene(claimer: Claimer) -> None:
            claim, request = await claimer.claim()
            claimer.peer.ack(request, tasks=[])
            self.assertEqual(await claim, [])

        self.assertEqual(self.run_in_loop(scene).peer.got, [])
