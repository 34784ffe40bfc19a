"""
Tests of what holds for all paths: methods, bodies, addresses, browsers, errors.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.config import HttpConfig, LimitsConfig
from taskqueue.errors import StoreFailed, TaskQueueError, by_code
from taskqueue.service import TaskQueueService
from taskqueue.web.api.problems import Problem, problem_of
from tests.web.api.asking import ROOT, TURNS, ApiTestCase, head_of
from tests.web.visitor import Visit, read_answer

LISTED = "https://ops.example"


class MethodTests(ApiTestCase):
    def test_head(self) -> None:
        full, head = self.desk.ask("GET", "/tasks"), self.desk.ask("HEAD", "/tasks")
        self.assertEqual((head.status, head.body), (200, b""))
        for name in ("content-type", "content-length", "cache-control"):
            self.assertEqual(head.header(name), full.header(name), name)

    def test_options(self) -> None:
        for path, allowed in (
            ("/tasks", "GET, HEAD, OPTIONS, POST"),
            ("/tasks/batch", "OPTIONS, POST"),
            ("/periodics/a", "DELETE, GET, HEAD, OPTIONS, PUT"),
        ):
            answer = self.desk.ask("OPTIONS", path)
            self.assertEqual((answer.status, answer.header("allow")), (204, allowed))
        self.refused("OPTIONS", "/nothing", status=404, code="NOT_FOUND")

    def test_not_allowed(self) -> None:
        for method, path in (("PUT", "/tasks"), ("BREW", "/tasks"), ("GET", "/tasks/bulk")):
            problem = self.refused(method, path, status=405, code="METHOD_NOT_ALLOWED")
            self.assertIn("OPTIONS, POST", problem["detail"])
        self.assertEqual(self.desk.ask("GET", "/tasks/bulk").header("allow"), "OPTIONS, POST")

    def test_no_such_path(self) -> None:
        for path in ("", "/", "/nothing", "/tasks/", "//tasks", "/tasks/a/b/c", "/%2e%2e/x"):
            self.refused("GET", path, status=404, code="NOT_FOUND")

    def test_what_is_escaped_is_the_same(self) -> None:
        self.assertEqual(self.desk.ask("GET", "/%74asks").status, 200)

    def test_names_with_slashes(self) -> None:
        self.ask("PATCH", "/queues/a%2Fb%3Ac", {"max_depth": 3})
        self.assertEqual(self.get("/queues/a%2Fb%3Ac")["name"], "a/b:c")
        self.refused("GET", "/queues/a/b:c", status=404, code="NOT_FOUND")

    def test_an_answer_that_is_accepted(self) -> None:
        for accept in ("*/*", "application/json", "text/html, application/*;q=0.1", ""):
            self.assertEqual(self.desk.ask("GET", "/tasks", accept=accept).status, 200, accept)
        for accept in ("text/html", "application/json;q=0", "application/xml"):
            self.refused("GET", "/tasks", status=406, code="NOT_ACCEPTABLE", accept=accept)

    def test_nothing_is_kept_or_run(self) -> None:
        answer = self.desk.ask("GET", "/stats")
        self.assertEqual(answer.header("cache-control"), "no-store")
        self.assertEqual(answer.header("x-content-type-options"), "nosniff")
        self.assertIn("default-src 'none'", answer.header("content-security-policy") or "")

    def test_requests_are_counted(self) -> None:
        self.get("/tasks")
        self.refused("GET", "/tasks?limit=0")
        traffic = self.desk.service.traffic
        self.assertEqual((traffic.requests["list_tasks"], traffic.nacks["BAD_REQUEST"]), (1, 1))


class BodyTests(ApiTestCase):
    limits = LimitsConfig(max_frame_bytes=20_000, max_payload_bytes=10_000)

    def test_not_json(self) -> None:
        for body in (b"{", b"[]", b"7", b'{"type": NaN}', b"\xff", b"", b"null"):
            self.refused("POST", "/tasks", body, 400)

    def test_not_declared_as_json(self) -> None:
        for kind in ("text/plain", "application/x-www-form-urlencoded", "application/jsonp"):
            self.refused("POST", "/tasks", b"{}", 415, "UNSUPPORTED_MEDIA_TYPE", content_type=kind)
        visit = Visit(self.desk.site)
        visit.send(head_of("POST", f"{ROOT}/tasks", content_length="2").encode() + b"{}")
        self.desk.turns(TURNS)
        self.assertEqual(read_answer(visit.received())[0].status, 415)

    def test_with_a_character_set(self) -> None:
        kind = "Application/JSON; charset=utf-8"
        self.ask("POST", "/tasks", {"type": "job"}, 201, content_type=kind)

    def test_a_body_where_there_is_none(self) -> None:
        self.assertEqual(self.refused("POST", "/queues/a/drain", {"a": 1})["field"], "a")
        self.refused("GET", "/tasks", b"{}", 400)
        self.assertEqual(self.post("/queues/a/drain", {})["max_depth"], 0)

    def test_too_large(self) -> None:
        visit = Visit(self.desk.site)
        visit.send(head_of("POST", f"{ROOT}/tasks", content_length="20001").encode())
        answer, _ = read_answer(visit.received())
        self.assertEqual((answer.status, answer.json["code"]), (413, "PAYLOAD_TOO_LARGE"))
        self.assertEqual(answer.header("content-type"), "application/problem+json")
        self.assertFalse(visit.transport.connected)

    def test_an_answer_that_would_be_too_large(self) -> None:
        for _ in range(3):
            self.kill("x" * 5000)
        self.refused("GET", "/tasks", status=413, code="BATCH_TOO_LARGE")
        self.assertEqual(len(self.get("/tasks?limit=1")["tasks"]), 1)

    def test_deep_json(self) -> None:
        deep: Any = "x"
        for _ in range(900):
            deep = [deep]
        answer = self.desk.ask("POST", "/tasks", {"type": "job", "payload_json": deep})
        self.assertIn(answer.status, (201, 400, 422))


class BrowserTests(ApiTestCase):
    http = HttpConfig(cors_origins=(LISTED,))

    def post_from(self, status: int, **headers: str) -> None:
        answer = self.desk.ask("POST", "/queues/a/drain", {}, **headers)
        self.assertEqual(answer.status, status, headers)
        if status == 403:
            self.assertEqual(answer.json["code"], "FORBIDDEN_ORIGIN")
            self.assertNotIn("a", self.desk.ledger.queues)
        self.desk.ledger.queues.pop("a", None)

    def test_its_own_pages(self) -> None:
        self.post_from(200)
        self.post_from(200, sec_fetch_site="same-origin", origin="http://broker")
        self.post_from(200, sec_fetch_site="none")
        self.post_from(200, origin="http://broker")
        self.post_from(200, origin="https://broker")
        self.post_from(200, origin="http://broker:80")

    def test_pages_of_others(self) -> None:
        self.post_from(403, sec_fetch_site="cross-site", origin="http://broker")
        self.post_from(403, sec_fetch_site="same-site")
        self.post_from(403, origin="http://evil.example")
        self.post_from(403, origin="http://broker:8080")
        self.post_from(403, origin="null")
        self.post_from(403, origin="http://[")
        for method, path in (("DELETE", "/periodics/a"), ("PATCH", "/queues/a")):
            self.refused(method, path, {}, 403, "FORBIDDEN_ORIGIN", origin="http://evil.example")

    def test_reading_is_not_refused(self) -> None:
        answer = self.desk.ask("GET", "/tasks", origin="http://evil.example")
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.header("access-control-allow-origin"), None)
        self.assertEqual(answer.header("vary"), "Origin")

    def test_pages_that_are_listed(self) -> None:
        self.post_from(200, origin=LISTED, sec_fetch_site="cross-site")
        answer = self.desk.ask("GET", "/tasks", origin=LISTED)
        self.assertEqual(answer.header("access-control-allow-origin"), LISTED)
        self.assertIn("location", answer.header("access-control-expose-headers") or "")
        problem = self.desk.ask("GET", "/nothing", origin=LISTED)
        self.assertEqual(problem.header("access-control-allow-origin"), LISTED)

    def test_preflight(self) -> None:
        answer = self.desk.ask(
            "OPTIONS", "/tasks", origin=LISTED, access_control_request_method="POST"
        )
        self.assertEqual(answer.status, 204)
        self.assertEqual(answer.header("access-control-allow-methods"), "GET, HEAD, OPTIONS, POST")
        allowed = (answer.header("access-control-allow-headers") or "").split(", ")
        self.assertLessEqual({"content-type", "if-match", "if-none-match"}, set(allowed))
        other = self.desk.ask("OPTIONS", "/tasks", origin="http://evil.example")
        self.assertEqual(other.header("access-control-allow-methods"), None)


class ReadOnlyTests(ApiTestCase):
    http = HttpConfig(api="read", cors_origins=(LISTED,))

    def test_nothing_is_changed(self) -> None:
        for method, path in (
            ("POST", "/tasks"),
            ("POST", "/queues/a/pause"),
            ("PATCH", "/queues/a"),
            ("PUT", "/periodics/a"),
            ("DELETE", "/periodics/a"),
        ):
            self.refused(method, path, {}, 403, "READ_ONLY", origin=LISTED)
        self.assertNotIn("a", self.desk.ledger.queues)
        self.refused("POST", "/nothing", status=404, code="NOT_FOUND")

    def test_everything_can_be_read(self) -> None:
        for path in ("/tasks", "/stats", "/broker", "/docs", "/openapi.json"):
            self.assertEqual(self.desk.ask("GET", path).status, 200)
        self.assertEqual(self.desk.ask("OPTIONS", "/tasks").status, 204)


class OffTests(ApiTestCase):
    http = HttpConfig(api="off")

    def test_it_is_not_there(self) -> None:
        for path in ("/tasks", "/docs", ""):
            answer = self.desk.ask("GET", path)
            self.assertEqual((answer.status, answer.json["code"]), (404, "NOT_FOUND"))
        self.assertNotIn("/api", self.desk.get("/").json["pages"])


class WithoutListedOriginsTests(ApiTestCase):
    def test_nothing_is_said_about_origins(self) -> None:
        answer = self.desk.ask("GET", "/tasks", origin=LISTED)
        for name in ("access-control-allow-origin", "vary"):
            self.assertEqual(answer.header(name), None)
        self.refused("POST", "/tasks", {}, 403, "FORBIDDEN_ORIGIN", origin=LISTED)


class TroubleTests(ApiTestCase):
    def test_nobody_foresaw_it(self) -> None:
        def broken(*args: Any) -> Any:
            raise ZeroDivisionError("a secret")

        self.patch(TaskQueueService, "stats", broken)
        answer = self.desk.ask("GET", "/stats")
        self.assertEqual((answer.status, answer.json["code"]), (500, "INTERNAL_ERROR"))
        self.assertNotIn(b"secret", answer.body)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_nobody_waits_for_it(self) -> None:
        """What goes wrong then is still logged."""

        def broken(*args: Any) -> Any:
            raise ZeroDivisionError

        task = self.submit()
        visit = self.desk.begin("GET", f"/tasks/{task}/outcome")
        self.patch(TaskQueueService, "status", broken)
        visit.hang_up()
        self.desk.turns(TURNS)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class ProblemTests(SynchronousTestCase):
    def test_every_error_has_a_status(self) -> None:
        for cls in by_code().values():
            if cls.code == "CONFIG":
                continue
            problem = problem_of(cls())
            self.assertIn(problem.status // 100, (4, 5), cls)
            json.dumps(problem.view)

    def test_what_the_store_says(self) -> None:
        problem = problem_of(StoreFailed("the disk is full"))
        self.assertEqual((problem.status, problem.code), (503, "STORE_UNAVAILABLE"))
        self.assertEqual(problem.headers["retry-after"], "1")

    def test_what_is_not_for_peers(self) -> None:
        self.assertEqual(problem_of(TaskQueueError("a secret")).status, 500)
        self.assertNotIn("secret", json.dumps(problem_of(TaskQueueError("a secret")).view))

    def test_whole_seconds(self) -> None:
        problem = Problem(429, "QUEUE_FULL", "later", retry_after_s=0.2)
        self.assertEqual(problem.headers, {"retry-after": "1"})
        self.assertEqual(problem.view["retry_after_s"], 0.2)
