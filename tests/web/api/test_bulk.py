"""
Tests of bulk actions over HTTP.
"""

from __future__ import annotations

from typing import Any

from taskqueue.ids import new_task_id
from taskqueue.web.api import bulk
from taskqueue.web.api.grouping import LONGEST_GROUP, group_of
from tests.web.api.asking import TURNS, ApiTestCase


class BulkTests(ApiTestCase):
    def bulk(self, action: str, **fields: Any) -> Any:
        return self.post("/tasks/bulk", {"action": action, **fields})

    def states(self, *ids: str) -> list[str]:
        return [self.get(f"/tasks/{task}")["state"] for task in ids]

    def test_cancel(self) -> None:
        first, second = self.submit(queue="a"), self.submit(queue="b")
        self.pass_time(1)
        counted = self.bulk("cancel", filter={"queue": "a"}, dry_run=True)
        self.assertEqual((counted["count"], counted["sample"][0]["id"]), (1, first))
        self.assertEqual(self.states(first), ["pending"])
        done = self.bulk("cancel", filter={"queue": "a"})
        self.assertEqual((done["done"], done["changed_meanwhile"], done["more"]), (1, 0, False))
        self.assertEqual(self.states(first, second), ["cancelled", "pending"])

    def test_only_what_there_was_when_it_was_counted(self) -> None:
        first = self.submit()
        self.pass_time(1)
        as_of = self.bulk("cancel", filter={}, dry_run=True)["as_of"]
        self.assertEqual(as_of, 1001.0)
        second = self.submit()
        self.pass_time(1)
        self.assertEqual(self.bulk("cancel", filter={}, as_of=as_of)["done"], 1)
        self.assertEqual(self.states(first, second), ["cancelled", "pending"])

    def test_in_progress(self) -> None:
        task = self.submit()
        self.desk.claim()
        self.pass_time(1)
        self.assertEqual(self.bulk("cancel", filter={})["done"], 0)
        self.assertEqual(self.bulk("cancel", filter={}, running=True)["done"], 1)
        self.assertTrue(self.get(f"/tasks/{task}")["cancel_requested"])
        found = self.bulk("cancel", filter={"states": ["in_progress"]}, dry_run=True)
        self.assertEqual(found["count"], 1)

    def test_retry_and_delete(self) -> None:
        dead, other = self.kill("timeout"), self.kill("other")
        self.pass_time(1)
        done = self.bulk("retry", filter={"error_contains": "TIME"}, max_retries=2)
        self.assertEqual(done["done"], 1)
        self.assertEqual(self.states(dead, other), ["pending", "dead_letter"])
        self.assertEqual(self.bulk("delete", filter={"states": ["dead_letter"]})["done"], 1)
        self.refused("GET", f"/tasks/{other}", status=404, code="UNKNOWN_TASK")

    def test_named(self) -> None:
        ended, waits, unknown = self.kill(), self.submit(), new_task_id()
        self.pass_time(1)
        ids = [waits, ended, unknown]
        counted = self.bulk("cancel", ids=ids, dry_run=True)
        self.assertEqual((counted["count"], counted["sample"][0]["id"]), (1, waits))
        done = self.bulk("cancel", ids=ids)
        self.assertEqual((done["done"], done["refusals"]), (1, 2))
        self.assertEqual([r["code"] for r in done["refused"]], ["CONFLICT", "UNKNOWN_TASK"])
        self.assertEqual([r["id"] for r in done["refused"]], [ended, unknown])

    def test_a_key_that_another_holds(self) -> None:
        dead = self.kill(unique="k")
        self.submit(unique="k")
        self.pass_time(1)
        done = self.bulk("retry", filter={})
        self.assertEqual((done["done"], done["refusals"]), (0, 1))
        self.assertEqual(done["refused"][0]["id"], dead)

    def test_many_pages(self) -> None:
        self.patch(bulk, "PAGE", 2)
        ids = [self.submit() for _ in range(5)]
        self.pass_time(1)
        found = self.bulk("cancel", filter={}, dry_run=True, limit=3)
        self.assertEqual((found["count"], found["more"], len(found["sample"])), (3, True, 3))
        done = self.bulk("cancel", filter={}, limit=3)
        self.assertEqual((done["done"], done["more"]), (3, True))
        self.assertEqual(self.states(*ids), ["cancelled"] * 3 + ["pending"] * 2)
        done = self.bulk("cancel", filter={}, limit=3)
        self.assertEqual((done["done"], done["more"]), (2, False))

    def test_exactly_as_many_as_there_are(self) -> None:
        self.patch(bulk, "PAGE", 2)
        for _ in range(4):
            self.submit()
        self.pass_time(1)
        found = self.bulk("cancel", filter={}, dry_run=True, limit=4)
        self.assertEqual((found["count"], found["more"]), (4, False))
        self.assertEqual(self.bulk("cancel", filter={}, limit=2)["more"], True)
        self.assertEqual(self.bulk("cancel", filter={}, limit=2)["more"], False)

    def test_ends_when_nobody_waits(self) -> None:
        self.patch(bulk, "PAGE", 1)
        for _ in range(5):
            self.submit()
        self.pass_time(1)
        visit = self.desk.begin("POST", "/tasks/bulk", {"action": "cancel", "filter": {}})
        visit.hang_up()
        self.desk.turns(TURNS * 5)
        self.assertGreater(self.desk.ledger.depth, 0)

    def test_wrong(self) -> None:
        for body, field in (
            ({"action": "cancel"}, "filter"),
            ({"action": "cancel", "filter": {}, "ids": [new_task_id()]}, "filter"),
            ({"action": "burn", "filter": {}}, "action"),
            ({"filter": {}}, "action"),
            ({"action": "retry", "filter": {}, "running": True}, "running"),
            ({"action": "cancel", "filter": {}, "max_retries": 3}, "max_retries"),
            ({"action": "cancel", "filter": {"states": ["completed"]}}, "states"),
            ({"action": "retry", "filter": {"states": ["failed"]}}, "states"),
            ({"action": "cancel", "filter": {"state": "pending"}}, "state"),
            ({"action": "cancel", "filter": {"limit": 3}}, "limit"),
            ({"action": "cancel", "filter": {"states": "pending"}}, "states"),
            ({"action": "cancel", "ids": []}, "ids"),
            ({"action": "cancel", "filter": {}, "limit": 0}, "limit"),
        ):
            self.assertEqual(self.refused("POST", "/tasks/bulk", body)["field"], field, body)


class GroupTests(ApiTestCase):
    def test_alike(self) -> None:
        for error, group in (
            ("KeyError: 'x'", "KeyError: 'x'"),
            ("Timeout after 30.5 s", "Timeout after # s"),
            ("no task 01893b2e-7f3a-7c5e-9b0d-3f1e2a4c6d80 here", "no task # here"),
            ("<object at 0x7f3a9c>", "<object at #>"),
            ("digest 9f86d081884c7d65 is bad", "digest # is bad"),
            ("10.0.0.7:8080 refused", "# refused"),
            ("\n\nValueError: a\n\nTraceback ...", "ValueError: a"),
            ("Traceback (most recent call last):\n  File x\nValueError: b\n", "ValueError: b"),
            ("", "no error"),
            (None, "no error"),
            ("deadbeef cafe", "deadbeef cafe"),
        ):
            self.assertEqual(group_of(error), group)

    def test_bounded(self) -> None:
        self.assertEqual(len(group_of("x" * 1_000_000)), LONGEST_GROUP)
