"""
Whether a task is one that a filter wants, without a database.
"""

from __future__ import annotations

from collections.abc import Callable

from taskqueue.core.changes import TaskRow
from taskqueue.store.interface import Filter
from taskqueue.store.queries import folded


def _within(value: float | None, low: float | None, high: float | None) -> bool:
    """Whether low <= value < high; a bound that is C{None} does not bind."""
    if low is None and high is None:
        return True
    if value is None:
        return False
    return (low is None or low <= value) and (high is None or value < high)


def matching(filter: Filter) -> Callable[[TaskRow], bool]:
    """Whether one task matches C{filter}."""
    text = None if filter.error_contains is None else folded(filter.error_contains)

    def matches(row: TaskRow) -> bool:
        return (
            (filter.states is None or row.state in filter.states)
            and (filter.queue is None or row.queue == filter.queue)
            and (filter.type is None or row.type == filter.type)
            and (filter.worker is None or row.worker == filter.worker)
            and _within(row.priority, filter.priority_from, filter.priority_to)
            and _within(row.submitted_at, filter.submitted_from, filter.submitted_to)
            and _within(row.ended_at, filter.ended_from, filter.ended_to)
            and (text is None or (row.error is not None and text in folded(row.error)))
        )

    return matches
