"""
Fair use: how often somebody may ask for what costs the broker much, whichever door it is
asked at.
"""

from __future__ import annotations

from collections.abc import Callable

from taskqueue.access.identities import Identity
from taskqueue.access.throttle import TokenBuckets, peer_group
from taskqueue.config import LimitsConfig
from taskqueue.errors import RateLimited

#: Who was quiet for as long may ask for as much at once, seconds.
BURST_S = 2.0


class FairUse:
    """
    Counts what is asked for by each key, user and certificate; what somebody unknown asks for, by
    the address.

    @ivar counts_tasks: submitted tasks are counted.
    """

    def __init__(self, limits: LimitsConfig, seconds: Callable[[], float]) -> None:
        """
        @param seconds: a clock that never jumps.
        """
        self._seconds = seconds
        self._limits: tuple[int, int] | None = None
        self._requests: TokenBuckets | None = None
        self._tasks: TokenBuckets | None = None
        self.counts_tasks = False
        self.adopt(limits)

    def adopt(self, limits: LimitsConfig) -> None:
        """Go by other limits; where they are the same, what was counted still counts."""
        wanted = (limits.max_requests_per_s, limits.max_tasks_per_s)
        if wanted != self._limits:
            self._limits = wanted
            self._requests, self._tasks = map(_buckets, wanted)
            self.counts_tasks = self._tasks is not None

    def request(self, identity: Identity, host: str) -> None:
        """
        Somebody sends a request over HTTP, or asks for an administrative operation.

        @param host: the address that it comes from.
        @raises RateLimited: that is too much.
        """
        if self._requests is not None:
            self._take(self._requests, identity, host, 1, "max_requests_per_s")

    def tasks(self, identity: Identity, host: str, count: int) -> None:
        """
        Somebody submits tasks.

        @raises RateLimited: that is too much: take none of them.
        """
        if self._tasks is not None:
            self._take(self._tasks, identity, host, count, "max_tasks_per_s")

    def _take(
        self, buckets: TokenBuckets, identity: Identity, host: str, amount: int, setting: str
    ) -> None:
        known = identity.kind != "everyone"
        name = f"{identity.kind} {identity.name}" if known else peer_group(host)
        wait_s = buckets.take(name, amount, self._seconds())
        if wait_s:
            raise RateLimited(
                f"{name} asks for more than {buckets.rate:g} a second (limits.{setting}); wait "
                f"before asking again",
                retry_after_s=round(wait_s, 3),
            )


def _buckets(rate: int) -> TokenBuckets | None:
    return TokenBuckets(rate, rate * BURST_S) if rate else None
