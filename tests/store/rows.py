"""
Rows for the store's tests, and Hypothesis strategies that make histories of batches.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from taskqueue.core.changes import (
    EVENTS,
    Batch,
    HistoryRow,
    QueueRow,
    TaskRow,
    TaskUpdate,
    ValueRow,
)
from taskqueue.core.periodic import Periodic, PeriodicRow
from taskqueue.core.task import (
    DEFAULT_OPTIONS,
    FIRST_ENDED,
    LEAST_PRIORITY,
    State,
    TaskOptions,
    Unique,
    Until,
)

NOW = 1_700_000_000.0


def task(seq: int, **given: Any) -> TaskRow:
    """A new pending task, but for what is given."""
    fields: dict[str, Any] = {
        "seq": seq,
        "id": f"task-{seq}",
        "queue": "default",
        "type": "send_email",
        "priority": 150,
        "submitted_at": NOW + seq,
        "expires_at": None,
        "options": DEFAULT_OPTIONS,
        "headers": None,
        "depends_on": (),
        "unique": None,
        "payload": b"payload %d" % seq,
        "state": int(State.PENDING),
        "run_at": None,
        "attempt": 0,
        "failures": 0,
        "losses": 0,
        "token": 0,
        "worker": None,
        "incarnation": 0,
        "lease_s": None,
        "claimed_at": None,
        "ended_at": None,
        "cancel_requested": False,
        "error": None,
        "result": None,
    }
    return TaskRow(**{**fields, **given})


def update(row: TaskRow, **given: Any) -> TaskUpdate:
    """A change to a task, but for what is given to as it was."""
    fields = {name: getattr(row, name) for name in TaskUpdate._fields}
    return TaskUpdate(**{**fields, **given})


def updated(row: TaskRow, change: TaskUpdate) -> TaskRow:
    """The task after a change."""
    return row._replace(**change._asdict())


def batch(
    inserts: list[TaskRow] | None = None,
    updates: list[TaskUpdate] | None = None,
    history: list[HistoryRow] | None = None,
    queues: list[QueueRow] | None = None,
    removed: list[int] | None = None,
    token_ceiling: int | None = None,
    next_seq: int = 1,
    periodics: Sequence[PeriodicRow] = (),
    dropped: Sequence[str] = (),
    values: Sequence[ValueRow] = (),
    unset: Sequence[tuple[str, str]] = (),
) -> Batch:
    """A batch with nothing in it but what is given."""
    newest = max((row.seq for row in inserts or ()), default=0)
    return Batch(
        inserts or [],
        updates or [],
        history or [],
        queues or [],
        removed or [],
        token_ceiling,
        max(next_seq, newest + 1),
        periodics,
        dropped,
        values,
        unset,
    )


EVERY_FIELD = task(
    7,
    id="01890a5d-ac96-774b-bcce-b302099a8057",
    queue="mail/out",
    type="send",
    priority=255,
    expires_at=NOW + 100.25,
    options=TaskOptions(max_retries=0, lease_s=12.5, on_dependency_failure="run"),
    headers='{"trace":"ü\\u0000"}',
    depends_on=("a", "b"),
    unique=Unique("mail:ü\x00", Until.WINDOW, NOW + 50.5),
    payload=b"\x00\xff",
    state=int(State.IN_PROGRESS),
    run_at=NOW + 1,
    attempt=3,
    failures=1,
    losses=1,
    token=2**62,
    worker="w-1",
    incarnation=2**53,
    lease_s=30.5,
    claimed_at=NOW + 2,
    cancel_requested=True,
    error="was: 100 %\x00_'\"",
    result=b"",
)


VALUE = ValueRow("celery/results", "meta:ü\x06", b"\x00\xff", 2**53 - 1, NOW + 0.25)

HOURLY = PeriodicRow(Periodic("hourly", "send", every_s=3600.0), next_at=NOW)
NIGHTLY = PeriodicRow(
    Periodic(
        "nightly",
        "report",
        cron="30 2 * * MON-FRI",
        tz="Europe/Paris",
        catch_up="all",
        catch_up_window_s=7200.5,
        overlap=False,
        payload=b"\x00\xff" * 3000,
        queue="reports/night",
        priority=7,
        expires_in_s=600.0,
        headers='{"trace":"ü\\u0000"}',
        options=TaskOptions(max_retries=0, lease_s=12.5, retry_jitter=0.0),
    ),
    paused=True,
    next_at=None,
    ticked_at=NOW - 1.25,
    last_at=NOW,
    last_task="a-task",
    fired=2**40,
    skipped=3,
)


# --- random lives --------------------------------------------------------------


def _outcome(state: State, number: int, size: int) -> dict[str, Any]:
    ended = state >= FIRST_ENDED
    return {
        "state": int(state),
        "attempt": number,
        "token": number,
        "worker": f"w{number % 3}",
        "ended_at": NOW + number if ended else None,
        "error": f"Boom 100% of {number}" if state == State.DEAD_LETTER else None,
        "result": bytes(size) if state == State.COMPLETED else None,
    }


@st.composite
def lives(draw: st.DrawFn, also: Sequence[str] = ()) -> list[Batch]:
    """
    Batches as a core could have written them: tasks come in, coalesced or
    not, change, end, are revived and removed; each at most once a batch.

    @param also: C{("insert",)}: tasks are inserted again, too, as a revival or a new priority
        does.
    """
    known: dict[int, TaskRow] = {}
    batches: list[Batch] = []
    seq, number = 1, 0
    states = st.sampled_from(list(State))
    sizes = st.sampled_from((0, 3, 1024, 1025, 5000))
    for _ in range(draw(st.integers(1, 6))):
        changes, removed, history, new = [], [], [], []
        for row in list(known.values()):
            what = draw(st.sampled_from(("keep", "change", "change", "remove", *also)))
            number += 1
            if what == "change":
                changes.append(update(row, **_outcome(draw(states), number, draw(sizes))))
                known[row.seq] = updated(row, changes[-1])
                event = draw(st.sampled_from(EVENTS))
                history.append(HistoryRow(row.seq, NOW + number, event, number, None, None, "x"))
            elif what == "remove":
                removed.append(row.seq)
                del known[row.seq]
            elif what == "insert":
                priority = draw(st.sampled_from((row.priority, -number)))
                new.append(
                    row._replace(
                        expires_at=NOW, priority=priority, **_outcome(draw(states), number, 3)
                    )
                )
                known[row.seq] = new[-1]
        for _ in range(draw(st.integers(0, 5))):
            number += 1
            row = task(
                seq,
                queue=draw(st.sampled_from(("default", "mail"))),
                type=draw(st.sampled_from(("send", "resize"))),
                priority=draw(st.integers(0, 255) | st.integers(LEAST_PRIORITY, 0)),
                payload=bytes(draw(sizes)),
                **_outcome(draw(states), number, draw(sizes)),
            )
            new.append(row)
            known[seq] = row
            seq += draw(st.integers(1, 2))
        batches.append(batch(new, changes, history, removed=removed, next_seq=seq))
    return batches


def after(batches: list[Batch]) -> dict[int, TaskRow]:
    """The tasks that a store must hold after these batches, by C{seq}."""
    rows: dict[int, TaskRow] = {}
    for each in batches:
        rows.update((row.seq, row) for row in each.inserts)
        for change in each.updates:
            rows[change.seq] = updated(rows[change.seq], change)
        for seq in each.removed:
            del rows[seq]
    return rows
