"""
HI and HELLO, and the password between them.
"""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from taskqueue.access.throttle import FREE_FAILURES
from taskqueue.errors import ConfigError
from taskqueue.frontends.faktory import FaktoryDoor
from tests.frontends.faktory.clients import Client, FaktoryTestCase, Refused


class HelloTests(FaktoryTestCase):
    def test_a_producer(self) -> None:
        client = self.connect()
        self.assertEqual(len(self.door.processes), 0)
        self.assertEqual(self.push(client), "job-00000001")

    def test_a_worker_is_one_of_the_registry(self) -> None:
        self.worker("worker-1")
        worker = self.service.broker.ledger.workers.get("worker-1")
        self.assertEqual((worker.info.host, worker.info.pid), ("host-1", 7))

    def test_several_connections_are_one_worker(self) -> None:
        first, second = self.worker("worker-1"), self.worker("worker-1")
        self.assertEqual(len(self.door.processes), 1)
        first.go()
        self.assertEqual(len(self.door.processes), 1)
        second.go()
        self.assertEqual(len(self.door.processes), 0)
        self.assertIsNone(self.service.broker.ledger.workers.find("worker-1"))

    def test_one_that_holds_a_job_may_come_back(self) -> None:
        workers = self.service.broker.ledger.workers
        client = self.worker("worker-1")
        self.push(client)
        self.fetch(client)
        worker = workers.get("worker-1")
        for away_s in (5, 5, 11):
            client.go()
            self.assertIs(workers.find("worker-1"), worker)
            self.pass_time(away_s)
            client = self.worker("worker-1")
        self.assertIsNot(workers.get("worker-1"), worker)

    def test_it_goes_while_the_store_fails(self) -> None:
        self.store.fail("commit")
        client = self.worker("worker-1")
        client.say("PUSH", {"jid": "job-00000001", "jobtype": "t", "args": []})
        self.turn()
        client.go()
        self.pass_time(6)
        self.assertIsNone(self.service.broker.ledger.workers.find("worker-1"))

    def assertSentAway(self, client: Client, text: str) -> None:
        [error] = client.hear()
        self.assertIsInstance(error, Refused)
        self.assertIn(text, str(error))
        self.assertTrue(client.wire.half_closed)

    def test_something_else_first(self) -> None:
        for line in (b"PUSH {}", b"GET / HTTP/1.1", b"\x16\x03\x01", b"hello {}", b""):
            client = self.meet()
            client.hear()
            client.say_raw(line + b"\r\n")
            self.assertSentAway(client, "the first command must be HELLO")

    def test_what_it_says_must_make_sense(self) -> None:
        cases: list[tuple[Any, str]] = [
            ({"v": 2, "wid": "a b"}, "wid cannot be"),
            ({"v": 2, "wid": 7}, "wid cannot be"),
            ({"v": 2, "wid": "worker-1", "pid": "7"}, "pid must be an integer"),
            ({"v": 2, "wid": "worker-1", "pid": -1}, "pid must be an integer"),
            ({"v": 2, "wid": "worker-1", "labels": "x"}, "labels must be a list"),
            ({"v": 2, "hostname": ["x"]}, "hostname must be a text"),
            ({"v": 2, "hostname": "x" * 256}, "at most 255 characters"),
            ([], "takes an object"),
            ("{", "invalid JSON"),
            ("", "takes JSON"),
        ]
        for said, text in cases:
            client = self.meet()
            client.hear()
            client.say("HELLO", said)
            self.assertSentAway(client, text)
        self.assertEqual(len(self.service.broker.ledger.workers), 0)

    def test_within_two_seconds(self) -> None:
        client = self.meet()
        client.hear()
        self.clock.advance(1.9)
        self.factory.check_times()
        self.assertEqual(client.hear(), [])
        self.clock.advance(0.1)
        self.factory.check_times()
        self.assertSentAway(client, "no HELLO within 2 s")

    def test_not_too_long(self) -> None:
        client = self.meet()
        client.hear()
        client.say_raw(b"HELLO {" + b" " * 70_000)
        self.assertSentAway(client, "before HELLO")

    def test_the_name_of_another_worker(self) -> None:
        self.register("worker-1", 5, link=object())
        client = self.meet()
        client.hear()
        client.say("HELLO", {"v": 2, "wid": "worker-1"})
        self.assertSentAway(client, "worker-1")
        self.service.broker.ledger.workers.get("worker-1").link = None

    def test_while_the_store_fails(self) -> None:
        self.store.fail("commit")
        producer = self.connect()
        producer.say("PUSH", {"jid": "job-00000001", "jobtype": "t", "args": []})
        self.turn()
        client = self.meet()
        client.hear()
        client.say("HELLO", {"v": 2, "wid": "worker-1"})
        self.assertSentAway(client, "the store cannot write")
        self.assertEqual(self.service.traffic.refused["OVERLOADED"], 1)

    def test_why_they_are_sent_away_is_counted(self) -> None:
        for said in ("PUSH {}", "HELLO {", 'HELLO {"wid":7}'):
            self.meet().say(said)
        self.assertEqual(self.service.traffic.refused, {"HELLO_REQUIRED": 1, "BAD_FRAME": 2})

    def test_silence_is_no_reason_to_end(self) -> None:
        """Pools of producers keep connections that they do not use for hours."""
        client = self.connect()
        self.clock.advance(10_000)
        self.factory.check_times()
        self.assertEqual(self.push(client), "job-00000001")


class PasswordTests(FaktoryTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.path = self.mktemp()
        self.write("s3cret\n")
        self.service.config = self.adapt("faktory", password_file=self.path)
        self.open()

    def write(self, text: str) -> None:
        with open(self.path, "w", encoding="utf-8") as file:
            file.write(text)

    def greeted(self, host: str = "10.0.0.1") -> tuple[Client, dict[str, Any]]:
        client = self.meet(host)
        [greeting] = client.hear()
        self.assertEqual(greeting[:3], "HI ")
        return client, json.loads(greeting[3:])

    def hashed(self, said: dict[str, Any], password: str = "s3cret", rounds: int = 0) -> str:
        """As the specification has it, word for word."""
        digest = (password + said["s"]).encode()
        for _ in range(rounds or said["i"]):
            digest = sha256(digest).digest()
        return digest.hex()

    def answer(self, client: Client, **said: Any) -> list[Any]:
        client.say("HELLO", {"v": 2, **said})
        return client.hear()

    def test_the_right_one(self) -> None:
        client, said = self.greeted()
        self.assertEqual(set(said), {"v", "i", "s"})
        self.assertEqual(self.answer(client, pwdhash=self.hashed(said)), ["OK"])
        self.push(client)

    def test_salt_and_number_are_never_the_same(self) -> None:
        found = {(said["s"], said["i"]) for _, said in (self.greeted() for _ in range(20))}
        self.assertEqual(len({salt for salt, _ in found}), 20)
        self.assertGreater(len({rounds for _, rounds in found}), 10)

    def test_a_wrong_one(self) -> None:
        client, said = self.greeted()
        for wrong in (self.hashed(said, "S3cret"), "", None, 7, "é", self.hashed(said)[:-1]):
            client, _ = self.greeted(f"10.0.1.{len(self.clients)}")
            self.assertEqual(
                [str(e) for e in self.answer(client, pwdhash=wrong)], ["Invalid password"]
            )
            self.assertTrue(client.wire.half_closed)

    def test_that_of_another_connection(self) -> None:
        _, said = self.greeted()
        other, _ = self.greeted()
        [error] = self.answer(other, pwdhash=self.hashed(said))
        self.assertEqual(str(error), "Invalid password")

    def test_clients_of_the_first_version(self) -> None:
        client, said = self.greeted()
        client.say("HELLO", {"v": 1, "pwdhash": self.hashed(said, rounds=1)})
        self.assertEqual(client.hear(), ["OK"])

    def test_who_knows_it_is_forgiven_what_failed_before(self) -> None:
        for _ in range(3):
            for password in ["guess"] * FREE_FAILURES + ["s3cret"]:
                client, said = self.greeted()
                answer = self.answer(client, pwdhash=self.hashed(said, password))
            self.assertEqual(answer, ["OK"])

    def test_the_audit_log_tells_of_wrong_ones(self) -> None:
        told: list[dict[str, Any]] = []
        self.patch(
            self.service.gate.audit, "record", lambda who, op, **f: told.append({"op": op, **f})
        )
        client, _ = self.greeted()
        self.answer(client, pwdhash="no")
        [entry] = told
        self.assertEqual((entry["op"], entry["peer"]), ("authenticate", "10.0.0.1"))
        self.assertEqual((entry["door"], entry["outcome"]), ("faktory", "UNAUTHENTICATED"))

    def test_who_guesses_has_to_wait(self) -> None:
        for _ in range(FREE_FAILURES + 1):
            client, said = self.greeted()
            self.answer(client, pwdhash=self.hashed(said, "guess"))
        client, said = self.greeted()
        [error] = self.answer(client, pwdhash=self.hashed(said))
        self.assertIn("too many attempts to authenticate have failed", str(error))
        other, said = self.greeted("10.0.0.2")
        self.assertEqual(self.answer(other, pwdhash=self.hashed(said)), ["OK"])
        self.pass_time(1)
        client, said = self.greeted()
        self.assertEqual(self.answer(client, pwdhash=self.hashed(said)), ["OK"])

    def test_without_it_a_broker_does_not_start(self) -> None:
        self.write("")
        self.assertRaises(ConfigError, FaktoryDoor, self.service)

    def test_the_file_may_change(self) -> None:
        self.greeted()
        self.write("other")
        self.clock.advance(1)
        client, said = self.greeted()
        self.assertEqual(self.answer(client, pwdhash=self.hashed(said, "other")), ["OK"])

    def test_a_file_that_says_nothing_lets_nobody_in(self) -> None:
        for text in ("", "\n"):
            self.write(text)
            self.clock.advance(1)
            client = self.meet()
            [error] = client.hear()
            self.assertIn("the broker cannot read its password", str(error))
            self.assertTrue(client.wire.half_closed)
        self.write("s3cret")
        self.clock.advance(1)
        client, said = self.greeted()
        self.assertEqual(self.answer(client, pwdhash=self.hashed(said)), ["OK"])
