"""
Workers that live and have room, but do not ask for what waits.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.stalls import StalledWorkers
from tests.core.world import World


class StallTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.stalled = StalledWorkers()
        self.worker = self.world.register("w", capacity=2, types=frozenset({"job", "mail"}))
        self.world.submit()

    def look(self, seconds: float = 0.0) -> list[str]:
        """Look again, some time later."""
        self.world.pass_time(seconds)
        found = self.stalled.look(self.world.ledger, self.world.mono, 30.0)
        return [worker.name for worker in found]

    def test_found_once_after_a_while(self) -> None:
        self.assertEqual(self.look(), [])
        self.assertEqual(self.look(29.9), [])
        self.assertEqual(self.stalled.names, frozenset())
        self.assertFalse(self.worker.stalled)
        self.assertEqual(self.look(0.1), ["w"])
        self.assertTrue(self.worker.stalled)
        self.assertEqual(self.look(5), [])
        self.assertEqual(self.stalled.names, {"w"})

    def test_a_task_ends_the_suspicion(self) -> None:
        self.world.submit()
        self.look()
        self.look(30)
        self.world.take(self.worker)
        self.assertEqual(self.look(1), [])
        self.assertFalse(self.worker.stalled)
        self.assertEqual(self.stalled.names, frozenset())
        self.assertEqual(self.look(29), [])
        self.assertEqual(self.look(1), ["w"])

    def test_a_report_ends_the_suspicion(self) -> None:
        delivery = self.world.take(self.worker)
        self.world.submit()
        self.look()
        self.world.complete(delivery)
        self.assertEqual(self.look(30), [])

    def test_another_incarnation_is_another_worker(self) -> None:
        self.look()
        self.world.register("w", 2, types=frozenset({"job"}))
        self.assertEqual(self.look(30), [])
        self.assertEqual(self.look(30), ["w"])

    def test_what_is_no_stall(self) -> None:
        world, worker = self.world, self.worker
        ways: tuple[tuple[str, Callable[[], object]], ...] = (
            ("it waits for tasks", lambda: world.wait("nothing", holder=worker)),
            (
                "it has no room",
                lambda: [world.submit(), world.submit(), world.claim(2, holder=worker)],
            ),
            ("it is away", lambda: setattr(worker, "away_since", 1.0)),
            ("it has not reported since a restart", lambda: setattr(worker, "recovered", True)),
            ("it was told to", lambda: setattr(worker, "order", "quiet")),
            (
                "the queue is paused",
                lambda: setattr(world.ledger.queues["default"], "paused", True),
            ),
            ("nothing waits", lambda: world.claim(10)),
        )
        for what, bring_about in ways:
            self.setUp()
            world, worker = self.world, self.worker
            bring_about()
            self.look()
            self.assertEqual(self.look(60), [], what)

    def test_other_queues_and_types(self) -> None:
        world = World()
        stalled = StalledWorkers()
        world.register("any", queues=("default", "other"))
        world.register("elsewhere", queues=("elsewhere",))
        world.register("other-type", types=frozenset({"mail"}))
        world.submit(queue="other")
        for mono in (0.0, 30.0):
            found = stalled.look(world.ledger, mono, 30.0)
        self.assertEqual([worker.name for worker in found], ["any"])
