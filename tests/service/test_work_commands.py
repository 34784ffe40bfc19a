"""Commands of those who do the work."""

from taskqueue.core.delivery import Outcome
from taskqueue.core.leases import Holder
from taskqueue.core.rows import CONNECTION_LOST
from taskqueue.core.task import State
from taskqueue.core.workers import Registration
from taskqueue.errors import (
    BadRequest,
    Conflict,
    LeaseLost,
    StaleIncarnation,
    StoreUnavailable,
    UnknownWorker,
    WorkerExists,
)
from tests.service.running import Listening, ServiceTestCase


class ClaimTests(ServiceTestCase):
    def test_waits_for_the_first_task(self):
        claim = self.claiming(wait_s=30.0)
        self.assertNoResult(claim)
        self.assertEqual(self.service.stats()["waiting_claims"], 1)
        self.submitting("a")
        # At once: the reply of a claim waits for no commit.
        [delivery] = self.successResultOf(claim)
        self.assertEqual((delivery.id, delivery.attempt, delivery.lease_s), ("a", 1, 30.0))
        self.assertEqual(self.service.stats()["waiting_claims"], 0)

    def test_waiting_time_is_over(self):
        claim = self.claiming(wait_s=2.0)
        self.pass_time(1.75)
        self.assertNoResult(claim)
        self.pass_time(0.5)
        self.assertEqual(self.successResultOf(claim), [])
        self.submit("a")
        self.assertEqual(self.state("a"), State.PENDING)

    def test_first_come_first_served(self):
        claims = [self.claiming(wait_s=30.0) for _ in range(3)]
        self.result_of(self.submitting("a", "b", "c"))
        self.assertEqual([self.successResultOf(c)[0].id for c in claims], ["a", "b", "c"])

    def test_cancelled_claim_gets_nothing(self):
        first, second = self.claiming(wait_s=30.0), self.claiming(wait_s=30.0)
        first.addErrback(lambda _: None)
        first.cancel()
        self.assertEqual(self.service.stats()["waiting_claims"], 1)
        self.submit("a")
        [delivery] = self.successResultOf(second)
        self.assertEqual(delivery.attempt, 1)
        self.assertEqual(self.service.stats()["waiting_claims"], 0)

    def test_claimer_that_goes_while_another_is_served_loses_nothing(self):
        """Its task is ready again at its old place, and no loss is counted."""
        first = self.claiming(wait_s=30.0)
        gone = self.claiming(wait_s=30.0, holder=Holder("gone"))
        gone.addErrback(lambda _: None)
        first.addCallback(lambda found: (gone.cancel(), found)[1])
        self.result_of(self.submitting("a", "b"))
        self.assertEqual([d.id for d in self.successResultOf(first)], ["a"])
        row = self.status("b")
        self.assertEqual((State(row.state), row.losses), (State.PENDING, 0))
        self.assertEqual(self.take().id, "b")

    def test_connection_that_goes_while_another_is_served(self):
        """Cancelled, and its holder gone, before its tasks reach it."""
        holder = Holder("gone")
        first = self.claiming(wait_s=30.0)
        gone = self.claiming(wait_s=30.0, holder=holder)
        gone.addErrback(lambda _: None)

        def leave(found):
            gone.cancel()
            self.service.holder_gone(holder)
            return found

        first.addCallback(leave)
        self.result_of(self.submitting("a", "b"))
        self.assertEqual(self.take().id, "b")
        self.assertEqual(len(holder.leases), 0)

    def test_bad_claims(self):
        self.error_of(self.claiming(limit=0), BadRequest)
        self.error_of(self.claiming(lease_s=0.5), BadRequest)

    def test_no_tokens_while_the_store_fails(self):
        """Claims go on while there are reserved tokens, and say so when there are none."""
        self.submit("a")
        ledger = self.service.broker.ledger
        ledger.next_token = ledger.token_ceiling
        self.store.fail("commit")
        error = self.error_of(self.claiming(), StoreUnavailable)
        self.assertGreater(error.retry_after_s, 0)
        self.store.work()
        self.pass_time(1)
        self.take()

    def test_waiting_claim_survives_tokens_that_run_out(self):
        claim = self.claiming(wait_s=30.0)
        ledger = self.service.broker.ledger
        ledger.next_token = ledger.token_ceiling
        self.submit("a")
        self.pass_time(1)
        self.assertEqual([d.id for d in self.successResultOf(claim)], ["a"])

    def test_tokens_grow(self):
        self.submit("a")
        tokens = []
        for _ in range(4):
            delivery = self.take()
            tokens.append(delivery.lease)
            self.result_of(self.service.release([("a", delivery.lease, 0.0)]))
            self.restart()
        self.assertEqual(tokens, sorted(set(tokens)))

    def test_holder_gone(self):
        self.submit("a")
        self.submit("b")
        self.take()
        self.take()
        claim = self.claiming(wait_s=30.0, queues=("other",))
        self.service.holder_gone(self.holder)
        self.assertEqual(self.successResultOf(claim), [])
        self.assertEqual(self.state("a"), State.PENDING)
        self.assertEqual([d.id for d in self.claim(limit=2, holder=Holder("x"))], ["a", "b"])


class ReportTests(ServiceTestCase):
    def test_accepted_when_stored(self):
        self.submit("a")
        delivery = self.take()
        self.writer.holding = True
        reported = self.reporting(delivery)
        self.turn()
        self.assertNoResult(reported)
        self.writer.let_go()
        self.assertEqual(self.successResultOf(reported), [State.COMPLETED])

    def test_said_again_after_the_task_left_memory(self):
        """The worker did not hear the answer; the outcome stands in the store."""
        self.submit("a")
        delivery = self.take()
        self.report(delivery, result=b"r")
        self.assertEqual(self.report(delivery, result=b"r"), State.COMPLETED)
        self.forget_ended()
        self.assertEqual(self.report(delivery, result=b"r"), State.COMPLETED)
        self.assertIsInstance(self.report(delivery, State.FAILED, error="no"), LeaseLost)
        other = delivery._replace(lease=delivery.lease + 1)
        self.assertIsInstance(self.report(other), LeaseLost)
        self.assertEqual(self.service.stats()["totals"]["completed"], 1)

    def test_failure_said_again(self):
        self.submit("a")
        delivery = self.take()
        for _ in range(2):
            state = self.report(delivery, State.FAILED, permanent=True, error="no")
            self.assertEqual(state, State.DEAD_LETTER)
            self.forget_ended()
        self.assertEqual(self.status("a").failures, 1)

    def test_batch_is_answered_item_by_item(self):
        self.submit("a")
        self.submit("b")
        one, two = self.claim(limit=2)
        answers = self.result_of(
            self.service.report(
                [
                    self.outcome(one, State.COMPLETED),
                    self.outcome(one._replace(lease=999), State.COMPLETED),
                    self.outcome(two, State.CANCELLED),
                ]
            )
        )
        self.assertEqual(answers[0], State.COMPLETED)
        self.assertEqual([type(answer) for answer in answers[1:]], [LeaseLost, Conflict])

    def outcome(self, delivery, status):
        return Outcome(delivery.id, delivery.lease, status)

    def test_extend_and_release(self):
        self.submit("a")
        delivery = self.take()
        extended = self.service.extend(
            [("a", delivery.lease, 60.0), ("a", 999, None), ("a", delivery.lease, 0.1)]
        )
        answers = self.successResultOf(extended)
        self.assertEqual(answers[0], 60.0)
        self.assertEqual([type(a) for a in answers[1:]], [LeaseLost, BadRequest])
        self.pass_time(45)
        [state, lost] = self.result_of(
            self.service.release([("a", delivery.lease, 5.0), ("a", delivery.lease, 0.0)])
        )
        self.assertEqual((state, type(lost)), (State.SCHEDULED, LeaseLost))
        self.assertEqual(self.claim(), [])
        self.pass_time(6)
        self.assertEqual(self.take().attempt, 2)


class WorkerTests(ServiceTestCase):
    def beat(self, name="w", incarnation=1, link=None, **fields):
        return self.service.heartbeat(Registration(name, incarnation), link, **fields)

    def test_heartbeat_renews_all_leases(self):
        worker = self.register()
        for name in "abc":
            self.submit(name)
        self.claim(limit=3, holder=worker)
        for _ in range(8):
            self.pass_time(15)
            self.successResultOf(self.beat(cpu_percent=12.5, rss_bytes=2**20, in_hand=3))
        self.assertEqual(len(worker.leases), 3)
        self.assertEqual((worker.cpu_percent, worker.rss_bytes, worker.in_hand), (12.5, 2**20, 3))

    def test_silent_worker_is_evicted(self):
        link = Listening()
        worker = self.register(link=link)
        self.submit("a")
        self.take(holder=worker)
        claim = self.claiming(wait_s=300.0, holder=worker)
        self.pass_time(29)
        self.assertEqual(len(self.service.broker.ledger.workers), 1)
        self.pass_time(2)
        self.assertEqual(len(self.service.broker.ledger.workers), 0)
        self.assertEqual(self.successResultOf(claim), [])
        row = self.status("a")
        self.assertEqual((State(row.state), row.losses), (State.PENDING, 1))
        self.assertEqual(link.notices, [("lease_lost", "a")])

    def test_evicted_worker_registers_itself_by_its_heartbeat(self):
        self.register()
        self.pass_time(31)
        worker = self.successResultOf(self.beat())
        self.assertIs(self.service.broker.ledger.workers.find("w"), worker)

    def test_reconnects_within_the_grace(self):
        worker = self.register(link=Listening())
        self.submit("a")
        delivery = self.take(holder=worker)
        self.service.holder_gone(worker)
        self.pass_time(9)
        self.assertIs(self.register(link=Listening()), worker)
        self.pass_time(9)
        self.assertEqual(self.report(delivery), State.COMPLETED)

    def test_disconnected_for_longer_than_the_grace(self):
        worker = self.register(link=Listening())
        self.submit("a")
        delivery = self.take(holder=worker)
        self.service.holder_gone(worker)
        self.pass_time(11)
        self.assertEqual(self.state("a"), State.PENDING)
        self.assertIsInstance(self.report(delivery), LeaseLost)

    def test_new_incarnation_takes_over(self):
        old = self.register(incarnation=1, link=Listening())
        self.submit("a")
        self.take(holder=old)
        self.error_of(self.service.register(Registration("w", 1), Listening()), WorkerExists)
        new = self.register(incarnation=2, link=Listening())
        self.assertEqual(self.take(holder=new).id, "a")
        self.error_of(self.beat(incarnation=1), StaleIncarnation)

    def test_deregister(self):
        worker = self.register()
        self.submit("a")
        self.take(holder=worker)
        self.assertEqual(self.result_of(self.service.deregister("w")), 1)
        self.assertEqual(self.state("a"), State.PENDING)
        self.error_of(self.service.deregister("w"), UnknownWorker)

    def test_orders(self):
        worker = self.register()
        claim = self.claiming(wait_s=30.0, holder=worker)
        self.result_of(self.service.order_worker("w", "quiet"))
        self.assertEqual(self.successResultOf(claim), [])
        self.assertEqual(self.successResultOf(self.beat()).order, "quiet")
        self.error_of(self.claiming(holder=worker), Conflict)
        self.result_of(self.service.order_worker("w", "terminate"))
        self.error_of(self.service.order_worker("w", "quiet"), BadRequest)
        self.error_of(self.service.order_worker("x", "quiet"), UnknownWorker)

    def test_cancel_request_reaches_the_holder(self):
        link = Listening()
        worker = self.register(link=link)
        self.submit("a")
        self.take(holder=worker)
        self.result_of(self.service.cancel(["a"], running=True))
        self.assertEqual(link.notices, [("cancel", "a")])

    def test_link_that_fails_costs_nobody_anything(self):
        class Failing(Listening):
            def notice(self, notice):
                raise ZeroDivisionError

        worker = self.register(link=Failing())
        self.submit("a")
        self.take(holder=worker)
        [state] = self.result_of(self.service.cancel(["a"], running=True))
        self.assertEqual(state, State.IN_PROGRESS)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class HoldersGoneTests(ServiceTestCase):
    """What connections of an earlier broker held."""

    def test_by_the_beginning_of_their_names(self):
        for number in range(3):
            self.submit(str(number))
        held = [Holder("door 1"), Holder("door 2"), Holder("other")]
        for holder in held:
            holder.link = object()
            self.take(holder=holder)
        self.assertEqual(self.service.holders_gone("door"), 0, "they are there")
        self.turn()
        self.crash()
        self.assertEqual(self.service.holders_gone("door"), 2)
        self.assertEqual([d.id for d in self.claim(9)], ["0", "1"])
        [event] = self.result_of(self.service.history("0"))
        self.assertEqual((event.event, event.detail), ("lost", CONNECTION_LOST))
        self.assertEqual(self.state("2"), State.IN_PROGRESS)
