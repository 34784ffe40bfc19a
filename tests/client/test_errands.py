"""
Calls that a thread waits for while an event loop runs them in another.
"""

from __future__ import annotations

import asyncio
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.client.errands import Errand


class ErrandTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.loop = asyncio.SelectorEventLoop()
        self.addCleanup(self.loop.close)
        self.ended: list[Errand[Any]] = []
        self.steps: list[str] = []

    def turn(self) -> None:
        self.loop.call_soon(self.loop.stop)
        self.loop.run_forever()

    def begin(self, coroutine: Any) -> Errand[Any]:
        errand: Errand[Any] = Errand(coroutine, self.ended.append)
        errand.begin()
        return errand

    async def asks(self, answer: asyncio.Future[Any]) -> str:
        self.steps.append("asked")
        try:
            return f"got {await answer}"
        finally:
            self.steps.append("answered")

    def test_begun_at_once_and_ended_in_the_turn_of_the_answer(self) -> None:
        answer = self.loop.create_future()
        errand = self.begin(self.asks(answer))
        self.assertEqual((self.steps, self.ended), (["asked"], []))
        answer.set_result(5)
        self.turn()
        self.assertEqual(self.ended, [errand])
        self.assertEqual(errand.wait(), "got 5")

    def test_that_never_waits(self) -> None:
        answer = self.loop.create_future()
        answer.set_result(6)
        self.assertEqual(self.begin(self.asks(answer)).wait(), "got 6")

    def test_errors(self) -> None:
        answer = self.loop.create_future()
        errand = self.begin(self.asks(answer))
        answer.set_exception(KeyError("no"))
        self.turn()
        self.assertRaises(KeyError, errand.wait)
        self.assertEqual(self.ended, [errand])

    def test_cancelled(self) -> None:
        answer = self.loop.create_future()
        errand = self.begin(self.asks(answer))
        errand.cancel()
        self.turn()
        self.assertTrue(answer.cancelled())
        self.assertRaises(asyncio.CancelledError, errand.wait)
        self.assertEqual(self.steps, ["asked", "answered"])
        errand.cancel()  # which is nothing any more

    def test_cancelled_right_after_the_answer(self) -> None:
        """What nobody will take is not returned: whoever asked can give it back."""
        answer = self.loop.create_future()
        errand = self.begin(self.asks(answer))
        answer.set_result(5)
        errand.cancel()
        self.turn()
        self.assertRaises(asyncio.CancelledError, errand.wait)
        self.assertEqual(self.steps, ["asked", "answered"])

    def test_cancelled_before_it_has_begun(self) -> None:
        errand: Errand[Any] = Errand(self.asks(self.loop.create_future()), self.ended.append)
        errand.cancel()
        errand.begin()
        self.assertRaises(asyncio.CancelledError, errand.wait)
        self.assertEqual((self.steps, self.ended), ([], [errand]))

    def test_awaits_what_is_no_future(self) -> None:
        """It ends, instead of waiting for ever."""

        async def sleeps() -> None:
            await asyncio.sleep(0)

        error = self.assertRaises(RuntimeError, self.begin(sleeps()).wait)
        self.assertIn("which is no future", str(error))
