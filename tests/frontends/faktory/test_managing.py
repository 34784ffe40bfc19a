"""
INFO, QUEUE, MUTATE and FLUSH, and commands that there are not.
"""

from __future__ import annotations

import json
from typing import Any

from taskqueue.core.task import State
from taskqueue.frontends.faktory import queues
from taskqueue.frontends.faktory.jobs import task_id_of
from tests.frontends.faktory.clients import JOB, Client, FaktoryTestCase


class CommandTests(FaktoryTestCase):
    def test_what_only_enterprise_has(self) -> None:
        client = self.connect()
        for said in ("NEW {}", "OPEN b-1", "STATUS b-1", "COMMIT b-1"):
            text = self.refused(client, "BATCH", said)
            self.assertEqual(text, "batch subsystem is only available in Faktory Enterprise")
        for said in ('GET "x"', 'SET {"jid":"x"}'):
            text = self.refused(client, "TRACK", said)
            self.assertEqual(text, "tracking subsystem is only available in Faktory Enterprise")

    def test_unknown(self) -> None:
        client = self.connect()
        for verb in ("PING", "push", "HELLO", "", "\x00", "X" * 100, "É"):
            client.say(verb, "{}")
            [error] = client.hear()
            self.assertTrue(str(error).startswith("unknown command"), error)
        client.say_raw(b"\r\n")
        self.assertEqual(str(client.hear()[0]), "unknown command")
        client.say_raw(b"\xff\xfe\r\nINFO\n")
        self.assertEqual(len(client.hear()), 2)

    def test_end(self) -> None:
        client = self.connect()
        client.say_raw(b"END\r\nINFO\r\n")
        self.assertEqual(client.hear(), [])
        self.assertTrue(client.wire.disconnecting)

    def test_pipelined(self) -> None:
        client = self.connect()
        jobs = [json.dumps({**JOB, "jid": f"job-{n:08}"}).encode() for n in range(50)]
        client.say_raw(b"".join(b"PUSH %b\r\n" % job for job in jobs) + b"INFO\r\n")
        self.clock.pump([1 / 128] * 100)
        *pushed, info = client.hear()
        self.assertEqual(pushed, ["OK"] * 50)
        self.assertEqual(json.loads(info)["faktory"]["queues"], {"default": 50})

    def test_what_nobody_foresaw_is_answered_and_logged(self) -> None:
        client = self.connect()
        self.patch(self.service, "stats", None)
        self.door.processes = None  # type: ignore[assignment]
        self.assertEqual(self.refused(client, "BEAT", {"wid": "x"}), "internal error")
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)
        self.assertEqual(self.push(client), JOB["jid"])
        self.door.processes = []  # type: ignore[assignment]


class InfoTests(FaktoryTestCase):
    def test_its_fields(self) -> None:
        worker, client = self.worker(), self.connect()
        for number, queue in enumerate(("a", "a", "b")):
            self.push(client, f"job-{number:08}", queue=queue)
        self.push(client, "later-001", at="2100-01-01T00:00:00Z")
        for jid, retry in (("fails-001", 3), ("dies-0001", -1)):
            self.push(client, jid, queue="c", retry=retry)
            self.fetch(worker, "c")
            self.fail_job(worker, jid)
        self.fetch(worker, "b")
        self.ask(worker, "ACK", {"jid": "job-00000002"})
        self.fetch(worker, "a")
        info = self.info(client)
        self.assertEqual(set(info), {"now", "server_utc_time", "faktory", "server"})
        data = info["faktory"]
        self.assertEqual(data["queues"], {"a": 1, "b": 0, "c": 0, "default": 0})
        self.assertEqual(data["sets"], {"scheduled": 1, "retries": 1, "dead": 1, "working": 1})
        counts = [data[f"total_{name}"] for name in ("failures", "processed", "enqueued", "queues")]
        self.assertEqual(counts, [2, 3, 1, 4])
        sizes = {name: task["size"] for name, task in data["tasks"].items()}
        expected = {"Scheduled": 1, "Retries": 1, "Dead": 1, "Busy": 1, "Workers": 1}
        self.assertEqual(sizes, expected)
        server = info["server"]
        self.assertEqual(server["faktory_version"], "1.10.0")
        self.assertEqual((server["connections"], server["uptime"]), (2, 0))
        self.assertGreater(server["command_count"], 10)
        self.assertGreater(server["used_memory_mb"], 10)
        self.assertRegex(info["now"], r"^2027-.*Z$")
        self.assertRegex(info["server_utc_time"], r"^\d\d:\d\d:\d\d UTC$")


class QueueTests(FaktoryTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client, self.one = self.connect(), self.worker()

    def test_pause_and_resume(self) -> None:
        self.push(self.client)
        self.push(self.client, "job-00000002", queue="other")
        self.assertEqual(self.ask(self.client, "QUEUE", "PAUSE", "default", "empty"), "OK")
        self.assertTrue(self.is_empty(self.one))
        self.assertEqual(self.fetch(self.one, "default", "other")["jid"], "job-00000002")
        self.restart()
        self.client, self.one = self.connect(), self.worker()
        self.assertTrue(self.is_empty(self.one))
        self.assertEqual(self.ask(self.client, "QUEUE", "resume", "default", "empty"), "OK")
        self.assertEqual(self.fetch(self.one)["jid"], JOB["jid"])

    def test_all(self) -> None:
        for queue in ("a", "b"):
            self.push(self.client, f"job-0000-{queue}", queue=queue)
        self.assertEqual(self.ask(self.client, "QUEUE", "PAUSE", "*"), "OK")
        self.assertTrue(self.is_empty(self.one, "a", "b"))
        self.assertEqual(self.ask(self.client, "QUEUE", "RESUME", "*"), "OK")
        self.fetch(self.one, "a", "b")
        self.assertEqual(self.ask(self.client, "QUEUE", "REMOVE", "*"), "OK")
        self.assertTrue(self.is_empty(self.one, "a", "b"))
        self.assertEqual(self.info(self.client)["faktory"]["queues"], {})

    def test_of_what_nobody_knows(self) -> None:
        for what in ("RESUME", "REMOVE"):
            self.assertEqual(self.ask(self.client, "QUEUE", what, "nowhere"), "OK")

    def test_remove(self) -> None:
        """What could be fetched is gone, and nothing else; the queue is not listed any more."""
        self.push(self.client, "running-1")
        self.fetch(self.one)
        self.push(self.client, "retry-001")
        self.fetch(self.one)
        self.fail_job(self.one, "retry-001")
        self.push(self.client, "later-001", at="2100-01-01T00:00:00Z")
        for number in range(20):
            self.push(self.client, f"job-{number:08}")
        self.ask(self.client, "QUEUE", "PAUSE", "default")
        self.assertEqual(self.ask(self.client, "QUEUE", "REMOVE", "default"), "OK")
        data = self.info(self.client)["faktory"]
        self.assertEqual(data["queues"], {})
        self.assertEqual(data["sets"], {"scheduled": 1, "retries": 1, "dead": 0, "working": 1})
        self.push(self.client, "job-00000099")
        self.assertEqual(self.info(self.client)["faktory"]["queues"], {"default": 1})
        self.assertEqual(self.fetch(self.one)["jid"], "job-00000099")
        self.assertEqual(self.info(self.client)["faktory"]["queues"], {"default": 0})

    def test_remove_a_few_at_a_time(self) -> None:
        self.patch(queues, "PURGED_AT_A_TIME", 2)
        for number in range(5):
            self.push(self.client, f"job-{number:08}")
        self.client.say("QUEUE", "REMOVE", "default")
        self.clock.pump([1 / 128] * 8)
        self.assertEqual(self.client.hear(), ["OK"])
        self.assertEqual(self.service.broker.ledger.depth, 0)

    def test_latency(self) -> None:
        self.push(self.client)
        self.pass_time(10)
        self.push(self.client, "job-00000002")
        found = json.loads(self.ask(self.client, "QUEUE", "LATENCY", "default", "empty"))
        self.assertEqual(
            {name: round(age) for name, age in found.items()}, {"default": 10, "empty": 0}
        )

    def test_what_cannot_be_meant(self) -> None:
        cases = [
            ((), "no such QUEUE subcommand"),
            (("FILL", "a"), "no such QUEUE subcommand: FILL"),
            (("PAUSE",), "takes the names of queues"),
            (("PAUSE", "a b*"), "queue cannot be"),
            (("LATENCY",), "takes the names of queues"),
            (("LATENCY", "*"), "QUEUE LATENCY does not support wildcards"),
        ]
        for said, text in cases:
            self.assertIn(text, self.refused(self.client, "QUEUE", *said))


class MutateTests(FaktoryTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client, self.one = self.connect(), self.worker()

    def make(self, target: str, jid: str, **fields: Any) -> str:
        """A job in one of the sets."""
        if target == "scheduled":
            self.push(self.client, jid, at="2100-01-01T00:00:00Z", **fields)
            return jid
        self.push(self.client, jid, retry=3 if target == "retries" else -1, **fields)
        job = self.fetch(self.one, fields.get("queue", "default"))
        self.fail_job(self.one, job["jid"], errtype="Broken", message=f"no {jid}")
        return jid

    def mutate(self, cmd: str, target: str, **filter: Any) -> None:
        said = json.dumps({"cmd": cmd, "target": target, "filter": filter}, separators=(",", ":"))
        self.client.say("MUTATE", said)
        self.clock.pump([1 / 128] * 8)
        self.assertEqual(self.client.hear(), ["OK"])

    def sets(self) -> dict[str, int]:
        found = self.info(self.client)["faktory"]
        return {**found["sets"], "ready": found["total_enqueued"]}

    def state_of(self, jid: str) -> State | None:
        row = self.status(task_id_of(jid))
        return None if row is None else State(row.state)

    def test_what_becomes_of_each_set(self) -> None:
        ends = {
            ("requeue", "scheduled"): State.PENDING,
            ("requeue", "retries"): State.PENDING,
            ("requeue", "dead"): State.PENDING,
            ("kill", "scheduled"): State.DEAD_LETTER,
            ("kill", "retries"): State.DEAD_LETTER,
            ("kill", "dead"): State.DEAD_LETTER,
            ("discard", "scheduled"): State.CANCELLED,
            ("discard", "retries"): State.CANCELLED,
            ("discard", "dead"): None,
            ("clear", "scheduled"): State.CANCELLED,
            ("clear", "retries"): State.CANCELLED,
            ("clear", "dead"): None,
        }
        for (cmd, target), end in ends.items():
            jid = self.make(target, f"{cmd}-{target}")
            self.mutate(cmd, target)
            self.assertEqual(self.state_of(jid), end, (cmd, target))
            self.ask(self.client, "FLUSH")
            self.clock.pump([1 / 128] * 20)
            self.client.hear()

    def test_only_the_set_that_is_named(self) -> None:
        for target in ("scheduled", "retries", "dead"):
            self.make(target, f"job-{target}")
        self.push(self.client, "job-ready")
        self.mutate("discard", "retries")
        self.assertEqual(
            self.sets(), {"scheduled": 1, "retries": 0, "dead": 1, "working": 0, "ready": 1}
        )

    def test_a_job_of_another_set_is_not_touched(self) -> None:
        jid = self.make("scheduled", "later-001")
        for cmd in ("kill", "requeue", "discard"):
            self.mutate(cmd, "retries", jids=[jid])
        self.assertEqual(self.state_of(jid), State.SCHEDULED)

    def left(self, **filter: Any) -> set[str]:
        """Which dead jobs are left when those that match are discarded."""
        jids = [
            self.make("dead", "mail-0001", args=["uid:1"]),
            self.make("dead", "mail-0002", args=["uid:12", "[x]"]),
            self.make("dead", "sync-0001", jobtype="Sync", args=["uid:1"]),
        ]
        self.mutate("discard", "dead", **filter)
        left = {jid for jid in jids if self.state_of(jid) is not None}
        self.mutate("clear", "dead")
        return left

    def test_filters(self) -> None:
        everything = {"mail-0001", "mail-0002", "sync-0001"}
        cases: list[tuple[dict[str, Any], set[str]]] = [
            ({}, everything),
            ({"jids": ["mail-0002", "unknown-1"]}, {"mail-0002"}),
            ({"jids": []}, everything),
            ({"jids": ["mail-0001"], "jobtype": "Sync"}, {"mail-0001"}),
            ({"jobtype": "Sync"}, {"sync-0001"}),
            ({"regexp": "*"}, everything),
            ({"regexp": '*uid:1"*'}, {"mail-0001", "sync-0001"}),
            ({"regexp": "*uid:1*"}, everything),
            ({"regexp": '*uid:1"*', "jobtype": "Sync"}, {"sync-0001"}),
            ({"regexp": "uid:1"}, set()),
            ({"regexp": "*mail-000?*"}, {"mail-0001", "mail-0002"}),
            ({"regexp": "*mail-000[2-9]*"}, {"mail-0002"}),
            ({"regexp": "*mail-000[^2]*"}, {"mail-0001"}),
            ({"regexp": r"*\[x\]*"}, {"mail-0002"}),
            ({"regexp": '*"errtype":"Broken"*'}, everything),
            ({"regexp": '{"retry":-1,*"jid":"mail-0001","queue":*'}, {"mail-0001"}),
        ]
        for filter, gone in cases:
            self.assertEqual(everything - self.left(**filter), gone, filter)

    def test_many(self) -> None:
        jobs = [{**JOB, "jid": f"j-{n:08}", "at": "2100-01-01T00:00:00Z"} for n in range(600)]
        self.ask(self.client, "PUSHB", jobs)
        self.mutate("requeue", "scheduled", regexp="*j-000005*")
        self.assertEqual(self.sets()["ready"], 100)
        self.mutate("kill", "scheduled")
        self.assertEqual((self.sets()["scheduled"], self.sets()["dead"]), (0, 500))

    def test_native_tasks_are_among_them(self) -> None:
        task = self.submit(
            task_type="resize", run_at=self.moments().wall + 1e6, payload=b'["uid:9"]'
        )
        self.mutate("requeue", "scheduled", regexp="*uid:9*")
        self.assertEqual(self.state(task), State.PENDING)

    def test_what_is_done_stands_in_the_audit_log(self) -> None:
        told: list[dict[str, Any]] = []
        self.patch(
            self.service.gate.audit, "record", lambda who, op, **f: told.append({"op": op, **f})
        )
        self.make("dead", "job-00000001")
        self.mutate("requeue", "dead", jobtype="SendMail")
        [_, entry] = told
        self.assertEqual((entry["op"], entry["count"]), ("faktory_mutate", 1))
        self.assertEqual((entry["door"], entry["peer"]), ("faktory", "10.0.0.1"))
        self.assertIn('"jobtype":"SendMail"', entry["what"])

    def test_what_cannot_be_meant(self) -> None:
        cases = [
            ("", "MUTATE takes JSON"),
            ('{"cmd": "kill"}', "invalid format"),
            ('{"cmd":"eat","target":"dead"}', "unknown mutate operation"),
            ('{"target":"dead"}', "unknown mutate operation"),
            ('{"cmd":["kill"],"target":"dead"}', "unknown mutate operation"),
            ('{"cmd":"kill"}', "invalid target for mutation command"),
            ('{"cmd":"kill","target":"working"}', "invalid target for mutation command"),
            ('{"cmd":"kill","target":"dead","filter":[]}', "filter must be an object"),
            ('{"cmd":"kill","target":"dead","filter":{"jids":"x"}}', "jids must be a list"),
            ('{"cmd":"kill","target":"dead","filter":{"jids":[1]}}', "jids must be a list"),
            ('{"cmd":"kill","target":"dead","filter":{"regexp":1}}', "regexp must be a text"),
            ('{"cmd":"kill","target":"dead","filter":{"jobtype":1}}', "jobtype cannot be"),
            (
                '{"cmd":"kill","target":"dead","filter":{"regexp":"%s"}}' % ("x" * 1001),
                "at most 1000",
            ),
        ]
        for said, text in cases:
            self.assertIn(text, self.refused(self.client, "MUTATE", said), said)


class FlushTests(FaktoryTestCase):
    def test_everything_is_gone(self) -> None:
        client, one = self.connect(), self.worker()
        for jid, retry in (("running-1", 3), ("retry-001", 3), ("dead-0001", -1)):
            self.push(client, jid, retry=retry)
            self.fetch(one)
            if jid != "running-1":
                self.fail_job(one, jid)
        self.push(client, "later-001", at="2100-01-01T00:00:00Z")
        native = self.submit(queue="native")
        self.ask(client, "PUSHB", [{**JOB, "jid": f"job-{n:08}"} for n in range(700)])
        client.say("FLUSH")
        self.clock.pump([1 / 128] * 100)
        self.assertEqual(client.hear(), ["OK"])
        data = self.info(client)["faktory"]
        self.assertEqual(data["total_enqueued"], 0)
        self.assertEqual(data["sets"], {"scheduled": 0, "retries": 0, "dead": 0, "working": 1})
        self.assertEqual(self.state(native), State.CANCELLED)
        self.assertEqual(self.fail_job(one, "running-1"), "OK")
        self.assertEqual(self.state(task_id_of("running-1")), State.CANCELLED)
        self.push(client, "running-1")
        self.assertEqual(self.fetch(one)["jid"], "running-1")

    def test_nothing_there(self) -> None:
        self.assertEqual(self.ask(self.connect(), "FLUSH"), "OK")

    def test_who_hangs_up_flushes_no_more(self) -> None:
        client: Client = self.connect()
        self.ask(client, "PUSHB", [{**JOB, "jid": f"job-{n:08}"} for n in range(700)])
        client.say("FLUSH")
        client.go()
        self.clock.pump([1 / 128] * 100)
        self.assertGreater(self.service.broker.ledger.depth, 0)
