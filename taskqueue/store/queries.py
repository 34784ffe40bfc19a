"""
The statements that read tasks.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from taskqueue.core.changes import TaskRow
from taskqueue.core.paging import SMALLEST_BYTES
from taskqueue.core.task import FIRST_ENDED, State
from taskqueue.store.interface import Filter, Page
from taskqueue.store.statements import COLUMNS, UNIQUE_COLUMNS, Call, ManyRows


def _columns(**instead: str) -> str:
    return ", ".join(instead.get(name, f"t.{name}") for name in COLUMNS)


def _whole(name: str, number: str) -> str:
    """The value of a column whose long values stand in C{blobs}."""
    return (
        f"CASE typeof(t.{name}) WHEN 'integer' THEN"
        f" (SELECT data FROM blobs WHERE blobs.id = {number}) ELSE t.{name} END"
    )


_PAYLOAD = _whole("payload", "t.seq * 2")
_RESULT = _whole("result", "t.seq * 2 + 1")

#: Tasks with their payloads and results.
WHOLE = f"SELECT {_columns(payload=_PAYLOAD, result=_RESULT)} FROM tasks AS t"

_NO_KEYS = dict.fromkeys(UNIQUE_COLUMNS, "NULL")

#: The same of a database with the first schema, which knew no unique keys.
WHOLE_OF_VERSION_1 = (
    f"SELECT {_columns(payload=_PAYLOAD, result=_RESULT, **_NO_KEYS)} FROM tasks AS t"
)

#: Ended tasks that hold their keys beyond a moment (2 is C{Until.WINDOW}).
OPEN_WINDOWS = (
    "SELECT seq, id, state, unique_key, unique_until, unique_ends_at"
    " FROM tasks INDEXED BY tasks_windows"
    " WHERE unique_until = 2 AND unique_ends_at > ? AND state >= 5 ORDER BY seq"
)

_LIVE = "INDEXED BY tasks_live WHERE t.state < 5 AND t.seq > ? ORDER BY t.seq"

#: Every task that has not ended, beyond a place in line.
LIVE = f"{WHOLE} {_LIVE}"

# Small payloads take no less than the note of their size would.
_SIZE = (
    "CASE WHEN typeof(t.payload) = 'integer'"
    f" OR length(t.payload) < {SMALLEST_BYTES} THEN t.payload ELSE length(t.payload) END"
)

#: The same with the sizes of payloads in their place.
LIVE_WITHOUT_PAYLOADS = f"SELECT {_columns(payload=_SIZE, result=_RESULT)} FROM tasks AS t {_LIVE}"

RECORDS = ManyRows(
    1,
    f"SELECT {_columns(payload='NULL', result=_RESULT)} FROM tasks AS t WHERE t.id IN ({{rows}})",
)
NUMBERED = ManyRows(
    1,
    f"SELECT {_columns(payload='NULL', result=_RESULT)} FROM tasks AS t WHERE t.seq IN ({{rows}})",
)
PAYLOADS = ManyRows(
    1, f"SELECT t.seq, {_PAYLOAD} FROM tasks AS t WHERE t.seq IN ({{rows}}) AND payload NOT NULL"
)
BARE = ManyRows(
    1,
    f"SELECT {_columns(payload='NULL', result='NULL')} FROM tasks AS t WHERE t.seq IN ({{rows}})",
)
DEAD_LETTERS = (
    "SELECT seq FROM tasks INDEXED BY tasks_dead_of_queue WHERE state = 6 AND queue = ?"
    " ORDER BY ended_at, seq LIMIT ?"
)
ENDED_IDS = "SELECT seq, id FROM tasks WHERE seq > ? AND state >= 5 ORDER BY seq LIMIT ?"
HISTORY = (
    "SELECT seq, at, event, attempt, worker, started_at, detail FROM history"
    " WHERE seq = ? ORDER BY number"
)
QUEUES = "SELECT name, paused, resume_at, max_depth FROM queues ORDER BY name"
ENDED_COUNTS = "SELECT queue, type, state, n FROM ended_counts WHERE n > 0"
NEXT_SEQ = (
    "SELECT max(coalesce((SELECT value FROM meta WHERE key = 'next_seq'), 1),"
    " coalesce((SELECT max(seq) + 1 FROM tasks), 1))"
)
TOKEN_CEILING = "SELECT coalesce((SELECT value FROM meta WHERE key = 'token_ceiling'), 0)"
MARKS = (
    "SELECT (SELECT value FROM meta WHERE key = 'log_id'),"
    " coalesce((SELECT value FROM meta WHERE key = 'lsn'), 0)"
)
SWEEPABLE = (
    "SELECT seq, queue, type FROM tasks INDEXED BY tasks_ended"
    " WHERE state >= 5 AND state = ? AND ended_at < ?"
    " AND (unique_until IS NOT 2 OR unique_ends_at < ?) ORDER BY ended_at LIMIT ?"
)

_AMONG = ["t.seq IN ({rows})"]
_BOUNDS = (
    ("queue", "t.queue = ?"),
    ("type", "t.type = ?"),
    ("worker", "t.worker = ?"),
    ("priority_from", "t.priority >= ?"),
    ("priority_to", "t.priority < ?"),
    ("submitted_from", "t.submitted_at >= ?"),
    ("submitted_to", "t.submitted_at < ?"),
    ("ended_from", "t.ended_at >= ?"),
    ("ended_to", "t.ended_at < ?"),
    # Not LIKE: nothing in the text is a wildcard, and no pattern is too long.
    ("error_contains", "instr(lower(t.error), ?) > 0"),
    # As one value, so that there may be any number; and never a reason to sort.
    ("queues", "+t.queue IN (SELECT value FROM json_each(?))"),
)


def folded(text: str) -> str:
    """C{text} as SQLite's C{lower} makes it: without the case of ASCII letters only."""
    return text.encode("utf-8", "surrogatepass").lower().decode("utf-8", "surrogatepass")


def _as_it_is(value: Any) -> Any:
    return value


#: How the values of some fields are handed to the database.
_AS_STORED: Mapping[str, Callable[[Any], Any]] = {
    "error_contains": folded,
    "queues": lambda names: json.dumps(sorted(names)),
}


def finding(filter: Filter, page: Page) -> Call:
    """The statement for one page of the tasks that match."""
    return _finding(_columns(payload="NULL", result="NULL"), filter, page)


def finding_seqs(filter: Filter, page: Page) -> Call:
    """The same of their C{seq}s alone."""
    return _finding("t.seq", filter, page)


def _finding(columns: str, filter: Filter, page: Page) -> Call:
    index, terms, values = _conditions(filter)
    if page.after is not None:
        terms.append("t.seq < ?" if page.descending else "t.seq > ?")
        values.append(page.after)
    if page.until is not None:
        terms.append("t.seq >= ?" if page.descending else "t.seq <= ?")
        values.append(page.until)
    where = f" WHERE {' AND '.join(terms)}" if terms else ""
    order = "DESC" if page.descending else "ASC"
    values.append(max(page.limit, 0))  # SQLite takes a negative limit for none
    return f"SELECT {columns} FROM tasks AS t{index}{where} ORDER BY t.seq {order} LIMIT ?", values


def narrowing(filter: Filter, seqs: Sequence[int]) -> Iterator[Call]:
    """The statements that tell which of the tasks with these C{seq}s match."""
    _, terms, values = _conditions(filter)
    rows = ManyRows(1, f"SELECT t.seq FROM tasks AS t WHERE {' AND '.join(_AMONG + terms)}")
    for text, numbers in rows.calls(seqs):
        yield text, [*numbers, *values]


def _conditions(filter: Filter) -> tuple[str, list[str], list[Any]]:
    """The index to look into, the conditions, and their values."""
    terms: list[str] = []
    values: list[Any] = []
    index = ""
    if filter.states is not None:
        index, states = _of_states(filter.states)
        terms.append(states)
    if filter.error_contains is not None and not index and filter.states != []:
        index = " INDEXED BY tasks_with_error"
        terms.append("t.error NOT NULL")
    for name, term in _BOUNDS:
        value = getattr(filter, name)
        if value is not None:
            terms.append(term)
            values.append(_AS_STORED.get(name, _as_it_is)(value))
    return index, terms, values


def _of_states(states: Sequence[State]) -> tuple[str, str]:
    """
    The index that holds few others than tasks in C{states}, in order of
    C{seq}, where there is one; and the condition.
    """
    wanted = ", ".join(str(int(state)) for state in sorted(set(states)))
    if wanted == str(int(State.DEAD_LETTER)):
        return " INDEXED BY tasks_dead", "t.state = 6"
    if states and all(state < FIRST_ENDED for state in states):
        return " INDEXED BY tasks_live", f"t.state < 5 AND t.state IN ({wanted})"
    if states and all(state > State.DEAD_LETTER for state in states):
        return " INDEXED BY tasks_given_up", f"t.state > 6 AND t.state IN ({wanted})"
    return "", f"t.state IN ({wanted})"


def in_order_of(ids: Sequence[str], rows: Sequence[TaskRow]) -> list[TaskRow]:
    """C{rows} in the order in which their ids were first asked for."""
    by_id = {row.id: row for row in rows}
    return [by_id[task_id] for task_id in dict.fromkeys(ids) if task_id in by_id]
