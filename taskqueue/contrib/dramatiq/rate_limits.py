"""
Counters of dramatiq's rate limiters, as values of the broker.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Unpack

from dramatiq.rate_limits.backend import RateLimiterBackend

from taskqueue.client.addresses import DEFAULT_ADDRESS
from taskqueue.client.all_calls import AllCalls
from taskqueue.client.options import ClientOptions
from taskqueue.contrib.connecting import Connecting
from taskqueue.contrib.dramatiq.errors import as_theirs
from taskqueue.contrib.naming import queue_name

#: What stands at a key that somebody waits for, and was told of.
_TOLD = b"x"


class TaskqueueRateLimiterBackend(RateLimiterBackend):
    """
    Keeps the counters of rate limiters, and of barriers, at the broker.

    Whoever changes a counter says which version of it they saw, and looks again where
    somebody was quicker.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        namespace: str = "dramatiq-rate-limits",
        connecting: Connecting | None = None,
        **how: Unpack[ClientOptions],
    ) -> None:
        """
        @param address: of the broker, as L{TaskqueueBroker} takes it.
        @param namespace: of the values.
        @param connecting: a L{TaskqueueBroker}'s, to share its connection; the address and
            C{how} say nothing then.
        @param how: C{name}, C{timeout_s}, C{tls}, C{api_key}; see L{ClientSettings}.
        @raises BadRequest: the address or the namespace is none, or a file of TLS or of the key
            cannot be used.
        """
        self.namespace = queue_name(namespace, "the namespace of rate limits")
        how.setdefault("name", "dramatiq")
        self._connecting = connecting or Connecting(address, **how)

    def close(self) -> None:
        """Disconnect; the next call connects again."""
        self._connecting.close()

    def add(self, key: str, value: int, ttl: int) -> bool:
        """Set a key that is not there; whether it was not.  C{ttl} is milliseconds."""
        return self._put(key, b"%d" % value, ttl, only_if="absent")

    def incr(self, key: str, amount: int, maximum: int, ttl: int) -> bool:
        """Add to a key, unless it would be more than C{maximum}; whether it was done."""
        return self._change(key, amount, ttl, lambda total: total <= maximum)

    def decr(self, key: str, amount: int, minimum: int, ttl: int) -> bool:
        """Subtract from a key, unless it would be less than C{minimum}; whether it was done."""
        return self._change(key, -amount, ttl, lambda total: total >= minimum)

    def incr_and_sum(
        self, key: str, keys: Callable[[], list[str]], amount: int, maximum: int, ttl: int
    ) -> bool:
        """
        Add to a key, unless the sum of C{keys} would be more than C{maximum}; whether it was
        done.  Two that add to different keys in the same moment do not see each other.
        """

        def allowed(total: int) -> bool:
            return total <= maximum and self._sum(keys()) + amount <= maximum

        return self._change(key, amount, ttl, allowed)

    def wait(self, key: str, timeout: int | None) -> bool:
        """Wait until L{wait_notify} was called; whether it was.  C{timeout} is milliseconds."""
        wait_s = float("inf") if timeout is None else timeout / 1000
        with as_theirs():
            return self._connecting.wait_value(self.namespace, key, wait_s) is not None

    def wait_notify(self, key: str, ttl: int) -> None:
        """Let those go on who wait for C{key}, now or within C{ttl} milliseconds."""
        self._put(key, _TOLD, ttl)

    # --- counting -------------------------------------------------------------------------

    def _change(self, key: str, by: int, ttl: int, allowed: Callable[[int], bool]) -> bool:
        while True:
            seen = self._run(lambda calls: calls.get_value(self.namespace, key))
            total = by + (0 if seen is None else int(seen.value))
            if not allowed(total):
                return False
            condition = {"only_if": "absent"} if seen is None else {"version": seen.version}
            if self._put(key, b"%d" % total, ttl, **condition):
                return True

    def _sum(self, keys: list[str]) -> int:
        found = self._run(lambda calls: calls.get_values(self.namespace, keys))
        return sum(int(value.value) for value in found.values())

    def _put(self, key: str, value: bytes, ttl: int, **condition: Any) -> bool:
        version = self._run(
            lambda calls: calls.put_value(
                self.namespace, key, value, expires_s=ttl / 1000, **condition
            )
        )
        return version is not None

    def _run(self, call: Callable[[AllCalls], Any]) -> Any:
        with as_theirs():
            return self._connecting.run(call)
