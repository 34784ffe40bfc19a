"""
How many connections there may be.
"""

from __future__ import annotations

from collections import Counter

from taskqueue.config import LimitsConfig
from taskqueue.errors import TooManyConnections


class Admission:
    """
    Counts the connections of all front-ends together, and of each peer address.

    @ivar count: connections that are admitted now.
    """

    def __init__(self) -> None:
        self.count = 0
        self._peers: Counter[str] = Counter()

    def admit(self, host: str, limits: LimitsConfig) -> None:
        """
        Let one more connection in; L{leave} is to be called when it goes.

        @raises TooManyConnections: there are as many as there may be.
        """
        if self.count >= limits.max_connections:
            raise TooManyConnections(
                f"the broker has {limits.max_connections} connections, which is its limit "
                f"(max_connections); try again later",
                retry_after_s=1.0,
            )
        if self._peers[host] >= limits.max_connections_per_peer:
            raise TooManyConnections(
                f"the broker has {limits.max_connections_per_peer} connections from {host}, which "
                f"is its limit (max_connections_per_peer); try again later",
                retry_after_s=1.0,
            )
        self.count += 1
        self._peers[host] += 1

    def leave(self, host: str) -> None:
        """A connection that was admitted is gone."""
        self.count -= 1
        self._peers[host] -= 1
        if not self._peers[host]:
            del self._peers[host]
