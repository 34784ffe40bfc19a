"""
Which values have changed, and which of these changes are not stored yet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from taskqueue.core.rows import ValueRow

#: Namespace and key.
Place = tuple[str, str]

_NOTHING: tuple[Sequence[ValueRow], Sequence[Place]] = ((), ())


class ValueMarks:
    """
    The marks that are set on values, until somebody drains them.

    @ivar marked: how values stand that changed since the last drain; C{None}: gone.
    @ivar draining: those that were drained, and are not certainly stored.
    """

    __slots__ = ("draining", "marked")

    def __init__(self) -> None:
        self.marked: dict[Place, ValueRow | None] = {}
        self.draining: dict[Place, ValueRow | None] = {}

    def mark(self, namespace: str, key: str, row: ValueRow | None) -> None:
        """A value stands so now, or (C{None}) is gone."""
        self.marked[namespace, key] = row

    def drain(self) -> tuple[Sequence[ValueRow], Sequence[Place]]:
        """What has changed since the last drain: values, and the places of those that are gone."""
        marked = self.marked
        if not marked:
            return _NOTHING
        self.marked = {}
        self.draining = {**self.draining, **marked} if self.draining else marked
        values = [row for row in marked.values() if row is not None]
        return values, [place for place, row in marked.items() if row is None]

    def stored(self) -> None:
        """All that was drained is stored."""
        if self.draining:
            self.draining = {}

    def are_stored(self, namespace: str, keys: Iterable[str]) -> bool:
        """Whether these values stand in the store as they do here."""
        if not (self.marked or self.draining):
            return True
        places = [(namespace, key) for key in keys]
        return not any(place in self.marked or place in self.draining for place in places)

    def is_stored(self, namespace: str) -> bool:
        """The same of all values of a namespace."""
        return not any(
            place[0] == namespace for marks in (self.marked, self.draining) for place in marks
        )
