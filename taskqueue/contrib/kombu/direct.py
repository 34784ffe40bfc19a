"""
A client without a thread: whoever asks writes to the socket, and reads from it until the answer
is there.

A program that publishes message by message waits for each answer.  What two threads and an
event loop take to hand over a request and its answer is more than all the rest of it.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TypeVar

from taskqueue.client.addresses import Place, Turns, pause_s, places_of
from taskqueue.client.all_calls import AllCalls
from taskqueue.client.face import ClientFace
from taskqueue.client.lifetimes import tell_of_forks
from taskqueue.client.limits import MAX_ANSWER_BYTES
from taskqueue.client.options import ClientOptions, ClientSettings
from taskqueue.contrib.kombu.waiting import WaitingFramework
from taskqueue.errors import CannotConnect, ConnectionLost, FatalClientError, TaskQueueError
from taskqueue.framing import FrameDecoder

_T = TypeVar("_T")

#: What is read at a time, bytes.
_READ_BYTES = 256 * 1024

#: The longest that is waited for anything without looking at the timers, seconds.
_LOOK_S = 60.0

#: A connection that nothing was said on for this share of the broker's patience is made anew.
_IDLE_SHARE = 0.5


def can_be_direct(address: str) -> bool:
    """Whether brokers at this address can be talked to so: without TLS."""
    return not any(place.secure for place in places_of(address))


class _Connected(ClientFace):
    """
    One connection, and those that follow when it is lost.  It carries its session's bytes.
    """

    def __init__(self, address: str, settings: ClientSettings) -> None:
        self._framework = WaitingFramework()
        super().__init__(self._framework, address, settings, patient=False)
        self._places = places_of(address)
        self._turns = Turns(len(self._places))
        self._session.on_refused = self._turns.refused
        self._socket: socket.socket | None = None
        self._decoder = FrameDecoder(MAX_ANSWER_BYTES)
        self._limit_s = settings.timeout_s
        self._attempts = 0
        self._not_before = 0.0

    # --- what the session asks for ----------------------------------------------------------

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if self._socket is not None:
            try:
                self._socket.sendall(data)
            except OSError as error:
                self._gone(str(error))

    def abort(self) -> None:
        """End the connection."""
        self._gone("it was closed")

    # --- waiting ----------------------------------------------------------------------------

    def run(self, coroutine: Coroutine[Any, Any, _T]) -> _T:
        """Run a coroutine to its end."""
        try:
            while True:
                future = coroutine.send(None)
                while not future.done:
                    self._turn()
        except StopIteration as stop:
            value: _T = stop.value
            return value
        finally:
            coroutine.close()

    def _turn(self) -> None:
        """Read what there is, or connect; and see to the timers."""
        if self._socket is None:
            self._connect()
        else:
            self._read(self._socket)
        self._framework.fire()

    def _read(self, connected: socket.socket) -> None:
        try:
            connected.settimeout(self._framework.next_s(_LOOK_S) or 1e-3)
            data = connected.recv(_READ_BYTES)
        except TimeoutError:
            return
        except OSError as error:
            self._gone(str(error))
            return
        if not data:
            self._gone("it was closed")
            return
        try:
            frames = self._decoder.feed(data)
        except FatalClientError as error:
            self._session.broken(error)
            return
        for frame in frames:
            self._session.received(frame)

    def _gone(self, reason: str) -> None:
        connected, self._socket = self._socket, None
        if connected is not None:
            connected.close()
            self._session.disconnected(reason)

    # --- connecting -------------------------------------------------------------------------

    def _connect(self) -> None:
        """Try every place once, after a pause that grows."""
        left_s = self._not_before - self._framework.seconds()
        if left_s > 0:
            time.sleep(self._framework.next_s(left_s))
            return
        for index in self._turns.order():
            try:
                opened = self._open(self._places[index])
            except OSError as error:
                why = str(error)
                continue
            self._turns.reached(index)
            self._attempts = self._session.fruitless
            self._wait_before_next()
            self._socket, self._decoder = opened, FrameDecoder(MAX_ANSWER_BYTES)
            self._session.connected(self)
            return
        self._attempts += 1
        self._wait_before_next()
        self._session.could_not_connect(CannotConnect(f"cannot connect to {self.address}: {why}"))

    def _wait_before_next(self) -> None:
        self._not_before = self._framework.seconds() + pause_s(self._attempts)

    def _open(self, place: Place) -> socket.socket:
        limit_s = self._limit_s
        if place.host is None:
            opened = socket.socket(socket.AF_UNIX)
            opened.settimeout(limit_s)
            try:
                opened.connect(place.path)
            except OSError:
                opened.close()
                raise
            return opened
        opened = socket.create_connection((place.host, place.port), limit_s)
        opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return opened

    async def reached(self, limit_s: float) -> None:
        """
        Wait until the broker has been reached for the first time.

        @raises CannotConnect: it has not within C{limit_s} seconds.
        """
        ready = self._session.ready()
        late = CannotConnect(f"cannot connect to {self.address}: no answer within {limit_s:g} s")
        timer = self._framework.call_later(limit_s, self._framework.reject, ready, late)
        self._limit_s = limit_s
        try:
            await ready
        finally:
            self._limit_s = self._session.timeout_s
            timer.cancel()

    @property
    def refused(self) -> bool:
        """Whether the broker has refused it for good."""
        return self._session.failure is not None

    def close(self) -> None:
        """Ask nothing any more."""
        self.left_behind()
        self.calls.close(ConnectionLost("this client is closed"))

    def left_behind(self) -> None:
        """Close the socket, which another process may go on using."""
        connected, self._socket = self._socket, None
        if connected is not None:
            connected.close()


class DirectClient:
    """
    Any thread may ask; one at a time is answered.  A process that was forked gets a connection
    of its own.
    """

    def __init__(self, address: str, how: ClientOptions) -> None:
        """
        @param address: one that L{can_be_direct}.
        @param how: see L{ClientSettings}.
        @raises BadRequest: the address is none, or a file of the key cannot be used.
        """
        self.address = address
        self._settings = ClientSettings(**how)
        self._lock = threading.Lock()
        self._asked_at = time.monotonic()
        self._closed = False
        self._connected: _Connected | None = _Connected(address, self._settings)
        tell_of_forks(self)

    def run(self, call: Callable[[AllCalls], Coroutine[Any, Any, _T]]) -> _T:
        """Make a call and wait for what it gives."""
        with self._lock:
            connected = self._fresh()
            try:
                return connected.run(call(connected.calls))
            except TaskQueueError:
                raise
            except BaseException:
                # Whatever interrupted it, a signal's handler perhaps, half a request may be sent.
                self._connected = None
                connected.close()
                raise
            finally:
                self._asked_at = time.monotonic()

    def reach(self, limit_s: float) -> None:
        """
        Connect.

        @raises CannotConnect: there is no broker, or it did not answer in time; or why it
            refuses.
        """
        with self._lock:
            connected = self._fresh()
            connected.run(connected.reached(limit_s))

    def _fresh(self) -> _Connected:
        """The connection; another one where the broker may have given this one up."""
        if self._closed:
            raise ConnectionLost("this client is closed")
        connected = self._connected
        if connected is not None:
            idle_s = time.monotonic() - self._asked_at
            if connected.refused:
                pass  # its key may have been replaced
            elif not connected.connected or idle_s < _IDLE_SHARE * connected.limits.idle_timeout_s:
                return connected
            connected.close()
        self._connected = connected = _Connected(self.address, self._settings)
        return connected

    def left_behind(self) -> None:
        """This process was forked: the connection is its parent's."""
        self._lock = threading.Lock()
        connected, self._connected = self._connected, None
        if connected is not None:
            with suppress(OSError):
                connected.left_behind()

    def close(self) -> None:
        """Disconnect."""
        with self._lock:
            self._closed = True
            connected, self._connected = self._connected, None
            if connected is not None:
                connected.close()
