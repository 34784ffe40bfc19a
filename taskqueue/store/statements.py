"""
The statements that write batches, and the rows that they are made of.

Why one statement per table and batch
=====================================

Each step of a statement gives the interpreter lock away and waits for it
again.  C{executemany} steps once a row, and beside a busy reactor that wait is
up to a switch interval (5 ms) each time.  One C{VALUES} list of many rows steps
once.  A list has one of a few lengths, so that the prepared statements are
found again; what is missing to that length is filled with NULLs, which a
C{WHERE} drops: to bind a NULL costs next to nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

from taskqueue.core.changes import Batch, QueueRow, TaskRow, TaskUpdate
from taskqueue.core.task import DEFAULT_OPTIONS, TaskOptions, Unique, Until
from taskqueue.store import key_values, periodics

#: One statement and its parameters.
Call = tuple[str, Sequence[Any]]

#: Rows of the longest statement: 28 columns of them are below SQLite's 32,766 parameters.
LONGEST = 1024

#: Payloads and results over this many bytes stand in C{blobs}.
INLINE_BYTES = 1024

#: The columns of a task's key: all three NULL where it has none.
UNIQUE_COLUMNS = ("unique_key", "unique_until", "unique_ends_at")
_UNIQUE = TaskRow._fields.index("unique")
_PLAIN = (*TaskRow._fields[:_UNIQUE], *TaskRow._fields[_UNIQUE + 1 :])
COLUMNS = (*_PLAIN, *UNIQUE_COLUMNS)
_CHANGING = TaskUpdate._fields[1:]
_OPTIONS, _DEPENDS_ON, _PAYLOAD, _STATE, _CANCEL, _RESULT = (
    _PLAIN.index(name)
    for name in ("options", "depends_on", "payload", "state", "cancel_requested", "result")
)


class ManyRows:
    """
    One statement in the lengths that are needed.

    @param columns: parameters of a row; the first is never NULL.
    @param template: SQL with C{{rows}} where the C{VALUES} clause belongs.
    """

    def __init__(self, columns: int, template: str) -> None:
        self._columns = columns
        self._template = template
        self._texts: dict[int, str] = {}

    def calls(self, values: Sequence[Any], longest: int = LONGEST) -> Iterator[Call]:
        """
        The statements that handle all rows.

        @param values: of all rows, one after another.
        @param longest: the most rows of one statement.
        """
        step = longest * self._columns
        for start in range(0, len(values), step):
            chunk = list(values[start : start + step])
            rows = len(chunk) // self._columns
            length = 1 << (rows - 1).bit_length()
            chunk.extend((None,) * ((length - rows) * self._columns))
            yield self._text(length), chunk

    def _text(self, length: int) -> str:
        text = self._texts.get(length)
        if text is None:
            row = "(" + ",".join("?" * self._columns) + ")"
            rows = "VALUES " + ",".join([row] * length)
            text = self._texts[length] = self._template.replace("{rows}", rows)
        return text


# A task that is there already is written as it stands in the batch: so a commit may be sent
# again, and a revival or a new priority may change what updates do not carry.  Two tasks with
# one seq can only be a bug: NULL breaks the constraint on the state.
def _inserting(columns: Sequence[str]) -> ManyRows:
    again = ("priority", "expires_at", "options", *_CHANGING[1:])
    return ManyRows(
        len(columns),
        f"INSERT INTO tasks ({', '.join(columns)}) SELECT * FROM ({{rows}})"
        " WHERE column1 IS NOT NULL"
        " ON CONFLICT (seq) DO UPDATE SET state = iif(id = excluded.id, excluded.state, NULL), "
        + ", ".join(f"{name} = excluded.{name}" for name in again),
    )


# To bind three NULLs for each task without a key would cost 7 % of its insertion.
_INSERT_TASKS = _inserting(_PLAIN)
_INSERT_KEYED_TASKS = _inserting(COLUMNS)
_UPDATE_TASKS = ManyRows(
    len(TaskUpdate._fields),
    "UPDATE tasks SET "
    + ", ".join(f"{name} = column{number}" for number, name in enumerate(_CHANGING, start=2))
    + " FROM ({rows}) WHERE seq = column1",
)
_STORE_BLOBS = ManyRows(
    2, "INSERT OR REPLACE INTO blobs SELECT * FROM ({rows}) WHERE column1 IS NOT NULL"
)
_ADD_HISTORY = ManyRows(
    7,
    "INSERT OR IGNORE INTO history (seq, at, event, attempt, worker, started_at, detail)"
    " SELECT * FROM ({rows}) WHERE column1 IS NOT NULL",
)
_STORE_QUEUES = ManyRows(
    len(QueueRow._fields),
    "INSERT OR REPLACE INTO queues SELECT * FROM ({rows}) WHERE column1 IS NOT NULL",
)
_STORE_PERIODICS = ManyRows(
    len(periodics.COLUMNS),
    "INSERT OR REPLACE INTO periodics SELECT * FROM ({rows}) WHERE column1 IS NOT NULL",
)
_DROP_PERIODICS = ManyRows(1, "DELETE FROM periodics WHERE name IN ({rows})")
_REMOVE_TASKS = ManyRows(1, "DELETE FROM tasks WHERE seq IN ({rows})")
# Neither ever goes back, whatever a caller says: tokens and places in line are given out once.
_STORE_VALUES = ManyRows(
    len(key_values.COLUMNS),
    f"INSERT OR REPLACE INTO key_values ({', '.join(key_values.COLUMNS)})"
    " SELECT * FROM ({rows}) WHERE column1 IS NOT NULL",
)
_UNSET_VALUES = ManyRows(2, "DELETE FROM key_values WHERE (namespace, key) IN ({rows})")
_RAISE_META = ManyRows(
    2,
    "INSERT INTO meta SELECT * FROM ({rows}) WHERE column1 IS NOT NULL"
    " ON CONFLICT (key) DO UPDATE SET value = max(value, excluded.value)",
)


# The log's id is chosen anew for each log.
BEGIN_LOG = "INSERT OR REPLACE INTO meta VALUES ('log_id', ?)"
NO_LOG = "DELETE FROM meta WHERE key = 'log_id'"


def writing(batch: Batch, next_seq: int) -> list[Call]:
    """
    The statements that store a batch.

    @param next_seq: what the store would recover as such without this batch.
    """
    return [
        *_rows(batch, LONGEST),
        *_REMOVE_TASKS.calls(batch.removed),
        *_RAISE_META.calls(_meta(batch, next_seq)),
    ]


class Tally:
    """
    What has been settled so far.

    @ivar next_seq: what the store recovers as such then.
    @ivar token_ceiling: the one that came last, if one did.
    @ivar facts: how many there were.
    """

    __slots__ = ("facts", "next_seq", "token_ceiling")

    def __init__(self, next_seq: int) -> None:
        self.next_seq = next_seq
        self.token_ceiling: int | None = None
        self.facts = 0

    def add(self, batch: Batch) -> None:
        """Count a batch."""
        self.next_seq = next_seq_after(batch, self.next_seq)
        self.facts += batch.facts
        if batch.token_ceiling is not None:
            self.token_ceiling = batch.token_ceiling


def settling(batches: Iterable[Batch], lsn: int, tally: Tally) -> Iterator[Call]:
    """
    The statements that store what many commits come to; what a batch removes
    is removed first.  They are made one by one: all at once would take as much memory again
    as the rows, and the interpreter lock for as long.

    @param batches: likewise made while they are stored.
    @param lsn: the number of the newest of these commits.
    @param tally: counts them.
    """
    for batch in batches:
        tally.add(batch)
        yield from _REMOVE_TASKS.calls(batch.removed)
        yield from _rows(batch, LONGEST)
    meta = ["lsn", lsn, "next_seq", tally.next_seq]
    if tally.token_ceiling is not None:
        meta += ("token_ceiling", tally.token_ceiling)
    yield from _RAISE_META.calls(meta)


def _rows(batch: Batch, longest: int) -> Iterator[Call]:
    """The statements that store everything but removals and numbers."""
    for start in range(0, len(batch.inserts), longest):
        yield from _inserts(batch.inserts[start : start + longest], longest)
    for start in range(0, len(batch.updates), longest):
        yield from _updates(batch.updates[start : start + longest], longest)
    for start in range(0, len(batch.history), longest):
        events = batch.history[start : start + longest]
        yield from _ADD_HISTORY.calls([value for event in events for value in event], longest)
    yield from _STORE_QUEUES.calls([value for queue in batch.queues for value in queue])
    yield from _STORE_PERIODICS.calls(periodics.bound(batch.periodics))
    yield from _DROP_PERIODICS.calls(batch.dropped)
    yield from _UNSET_VALUES.calls([name for place in batch.unset for name in place], longest)
    for start in range(0, len(batch.values), longest):
        rows = batch.values[start : start + longest]
        yield from _STORE_VALUES.calls(key_values.bound(rows), longest)


def _inserts(rows: Sequence[TaskRow], longest: int) -> Iterator[Call]:
    tasks: list[Any] = []
    keyed: list[Any] = []
    blobs: list[Any] = []
    for row in rows:
        if row.unique is None:
            tasks += _bound(row, blobs)
        else:
            keyed += (*_bound(row, blobs), *row.unique)
    yield from _INSERT_TASKS.calls(tasks, longest)
    yield from _INSERT_KEYED_TASKS.calls(keyed, longest)
    yield from _STORE_BLOBS.calls(blobs, longest)


def _updates(updates: Sequence[TaskUpdate], longest: int) -> Iterator[Call]:
    values: list[Any] = []
    blobs: list[Any] = []
    for update in updates:
        if update.result is not None and len(update.result) > INLINE_BYTES:
            blobs += (update.seq * 2 + 1, update.result)
            update = update._replace(result=len(update.result))  # type: ignore[arg-type]  # size
        values += update
    yield from _UPDATE_TASKS.calls(values, longest)
    yield from _STORE_BLOBS.calls(blobs, longest)


def removing(seqs: Sequence[int], next_seq: int) -> list[Call]:
    """
    The statements that remove tasks with all that belongs to them.

    @param next_seq: to keep: the newest task may be among those that go.
    """
    return [*_REMOVE_TASKS.calls(seqs), *_RAISE_META.calls(["next_seq", next_seq])]


def next_seq_after(batch: Batch, next_seq: int) -> int:
    """What the store recovers as C{next_seq} once C{batch} is stored."""
    newest = max((row.seq for row in batch.inserts), default=0)
    return max(next_seq, batch.next_seq, newest + 1)


def _meta(batch: Batch, next_seq: int) -> list[Any]:
    meta: list[Any] = []
    if batch.token_ceiling is not None:
        meta += ("token_ceiling", batch.token_ceiling)
    # The newest task says it already, unless it was not the last or may be gone.
    newest = max((row.seq for row in batch.inserts), default=0)
    after = next_seq_after(batch, next_seq)
    if batch.removed or after > max(newest + 1, next_seq):
        meta += ("next_seq", after)
    return meta


def _bound(row: TaskRow, blobs: list[Any]) -> list[Any]:
    """The values of a task's columns, but for those of its key."""
    values: list[Any] = list(row)
    del values[_UNIQUE]
    values[_OPTIONS] = None if row.options == DEFAULT_OPTIONS else _options_text(row.options)
    values[_DEPENDS_ON] = json.dumps(row.depends_on) if row.depends_on else None
    if row.payload is not None and len(row.payload) > INLINE_BYTES:
        blobs += (row.seq * 2, row.payload)
        values[_PAYLOAD] = len(row.payload)
    if row.result is not None and len(row.result) > INLINE_BYTES:
        blobs += (row.seq * 2 + 1, row.result)
        values[_RESULT] = len(row.result)
    return values


@lru_cache(maxsize=256)
def _options_text(options: TaskOptions) -> str:
    defaults = DEFAULT_OPTIONS._asdict()
    differing = {
        name: value for name, value in options._asdict().items() if value != defaults[name]
    }
    return json.dumps(differing, separators=(",", ":"))


@lru_cache(maxsize=256)
def _options(text: str) -> TaskOptions:
    return TaskOptions(**json.loads(text))


def task_row(values: Sequence[Any]) -> TaskRow:
    """
    A stored row as the core knows it.

    @param values: in the order of C{COLUMNS}.
    @raises ValueError: a column holds what no taskqueue wrote.
    """
    row = list(values[: len(_PLAIN)])
    key, until, ends_at = values[len(_PLAIN) :]
    try:
        text = row[_OPTIONS]
        row[_OPTIONS] = DEFAULT_OPTIONS if text is None else _options(text)
        text = row[_DEPENDS_ON]
        row[_DEPENDS_ON] = () if text is None else tuple(json.loads(text))
        unique = None if key is None else Unique(key, Until(until), ends_at)
    except (TypeError, ValueError) as problem:
        raise ValueError(f"task {row[1]} is unreadable: {problem}") from problem
    row[_CANCEL] = bool(row[_CANCEL])
    row.insert(_UNIQUE, unique)
    return TaskRow._make(row)


def task_rows(rows: Iterable[Sequence[Any]]) -> list[TaskRow]:
    """Many stored rows as the core knows them."""
    return [task_row(values) for values in rows]
