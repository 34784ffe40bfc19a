"""What each call says to the broker, and what it makes of the answer."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from taskqueue import errors
from taskqueue.client import Delivery, Report, Search, Submission
from taskqueue.core.task import State
from taskqueue.wire import MessageType
from tests.client.peer import World

M = MessageType
A, B, C = (f"01a20c31-8cc5-7a05-b409-9ec28726{n:04x}" for n in (1, 2, 3))


def outcome(task, state="completed", **more):
    told = {"event": "outcome", "task": task, "type": "t", "queue": "default", "state": state}
    if state == "completed":
        told["result"] = b"R"
    return {**told, "attempt": 1, "ended_at": 5.0, **more}


class CallCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.calls = self.world.calls
        self.clock = self.world.clock
        self.peer = self.world.welcome(max_batch_submit=3)

    def start(self, call):
        return self.world.run(call)


class Submitting(CallCase):
    def test_one(self) -> None:
        call = self.start(
            self.calls.submit("mail", b"hi", queue="q", run_in_s=3, headers={"a": "b"})
        )
        header = self.peer.expect(M.SUBMIT_TASK)
        (item,) = header["tasks"]
        task_id = item.pop("id")
        self.assertRegex(task_id, r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab]")
        self.assertEqual(
            item,
            {
                "type": "mail",
                "payload": b"hi",
                "queue": "q",
                "priority": 150,
                "run_in_s": 3,
                "headers": {"a": "b"},
            },
        )
        self.peer.ack(header, tasks=[task_id])
        self.assertEqual(self.successResultOf(call), task_id)

    def test_an_id_is_lowered_as_the_broker_does(self) -> None:
        self.start(self.calls.submit("mail", id=A.upper()))
        self.assertEqual(self.peer.expect(M.SUBMIT_TASK)["tasks"][0]["id"], A)

    def test_a_refusal_is_raised(self) -> None:
        call = self.start(self.calls.submit("mail"))
        refusal = {"item": 0, "code": "QUEUE_FULL", "message": "full", "retry_after_s": 1.5}
        self.peer.ack(self.peer.expect(M.SUBMIT_TASK), tasks=[None], errors=[refusal])
        error = self.failureResultOf(call, errors.QueueFull).value
        self.assertEqual(error.retry_after_s, 1.5)

    def test_it_is_said_again_after_a_lost_connection_with_the_same_id(self) -> None:
        self.start(self.calls.submit("mail"))
        first = self.peer.expect(M.SUBMIT_TASK)
        self.peer.lose()
        self.assertEqual(self.world.welcome().expect(M.SUBMIT_TASK), first)

    def test_a_payload_is_bytes(self) -> None:
        self.start(self.calls.submit("mail", bytearray(b"ok")))
        self.assertEqual(self.peer.expect(M.SUBMIT_TASK)["tasks"][0]["payload"], b"ok")
        call = self.start(self.calls.submit("mail", "text", codec="bytes"))
        error = self.failureResultOf(call, errors.BadRequest)
        self.assertIn("must be bytes, not str", error.getErrorMessage())

    def test_anything_else_is_written_by_the_codec(self) -> None:
        self.start(self.calls.submit("mail", {"to": ["ä", 1, None]}))
        header = self.peer.expect(M.SUBMIT_TASK)
        self.assertEqual(header["tasks"][0]["payload"], '{"to":["ä",1,null]}'.encode())
        error = self.failureResultOf(self.start(self.calls.submit("mail", {1, 2})))
        self.assertIn("cannot be written as JSON", error.getErrorMessage())

    def test_durations_have_short_names(self) -> None:
        self.start(
            self.calls.submit(
                "mail",
                run_in=timedelta(minutes=1),
                expires_at=datetime(2030, 1, 1, tzinfo=UTC),
                unique="k",
                unique_for=5,
            )
        )
        (item,) = self.peer.expect(M.SUBMIT_TASK)["tasks"]
        self.assertEqual((item["run_in_s"], item["expires_at"]), (60.0, 1893456000.0))
        self.assertEqual((item["unique"], item["unique_for_s"]), ("k", 5))

    def test_what_is_not_given_is_not_said(self) -> None:
        self.start(self.calls.submit("mail"))
        (item,) = self.peer.expect(M.SUBMIT_TASK)["tasks"]
        self.assertEqual(set(item), {"id", "type", "queue", "priority", "payload"})

    def submitted(self, answered=None, **options):
        call = self.start(self.calls.submit("mail", **options))
        header = self.peer.expect(M.SUBMIT_TASK)
        task_id = answered or header["tasks"][0]["id"]
        self.peer.ack(header, tasks=[task_id], existing=[0])
        return self.successResultOf(call)

    def test_the_task_that_has_the_key_is_given_back(self) -> None:
        task = self.submitted(A, unique="k")
        self.assertEqual((task, task.id, task.existing), (A, A, True))

    def test_only_an_id_of_ones_own_can_be_known_before(self) -> None:
        """One that is made up is known to the broker only from the same submission."""
        self.assertTrue(self.submitted(id=A).existing)
        self.assertFalse(self.submitted().existing)

    def test_a_copy_is_the_id_alone(self) -> None:
        task = self.submitted()
        for other in (copy.deepcopy(task), pickle.loads(pickle.dumps(task))):
            self.assertEqual((type(other), other), (str, task))

    def test_a_broker_that_stops_is_asked_again(self) -> None:
        call = self.start(self.calls.submit("mail"))
        first = self.peer.expect(M.SUBMIT_TASK)
        self.peer.nack(first, "SHUTTING_DOWN", retry_after_s=1.0)
        self.assertEqual(self.peer.got, [])
        self.clock.advance(1.6)
        again = self.peer.expect(M.SUBMIT_TASK)
        self.assertEqual(again["tasks"], first["tasks"])
        self.peer.ack(again, tasks=[A])
        self.assertEqual(self.successResultOf(call), A)

    def test_but_not_for_ever(self) -> None:
        call = self.start(self.calls.submit("mail", retry_for_s=2))
        self.peer.nack(self.peer.expect(M.SUBMIT_TASK), "SHUTTING_DOWN", retry_after_s=30)
        self.clock.advance(2.1)
        self.peer.nack(self.peer.expect(M.SUBMIT_TASK), "SHUTTING_DOWN")
        self.failureResultOf(call, errors.ShuttingDown)

    def test_or_not_at_all(self) -> None:
        call = self.start(self.calls.submit("mail", retry_for_s=0))
        self.peer.nack(self.peer.expect(M.SUBMIT_TASK), "SHUTTING_DOWN", retry_after_s=30)
        self.failureResultOf(call, errors.ShuttingDown)

    def test_fields_that_do_not_exist(self) -> None:
        call = self.start(self.calls.submit_many([{"type": "t", "prio": 3}]))
        self.assertIn("'prio'", self.failureResultOf(call, errors.BadRequest).getErrorMessage())
        call = self.start(self.calls.submit_many([{"payload": b""}]))
        self.assertIn("type", self.failureResultOf(call, errors.BadRequest).getErrorMessage())


class SubmittingMany(CallCase):
    def answer(self, refuse=()) -> int:
        header = self.peer.expect(M.SUBMIT_TASK)
        ids = [item["id"] for item in header["tasks"]]
        refused = [{"item": n, "code": "QUEUE_FULL", "message": "full"} for n in refuse]
        kept = [None if n in refuse else task for n, task in enumerate(ids)]
        self.peer.ack(header, tasks=kept, **({"errors": refused} if refused else {}))
        return len(ids)

    def test_in_chunks_of_what_the_broker_takes(self) -> None:
        call = self.start(self.calls.submit_many(({"type": "t"} for _ in range(8)), retry_for_s=0))
        self.assertEqual([self.answer(), self.answer([1]), self.answer()], [3, 3, 2])
        answers = self.successResultOf(call)
        self.assertEqual(len(answers), 8)
        self.assertIsInstance(answers[4], errors.QueueFull)
        self.assertEqual(len({str(a) for a in answers}), 8)

    def test_in_chunks_that_fit_into_a_frame(self) -> None:
        self.peer.lose()
        self.peer = self.world.welcome(max_frame_bytes=10_000)
        self.start(self.calls.submit_many(Submission("t", b"x" * 2000) for _ in range(4)))
        self.assertEqual([self.answer(), self.answer()], [2, 2])

    def test_tasks_are_read_no_faster_than_the_broker_takes_them(self) -> None:
        read: list[int] = []

        def tasks():
            for number in range(100):
                read.append(number)
                yield {"type": "t"}

        self.start(self.calls.submit_many(tasks()))
        self.assertLess(len(read), 20)
        before = len(read)
        self.answer()
        self.assertGreater(len(read), before)

    def test_a_chunk_that_is_refused_whole(self) -> None:
        call = self.start(self.calls.submit_many(({"type": "t"} for _ in range(4)), retry_for_s=0))
        self.answer()
        self.peer.nack(self.peer.expect(M.SUBMIT_TASK), "STORE_UNAVAILABLE")
        answers = self.successResultOf(call)
        self.assertIsInstance(answers[3], errors.StoreUnavailable)
        self.assertIsInstance(answers[0], str)

    def test_what_is_refused_for_now_is_submitted_again(self) -> None:
        call = self.start(self.calls.submit_many({"type": "t"} for _ in range(4)))
        self.answer([0, 2])
        self.answer()
        self.assertEqual(self.peer.got, [])
        self.clock.advance(0.1)
        self.assertEqual(self.answer([1]), 2)
        self.clock.advance(0.1)
        self.assertEqual(self.answer(), 1)
        answers = self.successResultOf(call)
        self.assertEqual(len({str(a) for a in answers}), 4)
        self.assertFalse([a for a in answers if not isinstance(a, str)])

    def test_so_is_what_depends_on_that(self) -> None:
        tasks = [{"type": "t", "id": A}, {"type": "t"}, {"type": "t"}]
        tasks.append({"type": "t", "id": B, "depends_on": [A]})
        call = self.start(self.calls.submit_many(tasks))
        self.answer([0])
        header = self.peer.expect(M.SUBMIT_TASK)
        refused = {"item": 0, "code": "UNKNOWN_DEPENDENCY", "message": "no"}
        self.peer.ack(header, tasks=[None], errors=[refused])
        self.clock.advance(0.1)
        self.assertEqual((self.answer(), self.answer()), (1, 1))
        answers = self.successResultOf(call)
        self.assertEqual((answers[0], answers[3]), (A, B))

    def test_but_not_what_depends_on_what_was_refused_for_good(self) -> None:
        tasks = [{"type": "t", "id": A}, {"type": "t"}, {"type": "t"}]
        tasks.append({"type": "t", "depends_on": [A]})
        call = self.start(self.calls.submit_many(tasks))
        self.answer([0])
        self.clock.advance(0.1)
        header = self.peer.take()[1]
        refused = {"item": 0, "code": "UNKNOWN_DEPENDENCY", "message": "no"}
        self.peer.ack(header, tasks=[None], errors=[refused])
        again = self.peer.take()[1]
        bad = {"item": 0, "code": "BAD_REQUEST", "message": "no"}
        self.peer.ack(again, tasks=[None], errors=[bad])
        self.clock.advance(0.1)
        self.peer.ack(self.peer.take()[1], tasks=[None], errors=[refused])
        self.clock.advance(0.1)
        self.assertEqual(self.peer.got, [])
        answers = self.successResultOf(call)
        self.assertIsInstance(answers[0], errors.BadRequest)
        self.assertIsInstance(answers[3], errors.UnknownDependency)

    def test_a_dependency_that_is_unknown_is_not(self) -> None:
        call = self.start(self.calls.submit_many([{"type": "t", "depends_on": [A]}]))
        header = self.peer.expect(M.SUBMIT_TASK)
        refused = {"item": 0, "code": "UNKNOWN_DEPENDENCY", "message": "no"}
        self.peer.ack(header, tasks=[None], errors=[refused])
        (answer,) = self.successResultOf(call)
        self.assertIsInstance(answer, errors.UnknownDependency)

    def test_progress_is_told(self) -> None:
        told: list = []
        self.start(
            self.calls.submit_many(
                ({"type": "t"} for _ in range(5)), on_progress=told.append, retry_for_s=0
            )
        )
        self.answer([1])
        self.answer()
        self.assertEqual(told, [(2, 1), (4, 1)])

    def test_before_there_is_a_connection(self) -> None:
        self.world = World(timeout_s=5)
        call = self.start_in(self.world, [{"type": "t"}])
        self.world.clock.advance(5.1)
        self.failureResultOf(call, errors.AnswerTimedOut)

    def start_in(self, world, tasks):
        return world.run(world.calls.submit_many(tasks))

    def test_an_outcome_of_the_task_that_has_the_key(self) -> None:
        told: list = []
        self.start(self.calls.submit_many([{"type": "t", "unique": "k"}], told.append))
        self.peer.ack(self.peer.expect(M.SUBMIT_TASK), tasks=[A], existing=[0])
        self.clock.advance(0)
        asked = [header for kind, header in self.peer.got if kind is M.WATCH]
        self.assertEqual([header["tasks"] for header in asked], [[A]])
        self.peer.say(M.EVENT, {"events": [outcome(A)]})
        self.assertEqual([o.task for o in told], [A])

    def test_none(self) -> None:
        self.assertEqual(self.successResultOf(self.start(self.calls.submit_many([]))), [])

    def test_outcomes_are_told_without_asking_again(self) -> None:
        told: list = []
        self.start(
            self.calls.submit_many([{"type": "t", "id": A}, {"type": "t", "id": B}], told.append)
        )
        header = self.peer.expect(M.SUBMIT_TASK)
        self.assertIs(header["watch"], True)
        refusal = {"item": 1, "code": "QUEUE_FULL", "message": "full"}
        self.peer.ack(header, tasks=[A, None], errors=[refusal])
        self.peer.say(M.EVENT, {"events": [outcome(A)]})
        self.assertEqual([o.result for o in told], [b"R"])
        self.assertEqual(len(self.calls._outcomes), 0)


class Waiting(CallCase):
    def test_a_result(self) -> None:
        call = self.start(self.calls.result(A))
        self.clock.advance(0)
        header = self.peer.expect(M.WATCH)
        self.assertEqual(header["tasks"], [A])
        self.peer.ack(header)
        self.peer.say(M.EVENT, {"events": [outcome(A)]})
        self.assertEqual(self.successResultOf(call), b"R")

    def test_waits_of_one_turn_are_asked_for_together(self) -> None:
        for task in (A, B, A):
            self.start(self.calls.result(task))
        self.clock.advance(0)
        self.assertEqual(self.peer.expect(M.WATCH)["tasks"], [A, B])
        self.assertEqual(self.peer.got, [])

    def test_a_task_without_a_result(self) -> None:
        call = self.start(self.calls.result(A))
        event = outcome(A, "dead_letter", error="ValueError: x\n\nTraceback")
        self.peer.say(M.EVENT, {"events": [event]})
        error = self.failureResultOf(call, errors.TaskFailed).value
        self.assertEqual(str(error), f"task {A} failed for good: ValueError: x")
        self.assertEqual(error.fields["state"], State.DEAD_LETTER)
        self.assertEqual(error.fields["error"], event["error"])

    def test_an_unknown_task(self) -> None:
        call, other = self.start(self.calls.result(A)), self.start(self.calls.result(B))
        self.clock.advance(0)
        self.peer.ack(self.peer.expect(M.WATCH), unknown=[A])
        self.failureResultOf(call, errors.UnknownTask)
        self.assertNoResult(other)

    def test_a_broker_that_cannot_say_now_is_asked_again(self) -> None:
        call = self.start(self.calls.result(A))
        self.clock.advance(0)
        self.peer.nack(self.peer.expect(M.WATCH), "SHUTTING_DOWN", retry_after_s=2.0)
        self.clock.advance(1.9)
        self.assertEqual(self.peer.got, [])
        self.clock.advance(0.2)
        self.assertEqual(self.peer.expect(M.WATCH)["tasks"], [A])
        self.peer.say(M.EVENT, {"events": [outcome(A)]})
        self.assertEqual(self.successResultOf(call), b"R")

    def test_a_closed_client_asks_nobody_again(self) -> None:
        self.failureResultOf(self.closed_while_refused(), errors.ConnectionLost)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def closed_while_refused(self):
        call = self.start(self.calls.result(A))
        self.clock.advance(0)
        self.peer.nack(self.peer.expect(M.WATCH), "SHUTTING_DOWN", retry_after_s=2.0)
        self.calls.close(errors.ConnectionLost("closed"))
        return call

    def test_not_in_time(self) -> None:
        call = self.start(self.calls.result(A, timeout_s=5))
        self.clock.advance(0)
        self.peer.ack(self.peer.expect(M.WATCH))
        self.clock.advance(5)
        self.failureResultOf(call, errors.AnswerTimedOut)
        self.clock.advance(0)
        self.assertEqual(self.peer.expect(M.UNWATCH)["tasks"], [A])

    def test_who_gives_up_is_not_waited_for(self) -> None:
        call, other = self.start(self.calls.result(A)), self.start(self.calls.result(A))
        call.cancel()
        self.failureResultOf(call, CancelledError)
        self.peer.say(M.EVENT, {"events": [outcome(A)]})
        self.successResultOf(other)

    def test_after_a_reconnect_it_is_asked_for_again(self) -> None:
        call = self.start(self.calls.result(A))
        self.clock.advance(0)
        self.peer.lose()
        peer = self.world.welcome()
        self.assertEqual(peer.expect(M.WATCH)["tasks"], [A])
        peer.say(M.EVENT, {"events": [outcome(A)]})
        self.successResultOf(call)

    def test_what_is_not_submitted_yet_is_not_asked_for(self) -> None:
        """The broker would say that it does not know the task."""
        self.start(self.calls.submit_many([{"type": "t", "id": A}], lambda o: None))
        self.peer.lose()
        peer = self.world.welcome()
        self.assertEqual([kind for kind, _ in peer.got], [M.SUBMIT_TASK])

    def test_as_completed(self) -> None:
        told: list[str] = []
        call = self.start(self.calls.as_completed([A, B], lambda o: told.append(o.task)))
        self.peer.say(M.EVENT, {"events": [outcome(B)]})
        self.assertNoResult(call)
        self.peer.say(M.EVENT, {"events": [outcome(A, "cancelled")]})
        self.successResultOf(call)
        self.assertEqual(told, [B, A])
        self.successResultOf(self.start(self.calls.as_completed([], told.append)))

    def test_a_callback_that_fails_is_logged_and_costs_nobody_else(self) -> None:
        self.start(self.calls.as_completed([A], lambda o: 1 / 0))
        call = self.start(self.calls.result(A))
        self.peer.say(M.EVENT, {"events": [outcome(A)]})
        self.successResultOf(call)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_a_queue_is_watched_over_reconnects(self) -> None:
        told: list = []
        call = self.start(self.calls.watch_queue("q", told.append))
        header = self.peer.expect(M.WATCH)
        self.assertEqual(header["queues"], ["q"])
        self.peer.ack(header)
        self.successResultOf(call)
        self.peer.lose()
        peer = self.world.welcome()
        self.assertEqual(peer.expect(M.WATCH)["queues"], ["q"])
        peer.say(M.EVENT, {"events": [outcome(A, queue="q"), outcome(B, queue="other")]})
        self.assertEqual([o.task for o in told], [A])

    def test_the_end_of_the_client_is_told(self) -> None:
        call = self.start(self.calls.result(A))
        self.calls.close(errors.ConnectionLost())
        self.failureResultOf(call, errors.ConnectionLost)
        self.failureResultOf(self.start(self.calls.result(B)), errors.ConnectionLost)


class Working(CallCase):
    def test_a_delivery(self) -> None:
        call = self.start(self.calls.claim(["q"], ["t"], limit=2, wait_s=1, lease_s=9))
        header = self.peer.expect(M.CLAIM_TASK)
        header.pop("id")
        self.assertEqual(
            header, {"queues": ["q"], "types": ["t"], "limit": 2, "wait_s": 1, "lease_s": 9}
        )
        item = {
            "id": A,
            "type": "t",
            "queue": "q",
            "priority": 1,
            "attempt": 2,
            "lease": 7,
            "lease_s": 9,
            "submitted_at": 3.0,
            "failures": 1,
            "losses": 0,
            "payload": b"p",
        }
        self.peer.say(M.ACK, {"id": 2, "tasks": [item]})
        (delivery,) = self.successResultOf(call)
        self.assertEqual(delivery, Delivery(**item, headers={}))
        self.assertEqual(delivery.holding, (A, 7))

    def test_a_claim_waits_as_long_as_it_asks_and_an_answer_takes(self) -> None:
        call = self.start(self.calls.claim(wait_s=30))
        self.clock.pump([3] * 13)
        self.assertNoResult(call)
        self.clock.advance(2)
        self.failureResultOf(call, errors.AnswerTimedOut)

    def test_reports(self) -> None:
        reports = [
            Report(A, 1, State.COMPLETED, b"r"),
            Report(B, 2, State.FAILED, error="e", permanent=True, retry_in_s=3.0),
            Report(C, 3, State.CANCELLED),
        ]
        call = self.start(self.calls.report(reports))
        header = self.peer.expect(M.TASK_RESULT)
        self.assertEqual(
            header["results"],
            [
                {"task": A, "lease": 1, "status": "completed", "result": b"r"},
                {
                    "task": B,
                    "lease": 2,
                    "status": "failed",
                    "error": "e",
                    "permanent": True,
                    "retry_in_s": 3.0,
                },
                {"task": C, "lease": 3, "status": "cancelled"},
            ],
        )
        lost = {"item": 2, "code": "LEASE_LOST", "message": "gone"}
        self.peer.ack(header, states=["completed", "dead_letter", None], errors=[lost])
        states = self.successResultOf(call)
        self.assertEqual(states[:2], [State.COMPLETED, State.DEAD_LETTER])
        self.assertIsInstance(states[2], errors.LeaseLost)

    def test_complete_and_fail(self) -> None:
        call = self.start(self.calls.complete((A, 1), b"x"))
        self.peer.ack(self.peer.expect(M.TASK_RESULT), states=["completed"])
        self.assertEqual(self.successResultOf(call), State.COMPLETED)
        call = self.start(self.calls.fail((A, 1), "why"))
        header = self.peer.expect(M.TASK_RESULT)
        self.assertEqual(header["results"][0]["error"], "why")
        lost = {"item": 0, "code": "LEASE_LOST", "message": "gone"}
        self.peer.ack(header, states=[None], errors=[lost])
        self.failureResultOf(call, errors.LeaseLost)

    def test_leases(self) -> None:
        call = self.start(self.calls.extend([(A, 1)], 5.0))
        header = self.peer.expect(M.EXTEND_LEASE)
        self.assertEqual(header["leases"], [{"task": A, "lease": 1, "lease_s": 5.0}])
        self.peer.ack(header, lease_s=[5.0])
        self.assertEqual(self.successResultOf(call), [5.0])
        call = self.start(self.calls.release([(A, 1)], delay_s=2.0))
        header = self.peer.expect(M.RELEASE_TASK)
        self.assertEqual(header["leases"], [{"task": A, "lease": 1, "delay_s": 2.0}])
        self.peer.ack(header, states=["scheduled"])
        self.assertEqual(self.successResultOf(call), [State.SCHEDULED])
        call = self.start(self.calls.release([(A, 1)], priority=0))
        header = self.peer.expect(M.RELEASE_TASK)
        self.assertEqual(header["leases"], [{"task": A, "lease": 1, "priority": 0}])
        self.peer.ack(header, states=["pending"])
        self.assertEqual(self.successResultOf(call), [State.PENDING])

    def test_setting_aside(self) -> None:
        call = self.start(self.calls.bury([(A, 1), (B, 2)], priority=9))
        header = self.peer.expect(M.BURY_TASK)
        self.assertEqual(header["leases"][1], {"task": B, "lease": 2, "priority": 9})
        lost = {"item": 1, "code": "LEASE_LOST", "message": "it is over"}
        self.peer.ack(header, states=["dead_letter", None], errors=[lost])
        first, second = self.successResultOf(call)
        self.assertEqual(first, State.DEAD_LETTER)
        self.assertIsInstance(second, errors.LeaseLost)

    def test_progress(self) -> None:
        call = self.start(self.calls.progress((A, 1), {"at": 3}))
        header = self.peer.expect(M.REPORT_PROGRESS)
        self.assertEqual(header["reports"], [{"task": A, "lease": 1, "progress": {"at": 3}}])
        self.peer.ack(header, cancel=[True])
        self.assertIs(self.successResultOf(call), True)

    def test_a_worker_is_registered_first_on_every_connection(self) -> None:
        told: list = []
        call = self.start(
            self.calls.register_worker("w", 5, queues=["q"], types=["t"], on_registered=told.append)
        )
        header = self.peer.expect(M.REGISTER_WORKER)
        self.peer.ack(header, worker="w", leases=[])
        self.successResultOf(call)
        self.start(self.calls.claim())
        self.start(self.calls.result(A))
        self.peer.lose()
        peer = self.world.welcome()
        kinds = [kind for kind, _ in peer.got]
        self.assertEqual(kinds, [M.REGISTER_WORKER, M.WATCH, M.CLAIM_TASK])
        again = peer.expect(M.REGISTER_WORKER)
        self.assertEqual({**again, "id": 0}, {**header, "id": 0})
        peer.nack(again, "STALE_INCARNATION")
        self.assertIsInstance(told[0], errors.StaleIncarnation)

    def test_a_heartbeat_can_register_anew(self) -> None:
        call = self.start(self.calls.register_worker("w", 5, queues=["q"]))
        self.peer.ack(self.peer.expect(M.REGISTER_WORKER), leases=[])
        self.successResultOf(call)
        call = self.start(self.calls.heartbeat("w", 5, in_hand=1, leases=[7]))
        header = self.peer.expect(M.HEARTBEAT)
        self.assertEqual((header["queues"], header["in_hand"]), (["q"], 1))
        self.peer.ack(header, leases=1, lost=[7], cancel=[{"task": A, "lease": 9}], order="quiet")
        orders = self.successResultOf(call)
        self.assertEqual(orders, (1, [7], [(A, 9)], "quiet"))

    def test_who_is_deregistered_is_not_registered_again(self) -> None:
        call = self.start(self.calls.register_worker("w", 5))
        self.peer.ack(self.peer.expect(M.REGISTER_WORKER), leases=[])
        self.successResultOf(call)
        call = self.start(self.calls.deregister_worker())
        self.peer.ack(self.peer.expect(M.DEREGISTER_WORKER), leases=2)
        self.assertEqual(self.successResultOf(call), 2)
        self.peer.lose()
        self.assertEqual(self.world.welcome().got, [])

    def test_events_about_deliveries(self) -> None:
        told: list = []
        self.calls.on_lost("cancel", told.append)
        self.calls.on_lost("lease_lost", told.append)
        events = [
            {"event": "cancel", "task": A, "lease": 1, "reason": "asked"},
            {"event": "lease_lost", "task": B, "lease": 2, "reason": "expired"},
            {"event": "of a later version"},
        ]
        self.peer.say(M.EVENT, {"events": events})
        self.assertEqual(told, [(A, 1, "asked"), (B, 2, "expired")])
        self.assertRaises(errors.BadRequest, self.calls.on_lost, "nonsense", told.append)


class Looking(CallCase):
    def check(self, call, kind, expected, answer, result) -> None:
        started = self.start(call)
        header = self.peer.expect(kind)
        request_id = header.pop("id")
        self.assertEqual(header, expected)
        self.peer.say(M.ACK, {"id": request_id, **answer})
        self.assertEqual(self.successResultOf(started), result)

    def test_tasks(self) -> None:
        calls = self.calls
        view = {"id": A, "state": "pending"}
        self.check(
            *(calls.status([A, B], history=True), M.QUERY_STATUS),
            *({"tasks": [A, B], "history": True}, {"tasks": [view, None]}, [view, None]),
        )
        self.check(
            *(calls.list_tasks(Search(states=["failed"], limit=1, after=4)), M.LIST_TASKS),
            {"states": ["failed"], "limit": 1, "after": 4, "order": "newest"},
            *({"tasks": [view], "next": 3}, ([view], 3)),
        )
        self.check(
            *(calls.payload(A), M.GET_PAYLOAD, {"task": A}),
            *({"tasks": [{"id": A, "payload": b"p"}]}, b"p"),
        )
        self.check(
            *(calls.cancel([A], running=True), M.CANCEL_TASK, {"tasks": [A], "running": True}),
            *({"states": ["cancelled"]}, [State.CANCELLED]),
        )
        self.check(
            *(calls.run_now([A]), M.RUN_NOW, {"tasks": [A]}),
            *({"states": ["pending"]}, [State.PENDING]),
        )
        self.check(
            *(calls.retry([A], 2), M.RETRY_TASK, {"tasks": [A], "max_retries": 2}),
            *({"states": ["pending"]}, [State.PENDING]),
        )

    def test_delete(self) -> None:
        call = self.start(self.calls.delete([A, B]))
        conflict = {"item": 1, "code": "CONFLICT", "message": "it runs"}
        self.peer.ack(self.peer.expect(M.DELETE_TASK), deleted=1, errors=[conflict])
        first, second = self.successResultOf(call)
        self.assertIsNone(first)
        self.assertIsInstance(second, errors.Conflict)

    def test_one_queue(self) -> None:
        """A page of one, which begins right before it: other names may stand around it."""
        mail = {"name": "mail", "depth": 3}
        asked = {"after": "maik~", "limit": 1}
        calls = self.calls
        self.check(
            *(calls.queue("mail"), M.LIST_QUEUES, asked),
            *({"queues": [mail], "next": "mail"}, mail),
        )
        self.check(
            *(calls.queue("mail"), M.LIST_QUEUES, asked),
            *({"queues": [{"name": "mail-2", "depth": 1}], "next": "mail-2"}, None),
        )
        self.check(calls.queue("mail"), M.LIST_QUEUES, asked, {"queues": [], "next": None}, None)
        longest = "x" * 200
        asked = {"after": "x" * 199 + "w", "limit": 1}
        self.check(calls.queue(longest), M.LIST_QUEUES, asked, {"queues": [], "next": None}, None)

    def test_operators(self) -> None:
        calls = self.calls
        self.check(calls.ping(), M.PING, {}, {"time": 5.0}, 5.0)
        self.check(calls.stats(), M.GET_STATS, {}, {"stats": {"depth": 1}}, {"depth": 1})
        self.check(calls.queues(), M.LIST_QUEUES, {}, {"queues": [], "next": None}, [])
        self.check(calls.workers(), M.LIST_WORKERS, {}, {"workers": [], "next": None}, [])
        self.check(calls.pause("q", 3), M.PAUSE_QUEUE, {"queue": "q", "for_s": 3}, {}, None)
        self.check(calls.resume("q"), M.RESUME_QUEUE, {"queue": "q"}, {}, None)
        self.check(
            calls.set_queue("q", None), M.SET_QUEUE, {"queue": "q", "max_depth": None}, {}, None
        )
        self.check(
            *(calls.purge("q", 5), M.PURGE_QUEUE, {"queue": "q", "limit": 5}),
            *({"cancelled": 2, "left": 1}, (2, 1)),
        )
        self.check(
            *(calls.retry_queue("q", 5), M.RETRY_QUEUE, {"queue": "q", "limit": 5}),
            *({"retried": 2, "left": 1}, (2, 1)),
        )
        self.check(
            *(calls.backup("b"), M.BACKUP, {"name": "b"}),
            *({"path": "/x/b", "bytes": 9}, ("/x/b", 9)),
        )
        self.check(calls.audit(), M.AUDIT, {}, {"found": 0, "at": 5.0}, {"found": 0, "at": 5.0})
        self.check(
            *(calls.order_worker("w", "quiet"), M.ORDER_WORKER),
            *({"worker": "w", "order": "quiet"}, {}, None),
        )
