"""What is left of a connection, or of its worker, when it is gone."""

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.config import LimitsConfig, WorkersConfig
from taskqueue.service.reader import Reader
from taskqueue.wire import MessageType, encode
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
        world.ledger.seen.add((FIRST,))  # it looks like an id that was used long ago
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
            self.assertEqual(len(self.world.leftovers()), 9)
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


class HalfClosedTests(SynchronousTestCase):
    """A script says all it has to say, closes its side, and reads the answers."""

    def setUp(self):
        self.world = World()
        self.addCleanup(self.world.close)

    def finish(self, peer):
        peer.connection.readConnectionLost()
        self.world.settle()

    def test_answers_that_wait_for_the_store(self):
        for language in ("framed", "lines"):
            peer = self.world.connect(language)
            self.world.settle = lambda: None  # the store has not written yet
            peer.send(MessageType.SUBMIT_TASK, {"id": 7, "tasks": [{"type": "t"}]})
            self.assertEqual(peer.new(), [])
            peer.connection.readConnectionLost()
            self.assertFalse(peer.over)
            del self.world.settle
            self.world.settle()
            kind, answer = peer.answer(7)
            self.assertEqual((kind, len(answer["tasks"])), (ACK, 1))
            self.assertTrue(peer.wire.disconnecting)
            peer.leave()
        self.assertEqual(self.world.leftovers(), [])

    def test_waiting_claims(self):
        """They are answered at once: the peer may as well be dead."""
        peer = self.world.connect()
        peer.ask(MessageType.REGISTER_WORKER, worker="w", incarnation=1)
        peer.send(MessageType.CLAIM_TASK, {"id": 7})
        self.finish(peer)
        self.assertEqual(peer.answer(7), (ACK, {"tasks": []}))
        self.assertTrue(peer.wire.disconnecting)

    def test_nothing_to_answer(self):
        peer = self.world.connect()
        peer.ask(MessageType.WATCH, queues=["default"])
        self.finish(peer)
        self.assertTrue(peer.wire.disconnecting)

    def test_requests_that_were_not_looked_at_yet(self):
        """More than may be unanswered at once: the rest waits, and is answered too."""
        world = World(limits=LimitsConfig(max_inflight_requests=2))
        self.addCleanup(world.close)
        peer = world.connect()
        world.settle = lambda: None
        submission = {"tasks": [{"type": "t"}]}
        frames = [
            *(encode(MessageType.SUBMIT_TASK, {"id": i, **submission}) for i in range(5)),
            encode(MessageType.CLAIM_TASK, {"id": 5, "types": ["other"]}),
        ]
        peer.send_bytes(b"".join(frames))
        peer.connection.readConnectionLost()
        del world.settle
        world.settle()
        self.assertEqual({header["id"] for _, header in peer.new()}, set(range(6)))
        self.assertTrue(peer.wire.disconnecting)

    def test_a_peer_that_then_does_not_read(self):
        """It has as long as any other that does not, and is cut."""
        peer = self.world.connect()
        self.finish(peer)
        self.world.clock.advance(29)
        self.assertFalse(peer.wire.aborted)
        self.world.clock.advance(1)
        self.assertTrue(peer.wire.aborted)
