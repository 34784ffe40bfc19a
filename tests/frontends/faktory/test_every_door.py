"""
Jobs whose payloads left memory for the store, behind a proxy and while the broker stops: what
concerns all doors, at this one.
"""

from __future__ import annotations

from dataclasses import replace

from taskqueue.config import Config
from taskqueue.core.policy import Policy
from taskqueue.frontends.factory import BrokerFactory
from taskqueue.frontends.faktory.jobs import task_id_of
from taskqueue.service import service as service_module
from taskqueue.service.policies import policy_of
from tests.frontends.faktory.clients import JOB, Client, FaktoryTestCase

COUNT = 25


class PagingTests(FaktoryTestCase):
    """About half of the jobs fit into memory."""

    def setUp(self) -> None:
        self.patch(service_module, "policy_of", self.policy)
        super().setUp()
        self.one = self.worker()
        for number in range(COUNT):
            self.push(self.one, f"job-{number:08}", args=["x" * 1000], retry=0)

    def policy(self, config: Config) -> Policy:
        return replace(policy_of(config), memory_bytes=8 * 15_000, paging=True)

    @property
    def paged(self) -> int:
        tasks = self.service.broker.ledger.tasks.values()
        return sum(isinstance(task.body, int) for task in tasks)

    def test_they_are_fetched_and_fail_all_the_same(self) -> None:
        self.assertGreater(self.paged, 3)
        for number in range(COUNT):
            job = self.fetch(self.one)
            self.assertEqual((job["jid"], len(job["args"][0])), (f"job-{number:08}", 1000))
            self.assertEqual(self.fail_job(self.one, job["jid"]), "OK")
            self.assertIsNone(self.status(task_id_of(job["jid"])))

    def test_patterns_find_them(self) -> None:
        self.assertEqual(self.ask(self.one, "QUEUE", "REMOVE", "default"), "OK")
        for number in range(COUNT):
            jid = f"later-{number:08}"
            self.push(self.one, jid, args=["y" * 1000], at="2100-01-01T00:00:00Z")
        said = '{"cmd":"kill","target":"scheduled","filter":{"regexp":"*yyyy\\"*"}}'
        self.assertEqual(self.ask(self.one, "MUTATE", said), "OK")
        self.assertEqual(self.info(self.one)["faktory"]["sets"]["dead"], COUNT)

    def test_who_hangs_up_meanwhile(self) -> None:
        self.reading.holding = True
        while True:
            client = self.worker("worker-2")
            client.say("FETCH", "default")
            if not client.hear():
                break
            client.go()
        client.go()
        self.reading.let_go()
        self.turn()
        held = self.service.broker.ledger.leases.by_token.values()
        waiting = self.service.broker.ledger.depth
        self.assertEqual(len(held) + waiting, COUNT)


class ProxyTests(FaktoryTestCase):
    def test_the_greeting_does_not_wait_for_the_peers_address(self) -> None:
        self.factory = BrokerFactory(
            self.service, self.admission, "faktory", self.door.connect, behind_proxy=True
        )
        client: Client = self.connect()
        self.assertEqual(client.connection.session.host, "10.0.0.1")
        self.assertEqual(self.push(client), JOB["jid"])


class StopTests(FaktoryTestCase):
    def test_what_waits_is_answered(self) -> None:
        one, other = self.worker(), self.connect()
        one.say("FETCH", "default")
        self.service.stopping = True
        self.assertIn("stopping", self.refused(other, "PUSH", JOB))
        self.service.stopping = False
        stopped = self.service.stopService()
        self.turn()
        self.assertEqual(one.hear(), [None])
        self.assertTrue(one.wire.half_closed)
        self.let_all_go()
        self.successResultOf(stopped)
