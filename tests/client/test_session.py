"""Requests and answers over one connection after another."""

from __future__ import annotations

from twisted.internet.defer import CancelledError
from twisted.trial.unittest import SynchronousTestCase

from taskqueue import errors
from taskqueue.client import session as session_module
from taskqueue.wire import MessageType
from tests.client.peer import World

PING, STATS, CLAIM = MessageType.PING, MessageType.GET_STATS, MessageType.CLAIM_TASK


class SessionCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.session = self.world.session
        self.clock = self.world.clock

    def ask(self, kind=STATS, header=None, **how):
        return self.session.request(kind, header or {}, **how)


class Asking(SessionCase):
    def test_hello_comes_first_and_requests_wait_for_its_answer(self) -> None:
        asked = self.ask()
        peer = self.world.connect()
        self.assertEqual([kind for kind, _ in peer.got], [MessageType.HELLO])
        self.assertEqual(peer.got[0][1]["versions"], [1])
        peer.welcome()
        peer.ack(peer.expect(STATS), stats=1)
        self.assertEqual(self.successResultOf(asked)["stats"], 1)

    def test_answers_find_their_requests_in_any_order(self) -> None:
        peer = self.world.welcome()
        first, second = self.ask(), self.ask()
        headers = [peer.expect(STATS), peer.expect(STATS)]
        peer.ack(headers[1], n=2)
        self.assertNoResult(first)
        peer.ack(headers[0], n=1)
        self.assertEqual([self.successResultOf(d)["n"] for d in (first, second)], [1, 2])

    def test_a_refusal_is_the_error_of_its_code(self) -> None:
        peer = self.world.welcome()
        asked = self.ask()
        peer.nack(peer.expect(STATS), "QUEUE_FULL", "full", retry_after_s=2.5, queue="q")
        error = self.failureResultOf(asked, errors.QueueFull).value
        self.assertEqual((str(error), error.retry_after_s), ("full", 2.5))
        self.assertEqual(error.fields, {"queue": "q"})

    def test_a_code_of_a_later_version_is_kept(self) -> None:
        peer = self.world.welcome()
        asked = self.ask()
        peer.nack(peer.expect(STATS), "NEW_ONE", "something new")
        error = self.failureResultOf(asked, errors.TaskQueueError).value
        self.assertIs(type(error), errors.TaskQueueError)
        self.assertEqual(error.fields["code"], "NEW_ONE")

    def test_what_cannot_be_sent_is_said_at_once(self) -> None:
        self.assertRaises(errors.BadRequest, self.ask, STATS, {"x": object()})

    def test_no_answer_in_time(self) -> None:
        peer = self.world.welcome()
        asked = self.ask(timeout_s=3)
        header = peer.expect(STATS)
        self.clock.advance(2.9)
        self.assertNoResult(asked)
        self.clock.advance(0.2)
        self.failureResultOf(asked, errors.AnswerTimedOut)
        peer.ack(header)  # too late, and no harm

    def test_no_connection_in_time(self) -> None:
        asked = self.ask(timeout_s=3)
        self.clock.advance(3)
        error = self.failureResultOf(asked, errors.AnswerTimedOut).value
        self.assertIn("no connection", str(error))
        self.assertEqual(self.world.welcome().got, [])

    def test_why_there_was_no_connection(self) -> None:
        """Whoever reads it need not look for the warning in a log."""
        asked = self.ask(timeout_s=3)
        self.session.could_not_connect(errors.CannotConnect("cannot connect to tq://b: refused"))
        self.clock.advance(3)
        error = self.failureResultOf(asked, errors.AnswerTimedOut).value
        self.assertIn("for 3 s: cannot connect to tq://b: refused", str(error))
        self.world.welcome().lose()
        asked = self.ask(timeout_s=3)
        self.clock.advance(3)
        error = self.failureResultOf(asked, errors.AnswerTimedOut).value
        self.assertNotIn("refused", str(error))

    def test_a_window_of_ones_own(self) -> None:
        """The smaller one of it and the broker's holds."""
        for own, brokers, sent in ((1, 2, 1), (3, 2, 2)):
            self.world = World(max_in_flight=own)
            self.session = self.world.session
            for _ in range(4):
                self.ask()
            peer = self.world.welcome(max_inflight_requests=brokers)
            self.assertEqual(len(peer.got), sent)

    def test_the_window_is_kept(self) -> None:
        peer = self.world.welcome(max_inflight_requests=2)
        asked = [self.ask() for _ in range(3)]
        self.assertEqual(len(peer.got), 2)
        peer.ack(peer.expect(STATS))
        self.successResultOf(asked[0])
        self.assertEqual(len(peer.got), 2)

    def test_the_queue_has_an_end(self) -> None:
        self.patch(session_module, "MAX_QUEUED", 2)
        self.ask()
        self.ask()
        self.assertRaises(errors.TooManyRequests, self.ask)

    def test_too_large_a_request_is_refused_here(self) -> None:
        peer = self.world.welcome(max_frame_bytes=100)
        asked = self.ask(STATS, {"x": "y" * 200})
        error = self.failureResultOf(asked, errors.FrameTooLarge).value
        self.assertEqual(error.fields["limit"], 100)
        self.assertEqual(peer.got, [])

    def test_nothing_is_sent_while_the_connection_takes_no_more(self) -> None:
        peer = self.world.welcome()
        self.session.hold_back()
        self.ask()
        self.assertEqual(peer.got, [])
        self.session.go_on()
        peer.expect(STATS)

    def test_an_answer_that_cannot_be_read_fails_its_request(self) -> None:
        peer = self.world.welcome()
        asked = self.ask()
        request_id = peer.expect(STATS)["id"]
        self.session.received(bytes([5]) + b'{"id":%d,"tasks":[{"size":9}]}\nabc' % request_id)
        self.failureResultOf(asked, errors.BadFrame)

    def test_what_means_nothing_is_passed_over(self) -> None:
        peer = self.world.welcome()
        self.session.received(bytes([200]) + b"{}")
        self.session.received(b"\x05not json")
        peer.say(MessageType.PING, {"id": 1})
        self.assertFalse(peer.aborted)


class Withdrawing(SessionCase):
    def test_a_cancelled_request_that_waits_is_never_sent(self) -> None:
        asked = self.ask()
        asked.cancel()
        self.failureResultOf(asked, CancelledError)
        self.assertEqual(self.world.welcome().got, [])

    def test_tasks_of_a_cancelled_claim_are_given_back(self) -> None:
        peer = self.world.welcome()
        claim = self.world.run(self.world.calls.claim(wait_s=5))
        header = peer.expect(CLAIM)
        claim.cancel()
        self.failureResultOf(claim, CancelledError)
        peer.ack(header, tasks=[{"id": "a", "lease": 7, "payload": b"x"}])
        released = peer.expect(MessageType.RELEASE_TASK)
        self.assertEqual(released["leases"], [{"task": "a", "lease": 7}])

    def test_a_cancelled_claim_counts_until_it_is_answered(self) -> None:
        peer = self.world.welcome(max_inflight_requests=1)
        claim = self.world.run(self.world.calls.claim(wait_s=5))
        claim.cancel()
        self.failureResultOf(claim, CancelledError)
        self.ask()
        header = peer.expect(CLAIM)
        self.assertEqual(peer.got, [])
        peer.ack(header, tasks=[])
        peer.expect(STATS)


class Reconnecting(SessionCase):
    def test_what_can_be_repeated_is_asked_again_in_order(self) -> None:
        peer = self.world.welcome()
        asked = [self.ask(STATS, {"n": n}, repeatable=True) for n in range(3)]
        peer.ack(peer.expect(STATS))
        peer.lose()
        again = self.world.welcome()
        self.assertEqual([header["n"] for _, header in again.got], [1, 2])
        again.ack(again.got[0][1])
        self.successResultOf(asked[0])
        self.successResultOf(asked[1])

    def test_what_cannot_be_repeated_is_lost(self) -> None:
        peer = self.world.welcome()
        asked = self.ask()
        peer.lose("Connection reset")
        error = self.failureResultOf(asked, errors.ConnectionLost).value
        self.assertIn("Connection reset", str(error))
        self.assertEqual(self.world.welcome().got, [])

    def test_nothing_is_asked_again_for_ever(self) -> None:
        asked = self.ask(repeatable=True, timeout_s=1000)
        for _ in range(session_module.MAX_SENDS):
            self.assertNoResult(asked)
            self.world.welcome().lose()
        self.failureResultOf(asked, errors.ConnectionLost)

    def test_a_waiting_claim_asks_for_what_is_left_of_its_wait(self) -> None:
        peer = self.world.welcome()
        self.world.run(self.world.calls.claim(wait_s=20, limit=3))
        self.assertEqual(peer.expect(CLAIM)["wait_s"], 20)
        self.clock.advance(12)
        peer.lose()
        header = self.world.welcome().expect(CLAIM)
        self.assertEqual((header["wait_s"], header["limit"]), (8, 3))

    def test_a_request_at_fault_is_not_repeated(self) -> None:
        peer = self.world.welcome()
        asked = self.ask(repeatable=True)
        peer.say(MessageType.NACK, {"code": "BAD_FRAME", "message": "what is this"})
        peer.lose()
        self.failureResultOf(asked, errors.BadFrame)
        self.assertEqual(self.world.welcome().got, [])

    def test_the_last_word_of_the_broker_is_the_reason(self) -> None:
        peer = self.world.welcome()
        asked = self.ask()
        peer.say(MessageType.NACK, {"code": "SLOW_READER", "message": "too slow"})
        peer.lose()
        self.failureResultOf(asked, errors.SlowReader)


class Greeting(SessionCase):
    def test_ready_tells_what_the_broker_is(self) -> None:
        ready = self.session.ready()
        self.assertNoResult(ready)
        self.world.welcome()
        self.assertEqual(self.successResultOf(ready)["heartbeat_s"], 15.0)
        self.successResultOf(self.session.ready())

    def test_another_version_is_refused_for_good(self) -> None:
        failed: list[bool] = []
        self.session.on_failed = lambda: failed.append(True)
        ready, asked = self.session.ready(), self.ask(repeatable=True)
        peer = self.world.connect()
        peer.nack(peer.expect(MessageType.HELLO), "UNSUPPORTED_VERSION", "only 9 here")
        self.assertTrue(peer.aborted)
        peer.lose()
        for deferred in (ready, asked, self.session.ready()):
            error = self.failureResultOf(deferred, errors.UnsupportedVersion).value
            self.assertEqual(str(error), "only 9 here")
        self.assertRaises(errors.UnsupportedVersion, self.ask)
        self.assertEqual(failed, [True])

    def refuse(self) -> None:
        peer = self.world.connect()
        peer.say(MessageType.NACK, {"code": "TOO_MANY_CONNECTIONS", "message": "full"})
        peer.lose()

    def test_a_refused_connection_fails_whoever_is_not_patient(self) -> None:
        self.world = World(patient=False)
        ready = self.world.session.ready()
        self.refuse()
        self.failureResultOf(ready, errors.TooManyConnections)

    def test_the_patient_try_again(self) -> None:
        ready = self.session.ready()
        self.refuse()
        self.refuse()
        self.assertEqual(self.session.fruitless, 2)
        self.assertNoResult(ready)
        self.world.welcome()
        self.successResultOf(ready)
        self.assertEqual(self.session.fruitless, 0)

    def test_a_peer_that_says_nothing_is_given_up(self) -> None:
        peer = self.world.connect()
        self.clock.advance(9.9)
        self.assertFalse(peer.aborted)
        self.clock.advance(0.2)
        self.assertTrue(peer.aborted)


class KeepingAlive(SessionCase):
    def test_a_ping_at_half_of_the_idle_time(self) -> None:
        peer = self.world.welcome(idle_timeout_s=10)
        self.clock.advance(4.9)
        self.assertEqual(peer.got, [])
        for _ in range(3):
            self.clock.advance(5)
            peer.ack(peer.expect(PING), time=1)
        self.assertFalse(peer.aborted)

    def test_a_broker_that_does_not_answer_is_left(self) -> None:
        peer = self.world.welcome(idle_timeout_s=10)
        self.clock.advance(5)
        peer.expect(PING)
        self.clock.advance(5)
        self.assertTrue(peer.aborted)

    def test_a_new_connection_is_not_blamed_for_the_old_one(self) -> None:
        peer = self.world.welcome(idle_timeout_s=10)
        self.clock.advance(5)
        peer.expect(PING)
        peer.lose()
        peer = self.world.welcome(idle_timeout_s=10)
        self.clock.advance(5)
        peer.expect(PING)
        self.assertFalse(peer.aborted)

    def test_nothing_ticks_after_the_end(self) -> None:
        peer = self.world.welcome()
        asked = self.ask()
        self.session.close()
        self.failureResultOf(asked, errors.ConnectionLost)
        self.assertEqual(self.clock.getDelayedCalls(), [])
        peer.lose()
        self.assertRaises(errors.ConnectionLost, self.ask)
