"""
Conversations with a broker over real sockets.
"""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, DeferredQueue, gatherResults, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from taskqueue.application import build
from taskqueue.config import Config, HttpConfig, LimitsConfig, ListenConfig, StoreConfig
from taskqueue.frontends.listening import EndpointService
from taskqueue.service import TaskQueueService
from taskqueue.wire import FrameDecoder, Header, MessageType, decode, encode

LOOPBACK = "127.0.0.1"
ANY_PORT = f"tcp:0:interface={LOOPBACK}"

Message = tuple[MessageType, Header]


class Talker(Protocol):
    """
    A program that speaks frames.

    @ivar gone: fires when the connection is lost.
    """

    def __init__(self) -> None:
        self.gone: Deferred[None] = Deferred()
        self._heard: DeferredQueue[Message | None] = DeferredQueue()
        self._decoder = FrameDecoder()

    def dataReceived(self, data: bytes) -> None:
        for frame in self._decoder.feed(data):
            self._heard.put(decode(frame))

    def connectionLost(self, reason=connectionDone) -> None:
        self._heard.put(None)
        self.gone.callback(None)

    def say(self, message_type: MessageType, **header: Any) -> None:
        self.transport.write(encode(message_type, header))

    def hear(self) -> Deferred[Message | None]:
        """Fires with the next message, C{None} where the connection is lost first."""
        return self._heard.get()

    async def ask(self, message_type: MessageType, **header: Any) -> Header:
        """Say something, and return the next answer, which must be an ACK."""
        self.say(message_type, **header)
        heard = await self.hear()
        assert heard is not None and heard[0] is MessageType.ACK, heard
        return heard[1]


class BrokerTestCase(TestCase):
    """
    A test with whole brokers, which listen on free ports of this machine.
    """

    timeout = 60

    def config(
        self,
        *,
        framed: tuple[str, ...] = (ANY_PORT,),
        lines: tuple[str, ...] = (),
        store: StoreConfig | None = None,
        **limits: Any,
    ) -> Config:
        return Config(
            store=store or StoreConfig(kind="memory"),
            listen=ListenConfig(framed=framed, lines=lines),
            http=HttpConfig(listen=()),
            limits=LimitsConfig(**limits),
        )

    def start(self, **values: Any) -> TaskQueueService:
        """A broker, started; it is stopped when the test is over."""
        broker = build(self.config(**values), reactor)
        self.talkers: list[Talker] = getattr(self, "talkers", [])
        broker.startService()
        self.addCleanup(self.stop, broker)
        self.addCleanup(self.hang_up)
        return broker

    def stop(self, broker: TaskQueueService) -> Deferred[None]:
        return maybeDeferred(broker.stopService)

    def hang_up(self) -> Deferred[Any]:
        """Close all connections of the test."""
        talkers, self.talkers = [t for t in self.talkers if not t.gone.called], []
        for talker in talkers:
            talker.transport.abortConnection()
        return gatherResults([talker.gone for talker in talkers])

    def address(self, broker: TaskQueueService, number: int = 0) -> Any:
        """What the endpoint with this number, in the order of the configuration, listens on."""
        services = [child for child in broker if isinstance(child, EndpointService)]
        return services[number].port.getHost()

    def connect(self, broker: TaskQueueService, number: int = 0) -> Deferred[Talker]:
        endpoint = TCP4ClientEndpoint(reactor, LOOPBACK, self.address(broker, number).port)
        return self.connect_to(endpoint)

    def connect_to(self, endpoint: Any) -> Deferred[Talker]:
        talker = Talker()
        return connectProtocol(endpoint, talker).addCallback(self._remember)

    def _remember(self, talker: Talker) -> Talker:
        self.talkers.append(talker)
        return talker

    def say_and_read_all(
        self, broker: TaskQueueService, data: bytes, number: int = 0, *, half_close: bool = False
    ) -> Deferred[bytes]:
        """
        Send bytes through a blocking socket, in a thread, and read until the
        broker closes.

        @param half_close: say, after them, that no more will come.
        """
        port = self.address(broker, number).port

        def talk() -> bytes:
            with socket.create_connection((LOOPBACK, port), timeout=30) as connection:
                connection.sendall(data)
                if half_close:
                    connection.shutdown(socket.SHUT_WR)
                heard = bytearray()
                while received := connection.recv(65536):
                    heard += received
                return bytes(heard)

        return deferToThread(talk)
