"""
Batches: each item is checked, and answered, by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from taskqueue.errors import BadRequest, BatchTooLarge, TaskQueueError
from taskqueue.operations.fields import Form

_T = TypeVar("_T")


class Batch(Generic[_T]):
    """
    The items of a request, sorted into those that can be carried out and those
    that cannot.

    @ivar items: the former, in order.
    """

    def __init__(self, raw: list[Any], most: int, read: Callable[[Any], _T], field: str) -> None:
        """
        @param field: the field of the request that has the items.
        @param most: how many items there may be.
        @param read: makes of one raw item what the service wants.
        @raises BatchTooLarge: there are more.
        """
        if len(raw) > most:
            raise BatchTooLarge(
                f"{field} has {len(raw)} items, at most {most} are allowed: split the batch",
                field=field,
                limit=most,
            )
        self.items: list[_T] = []
        self._refused: dict[int, TaskQueueError] = {}
        self._size = len(raw)
        for position, item in enumerate(raw):
            try:
                self.items.append(read(item))
            except TaskQueueError as error:
                self._refused[position] = error.alone()

    def merge(self, answers: Sequence[Any]) -> list[Any]:
        """The answers for all items, from those for L{items}."""
        if not self._refused:
            return list(answers)
        rest = iter(answers)
        refused = self._refused
        return [
            refused[position] if position in refused else next(rest)
            for position in range(self._size)
        ]


def read_with(form: Form, build: Callable[[dict[str, Any]], _T], what: str) -> Callable[[Any], _T]:
    """A reader of raw items: checked by C{form}, then made into something by C{build}."""

    def read(raw: Any) -> _T:
        return build(form.parse(raw, what))

    return read


def either(values: dict[str, Any], at: str, in_s: str, now: float) -> float | None:
    """
    A moment that may be given as such or as a distance from now.

    @raises BadRequest: it is given both ways.
    """
    distance_s = values.get(in_s)
    if distance_s is None:
        moment: float | None = values.get(at)
        return moment
    if values.get(at) is not None:
        raise BadRequest(f"{at} and {in_s} are both given: give one of them", field=in_s)
    return now + float(distance_s)
