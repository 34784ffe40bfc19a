"""
A broker whose payloads leave memory: claims get them all the same.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.config import BrokerConfig, Config, StoreConfig
from taskqueue.core import paging
from taskqueue.core.audit import audit
from taskqueue.core.delivery import Delivery
from taskqueue.core.leases import Holder
from taskqueue.core.policy import Policy
from taskqueue.core.task import State
from taskqueue.errors import QueueFull, StoreUnavailable
from taskqueue.service import service as service_module
from taskqueue.service.policies import PROCESS_BYTES, policy_of
from tests.service.running import QUIET, ServiceTestCase

SIZE = 1000


def payload(number: int) -> bytes:
    return (b"%03d-" % number) * (SIZE // 4)


class PagingTestCase(ServiceTestCase):
    """Fifteen payloads fit into memory; twenty-five tasks wait."""

    config = replace(QUIET, retention=replace(QUIET.retention, sweep_interval_s=3600.0))

    def setUp(self) -> None:
        self.patch(service_module, "policy_of", self.policy)
        super().setUp()
        self.patch(paging, "AHEAD_TASKS", 6)
        self.patch(paging, "AHEAD_FROM", 2)
        self.fill(25)

    def policy(self, config: Config) -> Policy:
        memory_bytes = 8 * 15 * SIZE
        return replace(policy_of(config), memory_bytes=memory_bytes, paging=True)

    def fill(self, count: int) -> None:
        for number in range(count):
            self.submit(f"t{number}", payload=payload(number))

    @property
    def paged(self) -> list[str]:
        tasks = self.service.broker.ledger.tasks.values()
        return [task.id for task in tasks if isinstance(task.body, int)]

    @property
    def front(self) -> int:
        """How many tasks at the front have their payloads in memory."""
        return int(self.paged[0][1:])

    def drain_front(self) -> int:
        """Work off what is in memory; the number of the first task that is left."""
        first = self.front
        for delivery in self.claim(first):
            self.assertIs(self.report(delivery), State.COMPLETED)
        return first

    def assertDelivered(self, deliveries: list[Delivery], first: int, count: int) -> None:
        numbers = range(first, first + count)
        self.assertEqual([d.id for d in deliveries], [f"t{number}" for number in numbers])
        self.assertEqual([d.payload for d in deliveries], [payload(n) for n in numbers])

    def payload_reads(self) -> int:
        return self.store.count("payloads")


class ClaimTests(PagingTestCase):
    def test_all_payloads_with_one_read(self) -> None:
        self.assertGreater(len(self.paged), 3)
        self.assertDelivered(self.claim(25), 0, 25)
        self.assertEqual(self.payload_reads(), 1)

    def test_what_is_in_memory_is_not_read(self) -> None:
        self.assertDelivered(self.claim(5), 0, 5)
        self.assertEqual(self.payload_reads(), 0)

    def test_the_answer_waits_for_the_store(self) -> None:
        self.reading.holding = True
        answer = self.claiming(25)
        self.assertNoResult(answer)
        self.assertEqual(len(self.reading), 1)
        self.reading.let_go()
        self.assertDelivered(self.successResultOf(answer), 0, 25)

    def test_waiting_claims_get_payloads_that_are_absent(self) -> None:
        self.claim(25)
        waiting = self.claiming(30, wait_s=9.0, holder=Holder("other"))
        self.reading.holding = True
        self.service.holder_gone(self.holder)
        self.assertNoResult(waiting)
        self.reading.let_go()
        self.assertDelivered(self.successResultOf(waiting), 0, 25)

    def test_the_next_ones_are_read_ahead(self) -> None:
        first = self.drain_front()
        before = self.payload_reads()
        for number in range(first, 25):
            [delivery] = self.claim()
            self.assertDelivered([delivery], number, 1)
            self.report(delivery)
        self.assertLessEqual(self.payload_reads() - before, (25 - first) / 2)

    def test_reading_ahead_that_fails(self) -> None:
        for delivery in self.claim(5):
            self.report(delivery)
        count = self.front - 6
        self.store.fail("payloads")
        self.assertDelivered(self.claim(count), 5, count)
        self.assertEqual(self.payload_reads(), 1)
        self.store.work()
        self.assertEqual(self.service.broker.ledger.reading, set())
        self.assertDelivered(self.claim(25), 5 + count, 20 - count)

    def test_one_read_ahead_at_a_time(self) -> None:
        self.claim(self.front - 2)
        self.claiming(1)
        self.reading.holding = True
        self.claiming(1)
        self.assertLessEqual(len(self.reading), 1)
        self.reading.let_go()


class TroubleTests(PagingTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(paging, "AHEAD_TASKS", 0)  # nothing is there before it is claimed
        self.first = self.drain_front()

    def assertWaitingAgain(self) -> None:
        row = self.status(f"t{self.first}")
        assert row is not None
        self.assertEqual((row.state, row.failures, row.losses), (State.PENDING, 0, 0))

    def test_payloads_that_cannot_be_read(self) -> None:
        self.store.fail("payloads")
        error = self.error_of(self.claiming(2), StoreUnavailable)
        self.assertIn("the payloads of 2 tasks could not be read", str(error))
        self.assertIn("The disk is full", str(error))
        self.flushLoggedErrors()
        self.store.work()
        self.assertWaitingAgain()
        self.assertDelivered(self.claim(2), self.first, 2)

    def test_a_payload_that_is_not_there(self) -> None:
        self.patch(self.store.inner, "payloads", lambda seqs: {})
        error = self.error_of(self.claiming(1), StoreUnavailable)
        self.assertIn("it does not have those of 1", str(error))
        self.assertWaitingAgain()

    def test_a_waiting_claim_hears_it_too(self) -> None:
        deliveries = self.claim(25)
        waiting = self.claiming(1, wait_s=9.0, holder=Holder("other"))
        self.store.fail("payloads")
        self.service.release([(deliveries[0].id, deliveries[0].lease, 0.0)])
        self.error_of(waiting, StoreUnavailable)
        self.assertWaitingAgain()

    def test_a_claimer_that_gives_up(self) -> None:
        self.reading.holding = True
        claim = self.claiming(2)
        claim.cancel()
        self.failureResultOf(claim, CancelledError)
        self.reading.let_go()
        self.assertWaitingAgain()
        self.assertDelivered(self.claim(2), self.first, 2)

    def test_a_claimer_that_goes_away(self) -> None:
        self.reading.holding = True
        claim = self.claiming(2)
        self.service.holder_gone(self.holder)
        self.reading.let_go()
        self.assertEqual(self.successResultOf(claim), [])
        self.assertEqual(self.state(f"t{self.first}"), State.PENDING)

    def test_a_lease_that_ends_meanwhile(self) -> None:
        self.reading.holding = True
        claim = self.claiming(2)
        self.pass_time(31)
        self.reading.let_go()
        self.assertEqual(self.successResultOf(claim), [])
        self.assertDelivered(self.claim(2), self.first, 2)


class LifeTests(PagingTestCase):
    def test_a_payload_is_shown(self) -> None:
        self.assertEqual(self.result_of(self.service.payload("t24")), payload(24))
        self.assertIn("t24", self.paged)

    def test_a_failed_task_comes_again(self) -> None:
        delivery = self.claim(25)[24]
        self.report(delivery, State.FAILED, error="no")
        self.pass_time(10)
        self.assertDelivered(self.claim(), 24, 1)

    def test_a_dead_letter_is_retried(self) -> None:
        delivery = self.claim(25)[24]
        self.report(delivery, State.FAILED, error="no", permanent=True)
        self.assertEqual(self.result_of(self.service.retry(["t24"])), [State.PENDING])
        self.assertDelivered(self.claim(), 24, 1)

    def test_a_restart_and_a_crash_lose_nothing(self) -> None:
        self.claim(2)
        self.restart()
        self.assertEqual(self.service.broker.ledger.depth, 23)
        self.fill(26)
        self.crash()
        self.assertEqual(audit(self.service.broker.ledger), [])
        self.assertDelivered(self.claim(24), 2, 24)

    def test_full_in_the_end(self) -> None:
        for number in range(25, 1000):
            [answer] = self.result_of(self.submitting(f"t{number}", payload=payload(number)))
            if isinstance(answer, QueueFull):
                break
        self.assertIn("memory_limit", str(answer))
        ledger = self.service.broker.ledger
        self.assertLessEqual(ledger.memory_bytes, ledger.policy.memory_bytes)
        self.assertGreater(ledger.depth, 30)


class PolicyTests(SynchronousTestCase):
    def policy(self, **fields: Any) -> Policy:
        kind = fields.pop("kind", "sqlite")
        return policy_of(Config(broker=BrokerConfig(**fields), store=StoreConfig(kind=kind)))

    def test_what_is_left_to_tasks(self) -> None:
        policy = self.policy(memory_limit=700 * 2**20)
        self.assertEqual(policy.memory_bytes, 700 * 2**20 - PROCESS_BYTES)
        self.assertTrue(policy.paging)

    def test_no_bound(self) -> None:
        self.assertIsNone(self.policy().memory_bytes)

    def test_a_store_in_memory_takes_nothing_over(self) -> None:
        self.assertFalse(self.policy(kind="memory").paging)
