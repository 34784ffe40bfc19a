from functools import partial

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IPushProducer
from twisted.internet.protocol import Protocol
from twisted.internet.testing import StringTransport
from twisted.protocols.basic import Int32StringReceiver, LineReceiver
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from taskqueue.errors import BadFrame, FrameTooLarge
from taskqueue.frontends import receiving
from taskqueue.frontends.native.framed import FramedReceiver
from taskqueue.frontends.native.lines import JSONLineReceiver


class CollectingMixin:
    """Keeps what it receives; a message can be told to do something."""

    def __init__(self, *args):
        super().__init__(*args)
        self.received = []
        self.on = {}

    def collect(self, message):
        self.received.append(message)
        self.on.get(message, lambda: None)()


class Framed(CollectingMixin, FramedReceiver):
    def stringReceived(self, string):
        self.collect(string)


class Lines(CollectingMixin, JSONLineReceiver):
    def lineReceived(self, line):
        self.collect(line)


class ReceiverTests:
    """What holds for both receivers.  Messages are of up to 5 bytes here."""

    def setUp(self):
        self.transport = StringTransport()
        self.receiver = self.receiver_class(5)
        self.receiver.makeConnection(self.transport)

    def receive(self, *messages):
        self.receiver.dataReceived(self.join(messages))

    def test_is_what_people_expect(self):
        self.assertIsInstance(self.receiver, self.twisted_class)
        self.assertEqual(self.receiver.MAX_LENGTH, 5)
        self.assertTrue(verifyObject(IPushProducer, self.receiver))

    def test_each_message(self):
        for byte in self.join([b"a", b"bcd"]):
            self.receiver.dataReceived(bytes([byte]))
        self.receive(b"e", b"f")
        self.assertEqual(self.receiver.received, [b"a", b"bcd", b"e", b"f"])

    def close_by(self, way):
        """Close a fresh connection: by the broker, at once, or by the peer."""
        if way == "connectionLost":
            self.receiver.connectionLost(Failure(ConnectionDone()))
        else:
            getattr(self.transport, way)()

    def test_nothing_after_closing(self):
        for way in ("loseConnection", "abortConnection", "connectionLost"):
            self.setUp()
            self.receiver.on[b"b"] = partial(self.close_by, way)
            self.receive(b"a", b"b", b"c")
            self.receiver.dataReceived(self.join([b"d"])[:-1])
            self.assertEqual(self.receiver.received, [b"a", b"b"])
            self.assertEqual((self.receiver.waiting, self.receiver._decoder.buffered), (0, 0))
            self.assertTrue(self.receiver.closing)

    def test_pause(self):
        self.receiver.on[b"b"] = lambda: self.receiver.pause_parsing("full")
        self.receive(b"a", b"b", b"c", b"d")
        self.receive(b"e")
        self.assertEqual(self.receiver.received, [b"a", b"b"])
        self.assertEqual(self.transport.producerState, "paused")
        self.assertEqual((self.receiver.waiting, self.receiver.paused), (3, True))
        self.receiver.resume_parsing("full")
        self.assertEqual(self.receiver.received, [b"a", b"b", b"c", b"d", b"e"])
        self.assertEqual(self.transport.producerState, "producing")
        self.assertEqual((self.receiver.waiting, self.receiver.paused), (0, False))

    def test_pause_that_reads_on(self):
        """What comes is read and waits, up to a bound; then the transport is paused too."""
        self.patch(receiving, "MOST_READ_AHEAD_BYTES", len(self.join([b"b", b"c"])))
        self.receiver.on[b"a"] = lambda: self.receiver.pause_parsing("full", reading=True)
        self.receive(b"a", b"x")
        self.receive(b"b")
        self.assertEqual(self.transport.producerState, "producing")
        self.receive(b"c")
        self.assertEqual(self.transport.producerState, "paused")
        self.assertEqual((self.receiver.received, self.receiver.waiting), ([b"a"], 3))
        self.receiver.resume_parsing("full")
        self.assertEqual(self.receiver.received, [b"a", b"x", b"b", b"c"])
        self.assertEqual(self.transport.producerState, "producing")

    def test_pause_that_reads_on_and_again(self):
        """What was read ahead counts until all of it was handed on."""
        self.patch(receiving, "MOST_READ_AHEAD_BYTES", len(self.join([b"b", b"c"])))
        for pausing in (b"a", b"b"):
            self.receiver.on[pausing] = lambda: self.receiver.pause_parsing("full", reading=True)
        self.receive(b"a", b"b")
        self.receive(b"c")
        self.receive(b"d")
        self.assertEqual(self.transport.producerState, "paused")
        self.receiver.resume_parsing("full")
        self.assertEqual((self.receiver.received, self.receiver.waiting), ([b"a", b"b"], 2))
        self.assertEqual(self.transport.producerState, "paused")
        self.receiver.resume_parsing("full")
        self.assertEqual(self.receiver.received, [b"a", b"b", b"c", b"d"])
        self.assertEqual(self.transport.producerState, "producing")

    def test_a_pause_that_reads_no_more_goes_before(self):
        self.receiver.pause_parsing("waiting", reading=True)
        self.assertEqual(self.transport.producerState, "producing")
        self.receiver.pauseProducing()
        self.assertEqual(self.transport.producerState, "paused")
        self.receiver.resumeProducing()
        self.assertEqual(self.transport.producerState, "producing")
        self.receive(b"a")
        self.assertEqual(self.receiver.received, [])
        self.receiver.resume_parsing("waiting")
        self.assertEqual(self.receiver.received, [b"a"])

    def test_many_at_once(self):
        """A language may take what waits as it likes, and leave some of it."""

        def take(waiting):
            while waiting and len(self.receiver.received) < 2:
                self.receiver.received.append(waiting.popleft())
            if waiting:
                self.receiver.pause_parsing("enough")

        self.receiver.messages_received = take
        self.receive(b"a", b"b", b"c")
        self.assertEqual((self.receiver.received, self.receiver.waiting), ([b"a", b"b"], 1))
        self.receiver.received.clear()
        self.receiver.resume_parsing("enough")
        self.assertEqual(self.receiver.received, [b"c"])

    def test_pause_for_several_reasons(self):
        self.receiver.pause_parsing("one")
        self.receiver.pauseProducing()
        self.receiver.pause_parsing("one")
        self.receive(b"a")
        self.receiver.resume_parsing("another")
        self.receiver.resume_parsing("one")
        self.assertEqual(self.receiver.received, [])
        self.assertEqual(self.transport.producerState, "paused")
        self.receiver.resumeProducing()
        self.assertEqual(self.receiver.received, [b"a"])
        self.assertEqual(self.transport.producerState, "producing")

    def test_pause_again_on_the_way(self):
        """A message that waited pauses again: the rest waits on, unread."""
        self.receiver.on[b"a"] = self.receiver.on[b"b"] = lambda: self.receiver.pause_parsing("x")
        resumed = []
        self.transport.resumeProducing = lambda: resumed.append(1)
        self.receive(b"a", b"b", b"c")
        self.receiver.resume_parsing("x")
        self.assertEqual(self.receiver.received, [b"a", b"b"])
        self.assertEqual((self.transport.producerState, resumed), ("paused", []))

    def test_resume_while_handing_on(self):
        """Messages keep their order, and the transport is left alone."""

        def pause_and_resume():
            self.receiver.pause_parsing("x")
            self.receiver.resume_parsing("x")

        self.transport.pauseProducing = lambda: self.fail("paused for nothing")
        self.receiver.on[b"a"] = pause_and_resume
        self.receive(b"a", b"b")
        self.assertEqual(self.receiver.received, [b"a", b"b"])

    def test_bytes_that_come_while_handing_on(self):
        """They wait until the message in hand is done with."""

        def receive_more():
            self.receive(b"c")
            self.receiver.received.append("a is done")

        self.receiver.on[b"a"] = receive_more
        self.receive(b"a", b"b")
        self.assertEqual(self.receiver.received, [b"a", "a is done", b"b", b"c"])

    def test_closed_while_paused(self):
        """What waited is dropped, and resuming is harmless."""
        for way in ("loseConnection", "abortConnection", "connectionLost"):
            self.setUp()
            self.receiver.pause_parsing("x")
            self.receive(b"a")
            self.close_by(way)
            self.receiver.resume_parsing("x")
            self.receiver.pause_parsing("y")
            self.assertEqual(self.receiver.received, [])
            self.assertEqual(self.receiver.waiting, 0)

    def test_stop_producing(self):
        """The transport says that it is going away."""
        self.receiver.stopProducing()
        self.receive(b"a")
        self.assertEqual(self.receiver.received, [])

    def test_broken_stream(self):
        """The good messages before are handed on, and then the connection is aborted."""
        self.receive(b"a", b"toolong", b"b")
        self.assertEqual(self.receiver.received, [b"a"])
        self.assertTrue(self.transport.disconnected)
        self.receive(b"c")
        self.assertEqual(self.receiver.received, [b"a"])

    def test_broken_stream_while_paused(self):
        fatal = []
        self.receiver.fatal = fatal.append
        self.receiver.pause_parsing("x")
        self.receive(b"a", b"toolong")
        self.receive(b"b")
        self.assertEqual((self.receiver.received, fatal), ([], []))
        self.receiver.resume_parsing("x")
        self.assertEqual(self.receiver.received, [b"a"])
        self.assertEqual([type(error) for error in fatal], [FrameTooLarge])

    def test_fatal_is_called_once(self):
        fatal = []
        self.receiver.fatal = fatal.append
        self.receive(b"toolong")
        self.receive(b"toolong")
        self.assertEqual([error.fields["limit"] for error in fatal], [5])
        self.assertTrue(self.receiver.closing)

    def test_fatal_may_still_write(self):
        def fatal(error):
            self.receiver.transport.write(error.code.encode())
            self.receiver.transport.loseConnection()

        self.receiver.fatal = fatal
        self.receive(b"toolong")
        self.assertEqual(self.transport.value(), b"FRAME_TOO_LARGE")
        self.assertFalse(self.transport.disconnected)

    def test_message_is_fatal(self):
        def refuse():
            raise BadFrame("no")

        fatal = []
        self.receiver.fatal = fatal.append
        self.receiver.on[b"a"] = refuse
        self.receive(b"a", b"b")
        self.assertEqual(self.receiver.received, [b"a"])
        self.assertEqual([str(error) for error in fatal], ["no"])

    def test_unexpected_exception(self):
        """It is logged, and costs this connection, but nobody who resumes it."""
        self.receiver.on[b"a"] = lambda: 1 / 0
        self.receiver.pause_parsing("x")
        self.receive(b"a", b"b")
        self.receiver.resume_parsing("x")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.receiver.received, [b"a"])
        self.assertTrue(self.transport.disconnected)

    def test_unexpected_exception_in_fatal(self):
        self.receiver.fatal = lambda error: 1 / 0
        self.receive(b"toolong")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertTrue(self.transport.disconnected)

    def test_messages_must_be_implemented(self):
        """Forgetting to is logged and closes the connection."""
        receiver = self.receiver_class.__mro__[2](5)
        receiver.makeConnection(self.transport)
        receiver.dataReceived(self.join([b"a"]))
        self.assertEqual(len(self.flushLoggedErrors(NotImplementedError)), 1)
        self.assertTrue(self.transport.disconnected)

    def test_connection_lost_reaches_the_base_class(self):
        lost = []
        self.patch(Protocol, "connectionLost", lambda protocol, reason: lost.append(reason))
        reason = Failure(ConnectionDone())
        self.receiver.connectionLost(reason)
        self.assertEqual(lost, [reason])


class FramedReceiverTests(ReceiverTests, SynchronousTestCase):
    receiver_class = Framed
    twisted_class = Int32StringReceiver

    def join(self, messages):
        return b"".join(len(message).to_bytes(4, "big") + message for message in messages)

    def test_length_0(self):
        fatal = []
        self.receiver.fatal = fatal.append
        self.receive(b"a", b"")
        self.assertEqual(self.receiver.received, [b"a"])
        self.assertEqual([type(error) for error in fatal], [BadFrame])


class JSONLineReceiverTests(ReceiverTests, SynchronousTestCase):
    receiver_class = Lines
    twisted_class = LineReceiver

    def join(self, messages):
        return b"".join(message + b"\n" for message in messages)

    def test_carriage_returns(self):
        self.receiver.dataReceived(b"a\r\nb\n")
        self.assertEqual(self.receiver.received, [b"a", b"b"])

    def test_endless_line(self):
        self.receiver.dataReceived(b"abcdef")
        self.assertTrue(self.transport.disconnected)

    def test_sends_plain_line_ends(self):
        self.receiver.sendLine(b"a")
        self.assertEqual(self.transport.value(), b"a\n")
