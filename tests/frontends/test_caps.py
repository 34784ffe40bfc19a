"""
Caps of what all connections take together: claims that wait, tasks that are watched.
"""

from taskqueue.operations.lookups import MOST_WATCHED_QUEUES
from taskqueue.wire import MessageType
from tests.frontends.peers import FrontendTestCase


class CapsTests(FrontendTestCase):
    def assertRefused(self, peer, code: str, words: str) -> None:
        kind, answer = peer.hear_one()
        self.assertEqual((kind, answer["code"]), (MessageType.NACK, code), answer)
        self.assertIn(words, answer["message"])

    def test_waiting_claims(self):
        """One more does not wait; it still gets what is there."""
        self.limit(max_waiting_claims=2)
        first, second = self.connect(), self.connect()
        for peer in (first, second):
            peer.say(MessageType.CLAIM_TASK, wait_s=30)
        second.say(MessageType.CLAIM_TASK, wait_s=30)
        self.assertRefused(second, "TOO_MANY_REQUESTS", "max_waiting_claims")
        second.say(MessageType.CLAIM_TASK, wait_s=0)
        self.assertEqual(second.hear_one()[1]["tasks"], [])
        first.go()
        second.say(MessageType.CLAIM_TASK, wait_s=30)
        self.assertEqual(second.hear(), [])
        second.say(MessageType.SUBMIT_TASK, tasks=[{"type": "t"}] * 2)
        self.turn()
        kinds = [kind for kind, _ in second.hear()]
        self.assertEqual(kinds, [MessageType.ACK] * 3)

    def test_watches(self):
        """A task counts once for each connection that watches it."""
        self.limit(max_watches=3)
        first, second = self.connect(), self.connect()
        first.say(MessageType.SUBMIT_TASK, tasks=[{"type": "t"}] * 2)
        self.turn()
        ids = first.hear_one()[1]["tasks"]
        for peer, named in ((first, ids), (second, ids[:1])):
            peer.say(MessageType.WATCH, tasks=named)
            self.turn()
            self.assertEqual(peer.hear_one()[0], MessageType.ACK)
        second.say(MessageType.WATCH, tasks=ids[1:])
        self.assertRefused(second, "TOO_MANY_REQUESTS", "limits.max_watches")
        first.say(MessageType.UNWATCH, tasks=ids)
        first.hear()
        self.assertEqual(self.service.watches.total, 1)
        second.say(MessageType.WATCH, tasks=ids[1:])
        self.turn()
        self.assertEqual(second.hear_one()[0], MessageType.ACK)
        first.say(MessageType.CANCEL_TASK, tasks=ids)
        self.turn()
        self.assertEqual(self.service.watches.total, 0)

    def test_watched_queues(self):
        """Not more of one connection, however many at a time."""
        peer = self.connect()
        names = [f"q{number}" for number in range(MOST_WATCHED_QUEUES)]
        peer.say(MessageType.WATCH, queues=names)
        self.assertEqual(peer.hear_one()[0], MessageType.ACK)
        peer.say(MessageType.WATCH, queues=["one-more"])
        self.assertRefused(peer, "BAD_REQUEST", f"at most {MOST_WATCHED_QUEUES}")
