"""
FETCH, ACK, FAIL and BEAT.
"""

from __future__ import annotations

import json
from typing import Any

from taskqueue.core.delivery import Outcome
from taskqueue.core.leases import Holder
from taskqueue.core.task import State
from taskqueue.frontends.faktory.jobs import task_id_of, timestamp
from tests.frontends.faktory.clients import JOB, Client, FaktoryTestCase
from tests.service.running import WALL

JID = JOB["jid"]
TASK = task_id_of(JID)


class FetchTests(FaktoryTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.producer = self.connect()
        self.one = self.worker()

    def test_the_job_as_it_was_pushed(self) -> None:
        self.push(self.producer, custom={"a": [1]}, reserve_for=90)
        job = self.fetch(self.one)
        self.assertEqual(
            {name: job[name] for name in (*JOB, "custom", "reserve_for", "queue", "retry")},
            {**JOB, "custom": {"a": [1]}, "reserve_for": 90, "queue": "default", "retry": 25},
        )
        self.assertNotIn("failure", job)
        self.assertLessEqual(job["created_at"], job["enqueued_at"])
        lease = self.service.broker.ledger.tasks[TASK].lease
        self.assertEqual((lease.lease_s, lease.holder.name), (90.0, "worker-1"))

    def test_queues_in_strict_order(self) -> None:
        for number, queue in enumerate(("low", "high", "low", "high", "other")):
            self.push(self.producer, f"job-{number:08}", queue=queue)
        found = [self.fetch(self.one, "high", "low")["jid"][-1] for _ in range(4)]
        self.assertEqual(found, ["1", "3", "0", "2"])
        self.assertTrue(self.is_empty(self.one, "high", "low"))

    def test_first_come_first_served(self) -> None:
        jids = [self.push(self.producer, f"job-{n:08}") for n in range(5)]
        self.assertEqual([self.fetch(self.one)["jid"] for _ in range(5)], jids)

    def test_it_waits_two_seconds(self) -> None:
        self.assertTrue(self.is_empty(self.one))

    def test_a_job_that_comes_meanwhile(self) -> None:
        self.one.say("FETCH", "default")
        self.pass_time(1)
        self.push(self.producer)
        [answer] = self.one.hear()
        self.assertEqual(json.loads(answer)["jid"], JID)

    def test_at(self) -> None:
        at = WALL + self.clock.seconds() + 10
        self.push(self.producer, at=timestamp(at))
        self.assertTrue(self.is_empty(self.one))
        self.pass_time(9)
        self.assertEqual(self.fetch(self.one)["enqueued_at"], timestamp(at))

    def test_names_are_looked_at(self) -> None:
        for said in ((), ("",)):
            text = self.refused(self.one, "FETCH", *said)
            self.assertEqual(text, "must call fetch with at least one queue")
        self.assertIn("queue cannot be 'a*b'", self.refused(self.one, "FETCH", "a*b"))
        many = [f"q{n}" for n in range(101)]
        self.assertIn("at most 100", self.refused(self.one, "FETCH", *many))
        self.one.say_raw(b"FETCH \xff\r\n")
        self.assertIn("not UTF-8", str(self.one.hear()[0]))

    def test_one_command_after_the_other(self) -> None:
        """What is said while FETCH waits is answered after it."""
        self.one.say("FETCH", "default")
        self.one.say("INFO")
        self.pass_time(1)
        self.assertEqual(self.one.hear(), [])
        self.pass_time(1.25)
        nothing, info = self.one.hear()
        self.assertIsNone(nothing)
        self.assertIn("faktory", json.loads(info))

    def test_who_hangs_up_gets_nothing(self) -> None:
        self.one.say("FETCH", "default")
        self.one.go()
        self.push(self.producer)
        self.assertEqual(self.fetch(self.worker("worker-2"))["jid"], JID)

    def test_who_hangs_up_while_its_job_is_looked_up_gives_it_back(self) -> None:
        self.push(self.producer, reserve_for=60)
        self.fetch(self.one)
        self.pass_time(61)
        self.reading.holding = True
        self.one.say("FETCH", "default")
        self.turn()
        self.assertEqual(self.one.hear(), [])
        self.one.go()
        self.reading.let_go()
        self.turn()
        self.assertEqual(self.state(TASK), State.PENDING)

    def test_nor_does_what_it_had_said_already(self) -> None:
        for _ in range(3):
            self.one.say("FETCH", "default")
        self.one.connection.readConnectionLost()
        self.turn()
        self.assertEqual(self.one.hear(), [None] * 3)

    def test_who_sends_no_more_waits_no_more(self) -> None:
        self.one.say("FETCH", "default")
        self.one.connection.readConnectionLost()
        self.turn()
        self.assertEqual(self.one.hear(), [None])
        self.assertTrue(self.one.wire.disconnecting)

    def test_a_paused_queue(self) -> None:
        self.push(self.producer)
        self.result_of(self.service.pause("default"))
        self.assertTrue(self.is_empty(self.one))

    def test_the_queues_that_a_worker_asks_for_are_its_own(self) -> None:
        self.push(self.producer, queue="mail")
        self.fetch(self.one, "mail", "default")
        self.push(self.producer, "job-00000002")
        self.fetch(self.one, "default", "other")
        worker = self.service.broker.ledger.workers.get("worker-1")
        self.assertEqual(set(worker.info.queues), {"mail", "default", "other"})

    def test_the_store_fails(self) -> None:
        self.service.broker.ledger.token_ceiling = self.service.broker.ledger.next_token
        self.push(self.producer)
        self.assertIn("store", self.refused(self.one, "FETCH", "default"))


class ReservationTests(FaktoryTestCase):
    """A job belongs to a worker process, for as long as the job says."""

    def setUp(self) -> None:
        super().setUp()
        self.one = self.worker()
        self.push(self.one, reserve_for=60)
        self.fetch(self.one)

    def ack(self, client: Client, jid: str = JID) -> State:
        self.assertEqual(self.ask(client, "ACK", {"jid": jid}), "OK")
        return self.state(task_id_of(jid))

    def test_done(self) -> None:
        self.assertEqual(self.ack(self.one), State.COMPLETED)
        self.assertEqual(self.service.broker.ledger.workers.get("worker-1").completed, 1)

    def test_by_another_connection_of_the_same_worker(self) -> None:
        second = self.worker()
        self.one.vanish()
        self.assertEqual(self.ack(second), State.COMPLETED)

    def test_by_a_connection_that_comes_later(self) -> None:
        self.one.vanish()
        self.pass_time(20)
        self.assertIsNone(self.service.broker.ledger.workers.find("worker-1"))
        self.assertEqual(self.ack(self.worker()), State.COMPLETED)

    def test_by_another_worker(self) -> None:
        other = self.worker("worker-2")
        self.assertEqual(self.ack(other), State.IN_PROGRESS)
        self.assertEqual(self.ack(self.connect()), State.IN_PROGRESS)
        self.assertEqual(self.service.traffic.nacks["LEASE_LOST"], 2)
        text = self.refused(other, "FAIL", {"jid": JID})
        self.assertTrue(text.startswith(f"Job not found {JID}"), text)

    def test_beats_do_not_make_it_longer(self) -> None:
        for _ in range(4):
            self.pass_time(15)
            self.ask(self.one, "BEAT", {"wid": "worker-1"})
        self.pass_time(1)
        self.assertEqual(self.state(TASK), State.PENDING)

    def test_too_late_another_one_has_it(self) -> None:
        self.pass_time(61)
        other = self.worker("worker-2")
        job = self.fetch(other)
        self.assertEqual(job["failure"]["errtype"], "ReservationExpired")
        self.assertEqual((job["failure"]["retry_count"], job["failure"]["remaining"]), (0, 25))
        self.assertEqual(self.ack(self.one), State.IN_PROGRESS)
        self.refused(self.one, "FAIL", {"jid": JID})
        self.assertEqual(self.ack(other), State.COMPLETED)

    def test_too_late_while_nobody_has_it(self) -> None:
        self.pass_time(61)
        self.assertEqual(self.ack(self.one), State.PENDING)

    def test_who_takes_the_address_of_a_native_client_for_its_name(self) -> None:
        self.push(self.one, "job-of-another", queue="native")
        native = Holder("192.0.2.9:4711")
        native.link = object()
        self.take(queues=["native"], holder=native)
        self.assertEqual(self.ack(self.worker(native.name), "job-of-another"), State.IN_PROGRESS)

    def test_a_native_worker_that_takes_the_name(self) -> None:
        native = self.register("worker-1", 5)
        self.assertEqual(self.state(TASK), State.PENDING)
        self.take(holder=native)
        self.assertEqual(self.ack(self.one), State.IN_PROGRESS)

    def test_said_twice(self) -> None:
        self.ack(self.one)
        self.assertEqual(self.ack(self.one), State.COMPLETED)

    def test_of_a_job_that_never_was(self) -> None:
        self.assertEqual(self.ask(self.one, "ACK", {"jid": "no-such-job"}), "OK")

    def test_after_a_restart(self) -> None:
        for back in (self.restart, self.crash):
            back()
            self.pass_time(50)
            self.assertEqual(self.state(TASK), State.IN_PROGRESS)
        self.assertEqual(self.ack(self.worker("worker-2")), State.IN_PROGRESS)
        self.assertEqual(self.ack(self.worker()), State.COMPLETED)

    def test_after_a_restart_it_runs_out_as_well(self) -> None:
        self.restart()
        self.pass_time(61)
        self.assertEqual(self.state(TASK), State.PENDING)

    def test_what_cannot_be_meant(self) -> None:
        for verb in ("ACK", "FAIL"):
            for said in ("", "{}", '{"jid":7}', '{"jid":""}', "[]", "{", '"x"'):
                self.refused(self.one, verb, said)
        self.assertEqual(self.state(TASK), State.IN_PROGRESS)


class NamelessTests(FaktoryTestCase):
    """Who never said a wid may fetch as well."""

    def setUp(self) -> None:
        super().setUp()
        self.one = self.connect()
        self.push(self.one, reserve_for=60)
        self.fetch(self.one)

    def ack(self, client: Client) -> State:
        self.assertEqual(self.ask(client, "ACK", {"jid": JID}), "OK")
        return self.state(TASK)

    def test_done(self) -> None:
        self.assertEqual(self.ack(self.one), State.COMPLETED)

    def test_by_another_connection_from_there(self) -> None:
        self.one.go()
        self.assertEqual(self.state(TASK), State.IN_PROGRESS)
        self.assertEqual(self.ack(self.connect()), State.COMPLETED)

    def test_by_another_connection_from_there_after_a_restart(self) -> None:
        self.restart()
        self.assertEqual(self.ack(self.connect("10.0.0.2")), State.IN_PROGRESS)
        self.assertEqual(self.ack(self.connect()), State.COMPLETED)

    def test_from_elsewhere(self) -> None:
        self.assertEqual(self.ack(self.connect("10.0.0.11")), State.IN_PROGRESS)
        self.assertEqual(self.ack(self.worker()), State.IN_PROGRESS)

    def test_not_what_may_be_anothers(self) -> None:
        """The first of the two may have been too late."""
        self.pass_time(61)
        other = self.connect()
        self.fetch(other)
        self.assertEqual(self.ack(self.one), State.IN_PROGRESS)
        self.assertEqual(self.ack(other), State.COMPLETED)

    def test_not_what_a_native_claimer_has(self) -> None:
        self.ack(self.one)
        task = self.submit()
        self.holder.name = "Faktory client at 10.0.0.1:1"
        self.holder.link = object()
        self.take()
        self.ask(self.one, "ACK", {"jid": task})
        self.assertEqual(self.state(task), State.IN_PROGRESS)
        self.holder.link = None


class FailTests(FaktoryTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.patch(self.service.broker.ledger, "random", Middle())
        self.one = self.worker()

    def failure(self, **said: Any) -> None:
        self.assertEqual(self.fail_job(self.one, JID, **said), "OK")

    def wait_for_retry(self) -> float:
        """Until the job may run again; how long that was."""
        waited = self.status(TASK).run_at - self.moments().wall
        self.clock.pump([waited / 8] * 8)
        self.turn(0.25)
        return waited

    def test_it_is_tried_again_with_what_went_wrong(self) -> None:
        self.push(self.one, retry=3)
        first = self.fetch(self.one)
        failed_at = timestamp(self.moments().wall)
        self.failure(
            errtype="RuntimeError", message="it is\nbroken", backtrace=["a.py:1", "  b\n  c"]
        )
        self.assertEqual(self.state(TASK), State.FAILED)
        self.assertEqual(round(self.wait_for_retry()), 30)
        next_at = timestamp(self.status(TASK).run_at)
        job = self.fetch(self.one)
        self.assertEqual(
            job.pop("failure"),
            {
                "failed_at": failed_at,
                "next_at": next_at,
                "message": "it is\nbroken",
                "errtype": "RuntimeError",
                "backtrace": ["a.py:1", "  b\n  c"],
                "retry_count": 0,
                "remaining": 3,
            },
        )
        self.assertEqual(job.pop("enqueued_at"), next_at)
        first.pop("enqueued_at")
        self.assertEqual(job, first)
        error = self.status(TASK).error
        self.assertEqual(error.splitlines()[0], "RuntimeError: it is")

    def test_until_it_is_dead(self) -> None:
        self.push(self.one, retry=3)
        seen = []
        for tries in range(3):
            job = self.fetch(self.one)
            seen.append(job.get("failure", {}).get("retry_count"))
            self.failure(message=f"number {tries}")
            self.wait_for_retry()
        job = self.fetch(self.one)
        failure = job["failure"]
        self.assertEqual([*seen, failure["retry_count"]], [None, 0, 1, 2])
        self.assertEqual((failure["remaining"], failure["message"]), (1, "number 2"))
        self.failure(message="for good")
        row = self.status(TASK)
        self.assertEqual((row.state, row.error), (State.DEAD_LETTER, "unknown: for good"))

    def test_pauses_grow_as_documented(self) -> None:
        self.push(self.one)
        pauses = []
        for _ in range(4):
            self.fetch(self.one)
            self.failure()
            pauses.append(round(self.wait_for_retry()))
        self.assertEqual(pauses, [n**4 + 15 + 15 * (n + 1) for n in range(4)])

    def test_the_first_failure_is_dated_for_ever(self) -> None:
        self.push(self.one)
        self.fetch(self.one)
        failed_at = timestamp(self.moments().wall)
        for _ in range(2):
            self.failure()
            self.wait_for_retry()
            self.restart()
            self.one = self.worker()
            self.assertEqual(self.fetch(self.one)["failure"]["failed_at"], failed_at)

    def test_not_tried_again(self) -> None:
        for retry, end in ((-1, State.DEAD_LETTER), (0, None)):
            self.push(self.one, retry=retry)
            self.fetch(self.one)
            self.failure(message="broken")
            row = self.status(TASK)
            self.assertEqual(None if row is None else row.state, end)
            self.assertEqual(self.info(self.one)["faktory"]["sets"]["dead"], int(end is not None))
            if row is not None:
                self.result_of(self.service.delete([TASK]))

    def test_a_reservation_that_runs_out_counts(self) -> None:
        self.push(self.one, retry=2, reserve_for=60)
        self.fetch(self.one)
        self.pass_time(61)
        self.fetch(self.one)
        self.failure(message="broken")
        self.wait_for_retry()
        failure = self.fetch(self.one)["failure"]
        self.assertEqual((failure["retry_count"], failure["remaining"]), (1, 1))
        self.assertEqual(failure["message"], "broken")
        self.failure()
        self.assertEqual(self.state(TASK), State.DEAD_LETTER)

    def test_a_reservation_that_runs_out_after_a_failure(self) -> None:
        self.push(self.one, reserve_for=60)
        self.fetch(self.one)
        self.failure(message="broken")
        self.wait_for_retry()
        self.fetch(self.one)
        self.pass_time(61)
        failure = self.fetch(self.one)["failure"]
        self.assertEqual((failure["errtype"], failure["retry_count"]), ("ReservationExpired", 1))

    def test_another_life_has_its_own_failures(self) -> None:
        self.push(self.one, retry=1)
        for _ in range(2):
            self.fetch(self.one)
            self.failure()
            if self.state(TASK) is State.FAILED:
                self.wait_for_retry()
        self.result_of(self.service.retry([TASK]))
        self.assertNotIn("failure", self.fetch(self.one))
        failed_at = timestamp(self.moments().wall)
        self.failure()
        self.wait_for_retry()
        self.assertEqual(self.fetch(self.one)["failure"]["failed_at"], failed_at)

    def test_one_that_must_not_be_tried_again_is_not_when_it_is_lost(self) -> None:
        self.push(self.one, retry=-1, reserve_for=60)
        self.fetch(self.one)
        self.pass_time(61)
        self.assertEqual(self.state(TASK), State.DEAD_LETTER)

    def test_what_is_said_is_cut(self) -> None:
        self.push(self.one)
        self.fetch(self.one)
        self.failure(
            errtype=f" {'T' * 200}", message=f"\n{'m' * 2000}", backtrace=["l" * 2000] * 100
        )
        self.wait_for_retry()
        failure = self.fetch(self.one)["failure"]
        self.assertEqual(failure["errtype"], "T" * 100)
        self.assertEqual(failure["message"], "m" * 1000)
        self.assertEqual(failure["backtrace"], ["l" * 1000] * 50)

    def test_what_cannot_be_meant(self) -> None:
        self.push(self.one)
        self.fetch(self.one)
        for said in ({"errtype": 7}, {"message": ["x"]}, {"backtrace": "x"}, {"backtrace": [7]}):
            self.assertIn("invalid FAIL", self.refused(self.one, "FAIL", {"jid": JID, **said}))
        self.assertEqual(self.state(TASK), State.IN_PROGRESS)
        for said in ({"errtype": None}, {"message": None, "backtrace": None}):
            self.failure(**said)
            self.wait_for_retry()
            self.fetch(self.one)


class Middle:
    """Always in the middle: no chance."""

    def random(self) -> float:
        return 0.5

    def randrange(self, end: int) -> int:
        return end // 2


class BeatTests(FaktoryTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.one = self.worker()

    def beat(self, client: Client | None = None, **said: Any) -> Any:
        answer = self.ask(client or self.one, "BEAT", {"wid": "worker-1", **said})
        return json.loads(answer) if isinstance(answer, bytes) else answer

    def test_it_lives(self) -> None:
        for _ in range(10):
            self.pass_time(50)
            self.assertEqual(self.beat(rss_kb=54_176), "OK")
        worker = self.service.broker.ledger.workers.get("worker-1")
        self.assertEqual((worker.rss_bytes, worker.lost), (54_176 * 1024, 0))

    def test_after_a_minute_of_silence_it_is_gone(self) -> None:
        self.push(self.one)
        self.fetch(self.one)
        self.pass_time(59)
        self.assertIsNotNone(self.service.broker.ledger.workers.find("worker-1"))
        self.pass_time(2)
        self.assertIsNone(self.service.broker.ledger.workers.find("worker-1"))
        self.assertEqual(self.state(TASK), State.IN_PROGRESS)
        self.assertEqual(self.beat(), "OK")
        self.assertIsNotNone(self.service.broker.ledger.workers.find("worker-1"))
        self.assertEqual(self.ask(self.one, "ACK", {"jid": JID}), "OK")
        self.assertEqual(self.state(TASK), State.COMPLETED)

    def test_it_is_told_what_to_do(self) -> None:
        for order in ("quiet", "terminate"):
            self.result_of(self.service.order_worker("worker-1", order))
            self.assertEqual(self.beat(), {"state": order})
            self.assertEqual(self.beat(), {"state": order})

    def test_a_quiet_one_gets_no_more(self) -> None:
        self.push(self.one)
        self.result_of(self.service.order_worker("worker-1", "quiet"))
        self.assertTrue(self.is_empty(self.one))
        self.assertTrue(self.is_empty(self.worker()))
        self.assertEqual(self.fetch(self.worker("worker-2"))["jid"], JID)

    def test_one_that_waits_is_answered_when_it_is_told(self) -> None:
        self.one.say("FETCH", "default")
        self.result_of(self.service.order_worker("worker-1", "quiet"))
        self.assertEqual(self.one.hear(), [None])

    def test_it_says_itself_what_it_does(self) -> None:
        self.assertEqual(self.beat(current_state="quiet"), {"state": "quiet"})
        self.assertEqual(self.service.broker.ledger.workers.get("worker-1").order, "quiet")
        self.assertEqual(self.beat(current_state=""), {"state": "quiet"})
        self.assertEqual(self.beat(current_state="terminate"), {"state": "terminate"})
        self.assertEqual(self.beat(current_state="quiet"), {"state": "terminate"})

    def test_silence_does_not_make_it_run_again(self) -> None:
        self.beat(current_state="quiet")
        self.pass_time(61)
        self.assertEqual(self.beat(), {"state": "quiet"})

    def test_a_process_that_comes_back_runs(self) -> None:
        self.beat(current_state="quiet")
        self.one.go()
        self.pass_time(11)
        self.one = self.worker()
        self.assertEqual(self.beat(), "OK")

    def test_unknown_ones(self) -> None:
        for wid in ("worker-2", "", None, 7, ["worker-1"]):
            text = self.refused(self.one, "BEAT", {"wid": wid})
            self.assertTrue(text.startswith("unknown worker"), text)

    def test_what_cannot_be_meant(self) -> None:
        for said in ({"rss_kb": "7"}, {"rss_kb": -1}, {"rss_kb": 1e9}, {"current_state": "mad"}):
            self.assertIn(
                "invalid BEAT", self.refused(self.one, "BEAT", {"wid": "worker-1", **said})
            )
        self.assertIn("takes JSON", self.refused(self.one, "BEAT"))


class NativeTests(FaktoryTestCase):
    """The same tasks by other doors."""

    def setUp(self) -> None:
        super().setUp()
        self.one = self.worker()

    def test_a_native_worker_takes_a_job(self) -> None:
        self.push(self.one, custom={"traceparent": "00-ab"})
        delivery = self.take()
        self.assertEqual((delivery.id, delivery.type), (TASK, "SendMail"))
        self.assertEqual(json.loads(delivery.payload)["args"], JOB["args"])
        self.assertEqual(delivery.headers, '{"traceparent":"00-ab"}')
        self.assertEqual(self.report(delivery), State.COMPLETED)

    def test_it_fails_there_and_is_shown_here(self) -> None:
        self.push(self.one)
        self.report(self.take(), State.FAILED, error="ValueError: no\nmore", retry_in_s=0.0)
        self.pass_time(1)
        failure = self.fetch(self.one)["failure"]
        self.assertEqual((failure["errtype"], failure["message"]), ("ValueError", "no\nmore"))

    def test_a_native_task_is_a_job(self) -> None:
        cases: list[tuple[bytes, list[Any]]] = [
            (b'[1,"two"]', [1, "two"]),
            (b'{"to":"ann"}', [{"to": "ann"}]),
            (b"7", [7]),
            (b"", []),
            (b"not JSON", ["not JSON"]),
            (b"\xff\x00", [{"payload_b64": "/wA="}]),
        ]
        for payload, args in cases:
            task = self.submit(task_type="resize", payload=payload, headers='{"a":"b"}')
            job = self.fetch(self.one)
            self.assertEqual((job["jid"], job["jobtype"], job["args"]), (task, "resize", args))
            self.assertEqual((job["custom"], job["retry"]), ({"a": "b"}, 3))
            self.assertEqual(self.ask(self.one, "ACK", {"jid": task}), "OK")
            self.assertEqual(self.state(task), State.COMPLETED)

    def test_a_native_task_is_reserved_as_a_job_is(self) -> None:
        task = self.submit()
        self.fetch(self.one)
        self.pass_time(60)
        self.assertEqual(self.state(task), State.IN_PROGRESS)
        self.assertEqual(self.service.broker.ledger.tasks[task].lease.lease_s, 1800.0)

    def test_a_native_task_fails_by_its_own_rules(self) -> None:
        task = self.submit(task_type="resize")
        for failures in range(1, 5):
            job = self.fetch(self.one)
            self.assertEqual(job.get("failure", {}).get("retry_count", -1), failures - 2)
            self.assertEqual(self.fail_job(self.one, task, message="no"), "OK")
            self.clock.pump([1.0] * 30)
        self.assertEqual(self.state(task), State.DEAD_LETTER)

    def test_what_only_looks_like_a_job(self) -> None:
        """Somebody else's job as the payload of a native task."""
        payload = json.dumps({**JOB, "jobtype": "resize"}).encode()
        task = self.submit(task_type="resize", payload=payload)
        job = self.fetch(self.one)
        self.assertEqual((job["jid"], job["args"]), (task, [json.loads(payload)]))

    def test_cancelled_while_it_runs(self) -> None:
        self.push(self.one)
        self.fetch(self.one)
        self.result_of(self.service.cancel([TASK], running=True))
        self.assertEqual(self.fail_job(self.one, JID), "OK")
        self.assertEqual(self.state(TASK), State.CANCELLED)

    def test_a_delivery_of_a_native_worker_is_not_touched(self) -> None:
        task = self.submit()
        delivery = self.take()
        self.ask(self.one, "ACK", {"jid": task})
        self.refused(self.one, "FAIL", {"jid": task})
        self.assertEqual(self.state(task), State.IN_PROGRESS)
        done = self.service.report([Outcome(task, delivery.lease, State.COMPLETED)])
        self.assertEqual(self.result_of(done), [State.COMPLETED])
