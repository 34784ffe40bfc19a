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
from taskqueue.core.lines import Line
from taskqueue.core.task import State
from tests.core.world import WALL, World


def busy_world() -> World:
    """A task in every live state, one of each, and one that came back to its lane."""
    world = World()
    world.submit("running", priority=255, payload=b"1234")
    world.take(world.register())
    world.submit("failed", priority=255)
    world.fail(world.take())
    world.submit("back")
    returned = world.take()
    world.submit("ready", payload=b"12", expires_at=WALL + 99)
    world.submit("second")
    world.broker.desk.release("back", returned.lease, 0.0, world.now)
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
    ("in the store only", lambda g: setattr(g, "paged", 1)),
    ("paged_bytes", lambda g: setattr(g, "paged_bytes", 1)),
    ("extra_bytes", lambda g: setattr(g, "extra_bytes", g.extra_bytes + 1)),
    ("is nowhere", lambda g: setattr(g.tasks["ready"], "body", 2)),
    ("is nowhere", lambda g: setattr(g.tasks["ready"], "body", None)),
    ("still to come", lambda g: setattr(g, "next_token", 1)),
    ("counts as live", misplace("ready", State.COMPLETED)),
    ("not where its state says", misplace("ready", State.BLOCKED)),
    ("not where its state says", misplace("ready", State.SCHEDULED)),
    ("not where its state says", misplace("later", State.PENDING)),
    ("not where its state says", misplace("later", State.IN_PROGRESS)),
    ("not where its state says", lambda g: g.delayed.discard(g.tasks["failed"])),
    ("not where its state says", lambda g: g.delayed.discard(g.tasks["later"])),
    ("not where its state says", lambda g: g.dependencies.discard(g.tasks["blocked"])),
    ("not where its state says", lambda g: lane(g).lines[150].remove(g.tasks["second"])),
    ("not where its state says", lambda g: lane(g).returned.clear()),
    ("stands in its lane", lambda g: lane(g).push(g.tasks["later"])),
    ("has a lease", lambda g: setattr(g.tasks["later"], "lease", lease(g))),
    ("will not expire", lambda g: g.expiring.discard(g.tasks["ready"])),
    ("stand in lanes", lambda g: lane(g).take(1)),
    ("which count", lambda g: setattr(lane(g), "size", 1)),
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
    ("its first task is not first", lambda g: setattr(lane(g), "head", -(2**60))),
    ("out of order", lambda g: lane(g).lines[150].reverse()),
    ("out of order", lambda g: setattr(g.tasks["second"], "priority", 7)),
    ("has gaps", lambda g: lane(g).lines[150].insert(2, None)),
    ("has gaps", lambda g: setattr(lane(g).lines[150], "gone", 1)),
    ("leftovers", lambda g: setattr(lane(g), "leftovers", 1)),
    ("its priorities", lambda g: lane(g)._priorities.clear()),
    ("is not ready", lambda g: lane(g).lines.__setitem__(7, Line())),
    ("came back", lambda g: lane(g)._keys.clear()),
    ("busy or not", lambda g: g.queues["default"].busy.clear()),
    ("not among the lanes", lambda g: g.queues["default"]._heads.clear()),
    ("does not know it", lambda g: g.dependencies._dependents.clear()),
    ("is not live", lambda g: g.dependencies._missing[g.tasks["blocked"].seq].add("nobody")),
    ("counts as ended", lambda g: g.ended.__setitem__("ready", g.tasks["ready"])),
    ("comes too late", lambda g: g.leases._lines.clear()),
    ("comes too late", lambda g: setattr(lease(g), "watched_at", 1e9)),
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
