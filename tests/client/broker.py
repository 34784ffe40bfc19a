"""
A real broker in this process, on real sockets.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from taskqueue.application import build
from taskqueue.client import Client, connect
from taskqueue.config import Config, HttpConfig, LimitsConfig, ListenConfig, StoreConfig
from taskqueue.frontends.listening import EndpointService


def flow(test: Callable[[Any], Coroutine[Any, Any, None]]) -> Callable[[Any], Deferred[None]]:
    """
    A test that awaits: trial gets a Deferred and waits for it, which only
    L{TestCase} does.
    """

    @wraps(test)
    def run(self: Any) -> Deferred[None]:
        assert isinstance(self, TestCase)
        return Deferred.fromCoroutine(test(self))

    return run


class BrokerCase(TestCase):
    """Has a broker that keeps its tasks in memory, and ends what it began."""

    timeout = 20

    def setUp(self) -> None:
        self.broker = self.start_broker()

    def start_broker(
        self,
        listen: str = "tcp:0:interface=127.0.0.1",
        path: str | None = None,
        **limits: Any,
    ) -> Any:
        """Start a broker; on disk where there is a path."""
        store = StoreConfig(kind="memory") if path is None else StoreConfig(path=path)
        config = Config(
            listen=ListenConfig(framed=(listen,)),
            store=store,
            http=HttpConfig(listen=()),
            limits=LimitsConfig(**limits),
        )
        broker = build(config, reactor)
        broker.startService()
        self.addCleanup(lambda: broker.stopService() if broker.running else None)
        return broker

    def address(self, broker: Any = None) -> str:
        port = next(s for s in broker or self.broker if isinstance(s, EndpointService)).port
        return f"tq://127.0.0.1:{port.getHost().port}"

    async def connect(self, address: str | None = None, **how: Any) -> Client:
        client = await connect(address or self.address(), reactor=reactor, **how)
        self.addCleanup(client.close)
        return client

    def client(self, address: str | None = None, **how: Any) -> Client:
        """A client that is not started."""
        return Client(address or self.address(), reactor, **how)

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait for something to become true; trial ends the wait."""
        while not condition():
            await deferLater(reactor, 0.01, lambda: None)
