"""
The life of a task: every row of the table of states, and what each leaves behind.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.audit import audit
from taskqueue.core.counters import BUCKETS_S
from taskqueue.core.delivery import Delivery
from taskqueue.core.task import (
    ENDED_STATES,
    FIRST_ENDED,
    LIVE_STATES,
    STATES_BY_WORD,
    TIERS,
    WAITING,
    State,
    TaskOptions,
    tier_of,
)
from taskqueue.errors import Conflict, TaskQueueError
from tests.core.world import WALL, CoreTestCase, World

RUN = TaskOptions(on_dependency_failure="run")


def pending(world: World) -> None:
    world.submit("t")


def scheduled(world: World) -> None:
    world.submit("t", run_at=WALL + 10)


def blocked(world: World) -> None:
    world.submit("first", priority=200)
    world.submit("t", depends_on=("first",))


def blocked_run(world: World) -> None:
    world.submit("first", priority=200)
    world.submit("t", depends_on=("first",), options=RUN)


def blocked_scheduled(world: World) -> None:
    world.submit("first", priority=200)
    world.submit("t", depends_on=("first",), run_at=WALL + 10)


def expiring(world: World) -> None:
    world.submit("t", expires_at=WALL + 10)


def in_progress(world: World) -> Delivery:
    world.submit("t")
    return world.take()


def by_worker(world: World) -> None:
    world.submit("t")
    world.take(world.register())


def failed(world: World) -> None:
    world.fail(in_progress(world))


def dead(world: World) -> None:
    world.fail(in_progress(world), permanent=True)


def asked_to_cancel(world: World) -> Delivery:
    delivery = in_progress(world)
    world.cancel("t", running=True)
    return delivery


def current(world: World) -> Delivery:
    """The delivery that the task is in."""
    task = world.task("t")
    return Delivery(
        "t", "job", "default", 150, b"", task.attempt, task.token, 30.0, None, WALL, 0, 0
    )


def nothing(world: World) -> None:
    """The state is reached by what came before."""


def end_first(state: str) -> Callable[[World], object]:
    """Claim the dependency, and end it so."""

    def end(world: World) -> None:
        if state == "cancelled":
            world.cancel("first")
            return
        delivery = world.take()
        if state == "completed":
            world.complete(delivery)
        else:
            world.fail(delivery, permanent=True)

    return end


def lose_until(losses: int) -> Callable[[World], object]:
    def lose(world: World) -> None:
        for number in range(losses):
            if number:
                world.take()
            world.tick(31)

    return lose


def fail_until(failures: int) -> Callable[[World], object]:
    def fail(world: World) -> None:
        for number in range(failures):
            if number:
                world.tick(3600)
                world.take()
            world.fail(current(world))

    return fail


Step = Callable[[World], object]

#: from, its way there, event, to.
LIFE: tuple[tuple[str, Step, str, Step, State], ...] = (
    ("none", nothing, "submit", pending, State.PENDING),
    ("none", nothing, "submit, run_at ahead", scheduled, State.SCHEDULED),
    (
        "none",
        nothing,
        "submit, run_at past",
        lambda w: w.submit("t", run_at=WALL - 1),
        State.PENDING,
    ),
    ("none", nothing, "submit, depends", blocked, State.BLOCKED),
    ("scheduled", scheduled, "not yet", lambda w: w.tick(9.99), State.SCHEDULED),
    ("scheduled", scheduled, "run_at reached", lambda w: w.tick(10), State.PENDING),
    ("blocked", blocked, "dependency completed", end_first("completed"), State.PENDING),
    (
        "blocked, run_at ahead",
        blocked_scheduled,
        "dependency completed",
        end_first("completed"),
        State.SCHEDULED,
    ),
    ("blocked", blocked, "dependency dead", end_first("dead"), State.DEAD_LETTER),
    ("blocked", blocked, "dependency cancelled", end_first("cancelled"), State.DEAD_LETTER),
    ("blocked, run", blocked_run, "dependency dead", end_first("dead"), State.PENDING),
    ("blocked, run", blocked_run, "dependency cancelled", end_first("cancelled"), State.PENDING),
    ("pending", pending, "claim", World.take, State.IN_PROGRESS),
    ("in_progress", in_progress, "success", lambda w: w.complete(current(w)), State.COMPLETED),
    ("in_progress", in_progress, "failure", lambda w: w.fail(current(w)), State.FAILED),
    ("in_progress", in_progress, "the last retry but one", fail_until(3), State.FAILED),
    ("in_progress", in_progress, "none left", fail_until(4), State.DEAD_LETTER),
    ("failed", failed, "not yet", lambda w: w.tick(4.99), State.FAILED),
    ("failed", failed, "retry reached", lambda w: w.tick(5), State.PENDING),
    (
        "in_progress",
        in_progress,
        "permanent failure",
        lambda w: w.fail(current(w), permanent=True),
        State.DEAD_LETTER,
    ),
    (
        "in_progress",
        in_progress,
        "release",
        lambda w: w.broker.desk.release("t", w.task("t").token, 0.0, w.now),
        State.PENDING,
    ),
    (
        "in_progress",
        in_progress,
        "snooze",
        lambda w: w.broker.desk.release("t", w.task("t").token, 7.0, w.now),
        State.SCHEDULED,
    ),
    ("in_progress", in_progress, "not yet", lambda w: w.tick(29.99), State.IN_PROGRESS),
    ("in_progress", in_progress, "lease expired", lambda w: w.tick(30), State.PENDING),
    ("by a worker", by_worker, "evicted", lambda w: w.tick(30), State.PENDING),
    (
        "by a worker",
        by_worker,
        "deregistered",
        lambda w: w.broker.control.strike(w.ledger.workers.get("w"), "deregistered", w.now),
        State.PENDING,
    ),
    (
        "in_progress",
        in_progress,
        "disconnected",
        lambda w: w.broker.upkeep.connection_lost(w.holder, w.now),
        State.PENDING,
    ),
    ("in_progress", in_progress, "lost max_lost times", lose_until(5), State.PENDING),
    ("in_progress", in_progress, "lost once more", lose_until(6), State.DEAD_LETTER),
    ("pending", pending, "cancel", lambda w: w.cancel("t"), State.CANCELLED),
    ("scheduled", scheduled, "cancel", lambda w: w.cancel("t"), State.CANCELLED),
    ("blocked", blocked, "cancel", lambda w: w.cancel("t"), State.CANCELLED),
    ("failed", failed, "cancel", lambda w: w.cancel("t"), State.CANCELLED),
    ("in_progress", in_progress, "ask", lambda w: w.cancel("t", True), State.IN_PROGRESS),
    (
        "asked to cancel",
        asked_to_cancel,
        "yields",
        lambda w: w.report(current(w), State.CANCELLED),
        State.CANCELLED,
    ),
    (
        "asked to cancel",
        asked_to_cancel,
        "fails",
        lambda w: w.fail(current(w)),
        State.CANCELLED,
    ),
    (
        "asked to cancel",
        asked_to_cancel,
        "gives back",
        lambda w: w.broker.desk.release("t", w.task("t").token, 0.0, w.now),
        State.CANCELLED,
    ),
    ("asked to cancel", asked_to_cancel, "lease ends", lambda w: w.tick(30), State.CANCELLED),
    (
        "asked to cancel",
        asked_to_cancel,
        "completes all the same",
        lambda w: w.complete(current(w)),
        State.COMPLETED,
    ),
    ("expiring", expiring, "not yet", lambda w: w.tick(9.99), State.PENDING),
    ("expiring", expiring, "expires_at passed", lambda w: w.tick(10), State.EXPIRED),
    ("dead_letter", dead, "revived", lambda w: w.revive("t"), State.PENDING),
)


class LifeTests(SynchronousTestCase):
    def test_every_row_of_the_table(self) -> None:
        """Each event leads where the table says, and the books are right after it."""
        for start, way, event, step, end in LIFE:
            world = World()
            way(world)
            step(world)
            self.assertEqual(world.state("t").word, end.word, f"{start}: {event}")
            self.assertEqual(audit(world.ledger), [], f"{start}: {event}")

    def test_an_ended_task_accepts_no_cancel(self) -> None:
        """None of the ends can be left by cancelling: the error names the state."""
        for _, way, event, step, end in LIFE:
            if end < FIRST_ENDED:
                continue
            world = World()
            way(world)
            step(world)
            for running in (False, True):
                error = self.assertRaises(Conflict, world.cancel, "t", running)
                self.assertIn(end.word, str(error), event)

    def test_every_end_is_told_once(self) -> None:
        for _, way, event, step, end in LIFE:
            world = World()
            way(world)
            world.drain()
            step(world)
            told = [task.id for task in world.drain()[1]]
            self.assertEqual(told.count("t"), int(end >= FIRST_ENDED), event)

    def test_depth_counts_what_waits(self) -> None:
        for _, way, event, step, end in LIFE:
            world = World()
            way(world)
            step(world)
            first = world.ledger.tasks.get("first")
            waits = (end in WAITING) + (first is not None and first.state in WAITING)
            self.assertEqual(world.ledger.depth, waits, event)


class BudgetTests(CoreTestCase):
    """Failures and losses are separate budgets; giving back spends neither."""

    def test_a_release_spends_nothing(self) -> None:
        self.world.submit("t")
        for attempt in range(1, 20):
            delivery = self.world.take()
            self.assertEqual(delivery.attempt, attempt)
            self.world.broker.desk.release("t", delivery.lease, 0.0, self.world.now)
        task = self.world.task("t")
        self.assertEqual((task.failures, task.losses), (0, 0))

    def test_a_loss_spends_no_retry(self) -> None:
        self.world.submit("t", options=TaskOptions(max_retries=0))
        self.world.take()
        self.world.tick(31)
        delivery = self.world.take()
        self.assertEqual((delivery.failures, delivery.losses), (0, 1))
        self.assertIs(self.world.fail(delivery), State.DEAD_LETTER)

    def test_a_failure_spends_no_loss(self) -> None:
        self.world.submit("t", options=TaskOptions(max_lost=0))
        self.world.fail(self.world.take())
        self.world.tick(10)
        delivery = self.world.take()
        self.assertEqual((delivery.failures, delivery.losses), (1, 0))
        self.world.tick(31)
        task = self.world.task("t")
        self.assertIs(task.state, State.DEAD_LETTER)
        self.assertIn("max_lost (0)", task.error or "")

    def test_the_queue_sets_what_the_task_does_not(self) -> None:
        queue = self.world.ledger.queue("default")
        self.world.submit("t")
        self.world.submit("own", options=TaskOptions(max_retries=1))
        queue.policy = type(queue.policy)(max_retries=0)
        first, second = self.world.claim(2)
        self.assertIs(self.world.fail(first), State.DEAD_LETTER)
        self.assertIs(self.world.fail(second), State.FAILED)


class CompletionTests(CoreTestCase):
    def test_what_a_completion_leaves(self) -> None:
        self.world.submit("t", payload=b"12345")
        self.world.fail(self.world.take())
        self.world.tick(5)
        delivery = self.world.take()
        self.assertEqual(delivery.payload, b"12345")
        self.world.pass_time(2.5)
        self.world.complete(delivery, b"fine")
        task = self.world.task("t")
        self.assertEqual(task.result, b"fine")
        self.assertIsNone(task.error)
        self.assertEqual(task.ended_at, WALL + 7.5)
        self.assertEqual(self.world.ledger.held_bytes, 0)
        self.assertEqual(task.lane.counters.processing.counts[BUCKETS_S.index(2.5)], 1)

    def test_a_failure_without_a_reason_says_so(self) -> None:
        self.world.submit("t")
        self.world.fail(self.world.take(), None)
        self.assertEqual(self.world.task("t").error, "failed without a reason")

    def test_counters_tell_each_event(self) -> None:
        self.world.submit("a")
        self.world.submit("b")
        self.world.submit("c")
        a, b = self.world.claim(2)
        self.world.complete(a)
        self.world.fail(b)
        self.world.cancel("c")
        counted = self.world.task("a").lane.counters.as_dict()
        expected = {"submitted": 3, "claimed": 2, "completed": 1, "failed": 1, "retried": 1}
        expected["cancelled"] = 1
        self.assertEqual({k: v for k, v in counted.items() if v}, expected)


class WordTests(SynchronousTestCase):
    def test_states_have_words(self) -> None:
        self.assertEqual(State.IN_PROGRESS.word, "in_progress")
        for state in State:
            self.assertIs(STATES_BY_WORD[state.word], state)

    def test_states_are_live_or_ended(self) -> None:
        self.assertEqual((*LIVE_STATES, *ENDED_STATES), tuple(State))

    def test_tiers_cover_every_priority(self) -> None:
        for index, (_, lowest, highest, customary) in enumerate(TIERS):
            for priority in (lowest, highest, customary):
                self.assertEqual(tier_of(priority), index)
        self.assertEqual((tier_of(-5), tier_of(10**9)), (0, 2))

    def test_errors_are_of_one_tree(self) -> None:
        self.assertTrue(issubclass(Conflict, TaskQueueError))
