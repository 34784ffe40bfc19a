"""
How a task is shown to whoever fetches it, or looks for it: as a job.
"""

from __future__ import annotations

from typing import Any

from taskqueue import strictjson
from taskqueue.core.changes import HistoryRow
from taskqueue.core.delivery import Delivery
from taskqueue.core.task import Task
from taskqueue.errors import TaskQueueError
from taskqueue.frontends.faktory.failing import (
    EXPIRED_MESSAGE,
    EXPIRED_TYPE,
    Reason,
    Trouble,
    reason_of,
)
from taskqueue.frontends.faktory.jobs import Shown, retry_of, timestamp, view_native
from taskqueue.service import TaskQueueService

#: The events of a task's history that count as failed tries.
_FAILED, _LOST = "failed", "lost"


async def shown(
    service: TaskQueueService, delivery: Delivery, task: Task | None, given: dict[str, Any] | None
) -> bytes:
    """
    A delivery as the JSON of a job.

    @param task: what was delivered; C{None} where it is gone again already.
    @param given: what the job said when it was pushed; C{None} for a task that was submitted in
        another way.
    """
    count = delivery.failures + delivery.losses
    if given is not None and not count and "enqueued_at" in given:
        return delivery.payload
    run_at = None if task is None else task.run_at
    enqueued_at = max(delivery.submitted_at, run_at or 0.0)
    if given is None:
        retries = 0 if task is None else retries_of(task)
        view = view_native(_shown(delivery, enqueued_at), retries)
    else:
        retries = retry_of(given)
        view = {**given, "enqueued_at": timestamp(enqueued_at)}
    if count and task is not None:
        trouble = await _trouble(service, task, count, retries)
        view["failure"] = trouble.view()
    return strictjson.dumps(view)


def _shown(delivery: Delivery, enqueued_at: float) -> Shown:
    return Shown(
        delivery.id,
        delivery.type,
        delivery.queue,
        delivery.payload,
        delivery.headers,
        delivery.submitted_at,
        enqueued_at,
    )


def retries_of(task: Task) -> int:
    """How often a task is tried again."""
    own = task.options.max_retries
    return task.lane.queue.policy.max_retries if own is None else own


async def _trouble(service: TaskQueueService, task: Task, count: int, retries: int) -> Trouble:
    """What a task has been through, as its history tells."""
    failures, run_at, error = task.failures, task.run_at, task.error
    claimed_at = task.claimed_at or task.submitted_at
    events = await _failed_tries(service, task.seq, count)
    first_at = events[0].at if events else claimed_at
    reason = reason_of(error)
    if not failures or (events and events[-1].event == _LOST):
        reason = Reason(EXPIRED_TYPE, EXPIRED_MESSAGE)
    tries = count - 1
    return Trouble(
        reason,
        tries,
        max(0, retries - tries),
        timestamp(first_at),
        timestamp(run_at) if failures and run_at is not None else None,
    )


async def _failed_tries(service: TaskQueueService, seq: int, count: int) -> list[HistoryRow]:
    """
    The events of the last tries that came to nothing; none where the store cannot tell: the job
    is shown all the same.
    """
    try:
        await service.journal.barrier(None)
        events = await service.reader.history(seq)
    except TaskQueueError:
        return []
    return [event for event in events if event.event in (_FAILED, _LOST)][-count:]
