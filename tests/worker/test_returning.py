"""Giving deliveries back, and telling how far they are."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from taskqueue import errors
from taskqueue.client.limits import Limits
from taskqueue.core.task import State
from taskqueue.worker.returning import Returns
from taskqueue.worker.telling import Progress


class FakeClient:
    """Keeps what is said until the test answers."""

    limits = Limits()

    def __init__(self) -> None:
        self.calls: list[tuple[Any, Any, Deferred[Any]]] = []

    def release(self, holdings: Any, delay_s: float | None = None) -> Deferred[Any]:
        self.calls.append((list(holdings), delay_s, Deferred()))
        return self.calls[-1][2]

    def progress(self, holding: Any, value: Any) -> Deferred[Any]:
        self.calls.append((holding, value, Deferred()))
        return self.calls[-1][2]

    def answer(self, result: Any) -> tuple[Any, Any]:
        said, more, answer = self.calls.pop(0)
        answer.errback(result) if isinstance(result, Exception) else answer.callback(result)
        return said, more


class Returning(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.client = Clock(), FakeClient()
        self.returns = Returns(self.client, self.clock)

    def test_together_where_the_pause_is_the_same(self) -> None:
        for token, delay_s in ((1, 0.0), (2, 5.0), (3, 0.0)):
            self.returns.add((f"task-{token}", token), delay_s)
        self.assertEqual((sorted(self.returns.tokens()), self.client.calls), ([1, 2, 3], []))
        self.clock.advance(0)
        drained = Deferred.fromCoroutine(self.returns.drained())
        said = self.client.answer([State.PENDING, State.PENDING])
        self.assertEqual(said, ([("task-1", 1), ("task-3", 3)], None))
        self.assertNoResult(drained)
        self.assertEqual(self.client.answer([State.PENDING]), ([("task-2", 2)], 5.0))
        self.successResultOf(drained)
        self.assertEqual(len(self.returns), 0)

    def test_said_again_where_it_was_not_heard(self) -> None:
        self.returns.add(("a", 1))
        self.clock.advance(0)
        self.client.answer(errors.ConnectionLost())
        self.assertEqual(self.returns.tokens(), [1])
        self.clock.advance(0.9)
        self.assertEqual(self.client.calls, [])
        self.clock.advance(0.2)
        self.client.answer([errors.StoreUnavailable()])
        self.clock.advance(1)
        self.client.answer([errors.LeaseLost()])
        self.assertEqual(len(self.returns), 0)

    def test_what_is_refused_for_good_is_let_go(self) -> None:
        self.returns.add(("a", 1))
        self.clock.advance(0)
        self.client.answer(errors.BadRequest("no"))
        self.clock.advance(5)
        self.assertEqual((len(self.returns), self.client.calls), (0, []))

    def test_no_more_at_a_time_than_is_allowed(self) -> None:
        most = self.client.limits.max_batch_claim
        for token in range(most + 1):
            self.returns.add(("a", token))
        self.clock.advance(0)
        said, _ = self.client.answer([State.PENDING] * most)
        self.assertEqual(len(said), most)
        self.assertEqual(self.client.answer([State.PENDING])[0], [("a", most)])

    def test_anew_after_all_was_given_back(self) -> None:
        for token in (1, 2):
            self.returns.add(("a", token))
            self.clock.advance(0)
            self.assertEqual(self.client.answer([State.PENDING])[0], [("a", token)])


class Telling(SynchronousTestCase):
    def setUp(self) -> None:
        self.client = FakeClient()
        self.cancelled: list[bool] = []
        self.progress = Progress(self.client, ("a", 1), lambda: self.cancelled.append(True))

    def test_the_newest_of_those_that_waited(self) -> None:
        for value in (1, 2, 3):
            self.progress.tell(value)
        self.assertEqual(self.client.answer(False), (("a", 1), 1))
        self.assertEqual(self.client.answer(False), (("a", 1), 3))
        self.assertEqual((self.client.calls, self.cancelled), ([], []))

    def test_somebody_wants_it_cancelled(self) -> None:
        self.progress.tell(1)
        self.client.answer(True)
        self.assertEqual(self.cancelled, [True])

    def test_a_refusal_is_not_the_end(self) -> None:
        self.progress.tell(1)
        self.progress.tell(2)
        self.client.answer(errors.PayloadTooLarge())
        self.assertEqual(self.client.answer(False), (("a", 1), 2))

    def test_after_its_end_nothing_is_said(self) -> None:
        self.progress.tell(1)
        self.progress.tell(2)
        self.progress.stop()
        self.client.answer(True)
        self.assertEqual((self.client.calls, self.cancelled), ([], []))
