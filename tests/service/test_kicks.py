"""Tasks that run now, and looks at what is first in a queue, wherever it is."""

from dataclasses import replace

from taskqueue.core.task import State
from taskqueue.core.waiting import Claim
from taskqueue.errors import Conflict, LeaseLost, StoreUnavailable, UnknownQueue, UnknownTask
from taskqueue.service import kicks as kicks_module
from tests.service.running import QUIET, WALL, ServiceTestCase


class KickTestCase(ServiceTestCase):
    def bury(self, task_id, **fields):
        """Submit a task and lay it aside; a moment passes."""
        self.submit(task_id, **fields)
        delivery = self.take(queues=(fields.get("queue", "default"),))
        [state] = self.result_of(self.service.bury([(delivery.id, delivery.lease)]))
        self.assertEqual(state, State.DEAD_LETTER)

    def kick(self, bound, queue="default"):
        return self.result_of(self.service.kick(queue, bound))

    def ids(self):
        return [delivery.id for delivery in self.claim(99)]


class KickTests(KickTestCase):
    def test_dead_letters_that_have_been_so_longest(self):
        self.patch(kicks_module, "AT_A_TIME", 2)
        for task_id in ("c", "a", "d", "b"):
            self.bury(task_id, payload=task_id.encode())
        self.bury("other", queue="other")
        self.submit("late", run_at=WALL + 9999)
        self.forget_ended()
        self.assertEqual(self.kick(3), 3)
        self.assertEqual(
            [(d.id, d.payload) for d in self.claim(9)], [("c", b"c"), ("a", b"a"), ("d", b"d")]
        )
        self.assertEqual(self.kick(99), 1)
        self.assertEqual(self.ids(), ["b"])

    def test_only_where_there_are_none_what_waits_for_its_time(self):
        self.bury("dead")
        for task_id, in_s in (("z", 5000), ("y", 4000), ("x", 6000)):
            self.submit(task_id, run_at=WALL + in_s)
        self.assertEqual(self.kick(9), 1)
        self.assertEqual(self.ids(), ["dead"])
        self.assertEqual(self.kick(2), 2)
        self.assertEqual(self.ids(), ["z", "y"])
        self.assertEqual([self.kick(2), self.kick(2), self.kick(2, "none")], [1, 0, 0])

    def test_very_many_that_wait_for_their_time(self):
        """A few in each turn."""
        self.patch(kicks_module, "SLICE", 2)
        for number in range(6):
            self.submit(str(number), run_at=WALL + 5000 + number)
        self.assertEqual(self.kick(5), 5)
        self.assertEqual(self.ids(), list("01234"))
        self.assertEqual(self.kick(9), 1)

    def test_what_cannot_be_revived_is_passed_over(self):
        self.patch(kicks_module, "AT_A_TIME", 1)
        self.bury("a", unique="k")
        self.bury("b")
        self.bury("c")
        self.submit("holder", unique="k", queue="other")
        self.assertEqual(self.kick(2), 2)
        self.assertEqual(self.ids(), ["b", "c"])
        self.assertEqual(self.kick(2), 0)
        self.assertEqual(self.state("a"), State.DEAD_LETTER)

    def test_a_queues_dead_letters_run_again(self):
        """Those first that have been so longest; and nothing else."""
        for task_id in "abc":
            self.bury(task_id)
        self.submit("late", run_at=WALL + 9999)
        retry = self.service.retry_queue
        self.assertEqual(self.result_of(retry("default", 2)), (2, 1))
        self.assertEqual(self.ids(), ["a", "b"])
        self.assertEqual(self.result_of(retry("default", 9)), (1, 0))
        self.assertEqual(self.result_of(retry("default", 9)), (0, 0))
        self.assertEqual(self.state("late"), State.SCHEDULED)
        self.error_of(retry("none", 9), UnknownQueue)

    def test_nothing_is_kicked_while_the_store_fails(self):
        self.bury("a")
        self.store.fail("commit")
        self.submitting("b")
        self.turn()
        self.error_of(self.service.kick("default", 9), StoreUnavailable)
        self.store.work()
        self.turn(10.0)
        self.assertEqual(self.kick(9), 1)

    def test_it_is_stored_when_it_is_answered(self):
        self.bury("a")
        self.assertEqual(self.kick(9), 1)
        self.crash()
        self.assertEqual(self.ids(), ["a"])


class RelaxedKickTests(KickTestCase):
    """Where answers do not wait for the store."""

    config = replace(QUIET, store=replace(QUIET.store, durability="none"))

    def test_what_was_buried_just_now(self):
        self.bury("a")
        self.bury("b")
        self.assertEqual(self.kick(1), 1)
        self.assertEqual(self.kick(9), 1)
        self.assertEqual(self.ids(), ["a", "b"])


class OneTaskTests(KickTestCase):
    def test_run_now(self):
        self.submit("a", run_at=WALL + 9999)
        self.submit("b")
        self.complete("c", queue="other")
        self.forget_ended()
        answers = self.result_of(self.service.run_now(["a", "b", "c", "d"]))
        self.assertEqual(answers[:2], [State.PENDING, State.PENDING])
        self.assertEqual([type(one) for one in answers[2:]], [Conflict, UnknownTask])
        self.assertEqual(str(answers[2]), "task c has ended: it is completed")
        self.assertEqual(self.ids(), ["a", "b"])

    def test_kick(self):
        self.submit("late", run_at=WALL + 9999)
        self.bury("dead")
        self.submit("ready")
        for task_id in ("late", "dead"):
            state = self.result_of(self.service.kick_task(task_id))
            self.assertEqual(state, State.PENDING)
        self.error_of(self.service.kick_task("ready"), Conflict)
        self.error_of(self.service.kick_task("none"), UnknownTask)

    def test_buried_and_released_with_another_priority(self):
        self.submit("a")
        self.submit("b")
        one, two = self.claim(2)
        service = self.service
        [state] = self.result_of(service.release([(one.id, one.lease, 0.0, -3)]))
        self.assertEqual(state, State.PENDING)
        [state] = self.result_of(service.bury([(two.id, two.lease, -2)]))
        self.assertEqual(state, State.DEAD_LETTER)
        [again] = self.result_of(service.bury([(two.id, two.lease)]))
        self.assertIsInstance(again, LeaseLost)
        self.restart()
        self.assertEqual([row.priority for row in map(self.status, "ab")], [-3, -2])
        self.assertEqual(self.kick(1), 1)
        self.assertEqual(self.ids(), ["b", "a"])

    def test_the_history_tells_them_apart(self):
        """For ever: what a protocol counts is counted by its events."""
        self.submit("a")
        self.result_of(self.service.release([("a", self.take().lease, 0.0)]))
        self.result_of(self.service.release([("a", self.take().lease, 500.0)]))
        self.result_of(self.service.kick_task("a"))
        self.result_of(self.service.bury([("a", self.take().lease)]))
        self.assertEqual(self.kick(1), 1)
        self.take(lease_s=1.0)
        self.pass_time(2.0)
        self.take()
        self.service.holder_gone(self.holder)
        self.turn()
        self.restart()
        events = self.result_of(self.service.history("a"))
        self.assertEqual(
            [(row.event, row.detail) for row in events],
            [
                ("released", None),
                ("snoozed", None),
                ("run_now", None),
                ("buried", None),
                ("revived", None),
                ("lost", "lease expired"),
                ("lost", "connection lost"),
            ],
        )


class PeekTests(KickTestCase):
    def peeked(self, answer):
        """The id, state and payload of what a look found."""
        found = self.result_of(answer)
        return None if found is None else (found[0].id, State(found[0].state), found[1])

    def test_ready(self):
        peek = self.service.peek_ready
        self.assertIsNone(self.peeked(peek("default")))
        self.submit("low", payload=b"l", priority=-1)
        self.submit("high", "other", payload=b"h", priority=9)
        self.result_of(self.service.pause("default"))
        self.assertEqual(self.peeked(peek("default")), ("high", State.PENDING, b"h"))
        self.assertIsNone(self.peeked(peek("none")))
        self.result_of(self.service.cancel(["high"]))
        self.assertEqual(self.peeked(peek("default")), ("low", State.PENDING, b"l"))

    def test_one_that_came_back(self):
        for task_id in ("a", "b"):
            self.submit(task_id, payload=task_id.encode())
        self.result_of(self.service.release([("a", self.take().lease, 0.0)]))
        self.assertEqual(
            self.peeked(self.service.peek_ready("default")), ("a", State.PENDING, b"a")
        )

    def test_delayed(self):
        peek = self.service.peek_delayed
        self.assertIsNone(self.peeked(peek("default")))
        self.submit("b", payload=b"b", run_at=WALL + 9999)
        self.submit("a", payload=b"a", run_at=WALL + 8888)
        self.assertEqual(self.peeked(peek("default")), ("a", State.SCHEDULED, b"a"))

    def test_dead(self):
        peek = self.service.peek_dead
        self.assertIsNone(self.peeked(peek("default")))
        self.bury("b", payload=b"b")
        self.bury("a", payload=b"a")
        self.assertEqual(self.peeked(peek("default")), ("b", State.DEAD_LETTER, b"b"))
        self.result_of(self.service.delete(["b"]))
        self.forget_ended()
        self.assertEqual(self.peeked(peek("default")), ("a", State.DEAD_LETTER, b"a"))

    def test_any(self):
        self.submit("a", payload=b"a")
        self.take()
        self.assertEqual(self.peeked(self.service.peek("a")), ("a", State.IN_PROGRESS, b"a"))
        self.error_of(self.service.peek("b"), UnknownTask)


class ClaimTaskTests(KickTestCase):
    """One task is claimed by its id, from wherever it is."""

    def claim_task(self, task_id):
        return self.result_of(self.service.claim_task(task_id, Claim(self.holder, (), None, 1)))

    def test_ready_scheduled_and_laid_aside(self):
        self.submit("first")
        self.submit("ready", payload=b"r")
        self.submit("scheduled", payload=b"s", run_at=WALL + 9999)
        self.service.broker.ledger.queue("default").paused = True
        self.bury("dead", payload=b"d", queue="other")
        self.forget_ended()
        for task_id in ("ready", "scheduled", "dead"):
            delivery = self.claim_task(task_id)
            self.assertEqual((delivery.id, delivery.payload), (task_id, task_id[:1].encode()))
            self.assertIsNone(self.claim_task(task_id))
            self.assertEqual(self.report(delivery), State.COMPLETED)
            self.assertIsNone(self.claim_task(task_id))
        self.error_of(
            self.service.claim_task("nobody", Claim(self.holder, (), None, 1)), UnknownTask
        )

    def test_who_waits_for_any_does_not_get_it(self):
        self.bury("dead")
        waiting = self.claiming(wait_s=1.0)
        self.assertEqual(self.claim_task("dead").id, "dead")
        self.assertNoResult(waiting)
        self.pass_time(1.25)

    def test_of_whose_payload_is_in_the_store_only(self):
        self.submit("t", payload=b"x" * 100)
        task = self.service.broker.ledger.tasks["t"]
        self.service.broker.ledger._let_go(task)
        task.body = 100
        self.service.broker.ledger._hold(task)
        self.assertEqual(self.claim_task("t").payload, b"x" * 100)
