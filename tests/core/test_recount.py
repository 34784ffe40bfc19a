"""
A recount in small steps agrees with the books whatever is done meanwhile, and finds
each book that is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.audit import audit
from taskqueue.core.delivery import Outcome
from taskqueue.core.ledger import Ledger
from taskqueue.core.recount import Recount, unfounded, unfounded_of
from taskqueue.core.task import FIRST_ENDED, State, Task
from taskqueue.core.workers import Worker
from tests.core.test_audit import busy_world, lane, lease, misplace
from tests.core.world import WALL, World


def recounted(ledger: Ledger) -> tuple[list[str], list[str]]:
    """What is wrong with places, and with sums, in one go."""
    recount = Recount(ledger)
    places = [why for task in list(ledger.tasks.values()) if (why := recount.visit(task))]
    return places, list(recount.differences())


class Meddler:
    """Does one thing after another to a broker."""

    def __init__(self, world: World, random: Random) -> None:
        self.world = world
        self.random = random
        self.worker = world.register("w", capacity=1000)
        self.number = 0

    def step(self) -> None:
        """Do something."""
        self.random.choice((self.submit, self.submit, self.claim, self.report, self.other))()

    def submit(self) -> None:
        self.number += 1
        live = list(self.world.ledger.tasks)
        fields = self.random.choice(
            (
                {},
                {"priority": self.random.randrange(256)},
                {"payload": bytes(self.random.randrange(9)), "queue": "other"},
                {"run_at": self.world.wall + self.random.randrange(9)},
                {"expires_at": self.world.wall + 5},
                {"depends_on": tuple(self.random.sample(live, min(2, len(live))))},
            )
        )
        kind = self.random.choice(("job", "mail"))
        self.world.submit(f"t{self.number}", kind, **fields)

    def claim(self) -> None:
        holder = self.random.choice((None, self.worker))
        self.world.claim(self.random.randrange(1, 4), "default", "other", holder=holder)

    def report(self) -> None:
        held = list(self.world.ledger.leases.by_token.values())
        for one in self.random.sample(held, min(2, len(held))):
            how = self.random.choice(("completed", "failed", "given back", "permanent"))
            if how == "given back":
                self.world.broker.desk.release(one.task.id, one.token, 0.0, self.world.now)
                continue
            status = State.COMPLETED if how == "completed" else State.FAILED
            outcome = Outcome(one.task.id, one.token, status, permanent=how == "permanent")
            self.world.broker.desk.report(outcome, self.world.now)

    def other(self) -> None:
        self.world.tick(self.random.random() * 2)
        live = list(self.world.ledger.tasks)
        if live and self.random.random() < 0.5:
            self.world.cancel(self.random.choice(live), running=True)


class MeanwhileTests(SynchronousTestCase):
    def test_whatever_is_done_meanwhile(self) -> None:
        for seed in range(30):
            random = Random(seed)
            world = World()
            meddler = Meddler(world, random)
            for _ in range(60):
                meddler.step()
            world.drain()
            recount = Recount(world.ledger)
            tasks = list(world.ledger.tasks.values())
            while tasks:
                for _ in range(random.randrange(4)):
                    meddler.step()
                if random.random() < 0.4:
                    recount.drained(world.drain()[0])
                if random.random() < 0.7:
                    self.assertIsNone(recount.visit(tasks.pop()))
            meddler.step()
            recount.drained(world.drain()[0])
            self.assertEqual(list(recount.differences()), [], f"seed {seed}")
            self.assertEqual(audit(world.ledger), [])

    def test_a_change_that_was_not_told_is_a_difference(self) -> None:
        """So what the recount agrees with is not just what it is told."""
        world = busy_world()
        recount = Recount(world.ledger)
        for task in world.ledger.tasks.values():
            recount.visit(task)
        world.submit("one more", payload=b"x")
        self.assertEqual(len(list(recount.differences())), 6)


#: What is done to the books, and a word that must be said of a place.
MISPLACED: tuple[tuple[str, Callable[[Ledger], object]], ...] = (
    ("not among those whose time", misplace("ready", State.SCHEDULED)),
    ("not among those whose time", lambda g: g.delayed.discard(g.tasks["failed"])),
    ("waits for nothing", misplace("ready", State.BLOCKED)),
    ("has no lease", misplace("later", State.IN_PROGRESS)),
    ("has a lease", lambda g: setattr(g.tasks["later"], "lease", lease(g))),
    ("will not expire", lambda g: g.expiring.discard(g.tasks["ready"])),
    ("is over", lambda g: g.leases.by_token.clear()),
    ("not the current one", lambda g: setattr(g.tasks["running"], "token", 77)),
    ("unknown to its holder", lambda g: lease(g).holder.leases.clear()),
    ("not registered", lambda g: g.workers.remove(g.workers.get("w"))),
)

#: What is done to the books, and a word that must be said of a sum.
MISCOUNTED: tuple[tuple[str, Callable[[Ledger], object]], ...] = (
    ("depth", lambda g: setattr(g, "depth", g.depth + 1)),
    ("held_bytes", lambda g: setattr(g, "held_bytes", g.held_bytes - 1)),
    ("live tasks", lambda g: g.tasks.update({"x": Task("x", 99, lane(g), 1, b"", WALL)})),
    ("leases, against", lambda g: g.leases.by_token.clear()),
    ("queue default: depth", lambda g: setattr(g.queues["default"], "depth", 0)),
    ("tiers are", lambda g: g.queues["default"].tiers.reverse()),
    ("are pending, recounted", lambda g: lane(g).counts.__setitem__(State.PENDING, 7)),
    ("stand in it", lambda g: setattr(lane(g), "size", 7)),
    ("not in the books", lambda g: g.queues.clear()),
)


class DifferenceTests(SynchronousTestCase):
    def test_books_that_are_right(self) -> None:
        world = busy_world()
        self.assertEqual(recounted(world.ledger), ([], []))
        [held] = world.ledger.leases.by_token.values()
        self.assertIsNone(unfounded(world.ledger, held))
        self.assertEqual(list(unfounded_of(world.ledger, world.ledger.workers.get("w"))), [])

    def test_each_place_that_is_wrong(self) -> None:
        for word, corrupt in MISPLACED:
            ledger = busy_world().ledger
            corrupt(ledger)
            places, _ = recounted(ledger)
            self.assertTrue(any(word in why for why in places), (word, places))

    def test_each_sum_that_is_wrong(self) -> None:
        for word, corrupt in MISCOUNTED:
            ledger = busy_world().ledger
            tasks = list(ledger.tasks.values())
            recount = Recount(ledger)
            for task in tasks:
                recount.visit(task)
            corrupt(ledger)
            found = list(recount.differences())
            self.assertTrue(any(word in why for why in found), (word, found))

    def test_a_lease_that_is_over_is_no_difference(self) -> None:
        world = busy_world()
        [held] = world.ledger.leases.by_token.values()
        world.ledger.leases.end(held)
        self.assertIsNone(unfounded(world.ledger, held))

    def test_a_worker_that_counts_on_what_is_over(self) -> None:
        world = busy_world()
        world.ledger.leases.by_token.clear()
        [why] = unfounded_of(world.ledger, world.ledger.workers.get("w"))
        self.assertIn("worker w counts on token", why)


class StoreTests(SynchronousTestCase):
    """The rows of the store, against memory."""

    def setUp(self) -> None:
        self.world = busy_world()
        batch, _ = self.world.drain()
        self.rows = {row.id: row for row in batch.inserts}
        self.recount = Recount(self.world.ledger)
        for task in self.world.ledger.tasks.values():
            self.recount.visit(task)

    def missing(self) -> list[int]:
        return [seq for some in self.recount.not_stored() for seq in some]

    def test_equal(self) -> None:
        for row in self.rows.values():
            self.assertLess(row.state, FIRST_ENDED)
            self.assertIsNone(self.recount.compare(row))
        self.assertEqual(self.missing(), [])

    def test_not_in_the_store(self) -> None:
        gone = self.rows.pop("later")
        for row in self.rows.values():
            self.recount.compare(row)
        self.assertEqual(self.missing(), [gone.seq])
        self.world.cancel("later")
        self.assertEqual(self.missing(), [gone.seq])
        self.recount.drained(self.world.drain()[0])
        self.assertEqual(self.missing(), [])

    def test_many_and_one_is_missing(self) -> None:
        for number in range(200):
            self.world.submit(f"t{number}")
        batch, _ = self.world.drain()
        self.recount = Recount(self.world.ledger)
        for task in self.world.ledger.tasks.values():
            self.recount.visit(task)
        rows = [*self.rows.values(), *batch.inserts]
        gone = rows.pop(150)
        for row in rows:
            self.recount.compare(row)
        self.assertEqual(self.missing(), [gone.seq])

    def test_each_column(self) -> None:
        row = self.rows["running"]
        for name, value in (
            ("state", State.PENDING),
            ("queue", "q"),
            ("type", "t"),
            ("priority", 1),
            ("attempt", 9),
            ("token", 9),
        ):
            why = self.recount.compare(row._replace(**{name: value})) or ""
            self.assertIn(f"task running: {name} is", why)
        self.assertIn("not live in memory", self.recount.compare(row._replace(id="x")) or "")
        self.assertIn("not live in memory", self.recount.compare(row._replace(seq=99)) or "")

    def test_what_changed_meanwhile_is_not_compared(self) -> None:
        row = self.rows["ready"]
        self.world.cancel("ready")
        self.assertIsNotNone(self.recount.compare(row))
        self.assertFalse(self.recount.changed(row.seq))
        self.recount.drained(self.world.drain()[0])
        self.assertTrue(self.recount.changed(row.seq))
        self.assertIsNone(self.recount.compare(row))


class WorkerTypeTests(SynchronousTestCase):
    def test_the_scene_has_a_registered_worker(self) -> None:
        """Otherwise nothing above would look at one."""
        self.assertIsInstance(lease(busy_world().ledger).holder, Worker)
