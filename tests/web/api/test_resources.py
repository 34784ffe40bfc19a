"""
Tests of queues, workers, periodic tasks, numbers and the broker over HTTP.
"""

from __future__ import annotations

from typing import Any

from taskqueue.core.task import State
from tests.web.api.asking import TURNS, ApiTestCase

EVIL = "no%20blanks"


class QueueTests(ApiTestCase):
    def test_list(self) -> None:
        for name in ("a", "b", "c"):
            self.submit(queue=name, priority=250)
        found = self.get("/queues?limit=2")
        self.assertEqual(([q["name"] for q in found["queues"]], found["next"]), (["a", "b"], "b"))
        self.assertEqual(found["queues"][0]["tiers"], {"low": 0, "normal": 0, "high": 1})
        self.assertEqual([q["name"] for q in self.get("/queues?after=b")["queues"]], ["c"])
        self.refused("GET", "/queues?limit=0")

    def test_one(self) -> None:
        self.submit(type="x")
        self.submit(type="y")
        self.submit(type="y")
        self.end()
        view = self.get("/queues/default")
        self.assertEqual((view["depth"], view["draining"]), (2, False))
        first, second = view["types"]
        self.assertEqual((first["name"], first["ready"], second["name"]), ("y", 2, "x"))
        self.assertEqual(second["totals"]["completed"], 1)
        self.assertEqual((second["run_s"]["count"], first["run_s"]["p99"]), (1, None))
        self.refused("GET", "/queues/none", status=404, code="UNKNOWN_QUEUE")
        self.refused("GET", f"/queues/{EVIL}")

    def test_pause(self) -> None:
        self.assertEqual(self.post("/queues/a/pause", {"for_s": 60})["resume_at"], 1060.0)
        self.submit(queue="a")
        self.assertEqual(self.desk.claim("a"), [])
        self.assertFalse(self.post("/queues/a/resume")["paused"])
        self.assertEqual(len(self.desk.claim("a")), 1)
        self.assertTrue(self.post("/queues/a/pause")["paused"])
        self.refused("POST", "/queues/none/resume", status=404, code="UNKNOWN_QUEUE")
        self.assertEqual(self.refused("POST", "/queues/a/pause", {"for_s": -1})["field"], "for_s")

    def test_bound(self) -> None:
        self.assertEqual(self.ask("PATCH", "/queues/a", {"max_depth": 5})["max_depth"], 5)
        self.assertEqual(self.ask("PATCH", "/queues/a", {"max_depth": None})["max_depth"], None)
        self.assertEqual(self.refused("PATCH", "/queues/a", {})["field"], "max_depth")
        self.refused("PATCH", "/queues/a", {"max_depth": -1})
        self.refused("PATCH", "/queues/a", {"paused": True})
        self.refused("PATCH", "/queues/a", b"", 400)

    def test_drain(self) -> None:
        self.submit()
        view = self.post("/queues/default/drain")
        self.assertEqual((view["draining"], view["depth"]), (True, 1))
        self.refused("POST", "/tasks", {"type": "job"}, 429, "QUEUE_FULL")
        self.assertEqual(len(self.desk.claim()), 1)
        self.ask("PATCH", "/queues/default", {"max_depth": None})
        self.submit()

    def test_retry(self) -> None:
        ids = [self.kill(payload=str(n)) for n in range(3)]
        retry = "/queues/default/retry"
        self.assertEqual(self.post(retry, {"limit": 2}), {"retried": 2, "left": 1})
        states = [self.get(f"/tasks/{one}")["state"] for one in ids]
        self.assertEqual(states, ["pending", "pending", "dead_letter"])
        self.assertEqual(self.post(retry), {"retried": 1, "left": 0})
        self.refused("POST", retry, {"limit": 0})
        self.refused("POST", "/queues/none/retry", {}, 404, "UNKNOWN_QUEUE")

    def test_purge(self) -> None:
        for _ in range(3):
            self.submit()
        purge = "/queues/default/purge"
        self.assertEqual(self.post(purge, {"dry_run": True}), {"would_cancel": 3})
        self.assertEqual(self.post(purge, {"limit": 2}), {"cancelled": 2, "left": 1})
        self.assertEqual(self.post(purge), {"cancelled": 1, "left": 0})
        for body in ({}, {"dry_run": True}):
            self.refused("POST", "/queues/none/purge", body, 404, "UNKNOWN_QUEUE")


class WorkerTests(ApiTestCase):
    def test_list_and_one(self) -> None:
        worker = self.register("w1", types=frozenset({"job"}), capacity=4)
        self.register("w2")
        found = self.get("/workers?limit=1")
        self.assertEqual((found["workers"][0]["id"], found["next"]), ("w1", "w1"))
        task = self.submit()
        claimed = self.desk.service.claim(worker, ["default"])
        self.desk.turns(TURNS)
        self.assertEqual(len(self.successResultOf(claimed)), 1)
        self.pass_time(10)
        view = self.get("/workers/w1")
        self.assertEqual((view["types"], view["capacity"], view["leases"]), (["job"], 4, 1))
        [held] = view["tasks"]
        self.assertEqual((held["id"], held["attempt"], held["claimed_at"]), (task, 1, 1000.0))
        self.assertEqual(held["lease_left_s"], 20.0)
        self.refused("GET", "/workers/none", status=404, code="UNKNOWN_WORKER")

    def test_orders(self) -> None:
        self.register("w1")
        self.assertEqual(self.post("/workers/w1/quiet", status=202)["order"], "quiet")
        self.assertEqual(self.post("/workers/w1/terminate", {}, 202)["order"], "terminate")
        self.refused("POST", "/workers/w1/quiet")
        self.refused("POST", "/workers/none/quiet", status=404, code="UNKNOWN_WORKER")


class PeriodicTests(ApiTestCase):
    def put(self, status: int, **fields: Any) -> Any:
        return self.ask("PUT", "/periodics/nightly", {"type": "job", **fields}, status)

    def test_put(self) -> None:
        view = self.put(201, every_s=60, payload_json={"a": 1}, priority=7)
        self.assertEqual((view["name"], view["every_s"], view["next_at"]), ("nightly", 60, 1020))
        self.assertEqual((view["payload_bytes"], view["priority"]), (7, 7))
        self.assertEqual(self.put(200, cron="0 3 * * *", tz="Europe/Paris")["tz"], "Europe/Paris")
        answer = self.desk.ask("PUT", "/periodics/b", {"type": "job", "every_s": 1})
        self.assertEqual(answer.header("location"), "/api/v1/periodics/b")

    def test_one(self) -> None:
        self.put(201, every_s=60)
        upcoming = [1020.0, 1080.0, 1140.0, 1200.0, 1260.0]
        self.assertEqual(self.get("/periodics/nightly")["upcoming"], upcoming)
        self.refused("GET", "/periodics/none", status=404, code="UNKNOWN_PERIODIC")

    def test_list(self) -> None:
        for name in ("a", "b"):
            self.ask("PUT", f"/periodics/{name}", {"type": "job", "every_s": 60}, 201)
        found = self.get("/periodics?limit=1")
        self.assertEqual((found["periodics"][0]["name"], found["next"]), ("a", "a"))

    def test_wrong(self) -> None:
        for given in (
            {},
            {"cron": "0 3 * * *", "every_s": 60},
            {"cron": "never"},
            {"cron": "0 0 31 2 *"},
            {"cron": "0 3 * * *", "tz": "Mars/Olympus"},
            {"every_s": 60, "name": 7},
            {"every_s": 60, "payload": 7},
            {"every_s": 0.5},
        ):
            self.refused("PUT", "/periodics/x", {"type": "job", **given})
        body = {"type": "job", "every_s": 60, "payload": "x" * 70_000}
        self.refused("PUT", "/periodics/x", body, 413, "PAYLOAD_TOO_LARGE")
        self.assertEqual(len(self.desk.ledger.periodics), 0)

    def test_pause(self) -> None:
        self.put(201, every_s=60)
        self.assertEqual(self.post("/periodics/nightly/pause")["next_at"], None)
        self.assertEqual(self.get("/periodics/nightly")["upcoming"], [])
        self.assertEqual(self.post("/periodics/nightly/resume")["next_at"], 1020.0)
        for what in ("pause", "resume", "trigger"):
            self.refused("POST", f"/periodics/x/{what}", status=404, code="UNKNOWN_PERIODIC")

    def test_trigger(self) -> None:
        self.put(201, every_s=60, overlap=False)
        answer = self.desk.ask("POST", "/periodics/nightly/trigger")
        task = answer.json["id"]
        self.assertEqual(answer.status, 201)
        self.assertEqual(answer.header("location"), f"/api/v1/tasks/{task}")
        self.assertEqual(self.get(f"/tasks/{task}")["type"], "job")
        self.refused("POST", "/periodics/nightly/trigger", status=409, code="CONFLICT")

    def test_delete(self) -> None:
        self.put(201, every_s=60)
        self.ask("DELETE", "/periodics/nightly", status=204)
        self.refused("DELETE", "/periodics/nightly", status=404, code="UNKNOWN_PERIODIC")

    def test_its_payload(self) -> None:
        """Only where it is asked for."""
        for given, told in (
            ({"payload": "\r\n"}, {"payload": "\r\n"}),
            ({"payload_b64": "AP8="}, {"payload_b64": "AP8="}),
            ({}, {"payload": ""}),
        ):
            self.desk.ask("PUT", "/periodics/p", {"type": "t", "every_s": 60, **given})
            whole = self.get("/periodics/p?include=payload")
            self.assertEqual(
                {
                    name: whole[name]
                    for name in whole
                    if "payload" in name and name != "payload_bytes"
                },
                told,
            )
            self.assertEqual(
                self.get("/periodics/p"), {name: whole[name] for name in whole if name not in told}
            )
        self.refused("GET", "/periodics/p?include=result")


class NumberTests(ApiTestCase):
    def test_stats(self) -> None:
        self.submit(priority=250)
        self.submit()
        self.end()
        view = self.get("/stats")
        self.assertEqual((view["depth"], view["tiers"]["normal"]), (1, 1))
        self.assertEqual((view["last_hour"]["submitted"], view["run_s"]["count"]), (2, 1))
        self.assertEqual(view["backlog"]["empty_in_s"], None)
        self.refused("GET", "/stats?x=1")

    def test_forecast(self) -> None:
        for _ in range(10):
            self.submit()
        self.desk.clock.pump([1] * 10)
        for _ in range(5):
            self.end()
        self.desk.clock.pump([1] * 10)
        backlog = self.get("/stats")["backlog"]
        self.assertEqual(backlog["depth"], 5)
        self.assertGreater(backlog["leaving_per_s"], 0)
        self.assertGreater(backlog["empty_in_s"], 0)

    def test_breakdown(self) -> None:
        for queue, kind, count in (("a", "x", 1), ("b", "x", 2), ("b", "y", 1)):
            for _ in range(count):
                self.submit(queue=queue, type=kind)
        self.end(queue="a")
        rows = self.get("/stats/breakdown?by=queue")["rows"]
        self.assertEqual([(r["name"], r["depth"]) for r in rows], [("b", 3), ("a", 0)])
        self.assertEqual(rows[1]["totals"]["completed"], 1)
        found = self.get("/stats/breakdown?by=type&limit=1")
        self.assertEqual((found["rows"][0]["name"], found["more"]), ("x", True))
        self.assertEqual(found["rows"][0]["states"]["pending"], 2)
        self.assertEqual(found["rows"][0]["wait_s"]["count"], 1)
        tiers = self.get("/stats/breakdown?by=tier")["rows"]
        self.assertEqual([(r["name"], r["depth"]) for r in tiers][1], ("normal", 3))
        self.assertEqual([r["wait_s"]["count"] for r in tiers], [0, 1, 0])
        self.refused("GET", "/stats/breakdown")
        self.refused("GET", "/stats/breakdown?by=colour")

    def test_waits_by_tier(self) -> None:
        """Of tasks that one claim gets together too."""
        for priority, count in ((255, 1), (199, 2), (100, 1), (99, 3)):
            for _ in range(count):
                self.submit(priority=priority)
        self.pass_time(4)
        self.assertEqual(len(self.desk.claim(limit=7)), 7)
        low, normal, high = self.get("/stats/breakdown?by=tier")["rows"]
        self.assertEqual([r["wait_s"]["count"] for r in (low, normal, high)], [3, 3, 1])
        self.assertAlmostEqual(low["wait_s"]["mean"], 4)

    def test_failures(self) -> None:
        """The last to fail is first, whenever it was submitted and whatever became of it."""
        old, new = self.submit(queue="a"), self.submit(queue="b")
        self.end(State.FAILED, "b", error="first", permanent=True)
        self.pass_time(5)
        self.end(State.FAILED, "a", error="second" + 1000 * "x")
        first, second = self.get("/stats/failures")["failures"]
        self.assertEqual((first["task"], second["task"]), (old, new))
        self.assertEqual((first["state"], second["state"]), ("failed", "dead_letter"))
        self.assertEqual((first["at"] - second["at"], len(first["error"])), (5, 500))
        self.assertEqual((first["queue"], first["attempt"], first["lost"]), ("a", 1, False))
        self.assertEqual(self.get("/stats/failures?limit=1")["failures"], [first])
        self.refused("GET", "/stats/failures?limit=101")

    def test_a_queue_without_tasks(self) -> None:
        self.post("/queues/a/pause")
        [row] = self.get("/stats/breakdown?by=queue")["rows"]
        self.assertEqual((row["depth"], row["states"]["pending"]), (0, 0))

    def test_history(self) -> None:
        self.desk.clock.pump([1] * 15)
        self.submit()
        self.end()
        self.desk.clock.pump([1] * 25)
        found = self.get("/stats/history")
        self.assertEqual(found["step_s"], 10)
        sample = found["samples"][-1]
        self.assertEqual((sample["depth"], sample["in_progress"]), (0, 0))
        busy = [s for s in found["samples"] if s["rates"]["completed"] > 0]
        self.assertEqual([s["run_s"]["count"] for s in busy], [1])
        self.refused("GET", "/stats/history?span_s=86401")


class BrokerTests(ApiTestCase):
    def test_everything(self) -> None:
        view = self.get("/broker")
        self.assertEqual((view["name"], view["healthy"]), ("taskqueue", True))
        self.assertEqual(view["trouble"], None)
        self.assertEqual((view["store"]["kind"], view["store"]["path"]), ("memory", None))
        self.assertEqual(view["limits"]["waiting_tasks"], {"used": 0, "most": 100_000})
        self.assertEqual(view["config"]["http"]["cors_origins"], [])
        self.assertEqual(view["connections"]["open"], {"http": 1})
        self.assertIn("lease expiry", [timer["name"] for timer in view["timers"]])

    def test_in_trouble(self) -> None:
        self.desk.service.journal.error = OSError("the disk is full")
        view = self.get("/broker")
        self.assertEqual((view["healthy"], view["trouble"]), (False, "the disk is full"))
        self.desk.service.journal.error = None


class DeadLetterTests(ApiTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.first = self.kill("Timeout after 30 s: no answer\n\nTraceback ...")
        self.second = self.kill("Timeout after 45 s: no answer", queue="mail")
        self.third = self.kill("ValueError: 'x'", type="other")
        self.done = self.submit()
        self.end()
        self.pass_time(1)

    def state(self, task: str) -> str:
        return str(self.get(f"/tasks/{task}")["state"])

    def test_list(self) -> None:
        found = self.get("/dead-letters?limit=2")
        self.assertEqual([t["id"] for t in found["tasks"]], [self.third, self.second])
        found = self.get("/dead-letters?queue=mail")
        self.assertEqual([t["id"] for t in found["tasks"]], [self.second])
        self.refused("GET", "/dead-letters?state=pending")

    def test_groups(self) -> None:
        found = self.get("/dead-letters/groups")
        self.assertEqual((found["examined"], found["complete"]), (3, True))
        first, second = found["groups"]
        self.assertEqual(first["error_group"], "Timeout after # s: no answer")
        self.assertEqual((first["count"], first["sample"]), (2, self.second))
        self.assertEqual(first["queues"], {"default": 1, "mail": 1})
        self.assertEqual(
            (second["error_group"], second["types"]), ("ValueError: 'x'", {"other": 1})
        )
        self.assertEqual(len(self.get("/dead-letters/groups?queue=mail")["groups"]), 1)

    def test_list_of_a_group(self) -> None:
        group = "/dead-letters?error_group=Timeout%20after%20%23%20s:%20no%20answer"
        found = self.get(group)
        self.assertEqual([t["id"] for t in found["tasks"]], [self.second, self.first])
        self.assertIsNone(found["next"])
        found = self.get(f"{group}&limit=1")
        self.assertEqual([t["id"] for t in found["tasks"]], [self.second])
        following = self.get(f"{group}&limit=1&after={found['next']}")
        self.assertEqual([t["id"] for t in following["tasks"]], [self.first])
        self.assertEqual(self.get("/dead-letters?error_group=other")["tasks"], [])

    def test_revive_a_group(self) -> None:
        body = {"filter": {"error_group": "Timeout after # s: no answer"}, "max_retries": 9}
        counted = self.post("/dead-letters/retry", {**body, "dry_run": True})
        self.assertEqual((counted["count"], counted["more"]), (2, False))
        self.assertEqual([t["id"] for t in counted["sample"]], [self.first, self.second])
        done = self.post("/dead-letters/retry", {**body, "as_of": counted["as_of"]})
        self.assertEqual((done["done"], done["refusals"]), (2, 0))
        self.assertEqual(
            (self.state(self.first), self.state(self.third)), ("pending", "dead_letter")
        )
        self.assertEqual(self.desk.ledger.tasks[self.first].options.max_retries, 9)

    def test_delete(self) -> None:
        done = self.post("/dead-letters/delete", {"filter": {}})
        self.assertEqual(done["done"], 3)
        self.refused("GET", f"/tasks/{self.first}", status=404, code="UNKNOWN_TASK")
        self.assertEqual(self.state(self.done), State.COMPLETED.word)

    def test_delete_no_others(self) -> None:
        body = {"filter": {"states": ["completed"]}}
        self.assertEqual(self.refused("POST", "/dead-letters/delete", body)["field"], "states")
        self.refused("POST", "/dead-letters/delete", {"ids": [self.done]})
        self.refused("POST", "/dead-letters/delete", {})
