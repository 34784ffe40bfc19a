"""
A broker in memory, and peers that are connected to it without a network.
"""

import json
import struct
from dataclasses import replace

from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from taskqueue.config import Config, HttpConfig, ListenConfig, StoreConfig
from taskqueue.core.audit import audit
from taskqueue.framing import FrameDecoder, LineDecoder
from taskqueue.frontends.admission import Admission
from taskqueue.frontends.factory import BrokerFactory
from taskqueue.frontends.native.connection import FramedConnection, LineConnection
from taskqueue.service import TaskQueueService
from taskqueue.wire import MessageType, decode, decode_line, encode, encode_line

#: 2026-01-01, 00:00:00 UTC.
NEW_YEAR = 1_767_225_600.0

#: Two task ids.
FIRST = "019b74ff-0000-7000-8000-000000000001"
SECOND = "019b74ff-0000-7000-8000-000000000002"

LANGUAGES = ("framed", "lines")

QUIET = Config(
    store=StoreConfig(kind="memory"),
    listen=ListenConfig(framed=(), lines=()),
    http=HttpConfig(listen=()),
)


class Wire(StringTransport):
    """A transport that notes how its connection was ended."""

    aborted = False
    half_closed = False
    lost = False

    def abortConnection(self):
        self.aborted = True
        self.disconnecting = True

    def loseWriteConnection(self):
        self.half_closed = True

    def resumeProducing(self):
        if not self.disconnecting:
            super().resumeProducing()

    def pauseProducing(self):
        if not self.disconnecting:
            super().pauseProducing()


class Peer:
    """
    Whoever is connected.

    @ivar received: what it was sent so far, as (message type, header).
    """

    def __init__(self, world, language):
        self.world = world
        self.language = language
        self.wire = Wire()
        self.received = []
        self.connection = world.factories[language].buildProtocol(None)
        self._decoder = FrameDecoder(2**31) if language == "framed" else LineDecoder(2**31)
        self._decode = decode if language == "framed" else decode_line
        self._ids = 0
        self.connection.makeConnection(self.wire)

    @property
    def over(self):
        """Whether the broker has begun to end the connection."""
        return self.wire.half_closed or self.wire.disconnecting

    def send_bytes(self, data):
        """Send bytes; what they bring about happens before this returns."""
        self.connection.dataReceived(data)
        self.world.settle()

    def raw(self, kind, text):
        """A message whose header is this JSON text, as bytes; of lines, without an id."""
        if self.language == "framed":
            return struct.pack(">IB", 1 + len(text), kind) + text
        return b'{"op":"' + kind.name.lower().encode() + b'",' + text[1:] + b"\n"

    def send(self, kind, header):
        write = encode if self.language == "framed" else encode_line
        self.send_bytes(write(kind, header))

    def new(self):
        """The messages that have come since the last look."""
        data = self.wire.value()
        self.wire.clear()
        found = [self._decode(message) for message in self._decoder.feed(data)] if data else []
        self.received += found
        return found

    def ask(self, kind, **header):
        """
        Send a request.

        @return: the type and header of its answer, which must have come; the
            header has its id no more.
        """
        self._ids += 1
        self.send(kind, {"id": self._ids, **header})
        return self.answer(self._ids)

    def ask_raw(self, kind, text):
        """As L{ask}, for a header given as JSON text; its id is added."""
        self._ids += 1
        identified = b'{"id":%d' % self._ids + (b"," if text != b"{}" else b"") + text[1:]
        self.send_bytes(self.raw(kind, identified))
        return self.answer(self._ids)

    def answer(self, request_id):
        for kind, header in self.new():
            if header.get("id") == request_id and kind in (MessageType.ACK, MessageType.NACK):
                del header["id"]
                return kind, header
        raise AssertionError(f"request {request_id} was not answered; sent: {self.received[-3:]}")

    def greet(self):
        """Say HELLO where that is expected."""
        self.ask(MessageType.HELLO, versions=[1], client="test/1.0")
        return self

    def leave(self):
        """The connection is gone."""
        if not self.wire.lost:
            self.wire.lost = True
            self.connection.connectionLost(Failure(ConnectionDone()))
            self.world.settle()


class World:
    """
    A broker with a memory store, on a L{Clock} that starts on New Year 2026.
    """

    def __init__(self, **sections):
        self.clock = Clock()
        self.clock.advance(NEW_YEAR)
        self.service = TaskQueueService(replace(QUIET, **sections), self.clock)
        self.admission = Admission()
        self.factories = {
            "framed": BrokerFactory(
                self.service,
                self.admission,
                "framed",
                lambda limits: FramedConnection(limits.max_frame_bytes),
            ),
            "lines": BrokerFactory(
                self.service,
                self.admission,
                "lines",
                lambda limits: LineConnection(limits.max_frame_bytes),
            ),
        }
        self.service.startService()

    @property
    def ledger(self):
        return self.service.broker.ledger

    def connect(self, language="framed"):
        """A peer that has said HELLO."""
        return Peer(self, language).greet()

    def meet(self, language="framed"):
        """A peer that has said nothing yet."""
        return Peer(self, language)

    def settle(self):
        """Let what was called for happen: at once, and what the store writes soon."""
        for _ in range(6):
            self.clock.advance(0 if not self.ledger.changes else 0.01)

    def pass_time(self, seconds, step_s=0.5):
        """Let time pass, with every timer in it."""
        self.clock.pump([step_s] * round(seconds / step_s))
        self.settle()

    def problems(self):
        """What is wrong in the books, as sentences; and what the numbers say that is not so."""
        found = audit(self.ledger)
        stats = self.service.stats()
        if stats["in_progress"] != sum(t.lease is not None for t in self.ledger.tasks.values()):
            found.append("stats: in_progress differs from a recount")
        if stats["waiting_claims"] != len(list(self.ledger.claims)):
            found.append("stats: waiting_claims differs from a recount")
        if stats["connections"] != self.admission.count:
            found.append("stats: connections differ from those admitted")
        return found

    def leftovers(self):
        """What is still taken by connections, as sentences; to be called when all are gone."""
        found = self.problems()
        watches = self.service.watches
        taken = {
            "connections": sum(len(f.connections) for f in self.factories.values()),
            "slots": self.admission.count,
            "open connections": self.service.traffic.open.total(),
            "waiting claims": len(self.ledger.claims),
            "leases": len(self.ledger.leases),
            "workers": len(self.ledger.workers),
            "waits for values": len(self.ledger.values.waits),
            "watched tasks": len(watches),
            "watching connections": len(watches._watched),
            "watched queues": len(watches._by_queue),
            "queue watchers": len(watches._watched_queues),
        }
        return found + [f"{n} {what}" for what, n in taken.items() if n]

    def close(self):
        """Stop the broker."""
        for factory in self.factories.values():
            for connection in list(factory.connections):
                connection.connectionLost(Failure(ConnectionDone()))
        self.service.stopService()
        self.settle()


def as_json(value):
    """The JSON text of any value, whatever the broker thinks of it."""
    return json.dumps(value, separators=(",", ":")).encode()
