"""
What clients of Faktory may do once there are keys: what the key may that their door stands for.
"""

from __future__ import annotations

import json

from taskqueue.access.keyring import Keyring
from taskqueue.core.task import State
from taskqueue.frontends.faktory.jobs import task_id_of
from tests.access.entries import a_key
from tests.frontends.faktory.clients import JOB, Client, FaktoryTestCase

JID = JOB["jid"]


class PermissionTests(FaktoryTestCase):
    def allow(self, *words: str, name: str = "jobs") -> None:
        """The door's key may do this from now on."""
        self.service.config = self.adapt("faktory", key="jobs")
        entry, _ = a_key(name, *words)
        self.service.gate.adopt(Keyring(keys=(entry,)))

    def test_without_a_key_of_its_own_nobody_comes_in(self) -> None:
        entry, _ = a_key("other", "submit:*")
        self.service.gate.adopt(Keyring(keys=(entry,)))
        client = self.meet()
        client.hear()
        client.say("HELLO", {"v": 2})
        self.assertIn("[faktory] key", str(client.hear()[0]))
        self.assertTrue(client.wire.half_closed)

    def test_who_is_in_must_go_when_the_door_is_shut(self) -> None:
        client = self.worker()
        client.say("FETCH", "default")
        entry, _ = a_key("other", "submit:*")
        self.service.gate.adopt(Keyring(keys=(entry,)))
        self.turn()
        self.assertIn("[faktory] key", str(client.hear()[-1]))
        self.assertTrue(client.wire.half_closed)

    def forbidden(self, client: Client, verb: str, *rest: object, missing: str) -> None:
        self.assertIn(f"needs the permission {missing}", self.refused(client, verb, *rest))

    def test_a_producer(self) -> None:
        self.allow("submit:mail")
        client = self.connect()
        self.push(client, queue="mail")
        job = {**JOB, "jid": "job-00000002"}
        self.forbidden(client, "PUSH", job, missing="submit:default")
        jobs = [{**job, "queue": "mail"}, {**job, "jid": "job-00000003"}]
        answer = json.loads(self.ask(client, "PUSHB", jobs))
        self.assertEqual(list(answer), ["job-00000003"])
        self.forbidden(client, "FETCH", "mail", missing="claim")
        self.forbidden(client, "INFO", missing="read:*")
        self.forbidden(client, "FLUSH", missing="cancel:*")
        self.forbidden(client, "QUEUE", "PAUSE", "mail", missing="cancel:mail")
        self.forbidden(client, "QUEUE", "LATENCY", "mail", missing="read:mail")
        self.forbidden(client, "MUTATE", '{"cmd":"kill","target":"dead"}', missing="cancel")
        self.assertEqual(self.ask(client, "QUEUE", "REMOVE", "*"), "OK")
        self.assertEqual(self.state(task_id_of(JID)), State.PENDING)

    def test_none_at_all(self) -> None:
        self.allow("read:mail")
        self.forbidden(self.connect(), "PUSHB", [], missing="submit")

    def test_all_or_none_of_the_queues_that_are_named(self) -> None:
        self.allow("cancel:mail")
        client = self.connect()
        self.forbidden(client, "QUEUE", "PAUSE", "mail", "other", missing="cancel:other")
        self.assertNotIn("mail", self.service.broker.ledger.queues)

    def test_what_it_holds_is_its_own(self) -> None:
        self.allow("claim:mail", "submit:mail")
        one, nameless = self.worker(), self.connect()
        for client, jid in ((one, "job-00000001"), (nameless, "job-00000002")):
            self.push(client, jid, queue="mail")
            self.fetch(client, "mail")
            lease = self.service.broker.ledger.tasks[task_id_of(jid)].lease
            self.assertEqual(lease.holder.owner, "key jobs")

    def test_the_jid_of_a_job_that_is_over_where_it_may_only_read(self) -> None:
        one = self.worker()
        self.push(one, queue="secret", retry=-1)
        self.fetch(one, "secret")
        self.fail_job(one, JID)
        self.allow("submit:mail", "read:secret")
        self.push(self.connect(), queue="mail")
        self.assertEqual(self.status(task_id_of(JID)).queue, "secret")

    def test_a_worker(self) -> None:
        self.push(self.connect(), queue="mail")
        self.push(self.connect(), "job-00000002")
        self.allow("claim:mail")
        one = self.worker()
        self.forbidden(one, "FETCH", "mail", "default", missing="claim:default")
        self.assertEqual(self.fetch(one, "mail")["jid"], JID)
        self.forbidden(one, "PUSH", JOB, missing="submit")
        self.assertEqual(self.ask(one, "BEAT", {"wid": "worker-1"}), "OK")
        self.assertEqual(self.ask(one, "ACK", {"jid": JID}), "OK")
        self.assertEqual(self.state(task_id_of(JID)), State.COMPLETED)

    def test_a_job_that_was_fetched_before_a_restart(self) -> None:
        one = self.worker()
        self.push(one, queue="mail")
        self.fetch(one, "mail")
        self.restart()
        self.allow("claim:mail")
        one = self.worker()
        self.assertEqual(self.fail_job(one, JID), "OK")
        self.assertEqual(self.state(task_id_of(JID)), State.FAILED)

    def test_the_jid_of_a_job_that_may_not_be_read(self) -> None:
        client = self.connect()
        self.push(client, queue="secret", retry=-1)
        self.allow("submit:mail", "claim:mail")
        again = {**JOB, "queue": "mail"}
        self.assertIn("taken by a task that you may not read", self.refused(client, "PUSH", again))
        self.assertEqual(self.status(task_id_of(JID)).queue, "secret")

    def test_only_what_may_be_cancelled_is_touched(self) -> None:
        client = self.connect()
        for jid, queue in (("mine-0001", "mail"), ("other-001", "secret")):
            self.push(client, jid, queue=queue, at="2100-01-01T00:00:00Z")
        self.allow("cancel:mail", "read:mail")
        counts: list[int | None] = []
        self.patch(
            self.service.gate.audit,
            "record",
            lambda who, op, **f: counts.append(f["count"]) if op == "faktory_mutate" else None,
        )
        for said in ({"jids": ["mine-0001", "other-001"]}, {}, {"regexp": "*mine*"}):
            command = {"cmd": "discard", "target": "scheduled", "filter": said}
            self.assertEqual(
                self.ask(client, "MUTATE", json.dumps(command, separators=(",", ":"))), "OK"
            )
        self.assertEqual(counts, [1, 0, 0])
        self.assertEqual(self.state(task_id_of("mine-0001")), State.CANCELLED)
        self.assertEqual(self.state(task_id_of("other-001")), State.SCHEDULED)

    def test_the_audit_log_tells_of_what_is_not_allowed(self) -> None:
        self.allow("cancel:mail")
        client = self.connect()
        told: list[tuple[str, str, str]] = []
        self.patch(
            self.service.gate.audit,
            "record",
            lambda who, op, **f: told.append((op, f["what"], f["outcome"])),
        )
        self.forbidden(client, "QUEUE", "PAUSE", "mail", "other", missing="cancel:other")
        self.assertEqual(told, [("faktory_queue", "pause mail other", "FORBIDDEN")])

    def test_another_keys_worker_of_this_name(self) -> None:
        self.register("worker-1", 1)
        self.service.broker.ledger.workers.get("worker-1").owner = "key other"
        self.allow("claim:*")
        client = self.meet()
        client.hear()
        client.say("HELLO", {"v": 2, "wid": "worker-1"})
        self.assertIn("somebody else has registered worker", str(client.hear()[0]))

    def test_permissions_that_are_taken_away(self) -> None:
        self.allow("claim:mail", "submit:mail")
        one = self.worker()
        one.say("FETCH", "mail")
        self.allow("claim:other")
        self.turn()
        self.assertEqual(one.hear(), [None])
        self.forbidden(one, "FETCH", "mail", missing="claim:mail")
