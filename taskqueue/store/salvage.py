"""
Reading what can still be read of a damaged database, into a new one.

Run: C{python -m taskqueue.store.salvage DIRECTORY NEW_DIRECTORY}

The C{.recover} of the sqlite3 shell reads more, but the shells that Debian and
Ubuntu install are built without it.  This needs nothing but Python: it walks
each table by its key, and where a row cannot be read it looks for the next
that can.  What indexes and counts say is not believed; they are built anew.
"""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, NamedTuple, TextIO
from urllib.parse import quote

from taskqueue.core.changes import Batch, HistoryRow, QueueRow, TaskRow, empty_batch
from taskqueue.core.periodic import PeriodicRow
from taskqueue.errors import StoreError
from taskqueue.store import key_values, periodics, queries
from taskqueue.store.database import Marks
from taskqueue.store.directory import DataDirectory
from taskqueue.store.files import Files
from taskqueue.store.interface import IStore
from taskqueue.store.replay import readable
from taskqueue.store.sqlite import SQLiteStore
from taskqueue.store.statements import task_row

_CHUNK = 500
_LAST_KEY = 2**62

#: Tokens are reserved in ranges; where the reserved end is lost, the newest token that is
#: still known plus this is beyond any that was given out.
_TOKENS_BEYOND = 2**32

#: One table's walk: rows with a key above the parameter, in its order, up to a number of them.
_TASKS = " NOT INDEXED WHERE t.seq > ? ORDER BY t.seq LIMIT ?"
_HISTORY = (
    "SELECT number, seq, at, event, attempt, worker, started_at, detail FROM history NOT INDEXED"
    " WHERE number > ? ORDER BY number LIMIT ?"
)

Rows = list[tuple[Any, ...]]


class Salvaged(NamedTuple):
    """
    What came of it.

    @ivar tasks: how many were read and stored.
    @ivar gaps: ranges (first, last) of C{seq} in which nothing could be read;
        there need not have been a task for every number.
    @ivar refused: tasks that were read, but as no task can have been.
    @ivar problems: what else is missing, in words.
    @ivar commits: how many commits, newer than the database, were read in its log.
    @ivar values: how many values were read and stored.
    """

    tasks: int
    gaps: list[tuple[int, int]]
    refused: int
    problems: list[str]
    commits: int = 0
    values: int = 0


def salvage(directory: str, target: str) -> Salvaged:
    """
    Copy what is readable in one data directory to a new one.

    @param directory: the damaged one; only read.
    @param target: must have no database yet.
    @raises StoreError: C{directory} cannot be read at all, or C{target} not
        be written.
    """
    path = DataDirectory(directory).database
    if not os.path.exists(path):
        raise StoreError(f"There is no database {path}.")
    if os.path.exists(DataDirectory(target).database):
        raise StoreError(f"{target} has a database already; name a new directory.")
    store = SQLiteStore(target)
    store.open()
    try:
        uri = f"file:{quote(os.path.abspath(path))}?mode=ro"
        with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as source:
            # Bytes that are no text must not hide the row that they stand in.
            source.text_factory = lambda data: data.decode("utf-8", "replace")
            found = _copy(source, store)
            commits = _add_log(directory, _marks(source), store, found.problems)
            return found._replace(commits=commits)
    finally:
        store.close()


def _copy(source: sqlite3.Connection, store: IStore) -> Salvaged:
    gaps: list[tuple[int, int]] = []
    problems: list[str] = []
    tasks = refused = token = 0
    whole = queries.WHOLE if _has_keys(source) else queries.WHOLE_OF_VERSION_1
    for rows in _walk(source, whole + _TASKS, gaps):
        sound = [row for row in map(_sound, rows) if row is not None]
        stored = _store(store, sound)
        tasks += stored
        refused += len(rows) - stored
        token = max([token, *(row.token for row in sound)])
    events: list[tuple[int, int]] = []
    for rows in _walk(source, _HISTORY, events):
        history = [HistoryRow._make(row[1:]) for row in rows]
        store.commit(Batch([], [], history, [], [], None, 1))
    if events:
        problems.append("some of the history")
    values, newest = _copy_values(source, store, problems)
    _copy_meta(source, store, token, problems, newest + 1)
    return Salvaged(tasks, gaps, refused, problems, values=values)


def _copy_values(source: sqlite3.Connection, store: IStore, problems: list[str]) -> tuple[int, int]:
    """How many values were read and stored, and the newest version that any has."""
    if not _has(source, "SELECT version FROM key_values LIMIT 0"):
        return 0, 0
    gaps: list[tuple[int, int]] = []
    strange: list[int] = []
    count = newest = 0
    for found in _walk(source, key_values.WALK, gaps):
        rows = list(key_values.value_rows(found, strange.append))
        store.commit(empty_batch()._replace(values=rows))
        count += len(rows)
        newest = found[-1][0]
    if gaps or strange:
        problems.append("some of the values")
    return count, newest


def _marks(source: sqlite3.Connection) -> Marks | None:
    """What the database has noted of its log, C{None} where that cannot be read."""
    try:
        return Marks._make(source.execute(queries.MARKS).fetchone())
    except sqlite3.DatabaseError:
        return None


def _add_log(directory: str, marks: Marks | None, store: IStore, problems: list[str]) -> int:
    """Add what the log says and the database does not; how many commits that were."""
    commits = missing = 0
    for batch in readable(Files(), DataDirectory(directory).path, marks):
        if batch is None:
            missing += 1
            continue
        commits += 1
        inserts = _with_payloads(batch.inserts, store)
        if len(inserts) < len(batch.inserts):
            missing += 1
            batch = batch._replace(inserts=inserts)
        try:
            store.commit(batch)
        except StoreError:
            missing += _store(store, batch.inserts) < len(batch.inserts)
            store.commit(batch._replace(inserts=[]))
    if missing:
        problems.append("some of the log of the newest commits")
    return commits


def _with_payloads(rows: list[TaskRow], store: IStore) -> list[TaskRow]:
    """
    Without tasks that were written again to change something, where their payload was left in
    the database and cannot be read there: they would be something else without it.
    """
    bare = [row.seq for row in rows if row.payload is None]
    if not bare:
        return rows
    known = store.payloads(bare)
    return [row for row in rows if row.payload is not None or row.seq in known]


def _has_keys(source: sqlite3.Connection) -> bool:
    """Whether the tasks have the columns that came with the second schema."""
    return _has(source, "SELECT unique_key FROM tasks LIMIT 0")


def _has(source: sqlite3.Connection, statement: str) -> bool:
    """Whether the schema has what a statement names."""
    try:
        source.execute(statement)
    except sqlite3.OperationalError:
        return False
    except sqlite3.DatabaseError:
        pass  # damaged: what can be read is found out later
    return True


def _copy_meta(
    source: sqlite3.Connection, store: IStore, token: int, problems: list[str], beyond: int
) -> None:
    """
    What operators set, and the two numbers that must never be given out twice.

    @param beyond: whatever is read, no place in line nor version below it is free.
    """
    queues: list[QueueRow] = []
    try:
        for name, paused, *rest in source.execute(queries.QUEUES):
            queues.append(QueueRow(name, bool(paused), *rest))
    except sqlite3.DatabaseError:
        problems.append("some of what was set on queues")
    try:
        (ceiling,) = source.execute(queries.TOKEN_CEILING).fetchone()
        ceiling = max(ceiling, token + 1)
    except sqlite3.DatabaseError:
        problems.append("the newest lease token (one beyond any was taken)")
        ceiling = token + _TOKENS_BEYOND
    next_seq = beyond
    try:
        (next_seq,) = source.execute(queries.NEXT_SEQ).fetchone()
        next_seq = max(next_seq, beyond)
    except sqlite3.DatabaseError:
        problems.append("the newest place in line (the newest task's was taken)")
    rows = _periodics(source, problems) if _has_keys(source) else []
    store.commit(Batch([], [], [], queues, [], ceiling, next_seq, rows))


def _periodics(source: sqlite3.Connection, problems: list[str]) -> list[PeriodicRow]:
    rows: list[PeriodicRow] = []
    try:
        rows.extend(map(periodics.periodic_row, source.execute(periodics.SELECT)))
    except (sqlite3.DatabaseError, ValueError):
        problems.append("some of the periodic tasks")
    return rows


def _sound(row: Sequence[Any]) -> TaskRow | None:
    """The task, or C{None} where it is none."""
    try:
        task = task_row(row)
    except ValueError:
        return None
    return task if isinstance(task.payload, bytes) and isinstance(task.token, int) else None


def _store(store: IStore, rows: list[TaskRow]) -> int:
    """Store what can be stored; how many that were."""
    try:
        store.commit(Batch(rows, [], [], [], [], None, 1))
    except StoreError:
        if len(rows) <= 1:
            return 0
        half = len(rows) // 2
        return _store(store, rows[:half]) + _store(store, rows[half:])
    return len(rows)


def _walk(
    source: sqlite3.Connection, statement: str, gaps: list[tuple[int, int]]
) -> Iterator[Rows]:
    """
    The rows of a table, their key first, in chunks.

    @param gaps: where ranges of keys that cannot be read are added.
    """

    def read(after: int, limit: int) -> Rows | None:
        try:
            return source.execute(statement, (after, limit)).fetchall()
        except sqlite3.DatabaseError:
            return None

    after, limit = -1, _CHUNK
    while True:
        rows = read(after, limit)
        if rows is None and limit > 1:
            limit //= 2
            continue
        if rows is None:
            beyond = _next_readable(read, after)
            if beyond is None:
                gaps.append((after + 1, _LAST_KEY))
                return
            gaps.append((after + 1, beyond))
            after, limit = beyond, _CHUNK
            continue
        if not rows:
            return
        yield rows
        after = rows[-1][0]
        limit = min(limit * 2, _CHUNK)


def _next_readable(read: Callable[[int, int], Rows | None], after: int) -> int | None:
    """The lowest key, as near as steps find it, beyond which a row can be read."""
    step = 1
    while not read(after + step, 1):
        step *= 2
        if after + step > _LAST_KEY:
            return None
    low, high = after + step // 2, after + step
    while high - low > 1:
        middle = (low + high) // 2
        if read(middle, 1):
            high = middle
        else:
            low = middle
    return high


def main(arguments: Sequence[str], out: TextIO) -> int:
    """
    Salvage, and say what came of it.

    @return: the exit status: 0 where everything was read, 1 where something
        is missing, 2 where nothing could be done.
    """
    if len(arguments) != 2:
        out.write("usage: python -m taskqueue.store.salvage DIRECTORY NEW_DIRECTORY\n")
        return 2
    try:
        result = salvage(*arguments)
    except (StoreError, sqlite3.Error) as problem:
        out.write(f"{problem}\n")
        return 2
    out.write(f"{result.tasks} tasks were read and stored in {arguments[1]}.\n")
    if result.values:
        out.write(f"{result.values} values were read and stored.\n")
    if result.commits:
        out.write(f"{result.commits} newer commits were read in its log and added.\n")
    for first, last in result.gaps:
        end = "the end" if last == _LAST_KEY else str(last)
        out.write(f"Unreadable: tasks with seq {first} to {end}.\n")
    if result.refused:
        out.write(f"Left out: {result.refused} rows that cannot have been tasks.\n")
    out.writelines(f"Missing: {problem_words}.\n" for problem_words in result.problems)
    return 1 if result.gaps or result.refused or result.problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], sys.stdout))
