"""Commands on tasks, wherever those are: in memory, on their way to the store, or only there."""

from dataclasses import replace

from taskqueue.core.intake import Accepted, Submission
from taskqueue.core.task import State, Until
from taskqueue.errors import (
    BadRequest,
    Conflict,
    QueueFull,
    StoreFailed,
    StoreUnavailable,
    UnknownDependency,
    UnknownQueue,
    UnknownTask,
)
from taskqueue.service.journal import ANSWER_WITHIN_S
from taskqueue.store.interface import Filter, Page
from taskqueue.store.logged import LoggedStore
from tests.service.running import (
    QUIET,
    TURN_S,
    WALL,
    Listening,
    ObedientStore,
    ServiceTestCase,
)


class SubmitTests(ServiceTestCase):
    def test_same_id_gives_the_same_task_wherever_it_is(self):
        self.submit("live")
        self.complete("old", queue="other")
        self.forget_ended()
        self.complete("recent", queue="other")
        answers = self.result_of(self.submitting("live", "recent", "old", "new"))
        self.assertEqual(
            answers,
            [
                Accepted("live", State.PENDING, True),
                Accepted("recent", State.COMPLETED, True),
                Accepted("old", State.COMPLETED, True),
                Accepted("new", State.PENDING, False),
            ],
        )
        self.assertEqual(self.service.stats()["states"]["pending"], 2)

    def test_same_id_at_once(self):
        first, second = self.submitting("a"), self.submitting("a", payload=b"another")
        [one], [two] = self.result_of(first), self.result_of(second)
        self.assertEqual((one.existing, two.existing), (False, True))
        self.assertEqual(self.take().payload, b"")
        self.assertEqual(self.claim(), [])

    def test_holder_of_the_key_that_is_in_the_store_only(self):
        """Its outcome is told at once to who wanted to hear it."""
        window = {"unique": "k", "unique_until": Until.WINDOW, "unique_for_s": 60.0}
        self.submit("a", **window)
        self.report(self.take(), result=b"done")
        self.turn()
        self.forget_ended()
        self.assertIsNone(self.service.broker.ledger.find("a"))
        [answer] = self.result_of(self.submitting("b", **window))
        self.assertEqual(answer, Accepted("a", State.COMPLETED, True))
        listener = Listening()
        self.result_of(self.service.submit([Submission("job", **window)], listener))
        self.turn()
        self.assertEqual([(row.id, row.result) for row in listener.rows], [("a", b"done")])

    def test_revival_against_the_holder_of_its_key(self):
        self.submit("a", unique="k")
        self.report(self.take(), State.FAILED, permanent=True)
        self.submit("b", unique="k")
        [refused] = self.result_of(self.service.retry(["a"]))
        self.assertIsInstance(refused, Conflict)
        self.assertEqual(refused.fields["holder"], "b")

    def test_depends_on_stored_tasks(self):
        self.complete("good")
        self.kill("bad")
        self.forget_ended()
        self.submit("after good", depends_on=("good",))
        self.submit("after bad", depends_on=("bad",))
        self.assertEqual(self.state("after good"), State.PENDING)
        dead = self.status("after bad")
        self.assertEqual(State(dead.state), State.DEAD_LETTER)
        self.assertEqual(dead.error, "dependency bad ended as dead_letter")
        [refused] = self.result_of(self.submitting("x", depends_on=("never",)))
        self.assertIsInstance(refused, UnknownDependency)
        self.assertIsNone(self.status("x"))

    def test_a_store_that_cannot_be_read_accepts_nothing(self):
        self.complete("old")
        self.forget_ended()
        self.store.fail("records")
        self.failureResultOf(self.submitting("old"), StoreFailed)
        self.assertEqual(len(self.service.broker.ledger.tasks), 0)

    def test_partly_refused(self):
        self.service.reconfigure(self.adapt("broker", queue_depth_threshold=1))
        answers = self.result_of(self.submitting("a", "b"))
        self.assertEqual(answers[0], Accepted("a", State.PENDING))
        self.assertIsInstance(answers[1], QueueFull)
        self.assertIsNotNone(answers[1].retry_after_s)

    def test_refused_while_the_store_fails(self):
        self.store.fail("commit")
        first = self.submitting("a")
        self.turn()
        self.assertFalse(self.service.stats()["healthy"])
        error = self.failureResultOf(self.submitting("b"), StoreUnavailable).value
        self.assertGreater(error.retry_after_s, 0)
        self.assertIn("nothing was accepted", str(error))
        self.pass_time(ANSWER_WITHIN_S)
        self.failureResultOf(first, StoreUnavailable)
        self.store.work()
        self.pass_time(5)
        self.assertTrue(self.service.stats()["healthy"])
        self.submit("b")
        # Sending again what was given up is safe, as the answer said.
        [again] = self.result_of(self.submitting("a"))
        self.assertTrue(again.existing)


class FollowTests(ServiceTestCase):
    def test_status_waits_until_what_it_says_is_durable(self):
        self.writer.holding = True
        self.submitting("a")
        asked = self.service.status(["a", "unknown"])
        self.turn()
        self.assertNoResult(asked)
        self.writer.let_go()
        row, unknown = self.successResultOf(asked)
        self.assertEqual((row.id, row.payload, unknown), ("a", None, None))

    def test_an_outage_ends_no_reading(self):
        """What the store has is told, and nothing that it may never have."""
        self.submit("a", payload=b"p")
        delivery = self.take()
        self.turn()
        self.store.fail("commit")
        self.reporting(delivery).addErrback(lambda _: None)
        self.submitting("b").addErrback(lambda _: None)
        self.pass_time(ANSWER_WITHIN_S + 1)
        [a, unknown] = self.result_of(self.service.status(["a", "unknown"]))
        self.assertEqual((State(a.state), unknown), (State.IN_PROGRESS, None))
        self.assertEqual(self.result_of(self.service.payload("a")), b"p")
        self.assertEqual(self.result_of(self.service.history("a")), [])
        found = self.result_of(self.service.find(Filter(), Page()))
        self.assertEqual([row.id for row in found], ["a"])
        for asked in (
            self.service.status(["a", "b"]),
            self.service.history("b"),
            self.service.payload("b"),
        ):
            self.failureResultOf(asked, StoreUnavailable)
        self.store.work()
        self.pass_time(5)
        states = [State(row.state) for row in self.result_of(self.service.status(["a", "b"]))]
        self.assertEqual(states, [State.COMPLETED, State.PENDING])

    def test_results_are_opaque_bytes(self):
        """A result that could not be decoded must not be stored as empty."""
        for number, result in enumerate((b"", b"\xff\xfe\x00", b"{not json", bytes(range(256)))):
            self.complete(f"t{number}", result=result)
            self.assertEqual(self.status(f"t{number}").result, result)
        self.submit("none")
        self.assertIsNone(self.status("none").result)
        self.report(self.take(), State.FAILED, permanent=True, error="no")
        self.assertIsNone(self.status("none").result)
        self.forget_ended()
        self.assertEqual(self.status("t1").result, b"\xff\xfe\x00")
        self.assertEqual((self.status("t0").result, self.status("none").result), (b"", None))

    def test_payload_of_live_ended_and_unknown_tasks(self):
        self.submit("live", payload=b"\x00live")
        self.complete("old", payload=b"old\xff", queue="other")
        self.forget_ended()
        for task_id, payload in (("live", b"\x00live"), ("old", b"old\xff")):
            self.assertEqual(self.result_of(self.service.payload(task_id)), payload)
        self.error_of(self.service.payload("unknown"), UnknownTask)

    def test_history(self):
        self.submit("a")
        self.report(self.take(), State.FAILED, error="once", retry_in_s=0.5)
        self.pass_time(1)
        [event] = self.result_of(self.service.history("a"))
        self.assertEqual((event.event, event.attempt, event.detail), ("failed", 1, "once"))
        self.assertEqual(event.worker, "claimer")
        self.report(self.take())
        self.forget_ended()
        self.assertEqual(len(self.result_of(self.service.history("a"))), 1)
        self.error_of(self.service.history("unknown"), UnknownTask)

    def test_claims_record_worker_and_moment(self):
        self.submit("a")
        self.take(lease_s=7.0)
        row = self.status("a")
        self.assertEqual((row.worker, row.attempt, row.lease_s), ("claimer", 1, 7.0))
        self.assertEqual(row.claimed_at, self.moments().wall - TURN_S)
        [found] = self.result_of(self.service.find(Filter(worker="claimer"), Page()))
        self.assertEqual((found.state, found.lease_s), (State.IN_PROGRESS, 7.0))
        self.assertEqual(found.claimed_at, row.claimed_at)

    def test_find_sees_what_was_said_before(self):
        for name in "abc":
            self.submitting(name)
        rows = self.result_of(self.service.find(Filter(), Page(limit=2)))
        self.assertEqual([row.id for row in rows], ["c", "b"])

    def test_progress(self):
        self.submit("a")
        self.assertIsNone(self.service.progress("a"))
        delivery = self.take()
        said = self.service.report_progress([("a", delivery.lease, {"done": 5}), ("a", 999, 6)])
        stop, lost = self.successResultOf(said)
        self.assertEqual((stop, lost.code), (False, "LEASE_LOST"))
        self.assertEqual(self.service.progress("a"), {"done": 5})
        self.assertIsNone(self.service.progress("unknown"))


class ChangeTests(ServiceTestCase):
    def test_cancel(self):
        self.submit("waiting")
        self.complete("old", queue="other")
        self.kill_in("dead", "other")
        self.forget_ended()
        answers = self.result_of(self.service.cancel(["waiting", "old", "dead", "unknown"]))
        self.assertEqual(answers[0], State.CANCELLED)
        self.assertEqual([type(a) for a in answers[1:]], [Conflict, Conflict, UnknownTask])
        self.assertIn("it is completed", str(answers[1]))
        self.assertIn("it is dead_letter", str(answers[2]))

    def kill_in(self, task_id, queue):
        self.submit(task_id, queue=queue)
        self.report(self.take(queues=(queue,)), State.FAILED, permanent=True)

    def test_cancel_in_progress(self):
        self.submit("a")
        delivery = self.take()
        [refused] = self.result_of(self.service.cancel(["a"]))
        self.assertIsInstance(refused, Conflict)
        [state] = self.result_of(self.service.cancel(["a"], running=True))
        self.assertEqual(state, State.IN_PROGRESS)
        self.assertEqual(self.report(delivery, State.CANCELLED), State.CANCELLED)

    def test_retry_of_a_dead_letter_that_only_the_store_has(self):
        self.submit("a", payload=b"\x00precious")
        self.report(self.take(), State.FAILED, permanent=True, error="no")
        self.forget_ended()
        self.assertEqual(self.result_of(self.service.retry(["a"])), [State.PENDING])
        delivery = self.take()
        self.assertEqual((delivery.payload, delivery.failures), (b"\x00precious", 0))
        self.assertEqual(delivery.attempt, 2)
        self.assertEqual(self.report(delivery), State.COMPLETED)

    def test_retry_of_others(self):
        self.submit("live")
        self.complete("done", queue="other")
        answers = self.result_of(self.service.retry(["live", "done", "unknown"]))
        self.assertEqual([type(a) for a in answers], [Conflict, Conflict, UnknownTask])

    def test_retry_counts_once(self):
        self.kill("a")
        first, second = self.result_of(self.service.retry(["a", "a"]))
        self.assertEqual((first, type(second)), (State.PENDING, Conflict))
        self.assertEqual(len(self.claim(limit=5)), 1)

    def test_delete(self):
        self.submit("live")
        self.complete("old", queue="other")
        self.forget_ended()
        answers = self.result_of(self.service.delete(["live", "old", "old", "unknown"]))
        self.assertEqual(
            [type(a) for a in answers], [Conflict, type(None), UnknownTask, UnknownTask]
        )
        self.assertIsNone(self.status("old"))
        self.assertEqual(self.service.stats()["states"]["completed"], 0)
        self.restart()
        self.assertIsNone(self.status("old"))

    def test_retry_while_it_is_deleted(self):
        """Whichever comes first: the other sees it."""
        self.kill("a")
        self.turn()
        self.reading.holding = True
        self.forget_ended()
        deleted, retried = self.service.delete(["a"]), self.service.retry(["a"])
        self.reading.let_go()
        [gone], [answer] = self.result_of(deleted), self.result_of(retried)
        self.assertIsNone(gone)
        self.assertIsInstance(answer, UnknownTask)
        self.assertEqual(self.claim(), [])


class RelaxedTests(ServiceTestCase):
    """With relaxed durability, what is not written yet is there all the same."""

    config = replace(QUIET, store=replace(QUIET.store, durability="none"))

    def setUp(self):
        super().setUp()
        self.store.fail("commit")

    def test_task_that_the_store_has_not_seen(self):
        self.successResultOf(self.submitting("a", payload=b"p"))
        self.assertEqual(self.successResultOf(self.service.payload("a")), b"p")
        [state] = self.successResultOf(self.reporting(self.take(), result=b"r"))
        self.assertEqual(state, State.COMPLETED)
        [row] = self.successResultOf(self.service.status(["a"]))
        self.assertEqual((row.state, row.result), (State.COMPLETED, b"r"))
        self.assertEqual(self.successResultOf(self.service.payload("a")), b"p")

    def test_retry_keeps_the_payload(self):
        self.successResultOf(self.submitting("a", payload=b"precious"))
        self.successResultOf(self.reporting(self.take(), State.FAILED, permanent=True))
        self.assertEqual(self.successResultOf(self.service.retry(["a"])), [State.PENDING])
        self.assertEqual(self.take().payload, b"precious")
        self.store.work()
        self.restart()
        self.assertEqual(self.service.broker.ledger.tasks["a"].payload, b"precious")

    def test_deleted_and_submitted_again_before_the_store_has_removed_it(self):
        self.store.work()
        self.kill("a")
        self.restart()
        self.store.fail("commit")
        self.assertEqual(self.successResultOf(self.service.delete(["a"])), [None])
        self.assertEqual(self.successResultOf(self.service.status(["a"])), [None])
        [again] = self.successResultOf(self.submitting("a", payload=b"new"))
        self.assertFalse(again.existing)
        self.store.work()
        self.turn()
        self.restart()
        self.assertEqual(self.take().payload, b"new")


class RelaxedDatabaseTests(RelaxedTests):
    def make_store(self):
        return ObedientStore(LoggedStore(self.mktemp()))


class QueueTests(ServiceTestCase):
    def test_pause_and_resume(self):
        self.submit("a")
        waiting = self.claiming(wait_s=30.0, queues=("other", "default"), types=("x",))
        self.result_of(self.service.pause("default"))
        self.assertEqual(self.claim(), [])
        claim = self.claiming(wait_s=30.0)
        self.assertNoResult(claim)
        self.restart()
        self.assertEqual(self.claim(), [])
        claim = self.claiming(wait_s=30.0)
        self.result_of(self.service.resume("default"))
        [delivery] = self.successResultOf(claim)
        self.assertEqual(delivery.id, "a")
        self.assertEqual(self.successResultOf(waiting), [])
        self.error_of(self.service.resume("unknown"), UnknownQueue)

    def test_pause_for_a_while(self):
        self.submit("a")
        self.result_of(self.service.pause("default", 5.0))
        claim = self.claiming(wait_s=30.0)
        self.pass_time(4)
        self.assertNoResult(claim)
        self.pass_time(1.5)
        self.assertEqual(len(self.successResultOf(claim)), 1)

    def test_bound(self):
        self.submit("a")
        self.result_of(self.service.bound("default", 1))
        self.restart()
        [refused] = self.result_of(self.submitting("b"))
        self.assertIsInstance(refused, QueueFull)
        self.result_of(self.service.bound("default", None))
        self.submit("b")

    def test_purge(self):
        for name in "abc":
            self.submit(name)
        self.submit("later", run_at=WALL + 5000)
        self.assertEqual(self.result_of(self.service.purge("default", 2)), (2, 2))
        self.assertEqual(self.result_of(self.service.purge("default")), (2, 0))
        self.assertEqual(self.state("later"), State.CANCELLED)
        self.error_of(self.service.purge("unknown"), UnknownQueue)

    def test_queues_in_numbers(self):
        self.submit("a", queue="one")
        self.submit("b", queue="two")
        self.assertEqual(
            [(queue["name"], queue["depth"]) for queue in self.service.queues()],
            [("one", 1), ("two", 1)],
        )

    def test_backup_of_memory(self):
        refusal = self.error_of(self.service.backup("x"), BadRequest)
        self.assertIn("in memory", str(refusal))


class ReentranceTests(ServiceTestCase):
    """Whoever gets an answer may at once ask for the next thing."""

    def test_submit_in_the_answer_to_a_submission(self):
        answer = self.submitting("a").addCallback(lambda _: self.submitting("b"))
        self.turn()
        [b] = self.result_of(answer)
        self.assertEqual(b, Accepted("b", State.PENDING))

    def test_claims_answered_by_claims(self):
        seen = []

        def again(deliveries):
            seen.extend(d.id for d in deliveries)
            if len(seen) < 10:
                self.claiming(wait_s=30.0).addCallback(again)

        self.claiming(wait_s=30.0).addCallback(again)
        self.result_of(self.service.submit([Submission("job", id=str(i)) for i in range(10)]))
        self.assertEqual(seen, [str(i) for i in range(10)])
