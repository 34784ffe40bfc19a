"""
Whether tasks are those that a filter wants, without a database.

Many are looked at: so one condition after another is put to all of them, in a
comprehension each, at a fifth of what a call for each task would cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from taskqueue.core.changes import TaskRow, TaskUpdate
from taskqueue.store.interface import Filter
from taskqueue.store.queries import folded

#: Whatever tells what a task always was (for steps that ask for it: a L{TaskRow}), and what
#: tells how it stands now.
Pair = tuple[Any, TaskRow | TaskUpdate]

#: Leaves the pairs that meet one condition.
Step = Callable[[list[Pair]], list[Pair]]

#: The fields of a filter that ask for what can change.
CHANGING = ("states", "worker", "ended_from", "ended_to", "error_contains")


def _at(name: str) -> int:
    """Where a column stands from the end: both kinds of rows end alike."""
    return TaskRow._fields.index(name) - len(TaskRow._fields)


def changing_steps(filter: Filter) -> list[Step]:
    """The conditions on what an update can change."""
    steps: list[Step] = []
    if filter.states is not None:
        steps.append(_one_of(_at("state"), frozenset(map(int, filter.states))))
    if filter.worker is not None:
        steps.append(_one_of(_at("worker"), frozenset((filter.worker,))))
    steps += _within(1, _at("ended_at"), filter.ended_from, filter.ended_to)
    if filter.error_contains is not None:
        steps.append(_containing(_at("error"), folded(filter.error_contains)))
    return steps


def fixed_steps(filter: Filter) -> list[Step]:
    """The conditions on what stays as it is."""
    steps: list[Step] = []
    if filter.queue is not None:
        steps.append(_equal_to(_at("queue"), filter.queue))
    if filter.queues is not None:
        steps.append(_in_one_of(_at("queue"), filter.queues))
    if filter.type is not None:
        steps.append(_equal_to(_at("type"), filter.type))
    steps += _within(0, _at("priority"), filter.priority_from, filter.priority_to)
    steps += _within(0, _at("submitted_at"), filter.submitted_from, filter.submitted_to)
    return steps


def put(steps: Sequence[Step], pairs: list[Pair]) -> list[Pair]:
    """Those that meet all conditions, in their order."""
    for step in steps:
        if not pairs:
            break
        pairs = step(pairs)
    return pairs


def matching(filter: Filter) -> Callable[[TaskRow], bool]:
    """Whether one task matches C{filter}."""
    steps = changing_steps(filter) + fixed_steps(filter)
    return lambda row: bool(put(steps, [(row, row)]))


def _one_of(at: int, wanted: frozenset[object]) -> Step:
    return lambda pairs: [pair for pair in pairs if pair[1][at] in wanted]


def _equal_to(at: int, wanted: str) -> Step:
    return lambda pairs: [pair for pair in pairs if pair[0][at] == wanted]


def _in_one_of(at: int, wanted: frozenset[str]) -> Step:
    return lambda pairs: [pair for pair in pairs if pair[0][at] in wanted]


def _containing(at: int, text: str) -> Step:
    def step(pairs: list[Pair]) -> list[Pair]:
        some = [(pair, pair[1][at]) for pair in pairs if pair[1][at] is not None]
        return [pair for pair, error in some if text in folded(str(error))]

    return step


def _within(part: int, at: int, low: float | None, high: float | None) -> list[Step]:
    """low <= value < high; a bound that is C{None} does not bind, no value is within none."""
    found: list[Step] = []
    if low is not None:
        found.append(lambda pairs: [p for p in pairs if _not_below(p[part][at], low)])
    if high is not None:
        found.append(lambda pairs: [p for p in pairs if _below(p[part][at], high)])
    return found


def _not_below(value: object, low: float) -> bool:
    return value is not None and value >= low  # type: ignore[operator]  # a number


def _below(value: object, high: float) -> bool:
    return value is not None and value < high  # type: ignore[operator]  # a number
