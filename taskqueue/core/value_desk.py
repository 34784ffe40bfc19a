"""
The desk for values: putting, taking, counting.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from taskqueue.core.ledger import Ledger
from taskqueue.core.moments import Now
from taskqueue.core.rows import ValueRow
from taskqueue.core.values import VALUE_BYTES, bytes_of
from taskqueue.errors import Conflict, ValuesFull

#: The most values that one sweep takes out.
SLICE = 5000

#: What somebody is told to wait whose value has no room, seconds.
FULL_RETRY_S = 1.0

#: Counted is within what every JSON reader keeps exactly.
LARGEST_COUNT = 2**53 - 1

#: A longer text is no such number: to read it would take time that grows with its square.
_LONGEST_COUNT = 20


class Put(NamedTuple):
    """
    A value to be put under a key.

    @ivar expires_at: the wall-clock moment at which it expires, C{None}: never.
    @ivar only_if: C{"absent"} or C{"present"}: only where there is none, or one.
    @ivar version: only where the value has this version; 0: where there is none.
    """

    namespace: str
    key: str
    value: bytes
    expires_at: float | None = None
    only_if: str | None = None
    version: int | None = None

    def holds(self, known: ValueRow | None) -> bool:
        """Whether the condition does, where C{known} stands under the key."""
        if self.version is not None:
            return (0 if known is None else known.version) == self.version
        return self.only_if is None or (self.only_if == "present") is (known is not None)


class ValueDesk:
    """The desk for values."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._values = ledger.values

    def put(self, put: Put, now: Now) -> int | None:
        """
        Put a value under a key, if its condition holds.

        @return: its version; C{None} where the condition does not hold.
        @raises ValuesFull: there is no room for it.
        """
        namespace, key, value, expires_at, *_ = put
        if not put.holds(self._values.find(namespace, key, now.wall)):
            return None
        return self._set(namespace, key, value, expires_at).version

    def take(self, namespace: str, key: str, now: Now) -> ValueRow | None:
        """The value under a key, which is gone from there; C{None} where there is none."""
        row = self._values.find(namespace, key, now.wall)
        if row is not None:
            self._drop(row)
        return row

    def delete(self, namespace: str, keys: Iterable[str], now: Now) -> int:
        """
        Forget values.

        @return: how many there were.
        """
        return sum(self.take(namespace, key, now) is not None for key in keys)

    def delete_version(self, namespace: str, key: str, version: int, now: Now) -> bool:
        """Forget a value if it has this version; whether it had."""
        row = self._values.find(namespace, key, now.wall)
        if row is None or row.version != version:
            return False
        self._drop(row)
        return True

    def increase(
        self, namespace: str, key: str, by: int, expires_at: float | None, now: Now
    ) -> ValueRow:
        """
        Add to the number that a value is, in decimal; where there is no value, to 0.

        @param expires_at: when it expires from now on; C{None}: as before.
        @return: the value.
        @raises Conflict: the value is no such number, or would leave the range.
        @raises ValuesFull: there is no room for it.
        """
        row = self._values.find(namespace, key, now.wall)
        count = 0 if row is None else _count_in(row)
        total = count + by
        if not -LARGEST_COUNT <= total <= LARGEST_COUNT:
            raise Conflict(
                f"value {key!r} of {namespace!r} is {count}, and with {by} it would leave the range"
                f" of -(2**53-1) to 2**53-1: it is unchanged",
                key=key,
            )
        if expires_at is None and row is not None:
            expires_at = row.expires_at
        return self._set(namespace, key, b"%d" % total, expires_at)

    def expire(self, now: Now) -> bool:
        """
        Take out the values that have expired.

        @return: whether there may be more.
        """
        due = self._values.expired(now.wall, SLICE)
        for row in due:
            self._drop(row)
        return len(due) == SLICE

    # --- how ------------------------------------------------------------------------

    def _set(self, namespace: str, key: str, value: bytes, expires_at: float | None) -> ValueRow:
        ledger = self._ledger
        row = ValueRow(namespace, key, value, ledger.next_seq, expires_at)
        self._check_room(row)
        ledger.next_seq += 1
        self._values.set(row)
        ledger.changes.values.mark(namespace, key, row)
        self._values.waits.wake(namespace, key)
        return row

    def _drop(self, row: ValueRow) -> None:
        self._values.drop(row)
        self._ledger.changes.values.mark(row.namespace, row.key, None)
        self._values.waits.wake(row.namespace, row.key)

    def _check_room(self, row: ValueRow) -> None:
        """
        @raises ValuesFull: there is no room for a value under its key.
        """
        values, policy = self._values, self._ledger.policy
        known = values.held(row.namespace, row.key)
        if known is None and values.count >= policy.max_values:
            raise _full(f"{values.count} values", f"{policy.max_values} (limits.max_values)")
        grown = bytes_of(row) - (0 if known is None else bytes_of(known))
        if grown <= 0:
            return
        if values.size_bytes + grown > policy.max_values_bytes:
            raise _full(
                f"values and keys of {values.size_bytes} bytes",
                f"{policy.max_values_bytes} (limits.max_values_bytes)",
            )
        bound = policy.memory_bytes
        taken = self._ledger.memory_bytes
        if bound is not None and taken + grown + VALUE_BYTES > bound:
            raise _full(
                f"tasks and values of about {taken} bytes",
                f"{bound}, which memory_limit leaves them",
            )


def _full(held: str, bound: str) -> ValuesFull:
    return ValuesFull(
        f"the broker holds {held}, and its bound is {bound}: delete what is not needed, let values"
        f" expire (expires_s), or raise the bound",
        retry_after_s=FULL_RETRY_S,
    )


def _count_in(row: ValueRow) -> int:
    """
    @raises Conflict: the value is no number that can be counted on.
    """
    text = row.value
    digits = text[1:] if text[:1] == b"-" else text
    if digits.isdigit() and len(text) <= _LONGEST_COUNT:
        return int(text)
    raise Conflict(
        f"value {row.key!r} of {row.namespace!r} has {len(text)} bytes that are no whole number in"
        f" decimal, so it cannot be increased: put a number there first",
        key=row.key,
    )
