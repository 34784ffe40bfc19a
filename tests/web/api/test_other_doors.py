"""
Tasks and workers that came in by the doors of other protocols, as the API and the metrics show
them.
"""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any
from urllib.parse import quote

from taskqueue.frontends.admission import Admission
from taskqueue.frontends.beanstalkd import BeanstalkdDoor
from taskqueue.frontends.factory import BrokerFactory
from taskqueue.frontends.faktory import FaktoryDoor
from tests.frontends.beanstalkd.talking import Client as Beanstalkd
from tests.frontends.faktory.clients import Client as Faktory
from tests.web.api.asking import TURNS, ApiTestCase

#: A tube that no native client could submit to: each character that is not in native names, a
#: slash, and as long as beanstalkd allows.
ODD = f"+;$()/.-_{'x' * 191}"

#: What no text is.
BINARY = b"\x00\xff\r\n\x80"


class DoorsTestCase(ApiTestCase):
    """Has clients of other protocols."""

    def setUp(self) -> None:
        super().setUp()
        self.admission = Admission()
        service = self.desk.service
        self.beanstalkd = BrokerFactory(
            service, self.admission, "beanstalkd", BeanstalkdDoor(service).connect
        )
        self.faktory = BrokerFactory(
            service, self.admission, "faktory", FaktoryDoor(service).connect
        )

    def jobs(self, *said: bytes) -> tuple[Beanstalkd, bytes]:
        """A client of beanstalkd that says these lines, and what it hears."""
        client = Beanstalkd(self.beanstalkd)
        self.addCleanup(client.go)
        return client, self.say(client, *said)

    def say(self, client: Beanstalkd, *said: bytes) -> bytes:
        client.say(b"".join(line + b"\r\n" for line in said))
        self.desk.turns(TURNS)
        return client.hear()

    def worker(self, wid: str, **said: Any) -> Faktory:
        """A client of Faktory, of a worker's process."""
        client = Faktory(self.faktory)
        self.addCleanup(client.go)
        client.say("HELLO", {"v": 2, "wid": wid, "hostname": "h", "pid": 7, "labels": [], **said})
        self.assertEqual(client.hear()[-1], "OK")
        return client

    def tell(self, client: Faktory, verb: str, *rest: Any) -> Any:
        client.say(verb, *rest)
        self.desk.turns(TURNS)
        [answer] = client.hear()
        return answer

    def only(self, query: str) -> dict[str, Any]:
        """The one task that a search finds, with all that is known of it."""
        [task] = self.get(f"/tasks?{query}")["tasks"]
        everything = "payload,result,history,options"
        found: dict[str, Any] = self.get(f"/tasks/{task['id']}?include={everything}")
        self.assertEqual({name: found[name] for name in task}, task)
        return found


class JobTests(DoorsTestCase):
    """Jobs of beanstalkd."""

    def test_a_job(self) -> None:
        _, heard = self.jobs(b"use mail", b"put 4294967295 0 90 5", BINARY)
        task = self.only("queue=mail")
        number = int(heard.split()[-1])
        self.assertEqual(task["id"], f"ffffffff-ffff-8000-8000-{number:012x}")
        self.assertEqual(
            (task["type"], task["state"], task["priority"]), ("beanstalkd", "pending", -4294967040)
        )
        self.assertEqual(task["payload_b64"], b64encode(BINARY).decode())
        self.assertEqual(task["options"]["lease_s"], 90.0)
        raw = self.desk.ask("GET", f"/tasks/{task['id']}/payload")
        self.assertEqual(raw.body, BINARY)
        for query in ("priority_from=-4294967040&priority_to=-4294967039", "type=beanstalkd"):
            self.assertEqual(self.only(query)["id"], task["id"])
        self.assertEqual(self.get("/queues/mail")["tiers"], {"low": 1, "normal": 0, "high": 0})

    def test_a_delayed_one(self) -> None:
        self.jobs(b"put 0 60 90 2", b"{}")
        task = self.only("state=scheduled")
        self.assertEqual((task["run_at"], task["priority"], task["payload"]), (1060.0, 255, "{}"))
        self.assertEqual(self.post(f"/tasks/{task['id']}/run-now")["state"], "pending")

    def test_a_buried_one_is_a_dead_letter(self) -> None:
        client, _ = self.jobs(b"put 10 0 90 1", b"x", b"reserve")
        self.assertEqual(self.say(client, b"bury 1 7"), b"BURIED\r\n")
        [task] = self.get("/dead-letters")["tasks"]
        self.assertEqual(
            (task["priority"], task["failures"], task["attempt"], task["state"]),
            (248, 0, 1, "dead_letter"),
        )
        self.assertEqual(task["error"], "buried by its holder")
        whole = self.get(f"/tasks/{task['id']}?include=history")
        self.assertEqual([one["event"] for one in whole["history"]], ["buried"])
        [group] = self.get("/dead-letters/groups")["groups"]
        self.assertEqual((group["count"], group["error_group"]), (1, "buried by its holder"))
        self.assertEqual(self.post(f"/tasks/{task['id']}/retry")["state"], "pending")
        self.assertEqual(self.say(client, b"reserve-with-timeout 0"), b"RESERVED 1 1\r\nx\r\n")

    def test_ends(self) -> None:
        client, _ = self.jobs(b"put 0 0 9 1", b"x", b"put 0 0 9 1", b"y", b"reserve")
        self.say(client, b"delete 1", b"delete 2")
        done, gone = self.only("state=completed"), self.only("state=cancelled")
        self.assertEqual((done["result"], done["payload"]), ("", "x"))
        self.assertEqual(gone["payload"], "y")
        self.assertEqual(self.desk.ask("GET", f"/tasks/{done['id']}/result").body, b"")

    def test_who_has_reserved_it(self) -> None:
        client, _ = self.jobs(b"put 0 0 9 1", b"x", b"reserve")
        self.assertEqual(self.get("/workers")["workers"], [])
        self.assertEqual(
            self.only("state=in_progress")["worker"], "beanstalkd client 10.0.0.1:4000"
        )
        client.go()
        self.assertEqual(self.only("state=pending")["losses"], 1)


class NameTests(DoorsTestCase):
    """Tubes that native clients cannot submit to."""

    def setUp(self) -> None:
        super().setUp()
        self.client, heard = self.jobs(b"use " + ODD.encode(), b"put 0 0 9 1", b"x")
        self.assertIn(b"INSERTED 1", heard)
        self.path = f"/queues/{quote(ODD, safe='')}"

    def test_lists(self) -> None:
        [queue] = self.get("/queues")["queues"]
        self.assertEqual((queue["name"], len(ODD)), (ODD, 200))
        self.jobs(b"use " + b"z" * 200, b"put 0 0 9 1", b"y")
        page = self.get("/queues?limit=1")
        self.assertEqual((page["queues"][0]["name"], page["next"]), (ODD, ODD))
        following = self.get(f"/queues?limit=1&after={quote(ODD, safe='')}")
        self.assertEqual(following["queues"][0]["name"], "z" * 200)
        rows = self.get("/stats/breakdown?by=queue")["rows"]
        self.assertEqual({row["name"] for row in rows}, {ODD, "z" * 200})

    def test_it_can_be_named(self) -> None:
        self.assertEqual(self.only(f"queue={quote(ODD, safe='')}")["queue"], ODD)
        self.assertEqual(self.get(self.path)["types"][0]["name"], "beanstalkd")
        self.assertTrue(self.post(f"{self.path}/pause", {"for_s": 600})["paused"])
        self.assertEqual(
            self.say(self.client, b"stats-tube " + ODD.encode()).count(b"pause: 600\n"), 1
        )
        self.assertFalse(self.post(f"{self.path}/resume")["paused"])
        self.assertTrue(self.post(f"{self.path}/drain")["draining"])
        self.assertFalse(self.ask("PATCH", self.path, {"max_depth": None})["draining"])
        self.assertEqual(self.post(f"{self.path}/purge", {"dry_run": True}), {"would_cancel": 1})
        self.assertEqual(self.post(f"{self.path}/purge"), {"cancelled": 1, "left": 0})

    def test_its_dead_letters(self) -> None:
        self.say(self.client, b"watch " + ODD.encode(), b"reserve")
        self.say(self.client, b"bury 1 0")
        asked = quote(ODD, safe="")
        self.assertEqual(len(self.get(f"/dead-letters?queue={asked}")["tasks"]), 1)
        [group] = self.get(f"/dead-letters/groups?queue={asked}")["groups"]
        self.assertEqual(group["queues"], {ODD: 1})
        self.pass_time(1)
        what = {"filter": {"queue": ODD}}
        self.assertEqual(self.post("/dead-letters/retry", what)["done"], 1)

    def test_events_of_it(self) -> None:
        stream = self.desk.begin("GET", f"/events?kind=task&queue={quote(ODD, safe='')}")
        self.jobs(b"use other", b"put 0 0 9 1", b"y", b"use " + ODD.encode(), b"put 0 0 9 1", b"z")
        self.pass_time(1)
        told = stream.received().decode()
        stream.hang_up()
        self.assertIn(json.dumps(ODD), told)
        self.assertNotIn('"other"', told)

    def test_metrics_of_it(self) -> None:
        text = self.desk.get("/metrics").body.decode()
        self.assertIn(f'queue="{ODD}"', text)

    def test_what_is_no_name(self) -> None:
        for name in ("a b", "a\u00e9", "x" * 201, "a\nb"):
            problem = self.refused("GET", f"/queues/{quote(name, safe='')}")
            self.assertIn("1 to 200 characters out of letters, digits and", problem["detail"])

    def test_native_clients_take_other_names(self) -> None:
        problem = self.refused("POST", "/tasks", {"type": "t", "queue": ODD})
        self.assertIn("1 to 128 characters", problem["detail"])


class FaktoryTests(DoorsTestCase):
    """Jobs and workers of Faktory."""

    def setUp(self) -> None:
        super().setUp()
        self.client = self.worker("w-1")

    def push(self, **fields: Any) -> None:
        job = {"jid": "job-00000001", "jobtype": "SendMail", "args": ["ann", 3], **fields}
        self.assertEqual(self.tell(self.client, "PUSH", job), "OK")

    def test_a_job(self) -> None:
        self.push(queue="mail", retry=7, custom={"traceparent": "00-1"}, reserve_for=120)
        task = self.only("queue=mail")
        self.assertEqual((task["type"], task["priority"]), ("SendMail", 150))
        self.assertEqual(json.loads(task["payload"])["jid"], "job-00000001")
        self.assertEqual(json.loads(task["payload"])["args"], ["ann", 3])
        self.assertEqual(task["headers"], {"traceparent": "00-1"})
        self.assertEqual((task["options"]["max_retries"], task["options"]["lease_s"]), (7, 120.0))

    def test_one_for_later(self) -> None:
        self.push(at="2100-01-01T00:00:00Z")
        self.assertEqual(self.only("state=scheduled")["run_at"], 4102444800.0)

    def test_its_worker(self) -> None:
        self.push()
        self.tell(self.client, "FETCH", "default")
        worker = self.get("/workers/w-1")
        self.assertEqual((worker["queues"], worker["pid"], worker["host"]), (["default"], 7, "h"))
        self.assertEqual([task["type"] for task in worker["tasks"]], ["SendMail"])
        self.assertEqual(worker["door"], "faktory")
        self.assertEqual(self.only("worker=w-1")["state"], "in_progress")

    def test_a_failure_and_a_death(self) -> None:
        self.push(retry=0)
        self.tell(self.client, "FETCH", "default")
        failure = {
            "jid": "job-00000001",
            "errtype": "IOError",
            "message": "no",
            "backtrace": ["l1"],
        }
        self.assertEqual(self.tell(self.client, "FAIL", failure), "OK")
        self.assertEqual(self.get("/dead-letters")["tasks"], [])
        self.push(jid="job-00000002", retry=1)
        self.tell(self.client, "FETCH", "default")
        self.tell(self.client, "FAIL", {**failure, "jid": "job-00000002"})
        task = self.only("state=failed")
        self.assertTrue(task["error"].startswith("IOError: no"), task["error"])
        [failed, *_] = self.get("/stats/failures")["failures"]
        self.assertEqual((failed["worker"], failed["type"]), ("w-1", "SendMail"))


class ConnectionTests(DoorsTestCase):
    """How many have come by each door."""

    def test_each_door_is_counted_by_itself(self) -> None:
        self.jobs()
        self.jobs()
        self.worker("w-1")
        self.assertEqual(
            self.get("/broker")["connections"]["open"],
            {"http": 1, "beanstalkd": 2, "faktory": 1},
        )
        text = self.desk.get("/metrics").body.decode()
        self.assertIn('taskqueue_connections{frontend="beanstalkd"} 2', text)
        self.assertIn('taskqueue_connections{frontend="faktory"} 1', text)
