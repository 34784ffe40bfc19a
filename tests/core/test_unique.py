"""Tests of unique keys: who holds one, how long, and what becomes of the others."""

from __future__ import annotations

from taskqueue.core.audit import audit
from taskqueue.core.changes import OpenWindow
from taskqueue.core.intake import Accepted, Submission
from taskqueue.core.policy import Policy, QueuePolicy
from taskqueue.core.restore import Restoration
from taskqueue.core.task import State, TaskOptions, Until
from taskqueue.errors import BadRequest, Conflict, QueueFull
from taskqueue.store import MemoryStore
from tests.core.world import CoreTestCase, World


class KeyTestCase(CoreTestCase):
    policy = Policy(default=QueuePolicy(max_retries=0, max_lost=0))

    def submit(self, task_id: str | None = None, key: str = "k", **fields: object) -> Accepted:
        [answer] = self.world.try_submit(Submission("job", id=task_id, unique=key, **fields))
        assert isinstance(answer, Accepted), answer
        return answer

    def assertHeld(self, by: str) -> None:
        answer = self.submit("another")
        self.assertEqual((answer.id, answer.existing), (by, True))

    def assertFree(self) -> None:
        answer = self.submit("another")
        self.assertEqual((answer.id, answer.existing), ("another", False))


class HoldingTests(KeyTestCase):
    """Of two tasks with one key the second is the first, as long as that holds it."""

    def test_untilItHasEnded(self) -> None:
        """Waiting, running, and waiting for its retry; not when it has completed."""
        self.assertEqual(
            self.submit("a", options=TaskOptions(max_retries=1)), Accepted("a", State.PENDING)
        )
        self.assertHeld("a")
        self.world.fail(self.world.take())
        self.assertHeld("a")
        self.world.tick(100)
        delivery = self.world.take()
        self.assertHeld("a")
        self.world.complete(delivery)
        self.assertFree()

    def test_whateverTheEnd(self) -> None:
        for end in ("dead", "cancelled", "expired", "lost", "dependency"):
            with self.subTest(end=end):
                self.setUp()
                if end == "dead":
                    self.submit("a")
                    self.world.fail(self.world.take())
                elif end == "cancelled":
                    self.submit("a")
                    self.world.cancel("a")
                elif end == "expired":
                    self.submit("a", expires_at=self.world.wall + 1)
                    self.world.tick(1)
                elif end == "lost":
                    self.submit("a")
                    self.world.take()
                    self.world.tick(31)
                else:
                    self.world.submit("first")
                    self.world.cancel("first")
                    self.submit("a", depends_on=("first",))
                self.assertGreaterEqual(self.world.state("a"), State.DEAD_LETTER)
                self.assertFree()

    def test_theStateOfTheHolderIsTold(self) -> None:
        self.submit("a", run_at=self.world.wall + 9)
        self.assertEqual(self.submit(), Accepted("a", State.SCHEDULED, True))

    def test_untilItsFirstClaim(self) -> None:
        self.submit("a", unique_until=Until.START)
        self.assertHeld("a")
        delivery = self.world.take()
        self.world.broker.desk.release(delivery.id, delivery.lease, 0.0, self.world.now)
        self.assertFree()

    def test_endedBeforeItsFirstClaim(self) -> None:
        self.submit("a", unique_until=Until.START)
        self.world.cancel("a")
        self.assertFree()

    def test_window(self) -> None:
        """Exactly so long, whatever becomes of the task, also when memory has forgotten it."""
        self.submit("a", unique_until=Until.WINDOW, unique_for_s=10.0)
        self.world.complete(self.world.take())
        self.world.pass_time(9.9)
        self.assertEqual(self.submit(), Accepted("a", State.COMPLETED, True))
        self.world.ledger.ended.clear()
        self.assertEqual(self.submit(), Accepted("a", State.COMPLETED, True))
        self.world.pass_time(0.1)
        self.assertFree()

    def test_windowOfATaskThatOutlastsIt(self) -> None:
        self.submit("a", unique_until=Until.WINDOW, unique_for_s=10.0)
        self.world.pass_time(10)
        self.assertFree()
        self.world.complete(self.world.take())
        self.assertHeld("another")

    def test_bound(self) -> None:
        """C{unique_for_s} bounds the other modes too, and lengthens none."""
        for until in (Until.SUCCESS, Until.START):
            with self.subTest(until=until):
                self.setUp()
                self.submit("a", unique_until=until, unique_for_s=10.0)
                self.world.pass_time(9.9)
                self.assertHeld("a")
                self.world.pass_time(0.2)
                self.assertFree()
                self.world.complete(self.world.take())
                self.assertHeld("another")
        self.submit("b", "other", unique_for_s=10.0)
        self.world.cancel("b")
        self.assertFalse(self.submit(key="other").existing)

    def test_upkeepFreesWhatIsOver(self) -> None:
        self.submit("a", unique_for_s=10.0)
        self.submit("b", "other")
        self.world.pass_time(10)
        self.assertFalse(self.world.broker.upkeep.lapse_keys(self.world.now))
        self.assertEqual(list(self.world.ledger.keys.holders), ["other"])

    def test_manyShortKeysLeaveNothingBehind(self) -> None:
        for number in range(1000):
            self.submit(None, f"k{number}", unique_for_s=1e6)
            self.world.complete(self.world.take())
        self.assertLess(len(self.world.ledger.keys.ends), 100)

    def test_anotherTasksEndFreesNothing(self) -> None:
        self.submit("a", unique_for_s=10.0)
        first = self.world.take()
        self.world.pass_time(11)
        self.submit("another")
        self.world.complete(first)
        self.assertHeld("another")

    def test_idComesFirst(self) -> None:
        """Sending again under the same id gives the same task, whoever holds the key now."""
        self.submit("a")
        self.world.complete(self.world.take())
        self.submit("b")
        self.assertEqual(self.submit("a"), Accepted("a", State.COMPLETED, True))

    def test_queuesShareTheKeys(self) -> None:
        self.submit("a")
        self.assertEqual(self.submit("b", queue="other").id, "a")

    def test_heldKeysNeedNoRoom(self) -> None:
        self.submit("a")
        self.world.broker.control.bound("default", 1)
        self.assertHeld("a")
        [refused] = self.world.try_submit(Submission("job", unique="new"))
        self.assertIsInstance(refused, QueueFull)
        self.assertNotIn("new", self.world.ledger.keys.holders)

    def test_twiceInABatch(self) -> None:
        items = [Submission("job", id=i, unique="k") for i in ("a", "b")]
        answers = self.world.try_submit(*items)
        self.assertEqual(
            answers, [Accepted("a", State.PENDING), Accepted("a", State.PENDING, True)]
        )

    def test_whoDependsOnTheSecondDependsOnTheFirst(self) -> None:
        self.submit("a")
        answers = self.world.try_submit(
            Submission("job", id="c", depends_on=("b", "a")), Submission("job", id="b", unique="k")
        )
        self.assertEqual([answer.id for answer in answers], ["c", "a"])
        self.assertEqual(self.world.task("c").depends_on, ("a",))
        self.world.complete(self.world.take())
        self.assertEqual(self.world.state("c"), State.PENDING)

    def test_whoDependsOnAFirstThatMemoryForgot(self) -> None:
        self.submit("a", unique_until=Until.WINDOW, unique_for_s=10.0)
        self.world.complete(self.world.take())
        self.world.ledger.ended.clear()
        answers = self.world.try_submit(
            Submission("job", id="b", unique="k"), Submission("job", id="c", depends_on=("b",))
        )
        self.assertEqual(answers[1], Accepted("c", State.PENDING))

    def test_windowNeedsALength(self) -> None:
        [refused] = self.world.try_submit(Submission("job", unique="k", unique_until=Until.WINDOW))
        self.assertIsInstance(refused, BadRequest)
        self.assertEqual(refused.fields["field"], "unique_for_s")

    def test_deletedWithItsWindow(self) -> None:
        """The lock is part of the task: who deletes it frees the key."""
        self.submit("a", unique_until=Until.WINDOW, unique_for_s=10.0)
        self.world.complete(self.world.take())
        self.world.broker.control.delete(self.world.row("a"))
        self.assertFree()


class RevivalTests(KeyTestCase):
    """A dead letter that comes back wants its key again."""

    def die(self, task_id: str = "a", **fields: object) -> None:
        self.submit(task_id, **fields)
        self.world.fail(self.world.take())

    def test_takesItsKeyAgain(self) -> None:
        self.die()
        self.world.revive("a")
        self.assertHeld("a")

    def test_heldByAnother(self) -> None:
        self.die()
        self.submit("b")
        refused = self.assertRaises(Conflict, self.world.revive, "a")
        self.assertEqual(refused.fields["holder"], "b")
        self.assertIn("task b holds", str(refused))
        self.assertEqual(self.world.state("a"), State.DEAD_LETTER)
        self.assertHeld("b")
        self.world.cancel("b")
        self.world.revive("a")
        self.assertHeld("a")

    def test_ownWindow(self) -> None:
        self.die(unique_until=Until.WINDOW, unique_for_s=10.0)
        self.world.revive("a")
        self.world.fail(self.world.take())
        self.assertEqual(self.submit(), Accepted("a", State.DEAD_LETTER, True))
        self.world.pass_time(10)
        self.world.revive("a")
        self.assertFree()

    def test_wasClaimedBefore(self) -> None:
        self.die(unique_until=Until.START)
        self.world.revive("a")
        self.assertFree()


class RestoredKeyTests(CoreTestCase):
    """After a restart each key is held as before: by what the rows say alone."""

    def restarted(self) -> World:
        store = MemoryStore()
        store.open()
        store.commit(self.world.drain()[0]._replace(token_ceiling=1_000_000))
        new = World()
        new.wall = self.world.wall
        new.restore(store.recover())
        new.restore_windows(store)
        self.assertEqual(audit(new.ledger), [])
        return new

    def holder(self, world: World, key: str) -> str | None:
        found = world.ledger.keys.holder(key, world.wall)
        return None if found is None else found.id

    def test_everyMode(self) -> None:
        for until in Until:
            for task_id in ("waits", "runs", "ended"):
                self.world.submit(
                    f"{task_id}-{until.word}",
                    unique=f"{task_id}-{until.word}",
                    unique_until=until,
                    unique_for_s=100.0,
                    queue=task_id,
                )
        for delivery in self.world.claim(3, "ended"):
            self.world.complete(delivery)
        self.world.claim(3, "runs")
        new = self.restarted()
        held = {key for key in new.ledger.keys.holders if self.holder(new, key) == key}
        self.assertEqual(
            held,
            {
                *("waits-success", "waits-start", "waits-window"),
                *("runs-success", "runs-window"),
                "ended-window",
            },
        )
        self.assertEqual(held, set(self.world.ledger.keys.holders))
        [answer] = new.try_submit(Submission("job", unique="ended-window"))
        self.assertEqual(answer, Accepted("ended-window", State.COMPLETED, True))

    def test_whatIsOverIsFree(self) -> None:
        self.world.submit("a", unique="a", unique_for_s=10.0)
        self.world.submit("b", unique="b", unique_until=Until.WINDOW, unique_for_s=10.0)
        self.world.complete(self.world.take())
        self.world.pass_time(10)
        self.assertEqual(len(self.restarted().ledger.keys), 0)

    def test_theLaterOneHasIt(self) -> None:
        """The clock was set back: two tasks say that they hold one key."""
        self.world.submit("a", unique="k", unique_for_s=10.0)
        self.world.pass_time(10)
        self.world.submit("b", unique="k", unique_for_s=10.0)
        self.world.wall -= 5
        new = self.restarted()
        self.assertEqual(self.holder(new, "k"), "b")
        unique = self.world.task("a").unique
        assert unique is not None
        Restoration(new.ledger, new.now).windows([OpenWindow(1, "a", State.COMPLETED, unique)])
        self.assertEqual(self.holder(new, "k"), "b")


class KeyAuditTests(CoreTestCase):
    """The audit sees a key that is held by nobody, by the wrong one, or for ever."""

    def setUp(self) -> None:
        super().setUp()
        self.keys = self.world.ledger.keys
        self.world.submit("a", unique="k")
        self.world.submit("b", unique="l", unique_for_s=5.0)

    def tearDown(self) -> None:
        """Books were cooked."""

    def problems(self) -> str:
        return "\n".join(audit(self.world.ledger))

    def test_allIsWell(self) -> None:
        self.assertEqual(self.problems(), "")

    def test_notKnown(self) -> None:
        del self.keys.holders["k"]
        self.assertIn("holds the key 'k', which is not known", self.problems())

    def test_heldByOneThatHasEnded(self) -> None:
        holder = self.keys.holders["k"]
        self.world.cancel("a")
        self.keys.holders["k"] = holder
        self.assertIn("which does not hold it", self.problems())

    def test_heldForEver(self) -> None:
        self.keys.ends.clear()
        self.assertIn("key 'l' will not be free in time", self.problems())
