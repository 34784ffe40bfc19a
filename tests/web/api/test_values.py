"""
Tests of values over HTTP.
"""

from __future__ import annotations

from typing import Any

from taskqueue.access.audit import AuditLog
from taskqueue.config import LimitsConfig
from tests.web.api.asking import TURNS, ApiTestCase
from tests.web.visitor import Answer, Visit, read_answer


class ValueTests(ApiTestCase):
    def put(self, key: str = "k", status: int = 201, **body: Any) -> Any:
        return self.ask("PUT", f"/values/n/{key}", body or {"value": "v"}, status)

    def conditional(self, method: str, status: int, **headers: str) -> Answer:
        body = ({"value": "w"},) if method == "PUT" else ()
        answer = self.desk.ask(method, "/values/n/k", *body, **headers)
        self.assertEqual(answer.status, status, answer.body)
        return answer

    def test_there_and_back(self) -> None:
        made = self.desk.ask("PUT", "/values/n/k", {"value": "text", "expires_s": 60})
        version = made.json["version"]
        self.assertEqual(made.status, 201)
        self.assertEqual(made.header("etag"), f'"{version}"')
        self.assertEqual(made.header("location"), "/api/v1/values/n/k")
        answer = self.desk.ask("GET", "/values/n/k")
        self.assertEqual(answer.header("etag"), f'"{version}"')
        view = {"namespace": "n", "key": "k", "version": version, "value": "text"}
        self.assertEqual(answer.json, {**view, "expires_at": 1060.0})
        replaced = self.put(status=200, value_b64="AP8=")
        self.assertGreater(replaced["version"], version)
        self.assertEqual(self.get("/values/n/k")["value_b64"], "AP8=")
        self.put(status=200, value_json={"a": [1]})
        self.assertEqual(self.get("/values/n/k")["value"], '{"a":[1]}')
        self.ask("DELETE", "/values/n/k", status=204)
        self.refused("GET", "/values/n/k", status=404, code="NOT_FOUND")
        self.refused("DELETE", "/values/n/k", status=404, code="NOT_FOUND")

    def test_keys(self) -> None:
        for key, told in (
            ("a%2Fb", "a/b"),
            ("%C3%BC%06", "ü\x06"),
            ("a%25b", "a%b"),
            ("a+b", "a+b"),
        ):
            self.put(key)
            self.assertEqual(self.get(f"/values/n/{key}")["key"], told)
        self.assertEqual(self.refused("GET", "/values/n/%00")["field"], "key")
        self.assertEqual(self.refused("GET", f"/values/n/{'k' * 513}")["field"], "key")
        self.assertEqual(self.refused("GET", "/values/a%20b/k")["field"], "namespace")

    def test_bodies(self) -> None:
        for body, field in (
            ({}, "value"),
            ({"value": 5}, "value"),
            ({"value": "a", "value_b64": "AP8="}, "value_b64"),
            ({"value_b64": "?"}, "value_b64"),
            ({"value": "", "only_if": "absent"}, "only_if"),
            ({"value": "", "key": "x"}, "key"),
            ({"value": "", "expires_s": -1}, "expires_s"),
            ({"value": "", "colour": 1}, "colour"),
        ):
            self.assertEqual(self.refused("PUT", "/values/n/k", body)["field"], field, body)
        self.refused("PUT", "/values/n/k", b"", 400)
        self.refused("GET", "/values/n/k", status=404, code="NOT_FOUND")

    def test_put_only_where_there_is_none(self) -> None:
        self.conditional("PUT", 201, if_none_match="*")
        problem = self.conditional("PUT", 412, if_none_match="*").json
        self.assertEqual(problem["code"], "PRECONDITION_FAILED")
        self.assertIn("unchanged", problem["detail"])

    def test_put_only_where_there_is_one(self) -> None:
        self.conditional("PUT", 412, if_match="*")
        version = self.put()["version"]
        self.conditional("PUT", 200, if_match="*")
        self.conditional("PUT", 412, if_match=f'"{version}"')
        current = self.get("/values/n/k")["version"]
        self.conditional("PUT", 200, if_match=f'"{current}"')
        self.conditional("DELETE", 412, if_match=f'"{current}"')
        self.conditional("DELETE", 204, if_match=f'"{self.get("/values/n/k")["version"]}"')

    def test_get_only_where_it_has_changed(self) -> None:
        version = self.put()["version"]
        for tag in (f'"{version}"', f'"1000", "{version}"', "*", f'W/"{version}"'):
            answer = self.conditional("GET", 304, if_none_match=tag)
            self.assertEqual((answer.body, answer.header("etag")), (b"", f'"{version}"'))
        self.conditional("GET", 200, if_none_match='"1000"')

    def test_conditions_that_make_no_sense(self) -> None:
        self.put()
        for method, headers in (
            ("PUT", {"if_match": "7"}),
            ("PUT", {"if_match": '"0"'}),
            ("PUT", {"if_match": 'W/"7"'}),
            ("PUT", {"if_match": '"99999999999999999"'}),
            ("PUT", {"if_none_match": '"7"'}),
            ("PUT", {"if_none_match": "*", "if_match": "*"}),
            ("DELETE", {"if_none_match": "*"}),
        ):
            answer = self.conditional(method, 422, **headers)
            self.assertIn("If-", answer.json["detail"])
        self.assertEqual(self.get("/values/n/k")["value"], "v")

    def test_listing(self) -> None:
        for key in ("a1", "a2", "a3", "b"):
            self.put(key, value="xx")
        page = self.desk.ask("GET", "/values/n?prefix=a&limit=2")
        self.assertEqual([view["key"] for view in page.json["values"]], ["a1", "a2"])
        self.assertEqual(page.json["next"], "a2")
        self.assertIn("after=a2", page.header("link") or "")
        rest = self.get("/values/n?prefix=a&after=a2&bytes=false")
        version = self.get("/values/n/a3")["version"]
        view = {"key": "a3", "version": version, "expires_at": None, "bytes": 2}
        self.assertEqual(rest, {"values": [view], "next": None})
        self.ask("PUT", "/values/o/k", {"value": ""}, 201)
        page = self.get("/values?limit=1")
        self.assertEqual(page, {"namespaces": [{"namespace": "n", "count": 4}], "next": "n"})
        self.assertEqual(self.get("/values?after=n")["namespaces"][0]["namespace"], "o")
        self.assertEqual(self.get("/values/none"), {"values": [], "next": None})
        self.assertEqual(self.refused("GET", "/values/n?limit=0")["field"], "limit")

    def test_take(self) -> None:
        version = self.put(value_b64="AP8=")["version"]
        answer = self.desk.ask("POST", "/values/n/k/take")
        self.assertEqual((answer.status, answer.header("etag")), (200, f'"{version}"'))
        view = {"namespace": "n", "key": "k", "version": version, "expires_at": None}
        self.assertEqual(answer.json, {**view, "value_b64": "AP8="})
        self.refused("POST", "/values/n/k/take", {}, 404, "NOT_FOUND")
        self.refused("GET", "/values/n/k", status=404, code="NOT_FOUND")
        self.refused("POST", "/values/n/k/take", {"version": 1})

    def test_increase(self) -> None:
        number = "/values/n/a%2Fb/increase"
        made = self.post(number)
        self.assertEqual((made["count"], made["namespace"], made["key"]), (1, "n", "a/b"))
        answer = self.desk.ask("POST", number, {"by": -5, "expires_s": 60})
        self.assertEqual(answer.json["count"], -4)
        self.assertEqual(answer.header("etag"), f'"{answer.json["version"]}"')
        view = self.get("/values/n/a%2Fb")
        self.assertEqual((view["value"], view["expires_at"]), ("-4", 1060.0))
        self.put(value="no number")
        problem = self.refused("POST", "/values/n/k/increase", {}, 409, "CONFLICT")
        self.assertNotIn("task", problem["title"])
        self.assertEqual(self.refused("POST", number, {"by": 0.5})["field"], "by")

    def waiting(self, **headers: str) -> Visit:
        """Somebody who waits for a change of a value."""
        visit = self.desk.begin("GET", "/values/n/k?wait_s=30", **headers)
        self.desk.turns(TURNS)
        return visit

    def told(self, visit: Visit) -> Answer:
        self.desk.turns(TURNS)
        answer, rest = read_answer(visit.received(), has_body=True)
        self.assertEqual(rest, b"")
        visit.hang_up()
        return answer

    def test_waiting_until_there_is_one(self) -> None:
        visit = self.waiting()
        self.assertEqual(visit.received(), b"")
        self.put(value="here")
        answer = self.told(visit)
        self.assertEqual((answer.status, answer.json["value"]), (200, "here"))
        self.assertEqual(self.told(self.waiting()).json["value"], "here")

    def test_waiting_until_it_is_another(self) -> None:
        tag = f'"{self.put(value="a")["version"]}"'
        visit = self.waiting(if_none_match=tag)
        self.assertEqual(visit.received(), b"")
        self.put(status=200, value="b")
        answer = self.told(visit)
        self.assertEqual((answer.status, answer.json["value"]), (200, "b"))
        self.assertEqual(self.told(self.waiting(if_none_match=tag)).json["value"], "b")
        self.pass_time(2)  # two answers of one commit, and the next ones are written together
        visit = self.waiting(if_none_match=str(answer.header("etag")))
        self.ask("DELETE", "/values/n/k", status=204)
        self.assertEqual(self.told(visit).status, 404)
        self.assertEqual(self.told(self.waiting(if_none_match=tag)).status, 404)

    def test_the_wait_is_over(self) -> None:
        tag = f'"{self.put()["version"]}"'
        visit = self.waiting(if_none_match=tag)
        self.pass_time(29)
        self.assertEqual(visit.received(), b"")
        self.pass_time(1)
        self.assertEqual(self.told(visit).status, 304)
        self.ask("DELETE", "/values/n/k", status=204)
        visit = self.waiting()
        self.pass_time(30)
        self.assertEqual(self.told(visit).status, 404)
        problem = self.refused("GET", "/values/n/k?wait_s=301")
        self.assertEqual(problem["field"], "wait_s")
        self.assertIn("claim_wait_max_s", problem["detail"])

    def test_who_hangs_up_waits_no_more(self) -> None:
        waits = self.desk.ledger.values.waits
        visit = self.waiting()
        self.assertTrue(waits)
        visit.hang_up()
        self.desk.turns(TURNS)
        self.assertFalse(waits)

    def test_what_people_delete_is_told_of(self) -> None:
        told: list[tuple[Any, ...]] = []

        def record(identity: Any, action: str, **more: Any) -> None:
            told.append((action, more["what"], more["count"], more["outcome"]))

        self.patch(AuditLog, "record", lambda log, *args, **more: record(*args, **more))
        self.put()
        self.ask("DELETE", "/values/n/k", status=204)
        self.assertEqual(told, [("delete_values", 'namespace n; keys "k"', 1, "ok")])


class FullTests(ApiTestCase):
    limits = LimitsConfig(max_values=1)

    def test_no_room(self) -> None:
        self.ask("PUT", "/values/n/a", {"value": ""}, 201)
        answer = self.desk.ask("PUT", "/values/n/b", {"value": ""})
        self.assertEqual((answer.status, answer.json["code"]), (507, "VALUES_FULL"))
        self.assertEqual(answer.header("retry-after"), "1")
