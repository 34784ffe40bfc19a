"""Nobody waits for an outcome for ever, in whatever order things happen."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taskqueue import errors
from taskqueue.client.aio import AsyncClient
from taskqueue.client.blocking import BlockingClient
from taskqueue.client.loop_thread import LoopThread
from taskqueue.wire import MessageType as M
from tests.client.test_calls import A, CallCase, outcome

REFUSAL = {"item": 0, "code": "BAD_REQUEST", "message": "no"}


class SubmittingAndWaiting(CallCase):
    """Who waits for a task whose submission is under way, besides who submits it."""

    def setUp(self) -> None:
        super().setUp()
        self.told: list[Any] = []
        self.submitting = self.start(
            self.calls.submit_many([{"type": "t", "id": A}], self.told.append)
        )

    def test_the_broker_is_asked_when_the_submission_was_refused(self) -> None:
        waiting = self.start(self.calls.outcome(A))
        self.peer.ack(self.peer.expect(M.SUBMIT_TASK), tasks=[None], errors=[REFUSAL])
        self.clock.advance(0)
        self.peer.ack(self.peer.expect(M.WATCH), unknown=[A])
        self.failureResultOf(waiting, errors.UnknownTask)
        self.assertEqual((self.told, len(self.calls._outcomes)), ([], 0))

    def test_one_that_gives_up_takes_nothing_from_the_submission(self) -> None:
        """After a reconnect, the broker is not asked for what it does not know yet."""
        waiting = self.start(self.calls.outcome(A, 1.0))
        self.clock.advance(1.0)
        self.failureResultOf(waiting, errors.AnswerTimedOut)
        self.peer.lose()
        peer = self.world.welcome()
        peer.ack(peer.expect(M.SUBMIT_TASK), tasks=[A])
        peer.say(M.EVENT, {"events": [outcome(A)]})
        self.assertEqual([told.task for told in self.told], [A])
        self.assertEqual(peer.got, [])

    def test_submitted_twice_and_refused_once(self) -> None:
        self.start(self.calls.submit_many([{"type": "t", "id": A}], self.told.append))
        first, second = self.peer.expect(M.SUBMIT_TASK), self.peer.expect(M.SUBMIT_TASK)
        self.peer.ack(first, tasks=[None], errors=[REFUSAL])
        self.clock.advance(0)
        self.assertEqual(self.peer.got, [])  # the second asks
        self.peer.ack(second, tasks=[A])
        self.peer.say(M.EVENT, {"events": [outcome(A)]})
        self.assertEqual([told.task for told in self.told], [A])


class WaitingAndSubmitting(CallCase):
    """Who waits for a task before it is submitted."""

    def test_in_the_same_turn(self) -> None:
        told: list[Any] = []
        waiting = self.start(self.calls.outcome(A))
        self.start(self.calls.submit_many([{"type": "t", "id": A}], told.append))
        self.clock.advance(0)
        self.peer.ack(self.peer.expect(M.SUBMIT_TASK), tasks=[A])
        self.assertEqual(self.peer.got, [])  # the submission asked
        self.peer.say(M.EVENT, {"events": [outcome(A)]})
        self.assertEqual([told[0].task, self.successResultOf(waiting).task], [A, A])

    def test_when_the_broker_has_just_been_asked(self) -> None:
        told: list[Any] = []
        waiting = self.start(self.calls.outcome(A))
        self.clock.advance(0)
        self.start(self.calls.submit_many([{"type": "t", "id": A}], told.append))
        self.peer.ack(self.peer.expect(M.WATCH), unknown=[A])
        self.peer.ack(self.peer.expect(M.SUBMIT_TASK), tasks=[A])
        self.peer.say(M.EVENT, {"events": [outcome(A)]})
        self.assertEqual([told[0].task, self.successResultOf(waiting).task], [A, A])


class Ending(CallCase):
    def test_a_broker_that_cannot_be_spoken_to_any_more(self) -> None:
        """After a reconnect, it is of another version: there will be no outcome."""
        waiting = self.start(self.calls.outcome(A))
        self.peer.lose()
        peer = self.world.connect()
        peer.nack(peer.expect(M.HELLO), "UNSUPPORTED_VERSION")
        peer.lose()
        self.failureResultOf(waiting, errors.UnsupportedVersion)

    def test_who_comes_after_the_end(self) -> None:
        told: list[Any] = []
        self.calls.close(errors.ConnectionLost("closed"))
        self.calls._outcomes.wait([A], told.append)
        self.clock.advance(0)
        self.assertEqual(str(told[0]), "closed")
        self.assertEqual(len(self.calls._outcomes), 0)


class ClosedMeanwhile(SynchronousTestCase):
    """Clients that are closed between a check and what follows it."""

    def test_on_asyncio(self) -> None:
        async def main() -> None:
            client = AsyncClient("tq://127.0.0.1:1")
            completed = client.as_completed([A])
            client.calls.must_be_open = lambda: None  # type: ignore[method-assign]
            client.calls.as_completed = self.refuses  # type: ignore[method-assign,assignment]
            with self.assertRaisesRegex(errors.ConnectionLost, "just closed"):
                await asyncio.wait_for(anext(completed), 5)

        asyncio.run(main())

    async def refuses(self, *_: Any) -> None:
        raise errors.ConnectionLost("just closed")

    def test_where_callers_wait(self) -> None:
        client = BlockingClient("tq://127.0.0.1:1")
        self.addCleanup(client.close)
        _, inner = client._running()
        inner.calls.as_completed = self.refuses  # type: ignore[method-assign,assignment]
        with self.assertRaisesRegex(errors.ConnectionLost, "just closed"):
            next(client.as_completed([A], timeout_s=5))

    def test_a_thread_that_stops(self) -> None:
        """Who waits for what it ran is told, and so is who comes after."""
        thread = LoopThread("test")
        begun = threading.Event()

        async def endless() -> None:
            begun.set()
            await asyncio.get_running_loop().create_future()

        waiting = thread.begin(endless())
        begun.wait(5)
        thread.stop()
        self.assertTrue(waiting.done())
        self.assertRaisesRegex(errors.ConnectionLost, "is closed", thread.wait, waiting)
        self.assertRaisesRegex(errors.ConnectionLost, "is closed", thread.run, endless())
