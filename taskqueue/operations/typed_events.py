"""
Events as typed values.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import UNSET, Struct, UnsetType

from taskqueue.core.changes import TaskRow
from taskqueue.core.task import STATE_WORDS, State
from taskqueue.wire.typed import AnswerHeader, Reply


class _Outcome(Struct, gc=False):
    """What L{taskqueue.operations.views.view_outcome} tells."""

    event: str
    task: str
    type: str
    queue: str
    state: str
    attempt: int
    ended_at: float | None
    worker: str | UnsetType
    error: str | UnsetType
    result_size: int | UnsetType


class _Outcomes(AnswerHeader, gc=False):
    """An EVENT."""

    events: list[_Outcome]


def reply_outcomes(rows: Sequence[TaskRow]) -> Reply:
    """The event that tells how tasks ended."""
    events = []
    results = []
    for row in rows:
        size: int | UnsetType = UNSET
        if row.state == State.COMPLETED:
            result = row.result or b""
            results.append(result)
            size = len(result)
        events.append(
            _Outcome(
                "outcome",
                row.id,
                row.type,
                row.queue,
                STATE_WORDS[row.state],
                row.attempt,
                row.ended_at,
                row.worker or UNSET,
                row.error or UNSET,
                size,
            )
        )
    return Reply(_Outcomes(events), results)
