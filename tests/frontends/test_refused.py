"""
What was refused is gone: nothing of it stays until the garbage collector comes.
"""

import gc

from taskqueue.wire import MessageType
from tests.frontends.peers import FrontendTestCase

KIB = 1024


class RefusedTests(FrontendTestCase):
    def setUp(self):
        super().setUp()
        self.peer = self.connect()
        gc.collect()
        gc.disable()
        self.addCleanup(gc.enable)

    def assertLeavesNothing(self, kind: MessageType, code: str, **header) -> None:
        """The same refused again and again leaves no garbage of cycles."""
        self.peer.say(kind, **header)
        gc.collect()
        for _ in range(5):
            self.peer.say(kind, **header)
            self.turn()
        refused = [answer["errors"][0]["code"] for _, answer in self.peer.hear()]
        self.assertEqual(set(refused), {code})
        gc.set_debug(gc.DEBUG_SAVEALL)
        self.addCleanup(gc.set_debug, 0)
        gc.collect()
        kept = [one for one in gc.garbage if isinstance(one, BaseException)]
        gc.garbage.clear()
        self.assertEqual(kept, [])

    def test_full(self):
        self.limit(max_queues=1)
        self.peer.say(MessageType.SUBMIT_TASK, tasks=[{"type": "t"}])
        self.turn()
        self.peer.hear()
        task = {"type": "t", "queue": "q", "payload": bytes(KIB)}
        self.assertLeavesNothing(MessageType.SUBMIT_TASK, "QUEUE_FULL", tasks=[task])

    def test_wrong(self):
        task = {"type": "t", "priority": 1000, "payload": bytes(KIB)}
        self.assertLeavesNothing(MessageType.SUBMIT_TASK, "BAD_REQUEST", tasks=[task])

    def test_results(self):
        task = "00000000-0000-4000-8000-000000000000"
        result = {"task": task, "lease": 1, "status": "completed", "result": bytes(KIB)}
        self.assertLeavesNothing(MessageType.TASK_RESULT, "LEASE_LOST", results=[result])

    def test_leases(self):
        lease = {"task": "00000000-0000-4000-8000-000000000000", "lease": 1}
        self.assertLeavesNothing(MessageType.EXTEND_LEASE, "LEASE_LOST", leases=[lease])
