"""
Tasks, workers and errors as the fields of answers.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from taskqueue import strictjson
from taskqueue.core.changes import HistoryRow, TaskRow
from taskqueue.core.delivery import Delivery
from taskqueue.core.ledger import Notice
from taskqueue.core.task import STATE_WORDS, State, TaskOptions
from taskqueue.core.workers import Worker
from taskqueue.errors import TaskQueueError

Header = dict[str, Any]


def _given(**fields: Any) -> Header:
    """The fields that have something to say."""
    return {name: value for name, value in fields.items() if value or value == 0}


def view_delivery(delivery: Delivery) -> Header:
    """A task in a worker's hands."""
    view = {
        "id": delivery.id,
        "type": delivery.type,
        "queue": delivery.queue,
        "priority": delivery.priority,
        "attempt": delivery.attempt,
        "lease": delivery.lease,
        "lease_s": delivery.lease_s,
        "submitted_at": delivery.submitted_at,
        "failures": delivery.failures,
        "losses": delivery.losses,
        "payload": delivery.payload,
    }
    if delivery.headers is not None:
        view["headers"] = strictjson.loads(delivery.headers.encode())
    return view


def view_task(row: TaskRow, *, result: bool = False) -> Header:
    """A task as it stands; with C{result}, that of a completed one."""
    view = {
        "id": row.id,
        "type": row.type,
        "queue": row.queue,
        "priority": row.priority,
        "state": STATE_WORDS[row.state],
        "attempt": row.attempt,
        "failures": row.failures,
        "losses": row.losses,
        "submitted_at": row.submitted_at,
    }
    view |= _given(
        run_at=row.run_at,
        expires_at=row.expires_at,
        claimed_at=row.claimed_at,
        ended_at=row.ended_at,
        worker=row.worker,
        error=row.error,
        depends_on=list(row.depends_on),
    )
    if row.unique is not None:
        view |= {"unique": row.unique.key, "unique_until": row.unique.until.word}
        view |= _given(unique_ends_at=row.unique.ends_at)
    if row.cancel_requested:
        view["cancel_requested"] = True
    if row.headers is not None:
        view["headers"] = strictjson.loads(row.headers.encode())
    if result and row.state == State.COMPLETED:
        view["result"] = row.result or b""
    return view


def view_options(options: TaskOptions, headers: str | None) -> Header:
    """The options, as far as they say something, and headers of tasks to come."""
    view = _given(**options._asdict())
    del view["on_dependency_failure"]
    if headers is not None:
        view["headers"] = strictjson.loads(headers.encode())
    return view


def view_history(rows: Iterable[HistoryRow]) -> list[Header]:
    """The events of a task."""
    return [
        {"at": row.at, "event": row.event, "attempt": row.attempt}
        | _given(worker=row.worker, started_at=row.started_at, detail=row.detail)
        for row in rows
    ]


def view_outcome(row: TaskRow) -> Header:
    """The event that tells how a task ended."""
    view = {
        "event": "outcome",
        "task": row.id,
        "type": row.type,
        "queue": row.queue,
        "state": STATE_WORDS[row.state],
        "attempt": row.attempt,
        "ended_at": row.ended_at,
    }
    view |= _given(worker=row.worker, error=row.error)
    if row.state == State.COMPLETED:
        view["result"] = row.result or b""
    return view


def view_outcomes(rows: Sequence[TaskRow]) -> Header:
    """The fields of an EVENT that tells how tasks ended."""
    return {"events": [view_outcome(row) for row in rows]}


def view_notice(notice: Notice) -> Header:
    """The event that tells a holder about one of its deliveries."""
    return {
        "event": notice.kind,
        "task": notice.task_id,
        "lease": notice.token,
        "reason": notice.reason,
    }


def view_worker(worker: Worker) -> Header:
    """A worker as the registry knows it."""
    info = worker.info
    return {
        "id": worker.name,
        "incarnation": worker.incarnation,
        "queues": list(info.queues),
        "types": None if info.types is None else sorted(info.types),
        "capacity": info.capacity,
        "host": info.host,
        "pid": info.pid,
        "registered_at": worker.registered_at,
        "beat_at": worker.beat_at,
        "connected": worker.link is not None,
        "door": getattr(worker.link, "door", None),
        "recovered": worker.recovered,
        "cpu_percent": worker.cpu_percent,
        "rss_bytes": worker.rss_bytes,
        "in_hand": worker.in_hand,
        "leases": len(worker.leases),
        "completed": worker.completed,
        "failed": worker.failed,
        "lost": worker.lost,
        "order": worker.order,
        "stalled": worker.stalled,
    }


def view_error(error: TaskQueueError) -> Header:
    """An error, for a NACK or for an item of a batch."""
    view: Header = {"code": error.code, "message": error.message}
    if error.retry_after_s is not None:
        view["retry_after_s"] = error.retry_after_s
    for name, value in error.fields.items():
        if value is not None and name not in ("id", "code", "message", "item"):
            view[name] = value
    return view


def view_errors(answers: Sequence[object]) -> Header:
    """The refused items of a batch, as the field that an answer has for them, if any."""
    errors = [
        {"item": i, **view_error(answer)}
        for i, answer in enumerate(answers)
        if isinstance(answer, TaskQueueError)
    ]
    return {"errors": errors} if errors else {}


def view_states(answers: Sequence[State | TaskQueueError]) -> Header:
    """The answers to a batch, where each accepted item has a state."""
    states = [None if isinstance(a, TaskQueueError) else STATE_WORDS[a] for a in answers]
    return {"states": states, **view_errors(answers)}
