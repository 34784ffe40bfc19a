"""
Values under keys: the books about them.

A value is opaque bytes under a key, within a namespace.  Each write gives it a version,
which is a number that nothing had before it: versions are counted with the C{seq}s of
tasks, which never come twice, whatever crashes.  A value may expire: from that wall-clock
moment on it is not there for whoever asks, although it is taken out a little later.

All values are in memory, and in the store.  They are for what is small: results,
counters, locks, who is bound to what.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from heapq import heapify, heappop, heappush
from itertools import chain

from taskqueue.core.rows import ValueRow
from taskqueue.core.sorted_keys import SortedKeys
from taskqueue.core.value_waits import ValueWaits

#: About what a value takes in memory beside its key and its bytes.
VALUE_BYTES = 360

#: About what a namespace takes beside its values.
NAMESPACE_BYTES = 500

_SMALL = 64


def bytes_of(row: ValueRow) -> int:
    """What a value counts towards the bound on the bytes of all: its key, and itself."""
    key = row.key
    return (len(key) if key.isascii() else len(key.encode())) + len(row.value)


class Values:
    """
    Every value, by namespace and key.

    @ivar by_namespace: the values of each namespace that has any, by key; some may have
        expired.
    @ivar count: how many there are.
    @ivar size_bytes: of them, as L{bytes_of} counts.
    @ivar waits: who waits for a change.
    """

    __slots__ = ("_ends", "_expiring", "_orders", "by_namespace", "count", "size_bytes", "waits")

    def __init__(self) -> None:
        self.by_namespace: dict[str, dict[str, ValueRow]] = {}
        self.count = 0
        self.size_bytes = 0
        self.waits = ValueWaits()
        # Of the namespaces whose values somebody has listed.
        self._orders: dict[str, SortedKeys] = {}
        # Moments at which values expire, by version: some are gone or were written again.
        self._ends: list[tuple[float, int, str, str]] = []
        self._expiring = 0

    @property
    def memory_bytes(self) -> int:
        """About how many bytes all values take in memory."""
        namespaces = len(self.by_namespace) * NAMESPACE_BYTES
        return self.size_bytes + self.count * VALUE_BYTES + namespaces

    # --- looking --------------------------------------------------------------------

    def held(self, namespace: str, key: str) -> ValueRow | None:
        """A value that is in memory, although it may have expired."""
        rows = self.by_namespace.get(namespace)
        return None if rows is None else rows.get(key)

    def find(self, namespace: str, key: str, wall: float) -> ValueRow | None:
        """The value under a key."""
        row = self.held(namespace, key)
        if row is None or (row.expires_at is not None and row.expires_at <= wall):
            return None
        return row

    def changed(
        self, namespace: str, known: Mapping[str, int], wall: float
    ) -> dict[str, ValueRow | None]:
        """
        Of these keys those whose values have another version than is known.

        @param known: by key the version, 0 for no value.
        @return: the values by key; C{None} for one that is gone.
        """
        found: dict[str, ValueRow | None] = {}
        for key, version in known.items():
            row = self.find(namespace, key, wall)
            if (0 if row is None else row.version) != version:
                found[key] = row
        return found

    def listed(
        self, namespace: str, prefix: str, after: str | None, wall: float
    ) -> Iterator[ValueRow]:
        """
        The values whose keys begin with C{prefix}, in the order of the keys, beyond the key
        C{after}; to be used up before anything changes.
        """
        rows = self.by_namespace.get(namespace)
        if rows is None:
            return
        order = self._orders.get(namespace)
        if order is None:
            order = self._orders[namespace] = SortedKeys(rows)
        for key in order.beyond(after, prefix):
            if not key.startswith(prefix):
                return
            row = rows[key]
            if row.expires_at is None or row.expires_at > wall:
                yield row

    def everything(self) -> Iterator[ValueRow]:
        """All values there are, also those that have expired."""
        return chain.from_iterable(rows.values() for rows in self.by_namespace.values())

    # --- changing -------------------------------------------------------------------

    def restore(self, rows: Iterable[ValueRow]) -> None:
        """The store has these values, and no others."""
        ends, size_bytes = self._ends, 0
        for row in rows:
            namespace, key, value, version, expires_at = row
            held = self.by_namespace.get(namespace)
            if held is None:
                held = self.by_namespace[namespace] = {}
            held[key] = row
            size_bytes += (len(key) if key.isascii() else len(key.encode())) + len(value)
            if expires_at is not None:
                ends.append((expires_at, version, namespace, key))
        heapify(ends)
        self._expiring = len(ends)
        self.size_bytes = size_bytes
        self.count = sum(map(len, self.by_namespace.values()))

    def set(self, row: ValueRow) -> None:
        """Put a value under its key, instead of any that is there."""
        namespace, key, _, version, expires_at = row
        rows = self.by_namespace.setdefault(namespace, {})
        before = rows.get(key)
        rows[key] = row
        self.size_bytes += bytes_of(row)
        if before is not None:
            self._uncount(before)
        elif (order := self._orders.get(namespace)) is not None:
            order.add(key)
        self.count += 1
        if expires_at is not None:
            self._expiring += 1
            self._watch((expires_at, version, namespace, key))

    def drop(self, row: ValueRow) -> None:
        """Forget a value that is there."""
        rows = self.by_namespace[row.namespace]
        del rows[row.key]
        self._uncount(row)
        if not rows:
            del self.by_namespace[row.namespace]
            self._orders.pop(row.namespace, None)
        elif (order := self._orders.get(row.namespace)) is not None:
            order.remove(row.key)

    def _uncount(self, row: ValueRow) -> None:
        self.count -= 1
        self.size_bytes -= bytes_of(row)
        if row.expires_at is not None:
            self._expiring -= 1

    def _watch(self, end: tuple[float, int, str, str]) -> None:
        heappush(self._ends, end)
        if len(self._ends) > 2 * self._expiring + _SMALL:
            self._ends = [
                (row.expires_at, row.version, row.namespace, row.key)
                for row in self.everything()
                if row.expires_at is not None
            ]
            heapify(self._ends)

    def expired(self, wall: float, limit: int) -> list[ValueRow]:
        """Up to C{limit} values that have expired, those that did first, first; they stay."""
        found: list[ValueRow] = []
        ends = self._ends
        while ends and ends[0][0] <= wall and len(found) < limit:
            _, version, namespace, key = heappop(ends)
            row = self.held(namespace, key)
            if row is not None and row.version == version:
                found.append(row)
        return found

    # --- auditing -------------------------------------------------------------------

    def audit(self, say: Callable[[str], None]) -> None:
        """Recount everything, and C{say} what disagrees."""
        every = list(self.everything())
        if self.count != len(every):
            say(f"{self.count} values are counted, recounted {len(every)}")
        size = sum(map(bytes_of, every))
        if self.size_bytes != size:
            say(f"values have {self.size_bytes} bytes, recounted {size}")
        ends = {version: end for end, version, _, _ in self._ends}
        expiring = [row for row in every if row.expires_at is not None]
        if self._expiring != len(expiring):
            say(f"{self._expiring} values are to expire, recounted {len(expiring)}")
        for row in expiring:
            if ends.get(row.version) != row.expires_at:
                say(f"value {row.key!r} of {row.namespace!r} will not expire in time")
        for namespace, order in self._orders.items():
            if list(order) != sorted(self.by_namespace.get(namespace, ())):
                say(f"the keys of values in {namespace!r} are out of order")
