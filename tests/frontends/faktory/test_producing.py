"""
PUSH and PUSHB.
"""

from __future__ import annotations

import json
from typing import Any

from taskqueue.core.task import State
from taskqueue.frontends.faktory.jobs import NAMESPACE, task_id_of, timestamp
from tests.frontends.faktory.clients import JOB, FaktoryTestCase
from tests.service.running import WALL


class PushTests(FaktoryTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = self.connect()

    def row(self, jid: str = JOB["jid"]) -> Any:
        return self.status(task_id_of(jid))

    def given(self, jid: str = JOB["jid"]) -> dict[str, Any]:
        return json.loads(self.result_of(self.service.payload(task_id_of(jid))))

    def test_it_is_a_task(self) -> None:
        self.push(self.client, queue="mail", custom={"traceparent": "00-ab", "n": 3})
        row = self.row()
        self.assertEqual((row.type, row.queue, row.state), ("SendMail", "mail", State.PENDING))
        self.assertEqual(row.headers, '{"traceparent":"00-ab"}')
        options = row.options
        self.assertEqual((options.max_retries, options.max_lost, options.lease_s), (25, 25, 1800.0))

    def test_custom_that_is_too_long_for_headers(self) -> None:
        self.push(self.client, custom={"a": "x" * 10_000})
        self.assertIsNone(self.row().headers)
        self.assertEqual(self.given()["custom"], {"a": "x" * 10_000})

    def test_what_the_server_adds(self) -> None:
        self.push(self.client)
        now = timestamp(WALL + self.clock.seconds())
        self.assertEqual(
            self.given() | {"created_at": "", "enqueued_at": ""},
            {**JOB, "queue": "default", "retry": 25, "created_at": "", "enqueued_at": ""},
        )
        self.assertEqual(self.given()["created_at"][:16], now[:16])

    def test_what_a_client_says_stays_to_the_last_digit(self) -> None:
        args = '[1.10, 12345678901234567890123, "\\u00e9"]'
        text = f'{{"jid":"job-00000001", "jobtype":"t","args":{args}}}'
        self.assertEqual(self.ask(self.client, "PUSH", text), "OK")
        payload = self.result_of(self.service.payload(task_id_of("job-00000001")))
        self.assertTrue(payload.startswith(text[:-1].encode()), payload)

    def test_what_only_the_server_may_say_is_not_taken(self) -> None:
        """A job that was fetched may be pushed again, as it is."""
        self.push(self.client, failure={"retry_count": 3}, enqueued_at="2001-01-01T00:00:00Z")
        self.assertNotIn("failure", self.given())
        self.assertNotEqual(self.given()["enqueued_at"], "2001-01-01T00:00:00Z")

    def test_ids(self) -> None:
        given = "0f2e4c6a-8b1d-4e3f-a5c7-9d0b2f4e6a8c"
        self.assertEqual(task_id_of(given), given)
        self.assertNotEqual(task_id_of(given.upper()), given)
        self.assertEqual(str(NAMESPACE), "6b1d0c5e-3a54-5f0e-9d8b-7c2f64a1e0b7")
        self.assertEqual(task_id_of("job-00000001"), task_id_of("job-00000001"))
        self.assertEqual(task_id_of("job-00000001")[14], "5")
        self.push(self.client, given)
        self.assertEqual(self.row(given).id, given)

    def test_at(self) -> None:
        later = WALL + self.clock.seconds() + 60
        for zone in ("Z", "+00:00", "000Z"):
            at = timestamp(later).removesuffix("Z") + zone
            jid = self.push(self.client, f"job-at-{zone}", at=at)
            self.assertEqual(self.row(jid).state, State.SCHEDULED)
            self.assertAlmostEqual(self.row(jid).run_at, later, 5)
            self.assertNotIn("enqueued_at", self.given(jid))

    def test_at_in_the_past_is_at_once(self) -> None:
        for number, at in enumerate(("2001-01-01T00:00:00Z", "", None)):
            jid = self.push(self.client, f"job-past-{number}", at=at)
            self.assertEqual((self.row(jid).state, self.row(jid).run_at), (State.PENDING, None))

    def test_how_often_and_how_long(self) -> None:
        cases = [
            ({"retry": 0}, (0, 0, 1800.0)),
            ({"retry": -1}, (0, 0, 1800.0)),
            ({"retry": -7}, (0, 0, 1800.0)),
            ({"retry": None}, (25, 25, 1800.0)),
            ({"retry": 3, "reserve_for": 90}, (3, 3, 90.0)),
            ({"retry": 3, "reserve_for": 0}, (3, 3, 1800.0)),
            ({"retry": 3, "reserve_for": 5}, (3, 3, 60.0)),
            ({"retry": 3, "reserve_for": 86_400}, (3, 3, 86_400.0)),
        ]
        for number, (fields, expected) in enumerate(cases):
            options = self.row(self.push(self.client, f"job-{number:08}", **fields)).options
            found = (options.max_retries, options.max_lost, options.lease_s)
            self.assertEqual(found, expected, fields)

    def test_what_is_wrong_is_said(self) -> None:
        cases: list[tuple[Any, str]] = [
            ("", "PUSH takes JSON"),
            ("[]", "takes an object"),
            ("{", "invalid JSON"),
            ('{"a":' + "[" * 200 + "]" * 200 + "}", "nested deeper than 100 levels"),
            ('{"a":' + "[" * 5000, "invalid JSON"),
            ({**JOB, "jid": "short"}, "jobs must have a reasonable jid parameter"),
            ({**JOB, "jid": "x" * 257}, "jobs must have a reasonable jid parameter"),
            ({**JOB, "jid": 12345678}, "jobs must have a reasonable jid parameter"),
            ({"jobtype": "t", "args": []}, "jobs must have a reasonable jid parameter"),
            ({**JOB, "jobtype": ""}, "jobs must have a jobtype parameter"),
            ({**JOB, "jobtype": "a b"}, "jobtype cannot be 'a b'"),
            ({**JOB, "jobtype": 3}, "jobtype cannot be this"),
            ({**JOB, "args": None}, "jobs must have an args parameter"),
            ({**JOB, "args": {}}, "jobs must have an args parameter"),
            ({**JOB, "queue": "no queue"}, "queue cannot be 'no queue'"),
            ({**JOB, "reserve_for": 86_401}, "jobs cannot be reserved for more than one day"),
            ({**JOB, "reserve_for": 60.0}, "reserve_for must be an integer"),
            ({**JOB, "retry": "3"}, "retry must be an integer"),
            ({**JOB, "retry": True}, "retry must be an integer"),
            ({**JOB, "retry": 1001}, "cannot be retried more than 1000 times"),
            ({**JOB, "custom": []}, "custom must be an object"),
            ({**JOB, "at": "tomorrow"}, "invalid timestamp for 'at': 'tomorrow'"),
            ({**JOB, "at": "2030-01-31"}, "invalid timestamp for 'at'"),
            ({**JOB, "at": "2030-01-31T12:00:00"}, "invalid timestamp for 'at'"),
            ({**JOB, "at": 12}, "invalid timestamp for 'at'"),
        ]
        for said, text in cases:
            self.assertIn(text, self.refused(self.client, "PUSH", said))
        self.assertEqual(self.service.broker.ledger.depth, 0)

    def test_a_payload_that_is_too_large(self) -> None:
        self.limit(max_payload_bytes=1024)
        text = self.refused(self.client, "PUSH", {**JOB, "args": ["x" * 2000]})
        self.assertIn("max_payload_bytes", text)

    def test_a_line_that_is_too_long_ends_the_connection(self) -> None:
        self.limit(max_frame_bytes=65_536, max_payload_bytes=1024)
        client = self.connect()
        client.say("PUSH", {**JOB, "args": ["x" * 70_000]})
        [error] = client.hear()
        self.assertIn("the limit is 65536", str(error))
        self.assertTrue(client.wire.half_closed)

    def test_a_full_queue(self) -> None:
        self.service.reconfigure(self.adapt("broker", queue_depth_threshold=1))
        self.push(self.client)
        self.assertIn(
            "queue_depth_threshold",
            self.refused(self.client, "PUSH", {**JOB, "jid": "job-00000002"}),
        )

    def test_pushed_twice_while_it_waits_it_is_one(self) -> None:
        for _ in range(2):
            self.push(self.client)
        self.assertEqual(self.service.broker.ledger.depth, 1)

    def test_pushed_again_when_it_is_over_it_runs_again(self) -> None:
        worker = self.worker()
        for end in ("ACK", "FAIL", "ACK"):
            self.push(self.client, retry=-1)
            self.assertEqual(self.fetch(worker)["jid"], JOB["jid"])
            self.assertEqual(self.ask(worker, end, {"jid": JOB["jid"]}), "OK")
            self.forget_ended()
        self.push(self.client)
        self.assertEqual(self.row().state, State.PENDING)

    def test_nothing_is_accepted_while_the_store_fails(self) -> None:
        self.store.fail("commit")
        self.client.say("PUSH", JOB)
        self.turn()
        self.assertEqual(self.client.hear(), [])
        self.pass_time(6)
        [error] = self.client.hear()
        self.assertIn("store", str(error))
        self.assertIn("store cannot write", self.refused(self.client, "PUSH", JOB))
        self.store.work()
        self.pass_time(6)
        self.push(self.client)


class PushBulkTests(FaktoryTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client = self.connect()

    def bulk(self, jobs: list[Any]) -> dict[str, str]:
        self.client.say("PUSHB", jobs)
        self.clock.pump([1 / 128] * 8)
        [answer] = self.client.hear()
        return json.loads(answer)

    def test_all_are_accepted(self) -> None:
        jobs = [{**JOB, "jid": f"job-{n:08}"} for n in range(2500)]
        self.assertEqual(self.bulk(jobs), {})
        self.assertEqual(self.service.broker.ledger.depth, 2500)
        self.assertEqual(self.fetch(self.worker())["jid"], "job-00000000")

    def test_others_get_their_turn_meanwhile(self) -> None:
        self.service.config = self.adapt("broker", max_batch_submit=10)
        self.client.say("PUSHB", [{**JOB, "jid": f"job-{n:08}"} for n in range(30)])
        self.assertEqual(self.service.broker.ledger.depth, 10)
        self.push(self.connect(), "job-of-another")
        self.clock.pump([1 / 128] * 8)
        self.assertEqual(self.client.hear(), [b"{}"])
        order = [self.fetch(self.worker())["jid"] for _ in range(31)]
        self.assertIn(order.index("job-of-another"), (10, 20))

    def test_each_that_is_refused_says_why(self) -> None:
        found = self.bulk(
            [
                {**JOB, "jid": "good-0001"},
                {**JOB, "jid": "bad-00001", "jobtype": ""},
                {**JOB, "jid": "bad-2"},
                {**JOB, "jid": "good-0002"},
                {"args": []},
            ]
        )
        self.assertEqual(set(found), {"bad-00001", "bad-2", ""})
        self.assertIn("jobtype", found["bad-00001"])
        self.assertEqual(self.service.broker.ledger.depth, 2)

    def test_what_the_broker_refuses_is_among_them(self) -> None:
        self.service.reconfigure(self.adapt("broker", queue_depth_threshold=1))
        found = self.bulk([{**JOB, "jid": f"job-{n:08}"} for n in range(3)])
        self.assertEqual(set(found), {"job-00000001", "job-00000002"})

    def test_none(self) -> None:
        self.assertEqual(self.bulk([]), {})

    def test_what_is_no_list_of_jobs(self) -> None:
        for said in ("{}", "[1]", "[[]]", "", "7"):
            self.assertIn("PUSHB", self.refused(self.client, "PUSHB", said))
