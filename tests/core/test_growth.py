"""
What a command costs does not grow with the number of waiting tasks or lanes.

Counted, not timed, so that it is the same on every machine: calls of functions,
Python's and C's, and the elements of what is walked through or made a heap.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core import lane as lane_module
from taskqueue.core import lanes as lanes_module
from taskqueue.core import leases as leases_module
from taskqueue.core import schedule as schedule_module
from taskqueue.core import waiting as waiting_module
from taskqueue.core.intake import Submission
from taskqueue.core.lane import MOST_LINES
from taskqueue.core.overview import describe_queue
from taskqueue.core.policy import Policy
from taskqueue.core.task import State, Task
from taskqueue.core.waiting import Claim
from tests.core.world import WALL, World

#: Operations of each kind that are counted together.
ROUND = 100
TOLERANCE = 1.5
#: So far apart that what grows with the logarithm alone grows by more than L{TOLERANCE}.
FEW, MANY = 1_000, 50_000
MANY_LANES = 10_000


class Meter:
    """
    Counts calls while it runs, and for what happens within one call the elements.
    """

    def __init__(self) -> None:
        self.calls = 0

    def _seen(self, frame: object, event: str, argument: object) -> None:
        if event in ("call", "c_call"):
            self.calls += 1

    def measure(self, command: Callable[[], object]) -> int:
        """How many calls C{command} makes."""
        self.calls = 0
        before = sys.getprofile()
        sys.setprofile(self._seen)
        try:
            command()
        finally:
            sys.setprofile(before)
        return self.calls

    def weighed(self, elements: dict[Any, Any]) -> dict[Any, Any]:
        """A copy of which a walk counts for as much as it is long."""
        return Weighed(elements, self)


class Weighed(dict[Any, Any]):
    """A dictionary that tells a L{Meter} when somebody walks through it."""

    def __init__(self, elements: dict[Any, Any], meter: Meter) -> None:
        super().__init__(elements)
        self._meter = meter

    def __iter__(self) -> Iterator[Any]:
        self._meter.calls += len(self)
        return super().__iter__()

    def keys(self) -> Any:
        self._meter.calls += len(self)
        return super().keys()

    def values(self) -> Any:
        self._meter.calls += len(self)
        return super().values()

    def items(self) -> Any:
        self._meter.calls += len(self)
        return super().items()


def filled(meter: Meter, tasks: int, lanes: int, priorities: int = 256) -> World:
    """
    A world with so many waiting tasks, most of them ready, in so many lanes, and of so many
    priorities, which go down to that of beanstalkd's least urgent job.
    """
    world = World(Policy(depth_threshold=10**9))
    ledger, holder = world.ledger, world.register()
    queue = ledger.queue("default")
    ledger.tasks = meter.weighed(ledger.tasks)
    ledger.queues = meter.weighed(ledger.queues)
    queue.lanes, queue.busy = meter.weighed(queue.lanes), meter.weighed(queue.busy)
    holder.leases = meter.weighed(holder.leases)
    step = 1 if priorities <= 256 else 2**32 // priorities
    items = [
        Submission(
            f"type-{number % lanes}",
            priority=255 - number % priorities * step,
            id=f"t{number}",
            run_at=WALL + 10**6 if number % 10 == 9 else None,
            expires_at=WALL + 10**7 if number % 10 == 8 else None,
        )
        for number in range(tasks)
    ]
    world.broker.intake.submit(items, world.now, {})
    world.serve()
    world.drain()
    return world


def submit(world: World) -> Callable[[], object]:
    items = [[Submission("type-0", priority=n % 256)] for n in range(ROUND)]
    return lambda: [world.broker.intake.submit(item, world.now, {}) for item in items]


def submit_later(world: World) -> Callable[[], object]:
    items = [[Submission("type-0", run_at=WALL + 60 + n)] for n in range(ROUND)]
    return lambda: [world.broker.intake.submit(item, world.now, {}) for item in items]


def claim_any(world: World) -> Callable[[], object]:
    return lambda: [world.claim() for _ in range(ROUND)]


def claim_typed(world: World) -> Callable[[], object]:
    types = frozenset({"type-0", "type-1"})
    return lambda: [world.claim(types=types) for _ in range(ROUND)]


def claim_nothing(world: World) -> Callable[[], object]:
    types = frozenset({"nobody-has-this"})
    return lambda: [world.claim(types=types) for _ in range(ROUND)]


def complete(world: World) -> Callable[[], object]:
    deliveries = world.claim(ROUND)
    return lambda: [world.complete(delivery) for delivery in deliveries]


def fail(world: World) -> Callable[[], object]:
    deliveries = world.claim(ROUND)
    return lambda: [world.fail(delivery) for delivery in deliveries]


def release(world: World) -> Callable[[], object]:
    give_back = world.broker.desk.release
    deliveries = world.claim(ROUND)
    return lambda: [give_back(d.id, d.lease, 0.0, world.now) for d in deliveries]


def cancel(world: World) -> Callable[[], object]:
    ids = [task.id for task in world.ledger.tasks.values() if task.state is State.PENDING]
    some = ids[:: len(ids) // ROUND][:ROUND]
    return lambda: [world.cancel(task_id) for task_id in some]


def heartbeat(world: World) -> Callable[[], object]:
    world.claim(len(world.ledger.tasks) // 2, holder=world.ledger.workers.get("w"))
    return lambda: [world.beat() for _ in range(ROUND)]


def upkeep(world: World) -> Callable[[], object]:
    return lambda: [world.tick(0.001) for _ in range(ROUND)]


def serve(world: World) -> Callable[[], object]:
    types = frozenset({"rare"})

    def wait_and_serve() -> None:
        for _ in range(ROUND):
            world.ledger.claims.add(Claim(world.holder, ("default",), types, 1, None, 1e9))
            world.submit(task_type="rare")
            assert len(world.serve()) == 1

    return wait_and_serve


COMMANDS: tuple[Callable[[World], Callable[[], object]], ...] = (
    submit,
    submit_later,
    claim_any,
    claim_typed,
    claim_nothing,
    complete,
    fail,
    release,
    cancel,
    heartbeat,
    upkeep,
    serve,
)


class GrowthTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.meter = Meter()
        modules = (lane_module, lanes_module, leases_module, schedule_module, waiting_module)
        for module in modules:
            self._weigh(module)

    def _weigh(self, module: Any) -> None:
        """Let building a heap count for as much as the heap is large."""
        heapify = module.heapify

        def weighed(heap: list[Any]) -> None:
            self.meter.calls += len(heap)
            heapify(heap)

        self.patch(module, "heapify", weighed)

    def costs(self, tasks: int, lanes: int, priorities: int = 256) -> dict[str, float]:
        """Calls for each operation, one command after another in one world."""
        world = filled(self.meter, tasks, lanes, priorities)
        return {
            command.__name__: self.meter.measure(command(world)) / ROUND for command in COMMANDS
        }

    def assertFlat(self, small: tuple[int, ...], large: tuple[int, ...]) -> None:
        before, after = self.costs(*small), self.costs(*large)
        grown = [
            f"{name}: {before[name]:.1f} calls became {after[name]:.1f}"
            for name in before
            if after[name] > TOLERANCE * before[name]
        ]
        self.assertEqual(grown, [])
        self.assertGreater(min(before.values()), 1.0)

    def test_with_the_number_of_tasks(self) -> None:
        self.assertFlat((FEW, 1), (MANY, 1))

    def test_with_the_number_of_lanes(self) -> None:
        self.assertFlat((MANY_LANES, 1), (MANY_LANES, MANY_LANES))

    def test_with_the_number_of_priorities(self) -> None:
        self.assertFlat((FEW, 1, 256), (MANY, 1, MANY))

    def test_an_overview_looks_at_no_task(self) -> None:
        """Only at its lanes."""
        costs = []
        for tasks in (FEW, MANY):
            world = filled(self.meter, tasks, 10)
            queue = world.ledger.queues["default"]
            now = world.now
            costs.append(self.meter.measure(lambda q=queue, n=now: describe_queue(q, n)))
        self.assertEqual(costs[0], costs[1])

    def test_an_overview_and_reading_ahead_look_at_few_of_many_priorities(self) -> None:
        world = filled(self.meter, MANY, 1, MANY)
        [lane] = world.ledger.queues["default"].lanes.values()
        self.assertEqual(len(lane.longest_ready()), MOST_LINES)
        first = [delivery.id for delivery in world.claim(100)]
        for delivery in [*world.holder.leases.values()]:
            world.broker.desk.release(delivery.task.id, delivery.token, 0.0, world.now)
        found: list[Task] = []
        self.assertLess(self.meter.measure(lambda: found.extend(lane.upcoming(100))), 2000)
        self.assertEqual([task.id for task in found], first)
        self.assertLess(self.meter.measure(lambda: lane.samples(500)), 20)

    def test_the_meter_sees_what_is_slow(self) -> None:
        heap = list(range(1000))
        table = self.meter.weighed(dict.fromkeys(heap))
        self.assertGreater(self.meter.measure(lambda: lanes_module.heapify(heap)), 1000)
        self.assertGreater(self.meter.measure(lambda: list(table)), 1000)
        self.assertGreater(self.meter.measure(lambda: list(table.values())), 1000)
        self.assertGreater(self.meter.measure(lambda: [len(heap) for _ in heap]), 1000)
        self.assertLess(self.meter.measure(lambda: table.get(7)), 10)
