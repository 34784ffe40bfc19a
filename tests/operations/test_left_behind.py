"""What is left of a connection, or of its worker, when it is gone."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.config import WorkersConfig
from taskqueue.service.reader import Reader
from taskqueue.wire import MessageType
from tests.operations.world import FIRST, World

ACK, NACK = MessageType.ACK, MessageType.NACK


class HeldRunner:
    """Runs nothing until it is told to, as a slow disk does."""

    def __init__(self):
        self.held = []

    def run(self, function, *args):
        answer = Deferred()
        self.held.append(lambda: answer.callback(function(*args)))
        return answer

    def go_on(self):
        held, self.held = self.held, []
        for call in held:
            call()

    def stop(self):
        self.go_on()


class LeftBehindTests(SynchronousTestCase):
    def setUp(self):
        self.world = World()
        self.addCleanup(self.world.close)

    def test_watching_what_is_looked_up_while_the_peer_leaves(self):
        """The submission goes on; nobody is to be told of its end any more."""
        world, runner = self.world, HeldRunner()
        world.service.reader = Reader(world.ledger, world.service.store, runner)
        peer = world.connect()
        peer.send(MessageType.SUBMIT_TASK, {"tasks": [{"type": "t", "id": FIRST}], "watch": True})
        self.assertEqual(len(runner.held), 1)
        peer.leave()
        runner.go_on()
        world.settle()
        self.assertIn(FIRST, world.ledger.tasks)
        self.assertEqual(world.leftovers(), [])

    def test_everything_at_once(self):
        """Leases, waiting claims, watches, answers under way: one disconnect gives all back."""
        for language in ("framed", "lines"):
            peer = self.world.connect(language)
            peer.ask(MessageType.SUBMIT_TASK, tasks=[{"type": "t"}] * 3, watch=True)
            _, claimed = peer.ask(MessageType.CLAIM_TASK, limit=2, wait_s=0)
            self.assertEqual(len(claimed["tasks"]), 2)
            peer.ask(MessageType.WATCH, queues=["a", "b"])
            peer.send(MessageType.CLAIM_TASK, {"types": ["other"]})
            peer.send(MessageType.CANCEL_TASK, {"tasks": [claimed["tasks"][0]["id"]]})
            self.assertEqual(len(self.world.leftovers()), 8)
            peer.leave()
            self.assertEqual(self.world.leftovers(), [])
            self.assertEqual(self.world.ledger.depth, 3)
            other = self.world.connect()
            other.ask(MessageType.PURGE_QUEUE, queue="default")
            other.leave()


class StruckWorkerTests(SynchronousTestCase):
    """A worker that is evicted, replaced or deregistered while its connection stays."""

    def setUp(self):
        self.world = World(workers=WorkersConfig(stale_after_s=5.0))
        self.addCleanup(self.world.close)
        self.peer = self.world.connect()
        self.other = self.world.connect()
        kind, _ = self.peer.ask(
            MessageType.REGISTER_WORKER, worker="w", incarnation=1, queues=["q"], types=["t"]
        )
        self.assertEqual(kind, ACK)

    def submit(self):
        self.other.ask(MessageType.SUBMIT_TASK, tasks=[{"type": "t", "queue": "q"}])

    def assertStruck(self):
        """It gets no tasks, in nobody's name, and is told why."""
        self.submit()
        kind, answer = self.peer.ask(MessageType.CLAIM_TASK, wait_s=0)
        self.assertEqual((kind, answer["code"], answer["worker"]), (NACK, "UNKNOWN_WORKER", "w"))
        self.assertIn("register it again", answer["message"])
        self.assertEqual(self.world.problems(), [])

    def test_evicted(self):
        self.world.pass_time(7)
        self.assertStruck()
        kind, _ = self.peer.ask(MessageType.HEARTBEAT, worker="w", incarnation=1, queues=["q"])
        self.assertEqual(kind, ACK)
        kind, answer = self.peer.ask(MessageType.CLAIM_TASK, wait_s=0)
        self.assertEqual(len(answer["tasks"]), 1)

    def test_deregistered_by_somebody_else(self):
        self.other.ask(MessageType.DEREGISTER_WORKER, worker="w")
        self.assertStruck()

    def test_replaced(self):
        self.other.ask(MessageType.REGISTER_WORKER, worker="w", incarnation=2)
        self.assertStruck()
        kind, answer = self.peer.ask(MessageType.HEARTBEAT, worker="w", incarnation=1)
        self.assertEqual((kind, answer["code"]), (NACK, "STALE_INCARNATION"))

    def test_it_can_become_another(self):
        self.other.ask(MessageType.DEREGISTER_WORKER, worker="w")
        kind, _ = self.peer.ask(MessageType.REGISTER_WORKER, worker="v", incarnation=1)
        self.assertEqual(kind, ACK)

    def test_deregistered_by_itself(self):
        """Then it claims as anybody does."""
        kind, answer = self.peer.ask(MessageType.DEREGISTER_WORKER)
        self.assertEqual((kind, answer), (ACK, {"leases": 0}))
        kind, answer = self.peer.ask(MessageType.CLAIM_TASK, wait_s=0)
        self.assertEqual((kind, answer), (ACK, {"tasks": []}))

    def test_silence(self):
        """Its connection is idle like any other, and does not stay for ever."""
        self.world.pass_time(7)
        self.assertFalse(self.peer.connection.session.busy)
        self.world.clock.advance(30)
        self.world.factories["framed"].check_times()
        self.assertTrue(self.peer.over)
