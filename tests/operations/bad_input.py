"""
What the tests of bad input have in common: requests that are right, and a
broker with somebody who is to notice nothing.
"""

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.wire import MessageType
from tests.operations.world import FIRST, SECOND, World

ACK, NACK = MessageType.ACK, MessageType.NACK

LEASE = {"task": FIRST, "lease": 1}
WORKER = {"worker": "w", "incarnation": 1}

#: For every operation, a request that is right.
RIGHT = {
    MessageType.HELLO: {},
    MessageType.PING: {},
    MessageType.SUBMIT_TASK: {"tasks": [{"type": "t"}]},
    MessageType.CLAIM_TASK: {"wait_s": 0, "types": ["nothing"]},
    MessageType.TASK_RESULT: {"results": [{**LEASE, "status": "completed"}]},
    MessageType.HEARTBEAT: WORKER,
    MessageType.REGISTER_WORKER: WORKER,
    MessageType.DEREGISTER_WORKER: {"worker": "nobody"},
    MessageType.EXTEND_LEASE: {"leases": [LEASE]},
    MessageType.RELEASE_TASK: {"leases": [LEASE]},
    MessageType.BURY_TASK: {"leases": [LEASE]},
    MessageType.REPORT_PROGRESS: {"reports": [{**LEASE, "progress": 1}]},
    MessageType.QUERY_STATUS: {"tasks": [FIRST]},
    MessageType.WATCH: {},
    MessageType.UNWATCH: {},
    MessageType.LIST_TASKS: {},
    MessageType.GET_PAYLOAD: {"task": FIRST},
    MessageType.CANCEL_TASK: {"tasks": [FIRST]},
    MessageType.RETRY_TASK: {"tasks": [FIRST]},
    MessageType.RUN_NOW: {"tasks": [FIRST]},
    MessageType.DELETE_TASK: {"tasks": [FIRST]},
    MessageType.GET_STATS: {},
    MessageType.LIST_QUEUES: {},
    MessageType.LIST_WORKERS: {},
    MessageType.ORDER_WORKER: {"worker": "w", "order": "quiet"},
    MessageType.PAUSE_QUEUE: {"queue": "q"},
    MessageType.RESUME_QUEUE: {"queue": "q"},
    MessageType.SET_QUEUE: {"queue": "q", "max_depth": 1},
    MessageType.PURGE_QUEUE: {"queue": "q"},
    MessageType.RETRY_QUEUE: {"queue": "q"},
    MessageType.BACKUP: {"name": "copy"},
    MessageType.AUDIT: {},
    MessageType.PUT_PERIODIC: {"periodics": [{"name": "p", "type": "t", "every_s": 60}]},
    MessageType.DELETE_PERIODIC: {"name": "p"},
    MessageType.LIST_PERIODIC: {},
    MessageType.PAUSE_PERIODIC: {"name": "p", "paused": True},
    MessageType.TRIGGER_PERIODIC: {"name": "p"},
    MessageType.PUT_VALUES: {"values": [{"namespace": "n", "key": "k"}]},
    MessageType.GET_VALUES: {"namespace": "n", "keys": ["k"]},
    MessageType.TAKE_VALUE: {"namespace": "n", "key": "k"},
    MessageType.DELETE_VALUES: {"namespace": "n", "keys": ["k"]},
    MessageType.INCREASE_VALUE: {"namespace": "n", "key": "count"},
    MessageType.LIST_VALUES: {"namespace": "n"},
    MessageType.WAIT_VALUES: {"namespace": "n", "known": {"k": 0}},
    MessageType.LIST_NAMESPACES: {},
}


class BadInputTests(SynchronousTestCase):
    """What the tests of bad input have in common."""

    def start(self, **sections):
        """
        A broker with two tasks, the first of which somebody holds; and somebody
        else, who is to notice nothing.
        """
        self.world = World(**sections)
        self.addCleanup(self.world.close)
        self.bystander = self.world.connect()
        tasks = [{"type": "t", "id": i, "payload": b"\x00\xff"} for i in (FIRST, SECOND)]
        self.bystander.ask(MessageType.SUBMIT_TASK, tasks=tasks)
        self.bystander.ask(MessageType.CLAIM_TASK, lease_s=86400)
        self.peers = []

    def connect(self, language):
        peer = self.world.connect(language)
        self.peers.append(peer)
        return peer

    def verdict(self, peer, kind, text):
        """
        Send a request.

        @return: its answer, or the NACK that ended the connection; C{None}
            where the answer is still to come.
        """
        peer._ids += 1
        wanted = peer._ids
        comma = b"" if text == b"{}" else b","
        peer.send_bytes(peer.raw(kind, b'{"id":%d' % wanted + comma + text[1:]))
        answers = [m for m in peer.new() if m[0] in (ACK, NACK)]
        for answer in answers:
            self.assertPresentable(answer[1])
        own = [a for a in answers if a[1].get("id") == wanted]
        ended = [a for a in answers if peer.over]
        unread = [a for a in answers if "id" not in a[1]]
        return next(iter(own + ended + unread), None)

    def assertPresentable(self, answer):
        """No error is unexpected, and each says something to a person, in words of the wire."""
        for error in (answer, *answer.get("errors", ())):
            if "code" not in error:
                continue
            self.assertNotEqual(error["code"], "INTERNAL_ERROR", error)
            message = error["message"]
            self.assertTrue(10 < len(message) < 500, message)
            for word in ("Traceback", "File ", "<class", "NoneType", "object at", "None", "True"):
                self.assertNotIn(word, message)

    def assertNobodyNoticed(self):
        """The others' answers are right, the books agree, and nothing was logged."""
        kind, answer = self.bystander.ask(MessageType.GET_PAYLOAD, task=SECOND)
        self.assertEqual((kind, answer["tasks"]), (ACK, [{"id": SECOND, "payload": b"\x00\xff"}]))
        self.assertEqual(self.world.problems(), [])
        self.assertEqual(self.flushLoggedErrors(), [])

    def assertAllGivenBack(self):
        """With every connection gone (and every worker's grace over), nothing is taken."""
        for peer in (*self.peers, self.bystander):
            peer.leave()
        self.world.pass_time(11)
        self.assertEqual(self.world.leftovers(), [])
        self.assertEqual(self.flushLoggedErrors(), [])
