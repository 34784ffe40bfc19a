"""
Nobody may ask too often, whichever door it is asked at.
"""

from taskqueue.config import LimitsConfig
from taskqueue.wire import MessageType
from tests.frontends.peers import FrontendTestCase
from tests.operations.keys import Keys
from tests.web.visitor import Place

NACK = MessageType.NACK


class WireTests(FrontendTestCase):
    """Frames and lines."""

    def assertLimited(self, message) -> None:
        kind, answer = message
        self.assertEqual((kind, answer["code"]), (NACK, "RATE_LIMITED"))
        self.assertGreater(answer["retry_after_s"], 0)

    def test_administration(self):
        self.limit(max_requests_per_s=1)
        for peer in (self.connect("10.0.0.1"), self.connect_lines("10.0.0.2")):
            for _ in range(2):
                peer.say(MessageType.PAUSE_QUEUE, queue="mail")
            self.turn()
            self.assertNotIn(NACK, [kind for kind, _ in peer.hear()])
            peer.say(MessageType.RESUME_QUEUE, queue="mail")
            self.assertLimited(peer.hear_one())
            peer.say(MessageType.PING)
            self.assertEqual(peer.hear_one()[0], MessageType.ACK)
        self.assertEqual(self.service.traffic.nacks["RATE_LIMITED"], 2)

    def test_tasks(self):
        """Whether a submission is read into typed values or not, none of a batch is taken."""
        self.limit(max_tasks_per_s=2)
        for host, odd in (("10.0.0.1", {}), ("10.0.0.2", {"common": {"headers": {"a": "b"}}})):
            peer = self.connect(host)
            tasks = [{"type": "mail", "payload": b"x"}] * 4
            peer.say(MessageType.SUBMIT_TASK, tasks=tasks, **odd)
            self.turn()
            self.assertEqual(peer.hear_one()[0], MessageType.ACK)
            depth = self.service.broker.ledger.depth
            peer.say(MessageType.SUBMIT_TASK, tasks=tasks, **odd)
            self.assertLimited(peer.hear_one())
            self.assertEqual(self.service.broker.ledger.depth, depth)


class HttpTests(FrontendTestCase):
    """The REST API."""

    def test_requests(self):
        place = Place(limits=LimitsConfig(max_requests_per_s=1)).started()
        self.addCleanup(place.service.stopService)
        for _ in range(2):
            self.assertEqual(place.get("/api/v1/queues").status, 200)
        answer = place.get("/api/v1/queues")
        self.assertEqual((answer.status, answer.json["code"]), (429, "RATE_LIMITED"))
        self.assertEqual(answer.header("retry-after"), "1")
        for path in ("/live", "/metrics"):
            self.assertEqual(place.get(path).status, 200)
        place.clock.advance(1)
        self.assertEqual(place.get("/api/v1/queues").status, 200)

    def test_who_is_refused_counts_too(self):
        """Without a key, on what is not there, or with a method that is not, time after time."""
        place = Place(limits=LimitsConfig(max_requests_per_s=1)).started()
        self.addCleanup(place.service.stopService)
        keys = Keys(place.service.gate, monitor=["metrics", "read:*"])
        given = {"authorization": f"Bearer {keys['monitor']}"}
        for method, path, headers, status in (
            ("GET", "/api/v1/queues", {}, 401),
            ("GET", "/metrics", {}, 401),
            ("GET", "/scaling", {}, 401),
            ("GET", "/api/v1/nothing", given, 404),
            ("DELETE", "/api/v1/queues", given, 405),
            ("POST", "/api/v1/queues/mail/pause", {**given, "sec-fetch-site": "cross-site"}, 403),
            ("OPTIONS", "/api/v1/queues", {}, 204),
        ):
            answers = [place.get(path, method, **headers).status for _ in range(3)]
            self.assertEqual(answers, [status, status, 429], (method, path))
            place.clock.advance(2)
        for _ in range(3):
            place.get("/api/v1/queues")
        self.assertEqual(place.get("/api/v1/queues", **given).status, 200)
