"""
Clients of the door of beanstalkd's protocol, over transports in memory.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone

from taskqueue.core.audit import audit
from taskqueue.frontends.admission import Admission
from taskqueue.frontends.beanstalkd import BeanstalkdDoor
from taskqueue.frontends.factory import BrokerFactory
from tests.frontends.peers import Wire
from tests.service.running import ServiceTestCase


class Client:
    """
    Says bytes, and hears bytes.

    @ivar wire: the transport.
    @ivar connection: the broker's side.
    """

    def __init__(self, factory: BrokerFactory, host: str = "10.0.0.1") -> None:
        self.wire = Wire(peerAddress=IPv4Address("TCP", host, 4000))
        self.connection: Any = factory.buildProtocol(self.wire.getPeer())
        self.wire.protocol = self.connection
        self._read = 0
        self.connection.makeConnection(self.wire)

    def say(self, data: bytes) -> None:
        """Send bytes, unless the broker reads none at the moment."""
        assert self.wire.producerState == "producing"
        self.connection.dataReceived(data)

    def hear(self) -> bytes:
        """What has arrived since the last time."""
        data = self.wire.value()[self._read :]
        self._read += len(data)
        return data

    def say_no_more(self) -> None:
        """Close its own direction only."""
        self.connection.readConnectionLost()

    def go(self) -> None:
        """Close the connection."""
        self.wire.lose()


class BeanstalkdTestCase(ServiceTestCase):
    """
    A test of clients of a running service; when it is over, nothing of them may be left.

    @ivar door: the door that they come in by.
    """

    def setUp(self) -> None:
        super().setUp()
        self.admission = Admission()
        self.clients: list[Client] = []
        self.addCleanup(self.let_all_go)
        self.open_door()

    def open_door(self) -> None:
        """A door to the service that runs now."""
        self.door = BeanstalkdDoor(self.service)
        self.factory = BrokerFactory(self.service, self.admission, "beanstalkd", self.door.connect)

    def connect(self, *said: bytes, host: str = "10.0.0.1") -> Client:
        """A client, which says this, and is replied to."""
        client = Client(self.factory, host)
        self.clients.append(client)
        if said:
            self.ask(client, *said)
        return client

    def let_all_go(self) -> None:
        for client in self.clients:
            client.go()
        if self.service.running:
            self.assertNothingLeft()

    def assertNothingLeft(self) -> None:
        """Every resource that connections took was given back."""
        ledger = self.service.broker.ledger
        self.assertEqual((self.admission.count, len(self.admission._peers)), (0, 0))
        self.assertEqual((self.factory.connections, self.door.sessions), (set(), set()))
        self.assertEqual(self.service.traffic.open.total(), 0)
        self.assertEqual((len(ledger.claims), len(ledger.leases)), (0, 0))
        for tube in self.door.tubes._tubes.values():
            self.assertEqual((tube.using, tube.watching), (0, 0))
        self.assertEqual(audit(ledger), [])

    def ask(self, client: Client, *said: bytes) -> bytes:
        """What a client hears, by the next turns at the latest, when it says these lines."""
        client.say(b"".join(line + b"\r\n" for line in said))
        self.turns()
        return client.hear()

    def turns(self) -> None:
        """Enough turns of the reactor for whatever does not wait for something."""
        self.clock.pump([0.001] * 12)

    def assertSays(self, client: Client, said: bytes, heard: bytes) -> None:
        """To this line, the reply is this line."""
        self.assertEqual(self.ask(client, said), heard + b"\r\n", said)

    def put(self, client: Client, body: bytes = b"x", **how: int) -> int:
        """Put a job; return its id."""
        pri, delay, ttr = how.get("pri", 0), how.get("delay", 0), how.get("ttr", 60)
        heard = self.ask(client, b"put %d %d %d %d" % (pri, delay, ttr, len(body)), body)
        self.assertTrue(heard.startswith(b"INSERTED "), heard)
        return int(heard[9:])

    def restart(self, config: Any = None) -> None:
        """Everybody goes; another service goes on where this one stopped."""
        self.let_all_go()
        self.clients.clear()
        super().restart(config)
        self.open_door()

    def closed(self, client: Client) -> bool:
        """Whether the broker has closed a connection."""
        if client.wire.disconnecting:
            client.wire.lose(ConnectionDone())
        return not client.wire.connected
