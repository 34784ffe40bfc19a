"""
Who waits for values to change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from heapq import heapify, heappop, heappush
from typing import Any

#: Heaps shorter than this are not worth compacting.
_SMALL = 1024


class ValueWait:
    """
    A request to be told when one of some values changes.

    @ivar known: by key the version that whoever waits knows; 0 for no value.
    @ivar owner: whose request it is.
    @ivar deadline: monotonic moment until which it waits.
    @ivar reply: whatever the caller needs to answer it; not looked at here.
    """

    __slots__ = ("deadline", "known", "namespace", "owner", "reply", "serial")

    def __init__(
        self, namespace: str, known: Mapping[str, int], owner: object, deadline: float
    ) -> None:
        self.namespace = namespace
        self.known = known
        self.owner = owner
        self.deadline = deadline
        self.serial = 0
        self.reply: Any = None


class ValueWaits:
    """
    Every request that waits for a change.

    @ivar places: for how many keys all of them wait, a key counted once for each.
    @ivar woken: those for which something changed: they wait no longer, and whoever
        answers them empties it.
    """

    __slots__ = (
        *("_by_owner", "_by_place", "_deadlines", "_next_serial", "_waiting"),
        *("places", "woken"),
    )

    def __init__(self) -> None:
        self._next_serial = 1
        self._waiting: dict[int, ValueWait] = {}
        self._by_place: dict[tuple[str, str], dict[int, ValueWait]] = {}
        self._by_owner: dict[object, dict[int, ValueWait]] = {}
        self._deadlines: list[tuple[float, int]] = []
        self.places = 0
        self.woken: list[ValueWait] = []

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, wait: ValueWait) -> None:
        """Let C{wait} wait."""
        serial = wait.serial = self._next_serial
        self._next_serial += 1
        self._waiting[serial] = wait
        self._by_owner.setdefault(wait.owner, {})[serial] = wait
        self.places += len(wait.known)
        for key in wait.known:
            self._by_place.setdefault((wait.namespace, key), {})[serial] = wait
        heappush(self._deadlines, (wait.deadline, serial))
        if len(self._deadlines) > 2 * len(self._waiting) + _SMALL:
            self._deadlines = [(each.deadline, n) for n, each in self._waiting.items()]
            heapify(self._deadlines)

    def remove(self, wait: ValueWait) -> bool:
        """
        C{wait} waits no longer.

        @return: whether it was waiting.
        """
        if self._waiting.pop(wait.serial, None) is None:
            return False
        _leave(self._by_owner, wait.owner, wait.serial)
        self.places -= len(wait.known)
        for key in wait.known:
            _leave(self._by_place, (wait.namespace, key), wait.serial)
        return True

    def wake(self, namespace: str, key: str) -> None:
        """A value has changed: those that wait for it are woken."""
        for wait in list(self._by_place.get((namespace, key), {}).values()):
            self.remove(wait)
            self.woken.append(wait)

    def take_all_of(self, owner: object) -> list[ValueWait]:
        """Take out all requests of one owner."""
        return self._taken(list(self._by_owner.get(owner, {}).values()))

    def take_all(self) -> list[ValueWait]:
        """Take out all requests there are."""
        return self._taken(list(self._waiting.values()))

    def expired(self, mono: float) -> list[ValueWait]:
        """Take out the requests whose waiting time is over."""
        found: list[ValueWait] = []
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] <= mono:
            wait = self._waiting.get(heappop(deadlines)[1])
            if wait is not None:
                found.append(wait)
        return self._taken(found)

    def _taken(self, waits: Iterable[ValueWait]) -> list[ValueWait]:
        return [wait for wait in waits if self.remove(wait)]


def _leave(lines: dict[Any, dict[int, ValueWait]], name: Any, serial: int) -> None:
    line = lines[name]
    del line[serial]
    if not line:
        del lines[name]
