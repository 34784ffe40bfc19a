"""Handing in results until the broker has taken them."""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from taskqueue import errors
from taskqueue.client import Report
from taskqueue.core.task import State
from taskqueue.worker.reporting import ENOUGH, FLIGHTS, GATHER_S, Reporter


def done(lease: int, result: bytes = b"") -> Report:
    return Report(f"task-{lease}", lease, State.COMPLETED, result)


class FakeClient:
    """Keeps what is reported until the test answers."""

    def __init__(self) -> None:
        self.calls: list[tuple[list[Report], Deferred]] = []

    def report(self, reports):
        answer: Deferred = Deferred()
        self.calls.append((list(reports), answer))
        return answer

    def leases(self) -> list[list[int]]:
        return [[report.lease for report in reports] for reports, _ in self.calls]

    def take(self, *refusals: Exception) -> list[Report]:
        """Answer the oldest call: completed, but for its first ones."""
        reports, answer = self.calls.pop(0)
        states: list = [State.COMPLETED] * len(reports)
        states[: len(refusals)] = refusals
        answer.callback(states)
        return reports

    def refuse(self, error: Exception) -> None:
        self.calls.pop(0)[1].errback(error)


class Reporting(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.client = Clock(), FakeClient()
        self.reporter = Reporter(self.client, self.clock, most=3)
        self.taken: list[int] = []
        self.reporter.on_taken = lambda: self.taken.append(len(self.reporter))

    def add(self, *leases: int) -> None:
        for lease in leases:
            self.reporter.add(done(lease))
        self.clock.advance(0)

    def test_it_waits_a_little_where_more_ends_soon(self) -> None:
        self.reporter.more_soon = lambda: True
        self.add(1)
        self.clock.advance(GATHER_S * 0.9)
        self.add(2)
        self.assertEqual(self.client.calls, [])
        self.clock.advance(GATHER_S * 0.2)
        self.assertEqual(self.client.leases(), [[1, 2]])

    def test_it_does_not_wait_where_enough_is_there(self) -> None:
        self.reporter.more_soon = lambda: True
        self.reporter.most = ENOUGH + 1
        self.add(*range(ENOUGH - 1))
        self.assertEqual(self.client.calls, [])
        self.add(ENOUGH)
        self.assertEqual(len(self.client.calls), 1)

    def test_what_ends_in_one_turn_goes_together(self) -> None:
        self.reporter.add(done(1))
        self.reporter.add(done(2))
        self.assertEqual(self.client.calls, [])
        self.clock.advance(0)
        self.assertEqual(self.client.leases(), [[1, 2]])
        self.assertEqual(sorted(self.reporter.tokens()), [1, 2])
        self.client.take()
        self.assertEqual((self.reporter.tokens(), self.taken), ([], [0]))

    def test_batches_are_no_larger_than_allowed_and_few_at_a_time(self) -> None:
        self.add(*range(1, 10))
        self.clock.advance(0)
        self.assertEqual(len(self.client.calls), FLIGHTS)
        self.assertEqual(self.client.leases(), [[1, 2, 3], [4, 5, 6]])
        self.client.take()
        self.clock.advance(0)
        self.assertEqual(self.client.leases(), [[4, 5, 6], [7, 8, 9]])

    def test_large_results_go_apart(self) -> None:
        for lease in (1, 2):
            self.reporter.add(done(lease, b"x" * 3_000_000))
        self.clock.advance(0)
        self.clock.advance(0)
        self.assertEqual(self.client.leases(), [[1], [2]])

    def test_what_cannot_be_taken_now_is_said_again(self) -> None:
        self.add(1)
        self.client.refuse(errors.StoreUnavailable(retry_after_s=4.0))
        self.clock.advance(3.9)
        self.assertEqual(self.client.calls, [])
        self.assertEqual(self.reporter.tokens(), [1])
        self.clock.advance(0.2)
        self.clock.advance(0)
        self.assertEqual(self.client.leases(), [[1]])

    def test_one_item_that_cannot_be_taken_now(self) -> None:
        self.add(1, 2)
        self.client.take(errors.StoreUnavailable())
        self.clock.advance(1)
        self.clock.advance(0)
        self.assertEqual(self.client.calls[0][0], [done(1)])

    def test_a_lost_lease_is_let_go(self) -> None:
        self.add(1)
        self.client.take(errors.LeaseLost())
        self.clock.advance(5)
        self.assertEqual((self.client.calls, len(self.reporter)), ([], 0))

    def test_a_result_that_is_refused_becomes_a_failure(self) -> None:
        self.add(1)
        self.client.take(errors.PayloadTooLarge("the result has too many bytes"))
        self.clock.advance(1)
        self.clock.advance(0)
        (report,) = self.client.calls[0][0]
        self.assertEqual((report.status, report.permanent), (State.FAILED, True))
        self.assertIn("too many bytes", report.error)

    def test_a_batch_that_is_refused_whole_is_taken_apart(self) -> None:
        self.add(1, 2)
        self.client.refuse(errors.FrameTooLarge("too large"))
        self.assertEqual(self.client.leases(), [[1]])
        self.client.take()
        self.assertEqual(self.client.leases(), [[2]])
        self.client.refuse(errors.FrameTooLarge("still too large"))
        self.clock.advance(1)
        self.clock.advance(0)
        self.assertEqual(self.client.calls[0][0][0].status, State.FAILED)

    def test_drained(self) -> None:
        self.successResultOf(self.reporter.drained())
        self.add(1)
        drained = self.reporter.drained()
        self.assertNoResult(drained)
        self.client.take()
        self.successResultOf(drained)
