"""
A connection to the broker for frameworks whose programs wait, for as long as their process
lives: made when it is first needed, anew in a process that was forked, and anew where the
broker had refused it for good.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar, Unpack

from taskqueue.client.addresses import DEFAULT_ADDRESS
from taskqueue.client.all_calls import AllCalls
from taskqueue.client.blocking import BlockingClient
from taskqueue.client.lifetimes import watch_over
from taskqueue.client.options import ClientOptions
from taskqueue.client.values import Value
from taskqueue.errors import CannotConnect, FatalClientError, FrameTooLarge

_T = TypeVar("_T")

#: The longest that the broker is asked to wait in one go, seconds.
LONGEST_WAIT_S = 30.0


class Connecting:
    """
    What asks the broker, from any thread and in any process.

    @ivar address: of the broker.
    """

    def __init__(self, address: str = DEFAULT_ADDRESS, **how: Unpack[ClientOptions]) -> None:
        """
        @param address: C{tq://host:port}, with TLS C{tqs://host:port}, several of these with
            commas between, or C{unix:/path}.
        @param how: C{name}, C{timeout_s}, C{tls}, C{api_key}; see L{ClientSettings}.
        @raises BadRequest: the address is none, or a file of TLS or of the key cannot be used.
        """
        self.address = address
        self._how = how
        self._lock = threading.Lock()
        self._client: BlockingClient | None = BlockingClient(address, **how)
        self._reached = False
        watch_over(self)

    def run(self, call: Callable[[AllCalls], Coroutine[Any, Any, _T]]) -> _T:
        """
        Make a call and wait for what it gives.

        @param call: given all that can be asked; it runs on the connection's event loop.
        @raises CannotConnect: there has been no broker yet, and there is none now.
        """
        client = self._current()
        try:
            if not self._reached:
                # A program that starts wants to know at once that there is no broker; one
                # that runs waits for it to come back.
                client.reach()
                self._reached = True
            return client.run(call)
        except FrameTooLarge:
            raise  # others, whose calls wait at the same client, say less
        except FatalClientError:
            self._give_up(client)
            raise

    def begin(self, call: Callable[[AllCalls], Coroutine[Any, Any, _T]]) -> Future[_T]:
        """
        Make a call without waiting, for event loops; where there is no broker yet, it fails
        with L{AnswerTimedOut} when its time is up.
        """
        return self._current().begin(call)

    def wait_value(self, namespace: str, key: str, wait_s: float) -> Value | None:
        """
        The value of a key, as soon as there is one.

        @param wait_s: how long to wait for it; C{None} is returned then.
        """
        until = time.monotonic() + wait_s
        while True:
            left_s = max(0.0, until - time.monotonic())
            # One request is no longer than any broker allows.
            wanted = partial(_value_within, namespace, key, min(left_s, LONGEST_WAIT_S))
            value = self.run(wanted)
            if value is not None or left_s == 0:
                return value

    @property
    def connected(self) -> bool:
        """Whether there is a connection on which the broker has said hello."""
        client = self._client
        return client is not None and client.connected

    def close(self) -> None:
        """Disconnect; the next call connects again."""
        with self._lock:
            client, self._client, self._reached = self._client, None, False
        if client is not None:
            client.close()

    def left_behind(self) -> None:
        """This process was forked; the client knows by itself."""
        self._lock = threading.Lock()

    def _current(self) -> BlockingClient:
        with self._lock:
            if self._client is None:
                self._client = BlockingClient(self.address, **self._how)
            return self._client

    def _give_up(self, client: BlockingClient) -> None:
        """A client that was refused is of no use: a key may be valid later that is not now."""
        with self._lock:
            if self._client is client:
                self._client, self._reached = None, False
        with suppress(CannotConnect, FatalClientError):
            client.close()


async def _value_within(namespace: str, key: str, wait_s: float, calls: AllCalls) -> Value | None:
    found: dict[str, Value] = await calls.wait_values(namespace, {key: 0}, wait_s)
    return found.get(key)
