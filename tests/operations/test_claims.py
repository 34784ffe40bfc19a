"""Claims that wait, and what may come in between."""

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.operations import typed_work
from taskqueue.wire import MessageType
from tests.operations.world import FIRST, SECOND, World

ACK, NACK = MessageType.ACK, MessageType.NACK


class ClaimTests(SynchronousTestCase):
    def setUp(self):
        self.world = World()
        self.addCleanup(self.world.close)
        self.peer = self.world.connect()

    def submit(self, *tasks):
        kind, _ = self.peer.ask(
            MessageType.SUBMIT_TASK, tasks=[{"type": "t", **task} for task in tasks]
        )
        self.assertEqual(kind, ACK)

    def test_a_claim_that_brings_about_what_it_is_given(self):
        """
        The task that it finds has expired, which frees one in a queue that it had
        looked into before: it is given that, and does not begin to wait.
        """
        self.submit(
            {"id": FIRST, "queue": "b"},
            {
                "id": SECOND,
                "queue": "a",
                "depends_on": [FIRST],
                "on_dependency_failure": "run",
            },
        )
        self.world.ledger.tasks[FIRST].expires_at = 1.0
        kind, answer = self.peer.ask(MessageType.CLAIM_TASK, queues=["a", "b"], wait_s=30)
        self.assertEqual((kind, [task["id"] for task in answer["tasks"]]), (ACK, [SECOND]))
        session = self.peer.connection.session
        self.assertEqual((session.claims_waiting, session.unanswered), (0, 0))
        self.assertEqual(self.world.problems(), [])

    def test_a_task_that_cannot_be_shown(self):
        """Whoever submitted it does not notice; the claimer hears that it is the broker's fault."""

        def fail(*fields):
            raise ZeroDivisionError

        claimer = self.world.connect()
        claimer.send(MessageType.CLAIM_TASK, {"id": 7, "wait_s": 30})
        session = claimer.connection.session
        self.assertEqual((session.claims_waiting, session.unanswered), (1, 1))
        self.patch(typed_work, "_ClaimedTask", fail)
        self.submit({})
        kind, answer = claimer.answer(7)
        self.assertEqual((kind, answer["code"]), (NACK, "INTERNAL_ERROR"))
        self.assertEqual((session.claims_waiting, session.unanswered), (0, 0))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
