"""
What the clients for event loops have in common: a session, the calls on it, and what
can be told without asking the broker.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taskqueue.client.all_calls import AllCalls
from taskqueue.client.codecs import Codec, codec_of
from taskqueue.client.credentials import api_key_for, warn_where_readable
from taskqueue.client.framework import Framework
from taskqueue.client.handles import TaskHandle
from taskqueue.client.limits import Limits
from taskqueue.client.messages import Lost
from taskqueue.client.options import ClientSettings
from taskqueue.client.session import Session


class ClientFace:
    """
    A client on an event loop, whatever its calls return.

    @ivar address: of the broker.
    @ivar calls: what can be asked.
    """

    def __init__(
        self,
        framework: Framework,
        address: str,
        settings: ClientSettings,
        *,
        patient: bool,
        face: Any = None,
    ) -> None:
        """
        @param patient: to go on trying where the first connection fails.
        @param face: what handles of tasks call, instead of this client.
        @raises BadRequest: there is no such codec, or the key cannot be read.
        """
        self.address = address
        key = api_key_for(settings.api_key)
        warn_where_readable(key, address, settings.tls)
        self._session = Session(
            framework,
            settings.name,
            settings.timeout_s,
            patient=patient,
            max_in_flight=settings.max_in_flight,
            key=key,
        )
        codec = codec_of(settings.codec)
        self.calls = AllCalls(self._session, codec, self if face is None else face)

    @property
    def connected(self) -> bool:
        """Whether there is a connection on which the broker has said hello."""
        return self._session.greeted

    @property
    def broker(self) -> dict[str, Any]:
        """The broker's newest answer to HELLO; empty before the first."""
        return self._session.welcome or {}

    @property
    def limits(self) -> Limits:
        """What the broker accepts; the defaults before it has said so."""
        return self._session.limits

    def on_lost(self, event: str, listener: Callable[[Lost], None]) -> None:
        """
        Tell C{listener} of deliveries to give up.

        @param event: C{"cancel"} or C{"lease_lost"}.
        """
        self.calls.on_lost(event, listener)

    def handle(self, task: str, codec: str | Codec | None = None) -> TaskHandle:
        """A handle for a task's id; C{codec} reads its result, instead of the client's."""
        return self.calls.handle(task, codec)
