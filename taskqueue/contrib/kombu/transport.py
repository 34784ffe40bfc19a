"""
The transport: connections of kombu's to a broker.
"""

from __future__ import annotations

from contextlib import suppress
from time import monotonic
from typing import Any

from kombu.exceptions import ChannelError
from kombu.exceptions import ConnectionError as KombuConnectionError
from kombu.transport import base, virtual

import taskqueue
from taskqueue.client.addresses import DEFAULT_PORT
from taskqueue.contrib.kombu.channel import Channel
from taskqueue.contrib.kombu.feed import Arrival, Feed
from taskqueue.contrib.kombu.link import CONNECT_S, Link
from taskqueue.contrib.kombu.options import Options, address_of, client_options
from taskqueue.contrib.kombu.topology import Topology
from taskqueue.errors import (
    AnswerTimedOut,
    CannotConnect,
    ClientError,
    ConnectionLost,
    FatalClientError,
    QueueFull,
    RateLimited,
    ShuttingDown,
    StoreUnavailable,
    TooManyRequests,
)

#: What another connection may mend.
CONNECTION_ERRORS = (
    KombuConnectionError,
    ConnectionLost,
    CannotConnect,
    AnswerTimedOut,
    FatalClientError,
)

#: What passes on the same connection.
PASSING_ERRORS = (QueueFull, RateLimited, ShuttingDown, StoreUnavailable, TooManyRequests)

#: What an address may begin with; the second means TLS.
SCHEMES = ("taskqueue", "taskqueues")


class Transport(virtual.Transport):
    """
    Kombu's way to a broker of taskqueue.

    @ivar link: what is below it; C{None} while there is no connection.
    @ivar feed_there_is: what is consumed, where something is.
    @ivar topology: what is declared.
    """

    Channel = Channel

    default_port = DEFAULT_PORT
    driver_type = "taskqueue"
    driver_name = "taskqueue"

    connection_errors = CONNECTION_ERRORS
    channel_errors = (ChannelError, ClientError)
    recoverable_connection_errors = CONNECTION_ERRORS
    recoverable_channel_errors = PASSING_ERRORS

    implements = base.Transport.implements.extend(
        asynchronous=True,
        exchange_type=frozenset(["direct", "topic", "fanout"]),
        heartbeats=False,
    )

    link: Link | None = None
    feed_there_is: Feed | None = None
    topology: Topology | None = None
    _loop: Any = None

    def driver_version(self) -> str:
        """The version of this package."""
        return taskqueue.__version__

    # --- connecting -----------------------------------------------------------------------------

    def establish_connection(self) -> Any:
        """
        Connect.

        @raises CannotConnect: there is no broker; or why it refuses.
        @raises BadRequest: the URL or an option says what cannot be done.
        """
        options = Options.of(self.client.transport_options)
        self._abandon()
        link = Link(address_of(self.client), client_options(self.client, options))
        try:
            link.reach_within(self.client.connect_timeout or CONNECT_S)
            self.topology = Topology(link.run, _prefix(self.client.virtual_host, options))
        except BaseException:
            link.close()
            raise
        self.link, self._options = link, options
        return self

    @property
    def feed(self) -> Feed:
        """
        What is consumed.

        @raises ConnectionLost: there is no connection, or it is another process's.
        """
        if self.link is None:
            raise ConnectionLost("this connection is closed")
        if self.link.forked:
            raise ConnectionLost("this connection is another process's: make one here")
        if self.feed_there_is is None:
            loop = self.link.loop(self.client.connect_timeout or CONNECT_S)
            self.feed_there_is = Feed(loop, self._options)
        return self.feed_there_is

    @property
    def alive(self) -> bool:
        """Whether this process has a connection here, which may be made anew just now."""
        return self.link is not None and not self.link.forked

    def verify_connection(self, connection: Any) -> bool:
        """Whether it can be used."""
        return self.alive

    @property
    def connected(self) -> bool:
        """See L{alive}."""
        return self.alive

    def create_channel(self, connection: Any) -> Any:
        """Another channel."""
        channel = self.Channel(connection)
        self.channels.append(channel)
        return channel

    def close_channel(self, channel: Any) -> None:
        """It is closed."""
        with suppress(ValueError):
            self._used_channel_ids.remove(channel.channel_id)
        with suppress(ValueError):
            self.channels.remove(channel)
        channel.connection = None

    def close_connection(self, connection: Any) -> None:
        """Give back what is not acknowledged, and disconnect."""
        link, feed = self.link, self.feed_there_is
        if link is None or link.forked:
            self._abandon()
            return
        channels = list(self.channels)
        for channel in channels:
            with suppress(*CONNECTION_ERRORS, ClientError):
                channel.close()
        try:
            self.unregister_from_event_loop(connection, self._loop)
            if feed is not None:
                feed.close([one.intake_there_is for one in channels if one.intake_there_is])
        finally:
            self._abandon()
            link.close()
            if feed is not None:
                feed.inbox.close()

    def _abandon(self) -> None:
        """Forget a connection that is over, or another process's."""
        self.link = self.feed_there_is = self.topology = None
        self.channels.clear()
        del self._used_channel_ids[:]

    # --- consuming --------------------------------------------------------------------------------

    def drain_events(self, connection: Any, timeout: float | None = None, **_: Any) -> None:
        """
        Deliver what has come, waiting for it if need be.

        @param timeout: how long, seconds; 0: not at all; C{None}: until something comes.
        @raises socket.timeout: nothing came in time.
        @raises ConnectionLost: nothing will.
        """
        until = None if timeout is None else monotonic() + timeout
        while not self._deliver_all():
            if not self.feed.inbox.wait(None if until is None else until - monotonic()):
                raise TimeoutError("nothing came in time")

    def _deliver_all(self) -> bool:
        """Deliver what has come; returns whether anything has."""
        arrivals = self.feed.arrivals()
        for arrival in arrivals:
            self._deliver_one(arrival)
        return bool(arrivals)

    def _deliver_one(self, arrival: Arrival) -> None:
        for channel in self.channels:
            if channel.intake_there_is is arrival.intake:
                channel.arrived(arrival.delivery)
                return
        self.feed.give_back(arrival.delivery)

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        """Have an event loop deliver what comes, when it comes."""
        self._loop = loop
        loop.add_reader(self.feed.inbox.fileno(), self.on_readable, connection, loop)

    def unregister_from_event_loop(self, connection: Any, loop: Any) -> None:
        """Have it do so no more."""
        if self.feed_there_is is not None and loop is not None:
            loop.remove_reader(self.feed_there_is.inbox.fileno())
        self._loop = None

    def on_readable(self, connection: Any, loop: Any) -> None:
        """The event loop has seen that something came."""
        self._deliver_all()


def _prefix(virtual_host: str | None, options: Options) -> str:
    """What the names of a virtual host's queues begin with."""
    host = (virtual_host or "").strip("/")
    return options.global_keyprefix + (f"{host}/" if host else "")
