"""
A connection to the broker on the event loop of a taskiq program, from its start-up to its
shut-down.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Unpack

from taskqueue.client.addresses import DEFAULT_ADDRESS
from taskqueue.client.aio import AsyncClient, connect
from taskqueue.client.aio_link import check_settings
from taskqueue.client.options import ClientOptions, ClientSettings
from taskqueue.errors import BadRequest

#: How often it is said that a broker is waited for, seconds.
_SAY_S = 5.0

_log = logging.getLogger("taskqueue.contrib.taskiq")


class Connecting:
    """
    A client that is made when taskiq says that a program begins, and closed when it ends.

    @ivar address: of the broker.
    @ivar how: the connection is made.
    """

    def __init__(
        self, owner: str, address: str = DEFAULT_ADDRESS, **how: Unpack[ClientOptions]
    ) -> None:
        """
        @param owner: what must be started, for the error where it was not.
        @param how: C{name}, C{timeout_s}, C{tls}, C{api_key}; see L{ClientSettings}.
        @raises BadRequest: the address is none, or a file of TLS or of the key cannot be used.
        """
        how.setdefault("name", "taskiq")
        check_settings(address, ClientSettings(**how))
        self.address = address
        self._owner = owner
        self.how = how
        self._client: AsyncClient | None = None

    async def begin(self, patient: bool) -> AsyncClient:
        """
        Connect, where there is no connection yet.

        @param patient: to go on trying, instead of failing, where there is no broker.
        @raises CannotConnect: there is none; or what it refused the connection with.
        """
        if self._client is None:
            if patient:
                self._client = AsyncClient(self.address, **self.how)
                self._client.start()
                await self._reached(self._client)
            else:
                self._client = await connect(self.address, **self.how)
        return self._client

    async def _reached(self, client: AsyncClient) -> None:
        while True:
            try:
                async with asyncio.timeout(_SAY_S):
                    return await client.ready()
            except TimeoutError:
                _log.warning("there is no broker at %s yet; waiting for it", self.address)

    @property
    def client(self) -> AsyncClient:
        """
        The client.

        @raises BadRequest: nothing was started on this event loop.
        """
        if self._client is None:
            raise BadRequest(
                f"{self._owner} is not started: await broker.startup() before, and "
                "broker.shutdown() at the end"
            )
        return self._client

    async def end(self) -> None:
        """Disconnect."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()
