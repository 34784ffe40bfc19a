"""Sessions: requests become commands, and whatever comes of them, answers."""

from twisted.internet.defer import Deferred, fail, succeed

from taskqueue.errors import (
    BadFrame,
    Conflict,
    FatalClientError,
    LeaseLost,
    StoreFailed,
    TooManyConnections,
)
from taskqueue.frontends.native import session as session_module
from taskqueue.frontends.native.session import Session, nack
from taskqueue.operations.answers import WhenStored
from taskqueue.operations.fields import Form
from taskqueue.operations.table import Operation
from taskqueue.service.journal import ANSWER_WITHIN_S
from taskqueue.wire import MessageType
from tests.service.running import ServiceTestCase

ACK, NACK, EVENT, PING = MessageType.ACK, MessageType.NACK, MessageType.EVENT, MessageType.PING


class SessionTests(ServiceTestCase):
    def setUp(self):
        super().setUp()
        self.sent = []
        self.fatal = []
        self.session = self.open()

    def open(self, *, hello_required=False):
        session = Session(
            self.service,
            "10.0.0.1:4000",
            lambda kind, header: self.sent.append((kind, header)),
            self.fatal.append,
            hello_required=hello_required,
        )
        self.addCleanup(session.close)
        return session

    def answer_with(self, answer):
        """Let PING be answered with what a function returns or raises."""
        operation = Operation(Form({}), lambda caller, values: answer())
        self.patch(session_module, "OPERATIONS", {PING: operation})

    def ping(self, request_id=1):
        """What PING is answered with."""
        self.sent.clear()
        self.session.handle(PING, {} if request_id is None else {"id": request_id})
        return self.sent[0] if self.sent else None

    def raising(self, error):
        def answer():
            raise error

        return answer

    def test_answers_echo_the_id(self):
        for request_id in (0, 1, 2**53 - 1, "", "text", "x" * 64):
            kind, header = self.ping(request_id)
            self.assertEqual((kind, header["id"]), (ACK, request_id))
        self.assertNotIn("id", self.ping(None)[1])

    def test_bad_ids(self):
        for request_id in (-1, 2**53, 1.5, True, [], {}, "x" * 65):
            kind, header = self.ping(request_id)
            self.assertEqual((kind, header["code"]), (NACK, "BAD_REQUEST"), request_id)
            self.assertNotIn("id", header)
            self.assertIn("id is neither an integer", header["message"])

    def test_errors_become_nacks_raised_or_later(self):
        error = LeaseLost("over", task="t", lease=7)
        for answer in (self.raising(error), lambda: fail(error)):
            self.answer_with(answer)
            self.assertEqual(
                self.ping(5),
                (NACK, {"id": 5, "code": "LEASE_LOST", "message": "over", "task": "t", "lease": 7}),
            )
        self.assertEqual(self.service.traffic.nacks, {"LEASE_LOST": 2})
        self.assertEqual((self.session.unanswered, self.fatal), (0, []))

    def test_a_failing_store_says_when_to_come_back(self):
        self.answer_with(lambda: fail(StoreFailed("The disk is full.")))
        _, header = self.ping()
        self.assertEqual((header["code"], header["retry_after_s"]), ("STORE_UNAVAILABLE", 1.0))
        self.assertIn("The disk is full.", header["message"])

    def test_the_unexpected_is_logged_and_answered_opaquely(self):
        for answer in (self.raising(KeyError("secret")), lambda: fail(KeyError("secret"))):
            self.answer_with(answer)
            _, header = self.ping(3)
            self.assertEqual((header["id"], header["code"]), (3, "INTERNAL_ERROR"))
            self.assertNotIn("secret", str(header))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 2)
        self.assertEqual(self.session.unanswered, 0)

    def test_answer_that_cannot_be_sent(self):
        """One that the wire cannot carry is a failure of this request only."""
        send = self.session._send
        for answer in (succeed({"a": 1}), WhenStored({"a": 1})):
            self.session._send = self.raising_once(send)
            self.answer_with(lambda answer=answer: answer)
            kind, header = self.ping(3)
            self.assertEqual((kind, header["code"], header["id"]), (NACK, "INTERNAL_ERROR", 3))
            self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
            self.assertEqual(self.session.unanswered, 0)

    def raising_once(self, send):
        def first(kind, header):
            self.session._send = send
            raise ZeroDivisionError

        return first

    def test_what_ends_the_connection(self):
        self.answer_with(self.raising(BadFrame()))
        self.assertRaises(FatalClientError, self.session.handle, PING, {})
        error = BadFrame()
        self.answer_with(lambda: fail(error))
        self.assertIsNone(self.ping())
        self.assertEqual(self.fatal, [error])

    def test_unanswered_are_counted(self):
        first, second = Deferred(), Deferred()
        for answer in (first, second):
            self.answer_with(lambda answer=answer: answer)
            self.ping()
        self.assertEqual((self.session.unanswered, self.session.busy), (2, True))
        first.callback({})
        second.errback(Conflict())
        self.assertEqual((self.session.unanswered, self.session.busy), (0, False))
        self.assertEqual([kind for kind, _ in self.sent], [ACK, NACK])

    def test_an_answer_that_waits_for_the_store(self):
        self.answer_with(lambda: WhenStored({"a": 1}))
        self.assertEqual(self.ping(1), (ACK, {"a": 1, "id": 1}))
        self.submitting("t")
        self.assertIsNone(self.ping(2))
        self.assertEqual(self.session.unanswered, 1)
        self.turn()
        self.assertEqual(self.sent, [(ACK, {"a": 1, "id": 2})])
        self.assertEqual(self.session.unanswered, 0)

    def test_an_answer_that_waits_for_a_store_that_fails(self):
        self.answer_with(lambda: WhenStored({}))
        self.store.fail("commit")
        self.submitting("t").addErrback(lambda _: None)
        self.assertIsNone(self.ping(2))
        self.pass_time(ANSWER_WITHIN_S + 1)
        [(kind, header)] = self.sent
        self.assertEqual((kind, header["code"], header["id"]), (NACK, "STORE_UNAVAILABLE", 2))
        self.assertEqual(self.ping(3)[1]["code"], "STORE_UNAVAILABLE")
        self.assertEqual(self.session.unanswered, 0)

    def test_nothing_is_sent_after_the_end(self):
        answer = Deferred()
        self.answer_with(lambda: answer)
        self.ping()
        self.session.close()
        answer.callback({})
        self.session.outcomes([])
        self.assertEqual(self.sent, [])

    def test_messages_that_only_the_broker_sends(self):
        for kind in (ACK, NACK, EVENT):
            self.session.handle(kind, {"id": 1})
            self.assertEqual(self.sent[-1][1]["code"], "BAD_REQUEST")
            self.assertIn("by the broker only", self.sent[-1][1]["message"])

    def test_introduction_names_the_claimer(self):
        self.session.handle(MessageType.HELLO, {"client": "shop 2.1"})
        self.submit("a")
        self.session.handle(MessageType.CLAIM_TASK, {"wait_s": 0})
        self.assertEqual(self.status("a").worker, "shop 2.1 at 10.0.0.1:4000")

    def test_nack_of_a_connection(self):
        header = nack(TooManyConnections(retry_after_s=1.0))
        self.assertEqual(set(header), {"code", "message", "retry_after_s"})
