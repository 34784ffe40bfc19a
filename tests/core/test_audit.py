"""
The audit complains about each book that does not agree with the tasks.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.audit import audit
from taskqueue.core.lanes import Lane
from taskqueue.core.leases import Lease
from taskqueue.core.ledger import Ledger
from taskqueue.core.task import State
from tests.core.world import WALL, World


def busy_world() -> World:
    """A task in every live state, one of each."""
    world = World()
    world.submit("running", priority=255, payload=b"1234")
    world.take(world.register())
    world.submit("failed", priority=255)
    world.fail(world.take())
    world.submit("ready", payload=b"12", expires_at=WALL + 99)
    world.submit("second")
    world.submit("later", run_at=WALL + 99)
    world.submit("blocked", depends_on=("ready",))
    return world


def lane(ledger: Ledger) -> Lane:
    return ledger.queues["default"].lanes["job"]


def lease(ledger: Ledger) -> Lease:
    return next(iter(ledger.leases.by_token.values()))


def misplace(task_id: str, state: State) -> Callable[[Ledger], object]:
    return lambda ledger: setattr(ledger.tasks[task_id], "state", state)


#: What is done to the books, and a word that a complaint must have in it.
CORRUPTIONS: tuple[tuple[str, Callable[[Ledger], object]], ...] = (
    ("depth is", lambda g: setattr(g, "depth", g.depth + 1)),
    ("held_bytes", lambda g: setattr(g, "held_bytes", g.held_bytes - 1)),
    ("still to come", lambda g: setattr(g, "next_token", 1)),
    ("counts as live", misplace("ready", State.COMPLETED)),
    ("not where its state says", misplace("ready", State.BLOCKED)),
    ("not where its state says", misplace("ready", State.SCHEDULED)),
    ("not where its state says", misplace("later", State.PENDING)),
    ("not where its state says", misplace("later", State.IN_PROGRESS)),
    ("not where its state says", lambda g: g.delayed.discard(g.tasks["failed"])),
    ("not where its state says", lambda g: g.delayed.discard(g.tasks["later"])),
    ("not where its state says", lambda g: g.dependencies.discard(g.tasks["blocked"])),
    ("not where its state says", lambda g: lane(g).discard(g.tasks["second"])),
    ("stands in its lane", lambda g: lane(g).push(g.tasks["later"])),
    ("has a lease", lambda g: setattr(g.tasks["later"], "lease", lease(g))),
    ("will not expire", lambda g: g.expiring.discard(g.tasks["ready"])),
    ("stand in lanes", lambda g: lane(g).pop()),
    ("not the current one", lambda g: setattr(g.tasks["running"], "token", 77)),
    ("unknown to its holder", lambda g: lease(g).holder.leases.clear()),
    ("does not know it", lambda g: setattr(g.tasks["running"], "cancel_requested", True)),
    ("does not know it", lambda g: lease(g).holder.to_cancel.update({1: lease(g)})),
    ("does not hold", lambda g: lease(g).holder.to_cancel.update({77: lease(g)})),
    ("leases exist", lambda g: g.leases.by_token.clear()),
    ("which is over", lambda g: g.leases.by_token.clear()),
    ("depth is", lambda g: setattr(g.queues["default"], "depth", 0)),
    ("tiers are", lambda g: g.queues["default"].tiers.reverse()),
    ("recounted", lambda g: lane(g).counts.__setitem__(State.PENDING, 7)),
    ("negative", lambda g: lane(g).counts.__setitem__(State.CANCELLED, -1)),
    ("its first task is not first", lambda g: lane(g).heap.reverse()),
    ("its first task is not first", lambda g: lane(g).heap.insert(0, -(2**60))),
    ("busy or not", lambda g: g.queues["default"].busy.clear()),
    ("not among the lanes", lambda g: g.queues["default"]._heads.clear()),
    ("does not know it", lambda g: g.dependencies._dependents.clear()),
    ("is not live", lambda g: g.dependencies._missing[g.tasks["blocked"].seq].add("nobody")),
    ("counts as ended", lambda g: g.ended.__setitem__("ready", g.tasks["ready"])),
    ("comes too late", lambda g: g.leases._deadlines.clear()),
    ("comes too late", lambda g: g.delayed._heap.clear()),
    ("is not live", lambda g: g.tasks.pop("later")),
)


class AuditTests(SynchronousTestCase):
    def test_books_that_are_right(self) -> None:
        self.assertEqual(audit(busy_world().ledger), [])

    def test_each_book_that_is_wrong(self) -> None:
        silent = []
        for number, (word, corrupt) in enumerate(CORRUPTIONS):
            ledger = busy_world().ledger
            corrupt(ledger)
            if not any(word in problem for problem in audit(ledger)):
                silent.append((number, word, audit(ledger)))
        self.assertEqual(silent, [])

    def test_what_is_said_names_the_task(self) -> None:
        ledger = busy_world().ledger
        ledger.delayed.discard(ledger.tasks["later"])
        [problem] = audit(ledger)
        self.assertIn("later", problem)
        self.assertIn("default/job", problem)
