"""The tasks that a worker holds."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.app.outcomes import Verdict
from taskqueue.client import Delivery, Report
from taskqueue.core.task import State
from taskqueue.worker.executors import NOT_BEGUN, Ended
from taskqueue.worker.jobs import REMEMBERED, Jobs
from tests.worker.executors.deliveries import delivery


class FakeWork:
    def __init__(self, in_loop: bool, timeout_s: float | None = None) -> None:
        self.in_loop = in_loop
        self._timeout_s = timeout_s

    def timeout_for(self, headers: Mapping[str, str]) -> float | None:
        return self._timeout_s


class FakeExecutor:
    """Ends tasks when the test says so."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.most_ahead = 0
        self.recalls = 0
        self.running: dict[int, Ended] = {}
        self.stopped: list[tuple[int, str]] = []
        self.listener: Any = None

    @property
    def ahead(self) -> int:
        return max(0, self.capacity + self.most_ahead - max(len(self.running), self.capacity))

    def start(self) -> Deferred[None]:
        return succeed(None)

    def run(self, given: Sequence[Delivery], ended: Ended) -> None:
        for one in given:
            assert len(self.running) < self.capacity + self.most_ahead
            self.running[one.lease] = ended

    def end(self, given: Delivery, verdict: Verdict | None = None) -> None:
        self.running.pop(given.lease)(given.lease, verdict or Verdict("completed", b"done"))

    def recall(self) -> None:
        self.recalls += 1

    def give_back(self, *given: Delivery) -> None:
        """As recalled: the newest first."""
        for one in reversed(given):
            self.running.pop(one.lease)(one.lease, NOT_BEGUN)

    def stop_task(self, token: int, reason: str) -> None:
        self.stopped.append((token, reason))

    def shut_down(self, within_s: float) -> Deferred[None]:
        return succeed(None)

    def pids(self) -> list[int]:
        return []


class FakeClient:
    def __init__(self) -> None:
        self.told: list[Any] = []

    def progress(self, holding: Any, value: Any) -> Deferred[bool]:
        self.told.append((holding, value))
        return succeed(True)


class JobsCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock, self.client = Clock(), FakeClient()
        self.loop, self.pool = FakeExecutor(2), FakeExecutor(2)
        works = {"soon": FakeWork(False, 5.0), "plain": FakeWork(False), "loop": FakeWork(True)}
        self.jobs = Jobs(works, self.client, self.clock, 2, loop=self.loop, pool=self.pool)
        self.reports: list[Report] = []
        self.returned: list[Any] = []
        self.free = 0
        self.jobs.on_report = self.reports.append
        self.jobs.on_return = lambda holding, delay_s: self.returned.append((holding, delay_s))
        self.jobs.on_free = self.count

    def count(self) -> None:
        self.free += 1

    def begin(self, *kinds: str) -> list[Delivery]:
        given = [delivery(kind) for kind in kinds]
        for one in given:
            self.jobs.begin(one)
        return given


class Holding(JobsCase):
    def test_no_more_at_a_time_than_it_may(self) -> None:
        first, second, third, fourth = self.begin("plain", "loop", "plain", "loop")
        self.assertEqual(
            (list(self.pool.running), list(self.loop.running)), ([first.lease], [second.lease])
        )
        self.assertEqual((len(self.jobs), self.jobs.waiting, self.jobs.slots), (4, 2, 2))
        self.pool.end(first)
        self.assertEqual(list(self.pool.running), [third.lease])
        self.loop.end(second)
        self.assertEqual(list(self.loop.running), [fourth.lease])
        self.assertEqual([r.lease for r in self.reports], [first.lease, second.lease])
        self.assertEqual(self.free, 2)

    def test_no_more_than_an_executor_can(self) -> None:
        self.pool.capacity = 1
        first, second = self.begin("plain", "plain")
        (in_loop,) = self.begin("loop")
        self.assertEqual(list(self.loop.running), [in_loop.lease])
        self.loop.end(in_loop)
        self.assertEqual(list(self.pool.running), [first.lease])
        self.pool.capacity = 2
        self.jobs.capacity_changed()
        self.assertEqual(list(self.pool.running), [first.lease, second.lease])

    def test_any_number_that_are_over_at_once(self) -> None:
        """However many end before they have been begun: none is begun within another."""
        depths: list[int] = []

        def run(given: Sequence[Delivery], ended: Ended) -> None:
            depths.append(len(inspect.stack(0)))
            for one in given:
                ended(one.lease, Verdict("completed", b"done"))

        self.loop.run = run  # type: ignore[method-assign]
        self.jobs.begin(*(delivery("loop") for _ in range(20)))
        self.assertEqual((len(self.reports), len(self.jobs)), (20, 0))
        self.assertEqual(len(set(depths)), 1)

    def test_an_end_that_cannot_be_told_harms_no_other(self) -> None:
        one, two = self.begin("plain", "plain")
        self.jobs.on_report = lambda report: {}[report.lease]
        self.pool.end(one)
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)
        self.jobs.on_report = self.reports.append
        self.pool.end(two)
        self.assertEqual([report.lease for report in self.reports], [two.lease])

    def test_what_has_ended_is_told(self) -> None:
        one, two, three = self.begin("plain", "plain", "plain")
        self.pool.end(one, Verdict("failed", error="bad", permanent=True, retry_in_s=3.0))
        self.pool.end(two, Verdict("released", delay_s=7.0))
        self.pool.end(three, Verdict("cancelled"))
        failed, cancelled = self.reports
        self.assertEqual(failed, Report(one.id, one.lease, State.FAILED, b"", "bad", True, 3.0))
        self.assertEqual((cancelled.lease, cancelled.status), (three.lease, State.CANCELLED))
        self.assertEqual(self.returned, [(two.holding, 7.0)])

    def test_a_time_out(self) -> None:
        (given,) = self.begin("soon")
        self.clock.advance(4.9)
        self.assertEqual(self.pool.stopped, [])
        self.clock.advance(0.2)
        self.assertEqual(self.pool.stopped, [(given.lease, "timeout")])
        self.pool.end(given, Verdict("failed", error="TaskTimedOut: x"))
        (report,) = self.reports
        self.assertEqual(report.error, "the task exceeded its time-out of 5 s\n\nTaskTimedOut: x")

    def test_a_time_out_that_ends_as_the_task_wants(self) -> None:
        for verdict, status in (
            (Verdict("completed", b"part"), State.COMPLETED),
            (Verdict("failed", error="again", retry_in_s=1.0), State.FAILED),
        ):
            (given,) = self.begin("soon")
            self.clock.advance(6)
            self.pool.end(given, verdict)
            self.assertEqual(
                (self.reports[-1].status, self.reports[-1].error), (status, verdict.error)
            )

    def test_the_clock_of_a_time_out_begins_with_the_task(self) -> None:
        first, second, third = self.begin("soon", "soon", "soon")
        self.clock.advance(3)
        self.pool.end(first)
        self.clock.advance(3)
        self.assertEqual(self.pool.stopped, [(second.lease, "timeout")])
        self.pool.end(third)
        self.pool.end(second)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_cancelling(self) -> None:
        first, _, waiting = self.begin("plain", "plain", "plain")
        self.jobs.cancel(first.lease)
        self.jobs.cancel(first.lease)
        self.jobs.cancel(12345)
        self.assertEqual(self.pool.stopped, [(first.lease, "cancel")])
        self.jobs.cancel(waiting.lease)
        self.assertEqual(
            [(r.lease, r.status) for r in self.reports], [(waiting.lease, State.CANCELLED)]
        )
        self.assertEqual(self.jobs.waiting, 0)

    def test_what_is_lost(self) -> None:
        first, second, waiting = self.begin("plain", "plain", "plain")
        self.jobs.drop([first.lease, waiting.lease, 12345])
        self.assertEqual(self.pool.stopped, [(first.lease, "lease_lost")])
        self.assertEqual(self.jobs.tokens(), [first.lease, second.lease])
        self.pool.end(first)
        self.assertEqual(self.reports, [])

    def test_what_has_not_begun_is_given_back(self) -> None:
        first, second, waiting = self.begin("plain", "plain", "plain")
        self.jobs.give_back_waiting()
        self.assertEqual(self.returned, [(waiting.holding, 0.0)])
        self.assertEqual(self.jobs.tokens(), [first.lease, second.lease])

    def test_at_the_end_all_is_given_back(self) -> None:
        first, second, waiting = self.begin("soon", "plain", "plain")
        self.assertEqual(self.jobs.forget(), [d.holding for d in (first, second, waiting)])
        self.pool.end(first)
        self.assertEqual((self.reports, self.clock.getDelayedCalls()), ([], []))

    def test_progress_may_bring_a_cancellation(self) -> None:
        (given,) = self.begin("plain")
        self.pool.listener.progress(given.lease, 5)
        self.pool.listener.progress(12345, 5)
        self.assertEqual(self.client.told, [(given.holding, 5)])
        self.assertEqual(self.pool.stopped, [(given.lease, "cancel")])

    def test_a_type_that_it_does_not_have(self) -> None:
        self.begin("unknown")
        self.assertEqual(self.reports[0].status, State.FAILED)
        self.assertEqual(len(self.jobs), 0)


class HandedOver(JobsCase):
    """An executor that is given some before it can begin them."""

    def setUp(self) -> None:
        super().setUp()
        self.pool.most_ahead = 3

    def test_those_do_not_run_yet(self) -> None:
        given = self.begin(*["soon"] * 6)
        self.assertEqual(list(self.pool.running), [one.lease for one in given[:5]])
        self.assertEqual((len(self.jobs), self.jobs.waiting), (6, 4))
        self.clock.advance(4.9)
        self.jobs.began(given[2].lease)
        self.pool.end(given[0])
        self.assertEqual((len(self.jobs), self.jobs.waiting), (5, 3))
        self.clock.advance(0.2)
        self.assertEqual(self.pool.stopped, [(given[1].lease, "timeout")])
        self.clock.advance(4.8)
        self.assertEqual(self.pool.stopped[1:], [(given[2].lease, "timeout")])

    def test_what_comes_back_keeps_its_place(self) -> None:
        given = self.begin(*["plain"] * 6)
        self.pool.most_ahead = 0
        self.pool.give_back(*given[2:5])
        self.assertEqual(self.jobs.waiting, 4)
        self.pool.most_ahead = 9
        self.jobs.capacity_changed()
        self.assertEqual(list(self.pool.running), [one.lease for one in given])
        self.assertEqual((self.reports, self.returned), ([], []))

    def test_what_was_begun_may_come_back_too(self) -> None:
        """A child that was slow to read what it was sent passes all of it by."""
        given = self.begin(*["soon"] * 4)
        self.pool.give_back(*given)
        self.assertEqual((self.jobs.waiting, len(self.jobs)), (4, 4))
        self.clock.advance(6)
        self.assertEqual(self.pool.stopped, [])
        self.jobs.capacity_changed()
        self.assertEqual(list(self.pool.running), [one.lease for one in given])
        self.assertEqual((self.jobs.waiting, len(self.jobs)), (2, 4))
        for one in given:
            self.pool.end(one)
        self.assertEqual((len(self.jobs), self.jobs.waiting), (0, 0))

    def test_what_comes_back_after_its_time_out_has_failed(self) -> None:
        given = self.begin("soon", "soon")
        self.clock.advance(5.1)
        self.pool.give_back(given[0])
        (report,) = self.reports
        self.assertEqual(report.status, State.FAILED)
        self.assertIn("time-out", report.error)

    def test_a_slot_is_left_to_what_waits_elsewhere(self) -> None:
        self.loop.capacity = 0
        (in_loop,) = self.begin("loop")
        given = self.begin("plain", "plain", "plain")
        self.assertEqual(list(self.pool.running), [one.lease for one in given[:2]])
        self.loop.capacity = 1
        self.pool.end(given[0])
        self.assertEqual(list(self.loop.running), [in_loop.lease])
        self.assertEqual(list(self.pool.running), [one.lease for one in given[1:]])

    def test_cancelled_before_it_begins(self) -> None:
        given = self.begin("plain", "plain", "plain", "plain")
        self.jobs.cancel(given[2].lease)
        self.assertEqual((self.pool.recalls, self.pool.stopped, self.reports), (1, [], []))
        self.pool.give_back(*given[2:])
        (report,) = self.reports
        self.assertEqual((report.lease, report.status), (given[2].lease, State.CANCELLED))
        self.jobs.capacity_changed()
        self.assertIn(given[3].lease, self.pool.running)

    def test_cancelled_when_it_just_begins(self) -> None:
        given = self.begin("plain", "plain", "plain")
        self.jobs.cancel(given[2].lease)
        self.jobs.began(given[2].lease)
        self.assertEqual(self.pool.stopped, [(given[2].lease, "cancel")])

    def test_lost_before_it_begins(self) -> None:
        given = self.begin("plain", "plain", "plain")
        self.jobs.drop([given[2].lease])
        self.pool.give_back(given[2])
        self.assertEqual((self.reports, self.returned, len(self.jobs)), ([], [], 2))

    def test_a_quiet_worker_gives_them_back(self) -> None:
        given = self.begin("plain", "plain", "plain", "plain")
        self.jobs.give_back_waiting()
        self.assertEqual((self.pool.recalls, self.returned), (1, []))
        self.pool.give_back(*given[2:])
        self.assertEqual(
            [holding for holding, _ in self.returned], [given[3].holding, given[2].holding]
        )
        self.assertEqual(len(self.jobs), 2)

    def test_it_ends_without_having_begun(self) -> None:
        given = self.begin("plain", "plain", "plain")
        self.pool.end(given[2], Verdict("failed", error="its process died"))
        self.assertEqual((len(self.reports), len(self.jobs), self.jobs.waiting), (1, 2, 0))
        self.pool.end(given[0])
        self.pool.end(given[1])
        self.assertEqual((len(self.jobs), self.jobs.waiting), (0, 0))

    def test_how_long_they_take(self) -> None:
        for _ in range(REMEMBERED):
            self.assertIs(self.jobs.mean_s, None)
            (given,) = self.begin("plain")
            self.clock.advance(0.5)
            self.pool.end(given)
        self.assertAlmostEqual(self.jobs.mean_s, 0.5)
