"""
Tests of tasks over HTTP: submitting, following, changing their fate.
"""

from __future__ import annotations

from typing import Any

from taskqueue.config import LimitsConfig
from taskqueue.core.intake import Submission
from taskqueue.core.task import UNLESS_SET, State, TaskOptions
from taskqueue.ids import new_task_id
from taskqueue.store.interface import IStore
from tests.web.api.asking import TURNS, ApiTestCase
from tests.web.visitor import read_answer

ID = "01893b2e-7f3a-7c5e-9b0d-3f1e2a4c6d80"


class SubmitTests(ApiTestCase):
    limits = LimitsConfig(max_payload_bytes=1000)

    def test_new(self) -> None:
        answer = self.desk.ask("POST", "/tasks", {"type": "job"})
        self.assertEqual(answer.status, 201)
        task = answer.json["id"]
        self.assertEqual(answer.json, {"id": task, "state": "pending", "existing": False})
        self.assertEqual(answer.header("location"), f"/api/v1/tasks/{task}")
        self.assertIn(task, self.desk.ledger.tasks)

    def test_again(self) -> None:
        self.submit(id=ID)
        answer = self.desk.ask("POST", "/tasks", {"type": "job", "id": ID})
        self.assertEqual(answer.status, 200)
        self.assertEqual(answer.json, {"id": ID, "state": "pending", "existing": True})
        self.assertEqual(answer.header("location"), f"/api/v1/tasks/{ID}")

    def test_everything_that_a_task_may_say(self) -> None:
        parent = self.submit()
        task = self.submit(
            queue="mail",
            priority=200,
            payload="hello",
            run_in_s=60,
            expires_in_s=3600.5,
            max_retries=5,
            depends_on=[parent],
            headers={"traceparent": "x"},
            unique="k",
        )
        view = self.get(f"/tasks/{task}")
        self.assertEqual((view["queue"], view["priority"], view["state"]), ("mail", 200, "blocked"))
        self.assertEqual((view["run_at"], view["expires_at"]), (1060.0, 4600.5))
        self.assertEqual((view["depends_on"], view["unique"]), ([parent], "k"))
        self.assertEqual(view["headers"], {"traceparent": "x"})

    def test_payloads(self) -> None:
        for given, stored in (
            ({"payload": "héllo"}, "héllo".encode()),
            ({"payload_json": {"a": [1, None, "é"]}}, '{"a":[1,null,"é"]}'.encode()),
            ({"payload_json": None}, b"null"),
            ({"payload_b64": "AP8="}, b"\x00\xff"),
            ({}, b""),
        ):
            task = self.submit(**given)
            self.assertEqual(self.desk.ledger.tasks[task].payload, stored)
            answer = self.desk.ask("GET", f"/tasks/{task}/payload")
            self.assertEqual((answer.status, answer.body), (200, stored))
            self.assertEqual(answer.header("content-type"), "application/octet-stream")
            disposition = answer.header("content-disposition") or ""
            self.assertTrue(disposition.startswith("attachment"), disposition)

    def test_payloads_that_cannot_be(self) -> None:
        for given, field in (
            ({"payload": 3}, "payload"),
            ({"payload": {"a": 1}}, "payload"),
            ({"payload_b64": "%%%"}, "payload_b64"),
            ({"payload_b64": 3}, "payload_b64"),
            ({"payload": "a", "payload_json": 1}, "payload_json"),
        ):
            problem = self.refused("POST", "/tasks", {"type": "job", **given})
            self.assertEqual(problem["field"], field)
        self.assertEqual(len(self.desk.ledger.tasks), 0)

    def test_payload_too_large(self) -> None:
        body = {"type": "job", "payload": "x" * 1001}
        problem = self.refused("POST", "/tasks", body, 413, "PAYLOAD_TOO_LARGE")
        self.assertEqual(problem["limit"], 1000)

    def test_wrong_fields(self) -> None:
        for given, field in (
            ({}, "type"),
            ({"type": "no blanks"}, "type"),
            ({"type": "job", "priority": 300}, "priority"),
            ({"type": "job", "priorty": 3}, "priorty"),
            ({"type": "job", "run_at": 1, "run_in_s": 1}, "run_in_s"),
            ({"type": "job", "id": "x"}, "id"),
        ):
            self.assertEqual(self.refused("POST", "/tasks", given)["field"], field)

    def test_unknown_dependency(self) -> None:
        body = {"type": "job", "depends_on": [ID]}
        self.refused("POST", "/tasks", body, 422, "UNKNOWN_DEPENDENCY")

    def test_queue_full(self) -> None:
        self.ask("PATCH", "/queues/default", {"max_depth": 1})
        self.submit()
        answer = self.desk.ask("POST", "/tasks", {"type": "job"})
        self.assertEqual((answer.status, answer.json["code"]), (429, "QUEUE_FULL"))
        self.assertGreaterEqual(int(answer.header("retry-after") or 0), 1)
        self.assertGreater(answer.json["retry_after_s"], 0)

    def test_stopping(self) -> None:
        self.desk.service.stopping = True
        answer = self.desk.ask("POST", "/tasks", {"type": "job"})
        self.assertEqual((answer.status, answer.json["code"]), (503, "SHUTTING_DOWN"))
        self.assertEqual(answer.header("retry-after"), "1")
        self.desk.service.stopping = False

    def test_many(self) -> None:
        body = {
            "tasks": [
                {"payload": "a"},
                {"priority": 300},
                {"payload": 3},
                7,
                {"id": ID, "queue": "other"},
                {"id": ID},
            ],
            "common": {"type": "job"},
        }
        found = self.post("/tasks/batch", body)
        self.assertEqual((found["accepted"], found["refused"]), (3, 3))
        first, second, third, fourth, fifth, sixth = found["tasks"]
        self.assertEqual(self.desk.ledger.tasks[first["id"]].payload, b"a")
        self.assertEqual(second["error"]["field"], "priority")
        self.assertEqual(third["error"]["field"], "payload")
        self.assertEqual(fourth["error"]["code"], "BAD_REQUEST")
        self.assertEqual(fifth, {"id": ID, "state": "pending", "existing": False})
        self.assertEqual(sixth, {"id": ID, "state": "pending", "existing": True})
        self.assertEqual(self.desk.ledger.tasks[ID].queue, "other")
        self.assertEqual(self.desk.service.traffic.nacks["BAD_REQUEST"], 3)

    def test_too_many(self) -> None:
        body = {"tasks": [{"type": "job"}] * 1001}
        self.refused("POST", "/tasks/batch", body, 413, "BATCH_TOO_LARGE")

    def test_nothing_to_submit(self) -> None:
        self.assertEqual(self.refused("POST", "/tasks/batch", {})["field"], "tasks")
        self.refused("POST", "/tasks/batch", {"tasks": {}})
        found = self.post("/tasks/batch", {"tasks": []})
        self.assertEqual(found, {"accepted": 0, "refused": 0, "tasks": []})


class LookingTests(ApiTestCase):
    def test_one(self) -> None:
        task = self.submit(payload_b64="AP8=")
        view = self.get(f"/tasks/{task}?include=payload,result,history")
        self.assertEqual((view["state"], view["payload_b64"]), ("pending", "AP8="))
        self.assertEqual(view["history"], [])
        self.assertNotIn("result", view)
        [delivery] = self.desk.claim()
        self.desk.report(delivery, State.FAILED, error="once")
        self.pass_time(10)
        self.end(result=b"\xff")
        view = self.get(f"/tasks/{task.upper()}?include=result,history")
        self.assertEqual((view["state"], view["result_b64"]), ("completed", "/w=="))
        self.assertEqual([event["event"] for event in view["history"]], ["failed"])
        self.assertEqual(view["history"][0]["detail"], "once")
        self.assertNotIn("result_b64", self.get(f"/tasks/{task}"))

    def test_dependents(self) -> None:
        parent = self.submit()
        children = [self.submit(depends_on=[parent]) for _ in range(2)]
        self.assertEqual(self.get(f"/tasks/{parent}?include=dependents")["dependents"], children)
        self.end()
        self.assertEqual(self.get(f"/tasks/{parent}?include=dependents")["dependents"], [])

    def test_options(self) -> None:
        plain, own = self.submit(), self.submit(max_retries=0, retry_delay_s=7)
        self.assertNotIn("options", self.get(f"/tasks/{own}"))
        self.assertEqual(self.get(f"/tasks/{plain}?include=options")["options"], {})
        options = {"max_retries": 0, "retry_delay_s": 7.0}
        self.assertEqual(self.get(f"/tasks/{own}?include=options")["options"], options)
        child = self.submit(depends_on=[plain], on_dependency_failure="run")
        options = {"on_dependency_failure": "run"}
        self.assertEqual(self.get(f"/tasks/{child}?include=options")["options"], options)

    def test_options_without_a_limit(self) -> None:
        """As tasks have that came by another door."""
        options = TaskOptions(max_retries=UNLESS_SET, max_lost=UNLESS_SET)
        [task] = self.desk.service.submit_new([Submission("job", options=options, priority=-5)])
        found = self.get(f"/tasks/{task.id}?include=options")
        self.assertEqual(found["options"], {"max_retries": -1, "max_lost": -1})
        self.assertEqual(found["priority"], -5)

    def test_unknown(self) -> None:
        for path in ("", "/payload", "/result", "/outcome?wait_s=0"):
            problem = self.refused("GET", f"/tasks/{ID}{path}", status=404, code="UNKNOWN_TASK")
            self.assertEqual(problem["task"], ID)
        self.refused("GET", "/tasks/abc")
        self.refused("GET", "/tasks/%ff")

    def test_wrong_include(self) -> None:
        self.refused("GET", f"/tasks/{ID}?include=everything")
        self.refused("GET", f"/tasks/{ID}?include=")
        self.refused("GET", f"/tasks/{ID}?include=result,result,result,result,result,result")

    def test_what_has_not_changed(self) -> None:
        task = self.submit()
        answer = self.desk.ask("GET", f"/tasks/{task}")
        tag = answer.header("etag") or ""
        self.assertEqual(answer.header("cache-control"), "no-cache")
        same = self.desk.ask("GET", f"/tasks/{task}", if_none_match=tag)
        self.assertEqual((same.status, same.body), (304, b""))
        self.end()
        other = self.desk.ask("GET", f"/tasks/{task}", if_none_match=tag)
        self.assertEqual((other.status, other.json["state"]), (200, "completed"))

    def test_result(self) -> None:
        task = self.submit()
        self.refused("GET", f"/tasks/{task}/result", status=409, code="CONFLICT")
        self.end(result=b"42\xff")
        self.assertEqual(self.desk.ask("GET", f"/tasks/{task}/result").body, b"42\xff")


class SearchTests(ApiTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.old = self.submit(queue="a", type="x", priority=10)
        self.pass_time(100)
        self.young = self.submit(queue="b", type="y", priority=200)
        self.dead = self.kill("Timeout: no answer", queue="c")

    def find(self, query: str) -> list[str]:
        return [task["id"] for task in self.get(f"/tasks?{query}")["tasks"]]

    def test_all(self) -> None:
        self.assertEqual(self.find(""), [self.dead, self.young, self.old])
        self.assertEqual(self.find("order=oldest"), [self.old, self.young, self.dead])

    def test_filters(self) -> None:
        for query, wanted in (
            ("state=pending", [self.young, self.old]),
            ("state=pending,dead_letter", [self.dead, self.young, self.old]),
            ("state=pending&state=dead_letter", [self.dead, self.young, self.old]),
            ("state=", []),
            ("queue=a", [self.old]),
            ("type=y", [self.young]),
            ("worker=someone", [self.dead]),
            ("priority_from=150", [self.dead, self.young]),
            ("priority_to=150", [self.old]),
            ("priority_from=-4294967040&priority_to=150", [self.old]),
            ("submitted_from=1050", [self.dead, self.young]),
            ("submitted_to=1970-01-01T00:17:00Z", [self.old]),
            ("submitted_to=1970-01-01T01:17:00%2B01:00", [self.old]),
            ("submitted_to=1970-01-01T01:17:00+01:00", [self.old]),
            ("submitted_from=1960-01-01T00:00:00Z&queue=a", [self.old]),
            ("ended_from=1050.5", [self.dead]),
            ("error_contains=TIMEOUT", [self.dead]),
            ("error_contains=nothing", []),
        ):
            self.assertEqual(self.find(query), wanted, query)

    def test_pages(self) -> None:
        first = self.desk.ask("GET", "/tasks?limit=2&state=pending,dead_letter")
        self.assertEqual([t["id"] for t in first.json["tasks"]], [self.dead, self.young])
        link = first.header("link") or ""
        self.assertTrue(link.endswith('>; rel="next"'), link)
        path = link[1 : link.index(">")].removeprefix("/api/v1")
        self.assertIn(f"after={first.json['next']}", path)
        second = self.desk.ask("GET", path)
        self.assertEqual([t["id"] for t in second.json["tasks"]], [self.old])
        self.assertEqual((second.json["next"], second.header("link")), (None, None))

    def test_wrong_parameters(self) -> None:
        for query, field in (
            ("state=bad", "state[0]"),
            ("stat=pending", "stat"),
            ("limit=0", "limit"),
            ("limit=1001", "limit"),
            ("limit=ten", "limit"),
            ("limit=1.5", "limit"),
            ("limit=1&limit=2", "limit"),
            ("after=-1", "after"),
            ("submitted_from=yesterday", "submitted_from"),
            ("submitted_from=NaN", "submitted_from"),
            ("priority_from=300", "priority_from"),
            ("priority_to=-4294967041", "priority_to"),
            ("order=random", "order"),
            ("queue=no%20blanks", "queue"),
        ):
            self.assertEqual(self.refused("GET", f"/tasks?{query}")["field"], field, query)
        self.refused("GET", "/tasks?queue=%ff")


class WaitingTests(ApiTestCase):
    def wait(self, task: str, wait_s: float = 30) -> Any:
        visit = self.desk.begin("GET", f"/tasks/{task}/outcome?wait_s={wait_s}")
        self.desk.turns(TURNS)
        return visit

    def test_ends_while_somebody_waits(self) -> None:
        task = self.submit()
        visit = self.wait(task)
        self.assertEqual(visit.received(), b"")
        self.end(result=b"42")
        self.desk.turns(TURNS)
        answer, _ = read_answer(visit.received())
        self.assertEqual((answer.status, answer.json["state"]), (200, "completed"))
        self.assertEqual(answer.json["result"], "42")
        self.check_nothing_is_left()

    def test_has_ended(self) -> None:
        task = self.kill("broken")
        found = self.get(f"/tasks/{task}/outcome")
        self.assertEqual((found["state"], found["error"]), ("dead_letter", "broken"))
        self.desk.turns(TURNS)
        self.check_nothing_is_left()

    def test_not_in_time(self) -> None:
        task = self.submit()
        visit = self.wait(task, 5)
        self.pass_time(4.9)
        self.assertEqual(visit.received(), b"")
        self.pass_time(0.2)
        answer, _ = read_answer(visit.received())
        self.assertEqual((answer.status, answer.json["state"]), (202, "pending"))
        self.check_nothing_is_left()

    def test_longer_than_a_silent_peer_is_kept(self) -> None:
        task = self.submit()
        visit = self.wait(task, 200)
        self.desk.clock.pump([1] * 150)
        self.assertTrue(visit.transport.connected)
        self.end()
        self.desk.turns(TURNS)
        self.assertEqual(read_answer(visit.received())[0].status, 200)

    def test_hangs_up(self) -> None:
        visit = self.wait(self.submit())
        visit.hang_up()
        self.desk.turns(TURNS)
        self.check_nothing_is_left()

    def test_the_broker_stops(self) -> None:
        visit = self.wait(self.submit())
        self.stop()
        answer, _ = read_answer(visit.received())
        self.assertEqual((answer.status, answer.json["code"]), (503, "SHUTTING_DOWN"))
        self.check_nothing_is_left()

    def test_too_long(self) -> None:
        self.refused("GET", f"/tasks/{ID}/outcome?wait_s=301")

    def check_nothing_is_left(self) -> None:
        self.assertEqual(len(self.desk.service.watches), 0)
        names = [getattr(c.func, "__name__", "") for c in self.desk.clock.getDelayedCalls()]
        self.assertNotIn("over", names)


class ChangingTests(ApiTestCase):
    def test_cancel(self) -> None:
        task = self.submit()
        self.assertEqual(self.post(f"/tasks/{task}/cancel"), {"id": task, "state": "cancelled"})
        self.refused("POST", f"/tasks/{task}/cancel", status=409, code="CONFLICT")

    def test_cancel_what_is_in_progress(self) -> None:
        task = self.submit()
        self.desk.claim()
        self.refused("POST", f"/tasks/{task}/cancel", {}, 409, "CONFLICT")
        found = self.post(f"/tasks/{task}/cancel", {"running": True}, 202)
        self.assertEqual(found, {"id": task, "state": "in_progress"})
        self.assertTrue(self.get(f"/tasks/{task}")["cancel_requested"])
        self.refused("POST", f"/tasks/{task}/cancel", {"running": 1})

    def test_retry(self) -> None:
        task = self.kill()
        found = self.post(f"/tasks/{task}/retry", {"max_retries": 7})
        self.assertEqual(found, {"id": task, "state": "pending"})
        self.assertEqual(self.desk.ledger.tasks[task].options.max_retries, 7)
        self.refused("POST", f"/tasks/{task}/retry", status=409, code="CONFLICT")

    def test_run_now(self) -> None:
        task = self.submit(run_in_s=3600)
        for _ in range(2):
            found = self.post(f"/tasks/{task}/run-now")
            self.assertEqual(found, {"id": task, "state": "pending"})
        self.desk.claim()
        self.refused("POST", f"/tasks/{task}/run-now", status=409, code="CONFLICT")

    def test_delete(self) -> None:
        task = self.submit()
        self.refused("DELETE", f"/tasks/{task}", status=409, code="CONFLICT")
        self.end()
        answer = self.desk.ask("DELETE", f"/tasks/{task}")
        self.assertEqual((answer.status, answer.body), (204, b""))
        self.assertEqual(answer.header("content-length"), None)
        self.refused("DELETE", f"/tasks/{task}", status=404, code="UNKNOWN_TASK")

    def test_unknown(self) -> None:
        task = new_task_id()
        for method, path in (
            ("POST", "/cancel"),
            ("POST", "/retry"),
            ("POST", "/run-now"),
            ("DELETE", ""),
        ):
            self.refused(method, f"/tasks/{task}{path}", status=404, code="UNKNOWN_TASK")

    def test_the_store_fails(self) -> None:
        self.assertTrue(IStore.providedBy(self.desk.service.store))
        self.desk.service.journal.error = OSError("the disk is full")
        answer = self.desk.ask("POST", "/tasks", {"type": "job"})
        self.assertEqual((answer.status, answer.json["code"]), (503, "STORE_UNAVAILABLE"))
        self.assertEqual(answer.header("retry-after"), "1")
        self.desk.service.journal.error = None
