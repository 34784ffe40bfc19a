"""
What a heartbeat costs, and what it tells, does not go by how many leases a worker holds.
"""

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.wire import MessageType
from tests.core.test_growth import Meter
from tests.operations.world import World

ACK = MessageType.ACK


class NotWalked(dict):
    """A dictionary in which one may look up, but through which nobody may walk."""

    def __iter__(self):
        raise AssertionError("somebody walks through all of it")

    keys = values = items = __iter__


class HeartbeatTests(SynchronousTestCase):
    def setUp(self):
        self.world = World()
        self.addCleanup(self.world.close)
        self.peer = self.world.connect()
        self.peer.ask(MessageType.REGISTER_WORKER, worker="w", incarnation=1)

    def take(self, count):
        """Claim so many new tasks; returns their ids and leases."""
        self.peer.ask(MessageType.SUBMIT_TASK, tasks=[{"type": "t"}] * count)
        _, answer = self.peer.ask(MessageType.CLAIM_TASK, limit=count)
        self.assertEqual(len(answer["tasks"]), count)
        return [{"task": item["id"], "lease": item["lease"]} for item in answer["tasks"]]

    def beat(self):
        kind, answer = self.peer.ask(MessageType.HEARTBEAT, worker="w", incarnation=1)
        self.assertEqual(kind, ACK)
        return answer

    def cancel(self, *held):
        ids = [one["task"] for one in held]
        self.peer.ask(MessageType.CANCEL_TASK, tasks=ids, running=True)

    def test_costs_the_same_with_many_leases(self):
        self.take(1)
        self.beat()
        meter = Meter()
        few = meter.measure(self.beat)
        for _ in range(5):
            self.take(200)
        worker = self.world.ledger.workers.get("w")
        held = worker.leases
        worker.leases = NotWalked(held)
        many = meter.measure(self.beat)
        worker.leases = held
        self.assertEqual(many, few)

    def test_names_what_is_to_be_cancelled(self):
        first, _, third = self.take(3)
        self.assertEqual(self.beat()["cancel"], [])
        self.cancel(third, first)
        self.assertEqual(self.beat()["cancel"], [third, first])
        self.peer.ask(MessageType.TASK_RESULT, results=[{**third, "status": "cancelled"}])
        self.assertEqual(self.beat()["cancel"], [first])
        self.peer.ask(MessageType.RELEASE_TASK, leases=[first])
        self.assertEqual(self.beat()["cancel"], [])
        self.assertEqual(self.beat()["leases"], 1)
        self.assertEqual(self.world.problems(), [])
