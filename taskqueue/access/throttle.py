"""
Who asks too often: token buckets, and sign-ins that failed.

Both keep a bounded number of entries and forget the one that was used longest ago: whoever
comes from ever new addresses can fill them, but not the memory.
"""

from __future__ import annotations

from collections import OrderedDict
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address

#: So many are remembered at a time.
CAPACITY = 10_000

#: So many failed attempts of one address cost nothing.
FREE_FAILURES = 5

#: Under so many names failures of one address are told apart.
MOST_NAMES = 8

#: What further ones are called: no name has a space.
_OTHERS = "any other"

#: What a household or a host has of IPv6: whoever has one address of it has them all.
_PREFIX = 64


def peer_group(peer: str) -> str:
    """
    What a peer's address counts as: itself, or of IPv6 the network that belongs to one subscriber.

    @param peer: an address, or anything else, which counts as itself.
    """
    try:
        address: IPv4Address | IPv6Address = ip_address(peer.partition("%")[0])
    except ValueError:
        return peer
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(IPv6Network((address, _PREFIX), strict=False))
    return str(address)


class TokenBuckets:
    """
    A bucket of tokens for each name, which refills steadily.

    A bucket that is not remembered is full.
    """

    def __init__(self, rate: float, burst: float, capacity: int = CAPACITY) -> None:
        """
        @param rate: how many tokens come into a bucket in a second; greater than 0.
        @param burst: how many it holds; at least 1.
        @param capacity: how many buckets are remembered.
        """
        self.rate = rate
        self.burst = burst
        self._capacity = capacity
        #: Name to when the bucket will be full again: one number says all, and costs one look-up.
        self._full_at: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._full_at)

    def take(self, name: str, amount: float, now: float) -> float:
        """
        Take tokens out of a bucket, all of them or none.

        More than a bucket holds is taken from a full one, and owed.

        @param now: seconds, of a clock that never jumps.
        @return: 0 where they were taken, else after how many seconds to ask again.
        """
        full_at = max(self._full_at.get(name, now), now)
        missing = (full_at - now) * self.rate
        if missing and missing + amount > self.burst:
            enough = max(0.0, self.burst - amount)
            wait_s = (missing - enough) / self.rate
            # So little is the clock's rounding, not a debt.
            if wait_s > 1e-9:
                return wait_s
        self._full_at[name] = full_at + amount / self.rate
        self._full_at.move_to_end(name)
        if len(self._full_at) > self._capacity:
            self._full_at.popitem(last=False)
        return 0.0


class FailedAttempts:
    """
    Attempts to authenticate that failed, by where they came from.

    The first few cost nothing: people mistype.  After that each doubles the time for which
    nothing from there is looked at.  A time without any forgives all.
    """

    def __init__(
        self,
        *,
        free: int = FREE_FAILURES,
        first_s: float = 1.0,
        longest_s: float = 300.0,
        forgiven_s: float = 900.0,
        capacity: int = CAPACITY,
    ) -> None:
        """
        @param free: how many may fail before the first wait.
        @param first_s: how long the first wait is.
        @param longest_s: no wait is longer.
        @param forgiven_s: after how long without an attempt all are forgotten.
        @param capacity: how many places are remembered.
        """
        self._free = free
        self._first_s = first_s
        self._longest_s = longest_s
        self._forgiven_s = forgiven_s
        self._capacity = capacity
        #: Place to how many have failed under which name, and when the last one did.
        self._failed: OrderedDict[str, tuple[dict[str, int], float]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._failed)

    def wait_s(self, peer: str, now: float) -> float:
        """For how long nothing from there is looked at yet; 0: not at all."""
        counts, last = self._failed.get(peer_group(peer), ({}, now))
        over = sum(counts.values()) - self._free
        if over <= 0:
            return 0.0
        # Where the exponent is large the wait is the longest one anyway.
        wait_s = min(self._longest_s, self._first_s * 2.0 ** min(over - 1, 64))
        return max(0.0, last + wait_s - now)

    def failed(self, peer: str, now: float, name: str = "") -> None:
        """
        Note that an attempt from there failed, or that one has begun.

        @param name: as whom; whoever succeeds is forgiven what failed under the same name.
        """
        group = peer_group(peer)
        counts, last = self._failed.get(group, ({}, now))
        if now - last >= self._forgiven_s:
            counts = {}
        if name not in counts and len(counts) >= MOST_NAMES:
            name = _OTHERS
        counts[name] = counts.get(name, 0) + 1
        self._failed[group] = counts, now
        self._failed.move_to_end(group)
        if len(self._failed) > self._capacity:
            self._failed.popitem(last=False)

    def succeeded(self, peer: str, name: str = "") -> None:
        """
        Forget what has failed from there under the same name.  No more: else whoever has an account
        could guess at another one for ever, and sign in as oneself in between.
        """
        group = peer_group(peer)
        counts, _ = self._failed.get(group, ({}, 0.0))
        counts.pop(name, None)
        if not counts:
            self._failed.pop(group, None)
