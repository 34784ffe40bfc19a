"""
Who may see the pages for monitoring and load balancers.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.intake import Submission
from tests.operations.keys import Keys
from tests.web.test_health import Fragile
from tests.web.visitor import Answer, Place


class PageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.store = Fragile()
        self.place = Place(store=self.store).started()
        self.keys = Keys(
            self.place.service.gate,
            monitor=["metrics"],
            viewer=["read:*"],
            partly=["read:own", "submit"],
            admin=["admin"],
        )

    def get(self, path: str, name: str | None = None) -> Answer:
        headers = {} if name is None else {"authorization": f"Bearer {self.keys[name]}"}
        return self.place.get(path, **headers)

    def test_metrics_and_scaling(self) -> None:
        for path in ("/metrics", "/scaling"):
            for name, status in (
                (None, 401),
                ("monitor", 200),
                ("admin", 200),
                ("viewer", 403),
                ("partly", 403),
            ):
                answer = self.get(path, name)
                self.assertEqual(answer.status, status, (path, name))
                if status == 401:
                    self.assertEqual(answer.header("www-authenticate"), 'Bearer realm="taskqueue"')
                if status != 200:
                    code = "UNAUTHENTICATED" if status == 401 else "FORBIDDEN"
                    self.assertEqual(answer.json["code"], code)

    def test_wrong_keys(self) -> None:
        answers = [self.place.get("/metrics", authorization=f"Bearer wrong {n}") for n in range(12)]
        self.assertEqual((answers[0].status, answers[-1].status), (401, 429))
        self.assertGreaterEqual(int(answers[-1].header("retry-after") or 0), 1)

    def test_a_key_without_the_word_before_it_is_not_repeated(self) -> None:
        key = self.keys["admin"]
        for given in (key, f"Basic {key}", f"{key} {key}", f"Bearer{key}", "", " "):
            for path in ("/metrics", "/api/v1/queues"):
                answer = self.place.get(path, authorization=given)
                self.assertEqual(answer.status, 401, given)
                self.assertIn(b"must begin with Bearer", answer.body)
                self.assertNotIn(key[:20].encode(), answer.body)

    def test_two_keys_are_none(self) -> None:
        one = f"Bearer {self.keys['admin']}"
        for other in (one, "Bearer x", ""):
            for first, second in ((one, other), (other, one)):
                answer = self.get_with(first, second)
                self.assertEqual(answer.status, 401)
                self.assertIn("more than once", answer.json["message"])

    def get_with(self, first: str, second: str) -> Answer:
        return self.place.get("/metrics", authorization=first, Authorization=second)

    def test_the_reason_is_for_those_who_may_read(self) -> None:
        self.store.broken = True
        self.place.submit(Submission("x"))
        for path, word in (("/health", "degraded"), ("/ready", "not ready")):
            for name in (None, "monitor", "partly", "viewer", "admin"):
                answer = self.get(path, name)
                self.assertEqual((answer.status, answer.json["status"]), (503, word))
                told = "no space left on device" in answer.json["reason"]
                self.assertEqual(told, name in ("viewer", "admin"), (path, name))
        self.store.broken = False

    def test_for_everybody(self) -> None:
        for path in ("/live", "/ready", "/health", "/"):
            self.assertEqual(self.get(path).status, 200, path)

    def test_all_is_for_everybody_while_the_gate_is_open(self) -> None:
        place = Place().started()
        for path in ("/metrics", "/scaling"):
            self.assertEqual(place.get(path).status, 200)
