"""
Clients of Faktory, over transports in memory.
"""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionLost

from taskqueue.core.audit import audit
from taskqueue.frontends.admission import Admission
from taskqueue.frontends.factory import BrokerFactory
from taskqueue.frontends.faktory import FaktoryDoor
from tests.frontends.peers import Wire
from tests.service.running import ServiceTestCase

#: A job as most clients push it.
JOB: dict[str, Any] = {"jid": "job-00000001", "jobtype": "SendMail", "args": ["ann", 3]}


class Refused(Exception):
    """The server answered with an error; the text is what stands behind its code."""


def answers_in(data: bytes) -> list[Any]:
    """The answers that bytes of RESP consist of; errors as L{Refused}."""
    found: list[Any] = []
    while data:
        line, _, data = data.partition(b"\r\n")
        kind, rest = line[:1], line[1:].decode()
        if kind == b"+":
            found.append(rest)
        elif kind == b"-":
            found.append(Refused(rest.removeprefix("ERR ")))
        else:
            assert kind == b"$", line
            size = int(rest)
            if size < 0:
                found.append(None)
                continue
            assert data[size : size + 2] == b"\r\n", data
            found.append(data[:size])
            data = data[size + 2 :]
    return found


class Client:
    """
    A client at the other end of a connection.

    @ivar wire: the transport.
    @ivar connection: the broker's side.
    """

    def __init__(self, factory: BrokerFactory, host: str = "10.0.0.1", port: int = 4000) -> None:
        self.wire = Wire(peerAddress=IPv4Address("TCP", host, port))
        self.connection: Any = factory.buildProtocol(self.wire.getPeer())
        self.wire.protocol = self.connection
        self._read = 0
        self.connection.makeConnection(self.wire)

    def say(self, verb: str, *rest: Any) -> None:
        """Send a command; what is no text is sent as JSON."""
        words = [one if isinstance(one, str) else json.dumps(one) for one in rest]
        self.say_raw(" ".join([verb, *words]).encode() + b"\r\n")

    def say_raw(self, data: bytes) -> None:
        self.connection.dataReceived(data)

    def hear(self) -> list[Any]:
        """What has arrived since the last time."""
        data = self.wire.value()[self._read :]
        self._read += len(data)
        return answers_in(data)

    def go(self) -> None:
        """Close the connection."""
        self.wire.lose()

    def vanish(self) -> None:
        """The connection breaks."""
        self.wire.lose(ConnectionLost())


class FaktoryTestCase(ServiceTestCase):
    """
    A test of clients of Faktory; when it is over, no connection has left anything behind but
    what it had reserved.
    """

    def setUp(self) -> None:
        super().setUp()
        self.clients: list[Client] = []
        self.open()
        self.addCleanup(self.assertNothingLeft)
        self.addCleanup(self.let_all_go)

    def open(self) -> None:
        """The door of the service as it is now."""
        self.admission = Admission()
        self.door = FaktoryDoor(self.service)
        self.factory = BrokerFactory(self.service, self.admission, "faktory", self.door.connect)

    def restart(self, config: Any = None) -> None:
        self.let_all_go()
        super().restart(config)
        self.open()

    def crash(self) -> None:
        clients, self.clients = self.clients, []
        for client in clients:
            client.wire.connected = False
        super().crash()
        self.open()

    def meet(self, host: str = "10.0.0.1") -> Client:
        """A client that has connected, and said nothing."""
        client = Client(self.factory, host, 4000 + len(self.clients))
        self.clients.append(client)
        return client

    def connect(self, host: str = "10.0.0.1", **said: Any) -> Client:
        """A client that has said HELLO."""
        client = self.meet(host)
        self.assertEqual(client.hear(), ['HI {"v":2}'])
        self.assertEqual(self.ask(client, "HELLO", {"v": 2, **said}), "OK")
        return client

    def worker(self, wid: str = "worker-1", **said: Any) -> Client:
        """A client that is a connection of a worker process."""
        return self.connect(wid=wid, hostname="host-1", pid=7, labels=["test"], **said)

    def ask(self, client: Client, verb: str, *rest: Any) -> Any:
        """Send a command, and return its answer, which comes by the next turn at the latest."""
        client.say(verb, *rest)
        found = client.hear()
        if not found:
            self.turn()
            found = client.hear()
        self.assertEqual(len(found), 1, found)
        return found[0]

    def refused(self, client: Client, verb: str, *rest: Any) -> str:
        """Send a command that is refused; return why."""
        answer = self.ask(client, verb, *rest)
        self.assertIsInstance(answer, Refused)
        return str(answer)

    def push(self, client: Client, jid: str = JOB["jid"], **fields: Any) -> str:
        """Push a job, which must be accepted."""
        self.assertEqual(self.ask(client, "PUSH", {**JOB, "jid": jid, **fields}), "OK")
        return jid

    def fetch(self, client: Client, *queues: str) -> dict[str, Any]:
        """Fetch a job, which must be there."""
        answer = self.ask(client, "FETCH", *(queues or ("default",)))
        self.assertIsInstance(answer, bytes, answer)
        return json.loads(answer)

    def is_empty(self, client: Client, *queues: str) -> bool:
        """Whether there is nothing to fetch for two seconds."""
        client.say("FETCH", *(queues or ("default",)))
        self.pass_time(1.75)
        self.assertEqual(client.hear(), [])
        self.pass_time(0.5)
        return client.hear() == [None]

    def fail_job(self, client: Client, jid: str, **said: Any) -> Any:
        return self.ask(client, "FAIL", {"jid": jid, **said})

    def info(self, client: Client) -> dict[str, Any]:
        return json.loads(self.ask(client, "INFO"))

    def limit(self, **values: Any) -> None:
        """Go by other limits from now on."""
        self.service.reconfigure(self.adapt("limits", **values))

    def let_all_go(self) -> None:
        for client in self.clients:
            client.go()

    def assertNothingLeft(self) -> None:
        service, ledger = self.service, self.service.broker.ledger
        self.assertEqual(self.admission.count, 0)
        self.assertEqual(self.factory.connections, set())
        self.assertEqual(service.traffic.open.total(), 0)
        self.assertEqual((len(ledger.claims), len(service.watches)), (0, 0))
        self.assertEqual(len(self.door.processes), 0)
        self.assertEqual([worker.link for worker in ledger.workers if worker.link], [])
        self.assertEqual(audit(ledger), [])
