"""Deliveries that are given back with another priority, or set aside, and dead letters."""

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.wire import MessageType
from tests.operations.world import FIRST, LANGUAGES, SECOND, World

ACK, NACK = MessageType.ACK, MessageType.NACK


class SettingAsideTests(SynchronousTestCase):
    def setUp(self):
        self.world = World()
        self.addCleanup(self.world.close)
        self.peer = self.world.connect()

    def ask(self, kind, **header):
        answer_kind, answer = self.peer.ask(kind, **header)
        self.assertIs(answer_kind, ACK, answer)
        return answer

    def hold(self, *ids):
        """Submit tasks, and claim them; returns the leases."""
        self.ask(MessageType.SUBMIT_TASK, tasks=[{"type": "t", "id": one} for one in ids])
        found = self.ask(MessageType.CLAIM_TASK, limit=len(ids))["tasks"]
        return [{"task": one["id"], "lease": one["lease"]} for one in found]

    def seen(self, *ids):
        return self.ask(MessageType.QUERY_STATUS, tasks=list(ids), history=True)["tasks"]

    def test_given_back_with_another_priority(self):
        first, second = self.hold(FIRST, SECOND)
        leases = [{**first, "priority": 7}, {**second, "priority": 200, "delay_s": 5}]
        answer = self.ask(MessageType.RELEASE_TASK, leases=leases)
        self.assertEqual(answer["states"], ["pending", "scheduled"])
        self.assertEqual([one["priority"] for one in self.seen(FIRST, SECOND)], [7, 200])
        self.world.pass_time(5)
        found = self.ask(MessageType.CLAIM_TASK, limit=2)["tasks"]
        self.assertEqual([one["id"] for one in found], [SECOND, FIRST])
        self.assertEqual(found[0]["failures"], 0)

    def test_one_that_it_cannot_have(self):
        [lease] = self.hold(FIRST)
        for kind in (MessageType.RELEASE_TASK, MessageType.BURY_TASK):
            answer = self.ask(kind, leases=[{**lease, "priority": 256}])
            [error] = answer["errors"]
            self.assertEqual((error["code"], error["field"]), ("BAD_REQUEST", "priority"))
            self.assertEqual(answer["states"], [None])
        self.assertEqual(self.seen(FIRST)[0]["state"], "in_progress")

    def test_set_aside(self):
        for language in LANGUAGES:
            self.peer = self.world.connect(language)
            one = FIRST if language == "framed" else SECOND
            [lease] = self.hold(one)
            unknown = {"task": one, "lease": 99}
            answer = self.ask(MessageType.BURY_TASK, leases=[{**lease, "priority": 9}, unknown])
            self.assertEqual(answer["states"], ["dead_letter", None])
            self.assertEqual(answer["errors"][0]["code"], "LEASE_LOST")
            [view] = self.seen(one)
            self.assertEqual(
                (view["state"], view["failures"], view["priority"]), ("dead_letter", 0, 9)
            )
            self.assertEqual([entry["event"] for entry in view["history"]], ["buried"])
        self.assertEqual(self.world.problems(), [])

    def test_a_queues_dead_letters(self):
        leases = self.hold(FIRST, SECOND)
        self.ask(MessageType.BURY_TASK, leases=[leases[1]])
        self.world.pass_time(1)
        self.ask(MessageType.BURY_TASK, leases=[leases[0]])
        answer = self.ask(MessageType.RETRY_QUEUE, queue="default", limit=1)
        self.assertEqual((answer["retried"], answer["left"]), (1, 1))
        states = [one["state"] for one in self.seen(FIRST, SECOND)]
        self.assertEqual(states, ["dead_letter", "pending"])
        kind, answer = self.peer.ask(MessageType.RETRY_QUEUE, queue="none")
        self.assertEqual((kind, answer["code"]), (NACK, "UNKNOWN_QUEUE"))
