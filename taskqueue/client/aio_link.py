"""
The connection below a session, in asyncio: reconnecting, and bytes.
"""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from ssl import SSLContext, SSLError
from typing import Any, cast

from taskqueue.client.addresses import Place, Turns, pause_s, places_of
from taskqueue.client.credentials import api_key_for
from taskqueue.client.lifetimes import disown
from taskqueue.client.limits import MAX_ANSWER_BYTES
from taskqueue.client.options import ClientSettings
from taskqueue.client.session import Session
from taskqueue.client.tls import (
    IT_SPEAKS_TLS,
    TLS,
    expected_name,
    speaks_tls,
    tls_for,
    warn_where_insecure,
)
from taskqueue.errors import BadFrame, CannotConnect, FatalClientError
from taskqueue.framing import FrameDecoder

#: How long a connection that is closed may take to send what was written, seconds.
FAREWELL_S = 5.0


def context_for(tls: TLS | None) -> SSLContext | None:
    """
    What encrypted connections are made with.

    @raises BadRequest: a file cannot be used.
    """
    if tls is None:
        return None
    from taskqueue.client.tls_aio import make_context  # costs time where it is not needed

    return make_context(tls)


def check_settings(address: str, settings: ClientSettings) -> None:
    """
    Find out before a client is made whether it could be.

    @raises BadRequest: the address is none, or a file of TLS or of the key cannot be used.
    """
    context_for(tls_for(places_of(address), settings.tls))
    api_key_for(settings.api_key)


class Connection(asyncio.Protocol):
    """
    Carries a session's bytes.

    @ivar gone: done when the connection has ended.
    @ivar refusal: why the broker is not spoken to; C{None} where it is.
    """

    def __init__(
        self, session: Session, loop: asyncio.AbstractEventLoop, name: str | None = None
    ) -> None:
        """
        @param name: whom the broker's certificate has to be for; C{None}: that is not asked.
        """
        self._session = session
        self._name = name
        self._decoder = FrameDecoder(MAX_ANSWER_BYTES)
        self._transport: asyncio.Transport | None = None
        self.refusal: CannotConnect | None = None
        self.gone: asyncio.Future[None] = loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio has connected."""
        self._transport = cast(asyncio.Transport, transport)
        with suppress(OSError):
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if self._name is not None:
            from taskqueue.client.tls_aio import verify

            self.refusal = verify(transport, self._name)
        if self.refusal is None:
            self._session.connected(self)
        else:
            self.abort()

    @property
    def socket(self) -> Any:
        """What the bytes go through."""
        assert self._transport is not None
        return self._transport.get_extra_info("socket")

    def data_received(self, data: bytes) -> None:
        """Bytes came in."""
        if self.refusal is not None:
            return
        try:
            frames = self._decoder.feed(data)
        except FatalClientError as error:
            self._session.broken(error if not speaks_tls(data) else BadFrame(IT_SPEAKS_TLS))
            return
        for frame in frames:
            self._session.received(frame)

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection has ended."""
        if self.refusal is None:
            self._session.disconnected("it was closed" if exc is None else str(exc))
        if not self.gone.done():
            self.gone.set_result(None)

    def pause_writing(self) -> None:
        """The broker does not read."""
        self._session.hold_back()

    def resume_writing(self) -> None:
        """The broker reads again."""
        self._session.go_on()

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if self._transport is not None:
            self._transport.write(data)

    def abort(self) -> None:
        """End the connection at once."""
        if self._transport is not None:
            self._transport.abort()

    def disown(self) -> None:
        """This process was forked: leave the connection to its parent."""
        disown(self.socket)

    def end(self) -> None:
        """End the connection when everything is written."""
        if self._transport is not None:
            self._transport.close()


class Link:
    """
    Keeps a session connected.

    @param address: see L{places_of}.
    @ivar connection: the newest, C{None} before the first.
    @raises BadRequest: the address is none.
    """

    def __init__(
        self,
        session: Session,
        address: str,
        loop: asyncio.AbstractEventLoop,
        tls: TLS | bool | None = None,
    ) -> None:
        self._session = session
        self._address = address
        self._loop = loop
        self._places = places_of(address)
        self._tls = tls_for(self._places, tls)
        self._context = context_for(self._tls)
        warn_where_insecure(self._tls)
        self._turns = Turns(len(self._places))
        self._running: asyncio.Task[None] | None = None
        self.connection: Connection | None = None
        session.on_failed = self._stop_trying
        session.on_refused = self._turns.refused

    def start(self) -> None:
        """Connect, now and whenever the connection is lost."""
        if self._running is None:
            self._running = self._loop.create_task(self._stay_connected())

    async def _stay_connected(self) -> None:
        attempt = 0
        while self._session.failure is None:
            try:
                await self._connect()
            except (OSError, CannotConnect) as error:
                self._session.could_not_connect(
                    CannotConnect(f"cannot connect to {self._address}: {error}")
                )
                attempt += 1
            else:
                attempt = 0
                assert self.connection is not None
                await asyncio.shield(self.connection.gone)
            # A connection that is refused at HELLO was none.
            await asyncio.sleep(pause_s(max(attempt, self._session.fruitless)))

    async def _connect(self) -> None:
        *others, last = self._turns.order()
        for index in others:
            with suppress(OSError, CannotConnect):
                return await self._reach(index)
        return await self._reach(last)

    async def _reach(self, index: int) -> None:
        limit_s = self._session.timeout_s
        try:
            async with asyncio.timeout(limit_s):
                self.connection = await self._open(self._places[index])
        except TimeoutError:
            raise CannotConnect(f"no connection within {limit_s:g} s") from None
        self._turns.reached(index)

    async def _open(self, place: Place) -> Connection:
        def make() -> Connection:
            return Connection(self._session, self._loop)

        if place.host is None:
            _, connection = await self._loop.create_unix_connection(make, place.path)
        elif self._tls is not None:
            connection = await self._open_securely(place, self._tls)
        else:
            _, connection = await self._loop.create_connection(make, place.host, place.port)
        return connection

    async def _open_securely(self, place: Place, tls: TLS) -> Connection:
        from taskqueue.client.tls_aio import refusal

        name = expected_name(tls, place)
        verified = None if tls.insecure_accept_any_certificate else name
        try:
            _, connection = await self._loop.create_connection(
                lambda: Connection(self._session, self._loop, verified),
                str(place.host),
                place.port,
                ssl=self._context,
                server_hostname=name,
                ssl_handshake_timeout=self._session.timeout_s,
            )
        except (SSLError, ConnectionResetError) as error:
            raise refusal(error) from None
        if connection.refusal is not None:
            raise connection.refusal
        return connection

    def _stop_trying(self) -> None:
        if self._running is not None:
            self._running.cancel()

    async def stop(self) -> None:
        """Disconnect, when everything is written."""
        self._stop_trying()
        if self._running is not None:
            # Cancelled: it is the pause, or the connecting, that ends.
            await asyncio.wait([self._running])
        if self.connection is not None:
            self.connection.end()
            await asyncio.wait([self.connection.gone], timeout=FAREWELL_S)
            self.connection.abort()
