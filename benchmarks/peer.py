"""
The load generator's side of a connection: frames as fast as Python makes them.

It uses the project's own codec, so that the generator's cost per message is of
the same order as the broker's.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

from taskqueue.client.credentials import api_key_for
from taskqueue.client.greeting import hello
from taskqueue.client.link import endpoints_of
from taskqueue.client.tls import CA_VARIABLE
from taskqueue.wire import FrameDecoder, MessageType, decode, encode

Answer = Callable[[dict[str, Any]], None]


class Peer(Protocol):
    """Sends requests, and calls back with each answer."""

    def __init__(self) -> None:
        self._decoder = FrameDecoder(64 * 2**20)
        self._next_id = 1
        self._callbacks: dict[int, Answer] = {}
        self.refused = 0

    def ask(self, message_type: MessageType, header: dict[str, Any], answer: Answer) -> None:
        """Send a request; C{answer} is called with the header of its ACK or NACK."""
        header["id"] = request_id = self._next_id
        self._next_id += 1
        self._callbacks[request_id] = answer
        self.transport.write(encode(message_type, header))

    def dataReceived(self, data: bytes) -> None:
        for body in self._decoder.feed(data):
            message_type, header = decode(body)
            if message_type is MessageType.NACK:
                self.refused += 1
            callback = self._callbacks.pop(header.get("id", 0), None)
            if callback is not None:
                callback(header)

    def connectionLost(self, reason: Failure) -> None:
        self._callbacks.clear()


async def connect(reactor: Any, port: int) -> Peer:
    """
    A connection that has said HELLO: with the key that the environment has, and with TLS
    where that names an authority, as clients do.
    """
    endpoint: Any = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
    if os.environ.get(CA_VARIABLE):
        [endpoint] = endpoints_of(f"tqs://127.0.0.1:{port}", reactor, 30.0)
    peer = await connectProtocol(endpoint, Peer())
    peer.transport.setTcpNoDelay(True)
    greeted: Deferred[dict[str, Any]] = Deferred()
    peer.ask(MessageType.HELLO, hello("benchmark", api_key_for(None)), greeted.callback)
    await greeted
    return peer
