"""
Which SQLite driver, and which form of statement, suits the store's writer?

Each commit inserts C{batch} new tasks and updates the C{batch} tasks of the
commit before, synced (WAL, synchronous=FULL), in a thread of its own: alone,
and beside a thread that is always busy in pure Python, which stands for a
reactor at full load.  Printed are the rows (inserts + updates) per second and
the share of its own speed that the busy thread keeps.

Run: C{python benchmarks/store_drivers.py [seconds per cell] [directory]}
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import platform
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

apsw: Any = None
if importlib.util.find_spec("apsw"):  # else the table has the standard library's rows only
    apsw = importlib.import_module("apsw")

INSERTED = 25  # columns of a new task
UPDATED = 15  # columns of a change to one
BATCHES = (1, 10, 100, 1000)

_NAMES = ("seq", "id", *(f"a{n}" for n in range(INSERTED - 2)))
_SCHEMA = f"CREATE TABLE tasks (seq INTEGER PRIMARY KEY, {', '.join(_NAMES[1:])})"
_INSERT_ONE = f"INSERT INTO tasks VALUES ({','.join('?' * INSERTED)})"
_SETTING = ", ".join(f"a{n} = column{n + 2}" for n in range(UPDATED - 1))
_UPDATE_ONE = (
    "UPDATE tasks SET "
    + ", ".join(f"a{n} = ?{n + 2}" for n in range(UPDATED - 1))
    + " WHERE seq = ?1"
)


def many_values(columns: int, rows: int) -> str:
    """A C{VALUES} clause for C{rows} rows of C{columns} parameters."""
    return "VALUES " + ",".join(["(" + ",".join("?" * columns) + ")"] * rows)


Row = tuple[Any, ...]
Commit = Callable[[Sequence[Row], Sequence[Row]], None]


def row_by_row(connection: Any) -> Commit:
    """Commit with C{executemany}."""

    def commit(inserts: Sequence[Row], updates: Sequence[Row]) -> None:
        cursor = connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        cursor.executemany(_INSERT_ONE, inserts)
        if updates:
            cursor.executemany(_UPDATE_ONE, updates)
        cursor.execute("COMMIT")

    return commit


def one_statement(connection: Any) -> Commit:
    """Commit with one multi-row statement per kind of change."""
    statements: dict[tuple[str, int], str] = {}

    def statement(kind: str, rows: int) -> str:
        if (kind, rows) not in statements:
            statements[kind, rows] = (
                "INSERT INTO tasks " + many_values(INSERTED, rows)
                if kind == "insert"
                else f"UPDATE tasks SET {_SETTING} FROM ({many_values(UPDATED, rows)})"
                " WHERE seq = column1"
            )
        return statements[kind, rows]

    def commit(inserts: Sequence[Row], updates: Sequence[Row]) -> None:
        cursor = connection.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        cursor.execute(statement("insert", len(inserts)), [v for row in inserts for v in row])
        if updates:
            cursor.execute(statement("update", len(updates)), [v for row in updates for v in row])
        cursor.execute("COMMIT")

    return commit


def connect(driver: str, path: str) -> Any:
    """A synced WAL connection of either driver."""
    connection: Any
    if driver == "apsw":
        connection = apsw.Connection(path)
    else:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL").fetchall()
    cursor.execute("PRAGMA synchronous = FULL").fetchall()
    cursor.execute(_SCHEMA)
    return connection


class Busy(threading.Thread):
    """Counts as fast as it can until told to stop."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.rounds = 0
        self.stopping = False

    def run(self) -> None:
        while not self.stopping:
            total = 0
            for n in range(100):
                total += n
            self.rounds += 1


def busy_rate(seconds: float) -> float:
    """Rounds per second of a busy thread that nobody disturbs."""
    thread = Busy()
    thread.start()
    time.sleep(seconds)
    thread.stopping = True
    thread.join()
    return thread.rounds / seconds


def write(commit: Commit, batch: int, seconds: float, done: list[float]) -> None:
    """Commit for C{seconds}; leaves rows per second in C{done}."""
    payload = b"x" * 100
    seq = rows = 0
    before: list[Row] = []
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        new = [(n, f"{n:032x}", *range(INSERTED - 3), payload) for n in range(seq, seq + batch)]
        changes = [(row[0], *range(5, 4 + UPDATED)) for row in before]
        commit(new, changes)
        rows += len(new) + len(changes)
        seq += batch
        before = new
    done.append(rows / (time.perf_counter() - began))


def measure(
    driver: str, form: Callable[[Any], Commit], batch: int, seconds: float, directory: str
) -> tuple[float, float, float]:
    """Rows/s alone, rows/s beside a busy thread, rounds/s of that thread."""
    rates: list[float] = []
    rounds = 0.0
    for contended in (False, True):
        where = tempfile.mkdtemp(dir=directory)
        connection = connect(driver, os.path.join(where, "bench.db"))
        writer = threading.Thread(target=write, args=(form(connection), batch, seconds, rates))
        busy = Busy()
        began = time.perf_counter()
        if contended:
            busy.start()
        writer.start()
        writer.join()
        busy.stopping = True
        rounds = busy.rounds / (time.perf_counter() - began)
        connection.close()
        shutil.rmtree(where)
    return rates[0], rates[1], rounds


def main(seconds: float, directory: str) -> None:
    """Print the table."""
    drivers = [("sqlite3", sqlite3.sqlite_version)]
    if apsw is not None:
        drivers.append(("apsw", f"{apsw.apsw_version()}, SQLite {apsw.sqlite_lib_version()}"))
    print(f"{platform.platform()}, {os.cpu_count()} CPUs, Python {platform.python_version()}")
    print("; ".join(f"{name} ({version})" for name, version in drivers))
    print(f"{seconds} s a cell, synced, in {directory}\n")
    full = busy_rate(seconds)
    print("| driver | form | batch | alone rows/s | contended rows/s | busy keeps |")
    print("| --- | --- | ---: | ---: | ---: | ---: |")
    for name, _ in drivers:
        for label, form in (("executemany", row_by_row), ("one statement", one_statement)):
            for batch in BATCHES:
                alone, contended, rounds = measure(name, form, batch, seconds, directory)
                share = 100 * rounds / full
                print(
                    f"| {name} | {label} | {batch} | {alone:,.0f} | {contended:,.0f}"
                    f" | {share:.0f} % |",
                    flush=True,
                )


if __name__ == "__main__":
    main(
        float(sys.argv[1]) if len(sys.argv) > 1 else 0.8,
        sys.argv[2] if len(sys.argv) > 2 else tempfile.gettempdir(),
    )
