"""Tests of periodic tasks: which ticks fire, which are skipped, and that none fires twice."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from taskqueue.core import periodic
from taskqueue.core.audit import audit
from taskqueue.core.periodic import Periodic, PeriodicRow, Tick, next_multiple
from taskqueue.core.policy import Policy
from taskqueue.core.task import State, TaskOptions
from taskqueue.errors import BadRequest, Conflict, QueueFull, UnknownPeriodic
from taskqueue.store import MemoryStore
from tests.core.world import WALL, CoreTestCase, World

#: A tick of everything that comes each minute (1,800,000,000 is one).
MINUTE = 60.0

#: The id of the task of one tick.
NIGHTLY_ID = "38c799fe-7ea3-501d-8940-24d3b2f476e0"


class PeriodicTestCase(CoreTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.desk = self.world.broker.periodics

    def put(self, name: str = "p", **fields: Any) -> PeriodicRow:
        fields = {"every_s": MINUTE, **fields}
        return self.desk.put(Periodic(name, "job", **fields), self.world.now)

    def row(self, name: str = "p") -> PeriodicRow:
        return self.desk.get(name)

    def waiting(self) -> list[str]:
        """The ids of the tasks that are ready, in order."""
        return [task.id for task in self.world.ledger.tasks.values()]

    def ids(self, *ticks: float, name: str = "p") -> list[str]:
        return [Tick(name, at).task_id for at in ticks]

    def assertCounts(self, fired: int, skipped: int, name: str = "p") -> None:
        self.assertEqual((self.row(name).fired, self.row(name).skipped), (fired, skipped))


class FiringTests(PeriodicTestCase):
    def test_firesAtItsTick(self) -> None:
        options = TaskOptions(max_retries=7)
        self.put(
            payload=b"x",
            queue="q",
            priority=9,
            options=options,
            headers='{"a":"b"}',
            expires_in_s=30.0,
        )
        self.assertEqual(self.row().next_at, WALL + 60)
        self.world.tick(59.9)
        self.assertEqual(self.waiting(), [])
        self.world.tick(0.2)
        [task] = self.world.ledger.tasks.values()
        self.assertEqual(
            (task.id, task.type, task.queue, task.priority, task.payload, task.headers),
            (*self.ids(WALL + 60), "job", "q", 9, b"x", '{"a":"b"}'),
        )
        self.assertEqual(task.options, options)
        self.assertEqual(task.expires_at, self.world.wall + 30)
        row = self.row()
        self.assertEqual((row.next_at, row.ticked_at), (WALL + 120, WALL + 60))
        self.assertEqual((row.last_at, row.last_task), (self.world.wall, task.id))
        self.assertCounts(1, 0)
        self.world.fire()
        self.assertCounts(1, 0)

    def test_tickAndTaskAreInOneBatch(self) -> None:
        self.put()
        self.world.drain()
        self.world.tick(60)
        batch, _ = self.world.drain()
        self.assertEqual([row.id for row in batch.inserts], self.ids(WALL + 60))
        self.assertEqual(batch.periodics, [self.row()])
        self.assertEqual(batch.facts, 2)

    def test_eachByItsOwnTicks(self) -> None:
        self.put("a", every_s=60.0)
        self.put("b", every_s=90.0)
        for _ in range(18):
            self.world.tick(10)
        self.assertEqual((self.row("a").fired, self.row("b").fired), (3, 2))

    def test_idsAreThoseOfTickAndName(self) -> None:
        """They are in stores: they must never change."""
        self.assertEqual(Tick("nightly", 1_800_000_000.0).task_id, NIGHTLY_ID)
        others = [Tick("nightly", 1_800_000_000.5), Tick("nightl", 1_800_000_000.0)]
        self.assertEqual(len({NIGHTLY_ID, *(tick.task_id for tick in others)}), 3)

    def test_aTickThatWasDealtWithMeanwhile(self) -> None:
        """The service looks ids up in between: things may have changed."""
        self.put("gone")
        self.put("paused")
        self.put("replaced")
        self.put("stays")
        self.world.pass_time(60)
        ticks, more = self.desk.due(self.world.now)
        self.assertEqual((len(ticks), more), (4, False))
        self.desk.delete("gone")
        self.desk.pause("paused", True, self.world.now)
        self.put("replaced", every_s=61.0)
        self.desk.fire([*ticks, *ticks], self.world.now, {})
        self.assertEqual(self.waiting(), self.ids(WALL + 60, name="stays"))

    def test_aTaskOfThisTickIsKnown(self) -> None:
        """In memory or in the store: deleted and made again, after the clock was set back."""
        for stored in (False, True):
            with self.subTest(stored=stored):
                self.setUp()
                self.put()
                self.world.tick(60)
                [task_id] = self.waiting()
                self.desk.delete("p")
                self.world.wall -= 30
                self.put()
                if stored:
                    del self.world.ledger.tasks[task_id]
                    self.world = World()
                    self.desk = self.world.broker.periodics
                    self.world.wall += 30
                    self.put()
                self.world.pass_time(30)
                ticks, _ = self.desk.due(self.world.now)
                self.desk.fire(ticks, self.world.now, {task_id: State.COMPLETED} if stored else {})
                self.assertCounts(0, 1)
                self.assertEqual(self.waiting(), [] if stored else [task_id])

    def test_noRoom(self) -> None:
        """The tick stays due, until it is too late for it."""
        self.put(catch_up="skip", queue="q")
        self.world.broker.control.bound("q", 0)
        self.world.pass_time(61)
        for _ in range(2):
            [(name, refused)] = self.world.fire()
            self.assertEqual((name, type(refused)), ("p", QueueFull))
        self.assertEqual(self.row().next_at, WALL + 60)
        self.world.broker.control.bound("q", None)
        self.world.fire()
        self.assertCounts(1, 0)
        self.world.broker.control.bound("q", 0)
        self.world.pass_time(60)
        self.world.fire()
        self.world.pass_time(30)
        self.assertEqual(self.world.fire(), [])
        self.assertCounts(1, 1)

    def test_refused(self) -> None:
        """The broker's bounds are others now: the tick is skipped, and said so."""
        self.put(options=TaskOptions(lease_s=1000.0))
        self.world.broker.adopt(Policy(lease_max_s=10.0))
        self.world.pass_time(60)
        [(_, refused)] = self.world.fire()
        self.assertIsInstance(refused, BadRequest)
        self.assertEqual(self.world.fire(), [])
        self.assertCounts(0, 1)


class CatchUpTests(PeriodicTestCase):
    """What becomes of ticks that were missed."""

    def miss(self, seconds: float, **fields: Any) -> None:
        self.put(**fields)
        self.world.pass_time(seconds)
        self.world.fire()

    def test_skip(self) -> None:
        self.miss(60 * 5 + 11, catch_up="skip")
        self.assertCounts(0, 5)
        self.assertEqual(self.row().next_at, WALL + 360)

    def test_skipIsOnTimeForAWhile(self) -> None:
        """A broker that is busy, or restarts quickly, misses nothing; but one fires only."""
        self.miss(60 * 5 + 10, catch_up="skip")
        self.assertEqual(self.waiting(), self.ids(WALL + 300))
        self.assertCounts(1, 4)

    def test_once(self) -> None:
        self.miss(60 * 5 + 59, catch_up="once")
        self.assertEqual(self.waiting(), self.ids(WALL + 300))
        self.assertCounts(1, 4)

    def test_onceWithinItsWindow(self) -> None:
        self.miss(3600 + 601, catch_up="once", every_s=3600.0, catch_up_window_s=600.0)
        self.assertCounts(0, 1)
        self.miss(3600 - 1, catch_up="once", every_s=3600.0, catch_up_window_s=600.0)
        self.assertCounts(1, 1)

    def test_all(self) -> None:
        self.miss(60 * 5 + 59, catch_up="all")
        ticks = [WALL + 60 * n for n in range(1, 6)]
        self.assertEqual(self.waiting(), self.ids(*ticks))
        self.assertCounts(5, 0)

    def test_allWithinTheWindow(self) -> None:
        self.miss(60 * 5, catch_up="all", catch_up_window_s=130.0)
        self.assertEqual(self.waiting(), self.ids(WALL + 180, WALL + 240, WALL + 300))
        self.assertCounts(3, 2)

    def test_noWindowMissesNothingOnTime(self) -> None:
        for catch_up in ("once", "all"):
            with self.subTest(catch_up=catch_up):
                self.setUp()
                self.miss(60.5, catch_up=catch_up, catch_up_window_s=0.0)
                self.assertCounts(1, 0)

    def test_inSlices(self) -> None:
        """A long time away is worked off in pieces."""
        self.patch(periodic, "SLICE", 7)
        self.put("p", catch_up="all", catch_up_window_s=600.0)
        self.put("q", catch_up="once")
        self.world.pass_time(60 * 50)
        ticks, more = self.desk.due(self.world.now)
        self.assertEqual((ticks, more), ([], True))
        self.assertCounts(0, 7)
        self.world.fire()
        self.assertCounts(11, 39)
        self.assertCounts(1, 49, "q")

    def test_sinceALongTime(self) -> None:
        self.miss(60.0 * 2500, catch_up="skip")
        self.assertCounts(1, 2499)


class ClockTests(PeriodicTestCase):
    """The wall clock jumps; ticks do not come again."""

    def test_back(self) -> None:
        self.put()
        self.world.tick(60)
        self.world.wall -= 100
        for _ in range(15):
            self.world.tick(10)
        self.assertCounts(1, 0)
        self.assertEqual(self.row().next_at, WALL + 120)
        self.world.tick(10)
        self.assertCounts(2, 0)

    def test_backAndReplaced(self) -> None:
        """Also another definition, or a pause, brings no tick again."""
        self.put()
        self.world.tick(60)
        self.world.wall -= 100
        self.assertEqual(self.put(every_s=30.0).next_at, WALL + 90)
        self.desk.pause("p", True, self.world.now)
        self.assertEqual(self.desk.pause("p", False, self.world.now).next_at, WALL + 90)

    def test_forward(self) -> None:
        for catch_up, fired, skipped in (("skip", 0, 9), ("once", 1, 8), ("all", 9, 0)):
            with self.subTest(catch_up=catch_up):
                self.setUp()
                self.put(catch_up=catch_up)
                self.world.wall += 560
                self.world.tick()
                self.assertCounts(fired, skipped)


class OverlapTests(PeriodicTestCase):
    def test_allowed(self) -> None:
        self.put(overlap=True)
        for _ in range(3):
            self.world.tick(60)
        self.assertEqual(len(self.waiting()), 3)

    def test_notWhileTheOneBeforeLives(self) -> None:
        """Waiting, running, waiting for a retry."""
        self.put(overlap=False, options=TaskOptions(max_retries=1, retry_delay_s=90.0))
        self.world.tick(60)
        self.world.tick(60)
        self.assertCounts(1, 1)
        self.world.fail(self.world.take())
        self.world.tick(60)
        self.assertCounts(1, 2)
        self.world.tick(59)
        self.world.complete(self.world.take())
        self.world.tick(1)
        self.assertCounts(2, 2)

    def test_catchingUp(self) -> None:
        self.put(overlap=False, catch_up="all")
        self.world.pass_time(300)
        self.world.fire()
        self.assertCounts(1, 4)

    def test_byHand(self) -> None:
        self.put(overlap=False)
        task_id = self.desk.trigger("p", self.world.now)
        refused = self.assertRaises(Conflict, self.desk.trigger, "p", self.world.now)
        self.assertEqual(refused.fields["holder"], task_id)
        self.world.tick(60)
        self.assertCounts(1, 1)


class DefinitionTests(PeriodicTestCase):
    def test_putAgain(self) -> None:
        """The same definition changes nothing, so that workers may put theirs at every start."""
        row = self.put()
        self.world.drain()
        self.world.pass_time(90)
        self.assertIs(self.put(), row)
        self.assertFalse(self.world.ledger.changes)

    def test_replaced(self) -> None:
        self.put()
        self.world.tick(60)
        row = self.put(every_s=7200.0, payload=b"new")
        self.assertEqual(row.next_at, next_multiple(row.definition, self.world.wall))
        self.assertEqual((row.fired, row.last_task), (1, self.ids(WALL + 60)[0]))

    def test_pausedStaysPaused(self) -> None:
        self.put()
        self.desk.pause("p", True, self.world.now)
        row = self.put(every_s=30.0)
        self.assertEqual((row.paused, row.next_at), (True, None))

    def test_pauseAndGoOn(self) -> None:
        """What passed meanwhile is not caught up with, whatever the policy."""
        self.put(catch_up="all")
        self.assertIsNone(self.desk.pause("p", True, self.world.now).next_at)
        self.world.tick(600)
        self.assertCounts(0, 0)
        self.assertEqual(self.desk.pause("p", False, self.world.now).next_at, WALL + 660)
        self.world.drain()
        self.desk.pause("p", False, self.world.now)
        self.assertFalse(self.world.ledger.changes)

    def test_trigger(self) -> None:
        """Also while it is paused; its ticks stay as they are."""
        row = self.put()
        for paused in (False, True):
            self.desk.pause("p", paused, self.world.now)
            task_id = self.desk.trigger("p", self.world.now)
            self.assertIs(self.world.state(task_id), State.PENDING)
        self.assertCounts(2, 0)
        self.assertEqual((self.row().last_task, self.row().last_at), (task_id, WALL))
        self.assertEqual(self.desk.pause("p", False, self.world.now).next_at, row.next_at)

    def test_triggerWithoutRoom(self) -> None:
        self.put()
        self.world.broker.control.bound("default", 0)
        self.assertRaises(QueueFull, self.desk.trigger, "p", self.world.now)
        self.assertCounts(0, 0)

    def test_deleted(self) -> None:
        self.put()
        self.world.tick(60)
        self.world.drain()
        self.desk.delete("p")
        batch, _ = self.world.drain()
        self.assertEqual((batch.dropped, list(batch.periodics)), (["p"], []))
        self.world.tick(60)
        self.assertEqual(len(self.waiting()), 1)

    def test_deletedAndPutInOneBatch(self) -> None:
        self.put()
        self.desk.delete("p")
        self.put()
        batch, _ = self.world.drain()
        self.assertEqual((list(batch.dropped), batch.periodics), ([], [self.row()]))

    def test_unknown(self) -> None:
        now = self.world.now
        for use in (
            lambda: self.desk.delete("x"),
            lambda: self.desk.pause("x", True, now),
            lambda: self.desk.trigger("x", now),
        ):
            self.assertEqual(self.assertRaises(UnknownPeriodic, use).fields, {"name": "x"})

    def test_refused(self) -> None:
        self.assertRaises(BadRequest, self.put, every_s=None, cron="0 0 30 2 *")
        self.assertRaises(BadRequest, self.put, options=TaskOptions(lease_s=1e9))
        self.patch(periodic, "MOST_PERIODICS", 1)
        self.put("a")
        self.assertRaises(BadRequest, self.put, "b")
        self.put("a", every_s=7.0)
        self.assertEqual(list(self.world.ledger.periodics), ["a"])


class RestoredPeriodicTests(PeriodicTestCase):
    """After a crash, each tick fires as if there had been none."""

    def crash(self, store: MemoryStore) -> None:
        wall, mono = self.world.wall, self.world.mono
        self.world = World(reserve=True)
        self.world.wall, self.world.mono = wall, mono
        self.world.restore(store.recover())
        self.desk = self.world.broker.periodics

    def commit(self, store: MemoryStore) -> None:
        store.commit(self.world.drain()[0])

    def test_firedOrNot(self) -> None:
        for stored in (True, False):
            with self.subTest(stored=stored):
                self.setUp()
                store = MemoryStore()
                store.open()
                self.put()
                self.commit(store)
                self.world.tick(60)
                if stored:
                    self.commit(store)
                self.crash(store)
                self.world.tick(1)
                self.assertEqual(self.waiting(), self.ids(WALL + 60))
                self.assertCounts(1, 0)

    @settings(derandomize=True, deadline=None, max_examples=150)
    @given(
        st.sampled_from(periodic.CATCH_UP),
        st.lists(
            st.sampled_from(("wait", "wait", "wait", "store", "crash", "back", "on", "put")),
            max_size=40,
        ),
    )
    def test_anyOrder(self, catch_up: str, steps: list[str]) -> None:
        """No tick fires twice among what is stored, and all of them do where none may be missed."""
        self.setUp()
        store = MemoryStore()
        store.open()
        self.put(catch_up=catch_up, catch_up_window_s=1e6)
        self.commit(store)
        latest = self.world.wall
        for step in steps:
            if step == "wait":
                self.world.tick(25)
            elif step == "store":
                self.commit(store)
            elif step == "crash":
                self.crash(store)
            elif step == "put":
                self.put(catch_up=catch_up, catch_up_window_s=1e6)
            else:
                self.world.wall += 200 if step == "on" else -200
                self.world.tick()
            latest = max(latest, self.world.wall)
            self.assertEqual(audit(self.world.ledger), [])
        self.world.wall = latest
        self.world.tick()
        self.commit(store)
        row, ids = self.row(), [task.id for task in store.recover().tasks]
        self.assertEqual(len(ids), len(set(ids)))
        ticks = [WALL + 60 * n for n in range(1, 1 + int((latest - WALL) // 60))]
        self.assertEqual(row.fired + row.skipped, len(ticks))
        self.assertEqual(row.fired, len(ids))
        self.assertTrue(set(ids) <= set(self.ids(*ticks)))
        if catch_up == "all":
            self.assertEqual(ids, self.ids(*ticks))


class MultipleTests(CoreTestCase):
    @settings(derandomize=True, deadline=None)
    @given(st.floats(1, 1e8), st.floats(0, 4e9))
    def test_firstMultipleBeyond(self, every_s: float, after: float) -> None:
        found = next_multiple(Periodic("p", "t", every_s=every_s), after)
        assert found is not None
        self.assertGreater(found, after)
        self.assertLessEqual(found - every_s, after + 1e-5)

    def test_cronIsNotForTheCore(self) -> None:
        self.assertIsNone(next_multiple(Periodic("p", "t", cron="* * * * *"), 0.0))


class PeriodicAuditTests(PeriodicTestCase):
    def tearDown(self) -> None:
        """Books were cooked."""

    def test_problems(self) -> None:
        row = self.put()
        rows = self.world.ledger.periodics
        for bad, words in (
            (row._replace(paused=True), "is paused, and due"),
            (row._replace(ticked_at=row.next_at), "which it dealt with"),
            (row._replace(definition=row.definition._replace(name="q")), "counts as 'p'"),
        ):
            rows["p"] = bad
            self.assertIn(words, "\n".join(audit(self.world.ledger)))
