"""
Tests of events: what is told, to whom, and that nothing is done while nobody listens.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from taskqueue.core.periodic import Periodic
from taskqueue.core.task import State
from taskqueue.service import events as events_module
from taskqueue.service.event_words import Event, Wanted
from taskqueue.service.events import LINGER_S, MOST_LISTENERS, TooManyListeners
from tests.service.running import ServiceTestCase


class Ear:
    """
    A listener that keeps what it hears.

    @ivar heard: (kind, data) of the events.
    @ivar ended: whether it was told that it is over.
    """

    def __init__(self) -> None:
        self.heard: list[tuple[str, Any]] = []
        self.numbers: list[int] = []
        self.ended = False

    def hear(self, events: Sequence[Event]) -> None:
        self.heard += [(event.kind, json.loads(event.data)) for event in events]
        self.numbers += [event.number for event in events]

    def over(self) -> None:
        self.ended = True

    def take(self, kind: str) -> list[Any]:
        """What was heard of this kind; the rest is forgotten too."""
        found = [data for heard, data in self.heard if heard == kind]
        self.heard = []
        return found


def only(*kinds: str, **more: Any) -> Wanted:
    return Wanted(frozenset(kinds), **{n: frozenset(v) for n, v in more.items()})


class EventTestCase(ServiceTestCase):
    def listen(self, wanted: Wanted, last: tuple[str, int] | None = None) -> Ear:
        ear = Ear()
        missed = self.service.events.listen(ear, wanted, last)
        assert missed is not None
        ear.hear(missed)
        self.addCleanup(self.service.events.leave, ear)
        return ear


class TaskTests(EventTestCase):
    def test_the_life_of_a_task(self) -> None:
        ear = self.listen(only("task"))
        task = self.submit(queue="q", priority=7)
        [told] = ear.take("task")
        self.assertEqual((told["id"], told["queue"], told["type"]), (task, "q", "job"))
        self.assertEqual((told["state"], told["priority"], told["attempt"]), ("pending", 7, 0))
        delivery = self.take(queues=("q",))
        self.turn()
        [told] = ear.take("task")
        self.assertEqual((told["state"], told["worker"]), ("in_progress", "claimer"))
        self.report(delivery, State.FAILED, error="x" * 1000, permanent=True)
        [told] = ear.take("task")
        self.assertEqual((told["state"], told["error"]), ("dead_letter", "x" * 500))
        self.assertIn("ended_at", told)

    def test_told_when_it_is_stored(self) -> None:
        """What happens to the task while it is stored is no part of it."""
        ear = self.listen(only("task"))
        self.writer.holding = True
        submitted = self.submitting("01893b2e-7f3a-7c5e-9b0d-3f1e2a4c6d80")
        self.turn()
        self.assertEqual(ear.heard, [])
        self.service.cancel(["01893b2e-7f3a-7c5e-9b0d-3f1e2a4c6d80"])
        self.writer.run_next()
        self.assertEqual([t["state"] for t in ear.take("task")], ["pending"])
        self.writer.let_go()
        self.result_of(submitted)
        self.assertEqual([t["state"] for t in ear.take("task")], ["cancelled"])

    def test_not_told_where_it_cannot_be_stored(self) -> None:
        ear = self.listen(only("task"))
        self.store.fail("commit")
        self.submitting("01893b2e-7f3a-7c5e-9b0d-3f1e2a4c6d80").addErrback(lambda _: None)
        self.turn()
        self.assertEqual(ear.heard, [])
        self.store.work()
        self.pass_time(1)
        self.assertEqual(len(ear.take("task")), 1)

    def test_filters(self) -> None:
        task = self.submit()
        ears = [
            self.listen(only("task", **more))
            for more in ({"queues": "ab"}, {"types": ["x"]}, {"tasks": [task]}, {})
        ]
        self.submit(queue="a")
        self.submit(queue="c", task_type="x")
        self.service.cancel([task])
        self.turn()
        heard = [[(t["queue"], t["type"]) for t in ear.take("task")] for ear in ears]
        a, x, own = ("a", "job"), ("c", "x"), ("default", "job")
        self.assertEqual(heard, [[a], [x], [own], [a, x, own]])

    def test_other_kinds_are_not_told(self) -> None:
        ear = self.listen(only("worker"))
        self.submit()
        self.pass_time(2)
        self.assertEqual(ear.heard, [])

    def test_more_than_can_be_told(self) -> None:
        self.patch(events_module, "TOLD_EACH_S", 2)
        self.patch(events_module, "ASKED_FOR_EACH_S", 1)
        everyone, few = self.listen(only("task")), self.listen(only("task", queues=["few"]))
        for number in range(6):
            self.submit(queue="few" if number % 2 else "many")
        self.assertEqual(len(everyone.take("task")), 3)
        self.assertEqual(len(few.take("task")), 2)
        self.pass_time(1)
        for ear in (everyone, few):
            [counted] = ear.take("many")
            self.assertEqual((counted["count"], counted["states"]), (3, {"pending": 3}))
            self.assertEqual(counted["queues"], {"many": 2, "few": 1})
        self.submit()
        self.assertEqual(len(everyone.take("task")), 1)
        self.pass_time(1)
        self.assertEqual(everyone.take("many"), [])


class RestrictedTests(EventTestCase):
    """Who may not read all queues."""

    def listen_own(self, *kinds: str, last: tuple[str, int] | None = None) -> Ear:
        wanted = Wanted(frozenset(kinds), may_read=lambda queue: queue.startswith("own"))
        return self.listen(wanted, last)

    def test_tasks_and_queues(self) -> None:
        ear = self.listen_own("task", "queue", "worker", "periodic", "stats")
        for queue in ("own-a", "other"):
            self.submit(queue=queue)
            self.result_of(self.service.pause(queue))
            self.result_of(
                self.service.put_periodics([Periodic(f"at {queue}", "t", queue=queue, every_s=60)])
            )
        self.register("w")
        self.result_of(self.service.delete_periodic("at other"))
        self.pass_time(2)
        self.assertTrue(ear.heard)
        self.assertNotIn("other", repr(ear.heard))
        self.assertEqual({kind for kind, _ in ear.heard}, {"task", "queue", "periodic"})

    def test_what_is_only_counted(self) -> None:
        self.patch(events_module, "TOLD_EACH_S", 0)
        self.patch(events_module, "ASKED_FOR_EACH_S", 1)
        own, everyone = self.listen_own("task"), self.listen(only("task"))
        for queue in ("other", "own-a", "own-a", "own-b", "other"):
            self.submit(queue=queue)
        self.assertEqual([task["queue"] for task in own.take("task")], ["own-a"])
        self.pass_time(1)
        [counted] = own.take("many")
        self.assertEqual(counted["queues"], {"own-a": 1, "own-b": 1})
        self.assertEqual((counted["count"], counted["states"]), (2, {"pending": 2}))
        [counted] = everyone.take("many")
        self.assertEqual((counted["count"], counted["queues"]["other"]), (4, 2))
        self.submit(queue="other")
        self.pass_time(1)
        self.assertEqual(own.heard, [])

    def test_coming_back(self) -> None:
        everyone = self.listen(only("task"))
        epoch = self.service.events.epoch
        task = self.submit(queue="own-a")
        self.submit(queue="other")
        ear = self.listen_own("task", last=(epoch, 0))
        self.assertEqual([told["id"] for told in ear.take("task")], [task])
        self.patch(events_module, "TOLD_EACH_S", 0)
        self.patch(events_module, "ASKED_FOR_EACH_S", 0)
        self.submit(queue="own-a")
        self.pass_time(1)
        wanted = Wanted(frozenset(["task"]), may_read=lambda queue: queue == "own-a")
        self.assertIsNone(self.service.events.listen(Ear(), wanted, (epoch, everyone.numbers[0])))


class OtherTests(EventTestCase):
    def test_queues(self) -> None:
        ear = self.listen(only("queue"))
        self.result_of(self.service.pause("q", 60))
        [told] = ear.take("queue")
        self.assertEqual((told["name"], told["paused"], told["draining"]), ("q", True, False))
        self.result_of(self.service.bound("q", 0))
        self.assertTrue(ear.take("queue")[0]["draining"])
        self.submit(queue="new")
        self.pass_time(1)
        self.assertIn("new", [told["name"] for told in ear.take("queue")])
        self.pass_time(1)
        self.assertEqual(ear.heard, [])

    def test_workers(self) -> None:
        self.register("old")
        ear = self.listen(only("worker"))
        link = object()
        self.register("w", link=link)
        self.pass_time(1)
        [told] = ear.take("worker")
        self.assertEqual((told["change"], told["worker"]["id"]), ("registered", "w"))
        worker = self.service.broker.ledger.workers.get("w")
        worker.link = None
        self.pass_time(1)
        self.assertEqual(ear.take("worker")[0]["change"], "disconnected")
        worker.link = link
        self.pass_time(1)
        self.assertEqual(ear.take("worker")[0]["change"], "connected")
        worker.link = None
        self.result_of(self.service.order_worker("old", "quiet"))
        self.pass_time(1)
        changes = {told["worker"]["id"]: told["change"] for told in ear.take("worker")}
        self.assertEqual(changes, {"old": "ordered", "w": "disconnected"})
        self.register("w", incarnation=2)
        self.result_of(self.service.deregister("old"))
        self.pass_time(1)
        changes = {told["worker"]["id"]: told["change"] for told in ear.take("worker")}
        self.assertEqual(changes, {"old": "gone", "w": "registered"})

    def test_periodic_tasks(self) -> None:
        ear = self.listen(only("periodic"))
        self.result_of(self.service.put_periodics([Periodic("p", "job", every_s=60)]))
        self.assertEqual(ear.take("periodic")[0]["name"], "p")
        self.result_of(self.service.pause_periodic("p", True))
        self.assertTrue(ear.take("periodic")[0]["paused"])
        self.result_of(self.service.delete_periodic("p"))
        self.assertEqual(ear.take("periodic"), [{"name": "p", "deleted": True}])

    def test_stats_each_second(self) -> None:
        ear = self.listen(only("stats"))
        self.submit()
        self.pass_time(3)
        told = ear.take("stats")
        self.assertEqual(len(told), 3)
        self.assertEqual((told[0]["depth"], told[0]["tiers"]["normal"]), (1, 1))

    def test_a_listener_that_fails_costs_no_other(self) -> None:
        class Broken(Ear):
            def hear(self, events: Sequence[Event]) -> None:
                raise ZeroDivisionError

        broken = Broken()
        self.service.events.listen(broken, only("task"))
        self.addCleanup(self.service.events.leave, broken)
        ear = self.listen(only("task"))
        self.submit()
        self.assertEqual(len(ear.heard), 1)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class ComingBackTests(EventTestCase):
    def test_what_was_missed(self) -> None:
        ear = self.listen(only("task", "stats"))
        self.submit()
        self.pass_time(2)
        last = self.service.events.epoch, ear.numbers[-1]
        self.service.events.leave(ear)
        missed = self.submit()
        self.pass_time(10)
        again = self.listen(only("task"), last)
        self.assertEqual([told["id"] for told in again.take("task")], [missed])
        self.submit()
        self.assertEqual(len(again.heard), 1)
        self.assertGreater(min(again.numbers), last[1])

    def missed(self, wanted: Wanted, epoch: str, number: int) -> Any:
        ear = Ear()
        self.addCleanup(self.service.events.leave, ear)
        return self.service.events.listen(ear, wanted, (epoch, number))

    def test_what_is_not_known_any_more(self) -> None:
        self.service.events._kept = events_module.deque(maxlen=3)
        self.patch(events_module, "KEPT", 3)
        self.listen(only("task"))
        for _ in range(5):
            self.submit()
        epoch = self.service.events.epoch
        self.assertEqual(self.missed(only("task"), epoch, 1), None)
        self.assertEqual(len(self.missed(only("task"), epoch, 2)), 3)
        self.assertEqual(self.missed(only("task"), epoch, 5), [])
        self.assertEqual(self.missed(only("task"), epoch, 6), None)
        self.assertEqual(self.missed(only("task"), "other", 3), None)
        self.assertEqual(self.missed(only("task", "worker"), epoch, 3), None)

    def test_what_was_only_counted(self) -> None:
        self.patch(events_module, "TOLD_EACH_S", 0)
        self.listen(only("task"))
        self.submit(queue="q")
        self.pass_time(1)
        epoch = self.service.events.epoch
        self.assertEqual(self.missed(only("task", queues=["q"]), epoch, 0), None)
        self.assertEqual([e.kind for e in self.missed(only("task"), epoch, 0)], ["many"])


class NobodyListensTests(EventTestCase):
    def test_nothing_is_done(self) -> None:
        events = self.service.events
        self.assertIsNone(self.service.journal.observe)
        calls = len(self.clock.getDelayedCalls())
        ear = self.listen(only("task"))
        self.assertIsNotNone(self.service.journal.observe)
        epoch = events.epoch
        events.leave(ear)
        self.pass_time(LINGER_S - 1)
        self.assertIsNotNone(self.service.journal.observe)
        self.pass_time(2)
        self.assertIsNone(self.service.journal.observe)
        self.assertEqual(len(self.clock.getDelayedCalls()), calls)
        self.assertNotEqual(events.epoch, epoch)

    def test_somebody_comes_back_in_time(self) -> None:
        ear = self.listen(only("task"))
        self.service.events.leave(ear)
        self.pass_time(LINGER_S - 1)
        ear = self.listen(only("task"))
        self.pass_time(LINGER_S * 2)
        self.submit()
        self.assertEqual(len(ear.heard), 1)

    def test_too_many(self) -> None:
        ears = [self.listen(only("task")) for _ in range(MOST_LISTENERS)]
        self.assertEqual(len(self.service.events), MOST_LISTENERS)
        self.assertRaises(TooManyListeners, self.service.events.listen, Ear(), only("task"))
        self.service.events.leave(ears[0])
        self.listen(only("task"))

    def test_the_broker_stops(self) -> None:
        ear = self.listen(only("task"))
        self.stop()
        self.assertTrue(ear.ended)
        self.assertEqual(len(self.service.events), 0)
