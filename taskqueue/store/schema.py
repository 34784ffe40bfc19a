"""
The tables of the SQLite store, and how an older file becomes a newer one.

C{application_id} marks the file as taskqueue's, C{user_version} says which
schema it has.  A new schema is a new entry in L{MIGRATIONS}; entries that were
ever released never change.

Why triggers count what has ended
=================================

Start-up must not scan millions of ended tasks to count them, so the counts are
kept in C{ended_counts}.  A change to a task carries its new state only, and its
old one, its queue and type stand in the table, where a trigger sees them for
free.  So the counts hold whoever writes, also when a commit is sent again and
when a person deletes rows in the sqlite3 shell.  Measured in batches of 1,000:
3 to 8 % of the speed of a completion, nothing on the way of a live task.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence

from taskqueue.core.task import STATE_WORDS, Until
from taskqueue.errors import StoreCorrupt, StoreVersion

#: "tskq", big-endian, in the file's header.
APPLICATION_ID = 0x74736B71

_READABLE_STATE = "\n".join(
    f"        WHEN {number} THEN '{word}'" for number, word in enumerate(STATE_WORDS)
)

_READABLE_UNTIL = "\n".join(f"        WHEN {int(until)} THEN '{until.word}'" for until in Until)

_VERSION_1 = (
    # payload and result: the bytes, or their number where the bytes stand in blobs.
    # They come last, so that to read a state never follows overflow pages.
    """
    CREATE TABLE tasks (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        queue TEXT NOT NULL,
        type TEXT NOT NULL,
        priority INTEGER NOT NULL,
        submitted_at REAL NOT NULL,
        expires_at REAL,
        options TEXT,
        depends_on TEXT,
        state INTEGER NOT NULL,
        run_at REAL,
        attempt INTEGER NOT NULL,
        failures INTEGER NOT NULL,
        losses INTEGER NOT NULL,
        token INTEGER NOT NULL,
        worker TEXT,
        incarnation INTEGER NOT NULL,
        lease_s REAL,
        claimed_at REAL,
        ended_at REAL,
        cancel_requested INTEGER NOT NULL,
        headers TEXT,
        error TEXT,
        result BLOB,
        payload BLOB
    )
    """,
    # seq * 2 is a payload, seq * 2 + 1 a result: an UPDATE of a task rewrites neither.
    "CREATE TABLE blobs (id INTEGER PRIMARY KEY, data BLOB NOT NULL)",
    """
    CREATE TABLE history (
        number INTEGER PRIMARY KEY,
        seq INTEGER NOT NULL,
        at REAL NOT NULL,
        event TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        worker TEXT,
        started_at REAL,
        detail TEXT
    )
    """,
    # Unique, so that a commit that is sent again adds no event twice.
    "CREATE UNIQUE INDEX history_of_task ON history (seq, at, event, attempt)",
    """
    CREATE TABLE queues (
        name TEXT PRIMARY KEY,
        paused INTEGER NOT NULL,
        resume_at REAL,
        max_depth INTEGER
    ) WITHOUT ROWID
    """,
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID",
    """
    CREATE TABLE ended_counts (
        queue TEXT NOT NULL,
        type TEXT NOT NULL,
        state INTEGER NOT NULL,
        n INTEGER NOT NULL,
        PRIMARY KEY (queue, type, state)
    ) WITHOUT ROWID
    """,
    "CREATE INDEX tasks_live ON tasks (seq) WHERE state < 5",
    "CREATE INDEX tasks_dead ON tasks (seq) WHERE state = 6",
    "CREATE INDEX tasks_ended ON tasks (state, ended_at) WHERE state >= 5",
    """
    CREATE TRIGGER task_stored_ended AFTER INSERT ON tasks WHEN new.state >= 5 BEGIN
        INSERT INTO ended_counts VALUES (new.queue, new.type, new.state, 1)
            ON CONFLICT (queue, type, state) DO UPDATE SET n = n + 1;
    END
    """,
    """
    CREATE TRIGGER task_ended AFTER UPDATE OF state ON tasks
    WHEN new.state >= 5 AND new.state <> old.state BEGIN
        INSERT INTO ended_counts VALUES (new.queue, new.type, new.state, 1)
            ON CONFLICT (queue, type, state) DO UPDATE SET n = n + 1;
    END
    """,
    """
    CREATE TRIGGER task_revived AFTER UPDATE OF state ON tasks
    WHEN old.state >= 5 AND new.state <> old.state BEGIN
        UPDATE ended_counts SET n = n - 1
            WHERE queue = old.queue AND type = old.type AND state = old.state;
    END
    """,
    """
    CREATE TRIGGER task_removed AFTER DELETE ON tasks BEGIN
        DELETE FROM blobs WHERE id IN (old.seq * 2, old.seq * 2 + 1);
        DELETE FROM history WHERE seq = old.seq;
        UPDATE ended_counts SET n = n - 1
            WHERE queue = old.queue AND type = old.type AND state = old.state;
    END
    """,
    f"""
    CREATE VIEW readable AS SELECT
        seq, id, queue, type, priority,
        CASE state
{_READABLE_STATE}
        END AS state,
        attempt, failures, losses, token, worker, lease_s,
        datetime(submitted_at, 'unixepoch') AS submitted_at,
        datetime(run_at, 'unixepoch') AS run_at,
        datetime(claimed_at, 'unixepoch') AS claimed_at,
        datetime(ended_at, 'unixepoch') AS ended_at,
        datetime(expires_at, 'unixepoch') AS expires_at,
        cancel_requested, options, depends_on, headers, error,
        CASE typeof(payload) WHEN 'integer' THEN payload ELSE length(payload) END AS payload_bytes,
        CASE typeof(result) WHEN 'integer' THEN result ELSE length(result) END AS result_bytes
    FROM tasks
    """,
)

_VERSION_2 = (
    # Columns can only be added behind the others; without a key they are not even there.
    "ALTER TABLE tasks ADD COLUMN unique_key TEXT",
    "ALTER TABLE tasks ADD COLUMN unique_until INTEGER",
    "ALTER TABLE tasks ADD COLUMN unique_ends_at REAL",
    # Keys that are held for a time, whatever becomes of the task (2 is Until.WINDOW): the
    # only ones that an ended task can hold, and that recovery must look for.
    "CREATE INDEX tasks_windows ON tasks (unique_ends_at) WHERE unique_until = 2",
    """
    CREATE TABLE periodics (
        name TEXT PRIMARY KEY,
        payload BLOB NOT NULL,
        definition TEXT NOT NULL,
        paused INTEGER NOT NULL,
        next_at REAL,
        ticked_at REAL,
        last_at REAL,
        last_task TEXT,
        fired INTEGER NOT NULL,
        skipped INTEGER NOT NULL
    )
    """,
    "DROP VIEW readable",
    f"""
    CREATE VIEW readable AS SELECT
        seq, id, queue, type, priority,
        CASE state
{_READABLE_STATE}
        END AS state,
        attempt, failures, losses, token, worker, lease_s,
        datetime(submitted_at, 'unixepoch') AS submitted_at,
        datetime(run_at, 'unixepoch') AS run_at,
        datetime(claimed_at, 'unixepoch') AS claimed_at,
        datetime(ended_at, 'unixepoch') AS ended_at,
        datetime(expires_at, 'unixepoch') AS expires_at,
        cancel_requested, options, depends_on,
        unique_key,
        CASE unique_until
{_READABLE_UNTIL}
        END AS unique_until,
        datetime(unique_ends_at, 'unixepoch') AS unique_ends_at,
        headers, error,
        CASE typeof(payload) WHEN 'integer' THEN payload ELSE length(payload) END AS payload_bytes,
        CASE typeof(result) WHEN 'integer' THEN result ELSE length(result) END AS result_bytes
    FROM tasks
    """,
)

_VERSION_3 = (
    # The number of the newest commit of the log that is in here.  Who knows no log
    # must not go on without what it holds: that is why this is a version.
    "INSERT INTO meta VALUES ('lsn', 0)",
)

#: The first version that may have a commit log beside it.
FIRST_WITH_LOG = 3

_VERSION_4 = (
    # For searches: few tasks are cancelled, expire or ever fail, so these cost the others
    # next to nothing (0.1 us each), and who looks for them need not look at all there are.
    "CREATE INDEX tasks_given_up ON tasks (state) WHERE state > 6",
    "CREATE INDEX tasks_with_error ON tasks (seq) WHERE error NOT NULL",
)

_VERSION_5 = (
    # A value that is written again gets a new row, and so its bytes are written one behind
    # another; in the order of its versions, salvage can walk them.
    """
    CREATE TABLE key_values (
        version INTEGER PRIMARY KEY,
        namespace TEXT NOT NULL,
        key TEXT NOT NULL,
        expires_at REAL,
        value BLOB NOT NULL
    )
    """,
    "CREATE UNIQUE INDEX key_values_by_key ON key_values (namespace, key)",
)

_VERSION_6 = (
    # So that the dead letters of a queue are found in the order in which they became so, however
    # many other queues have.  The database adds the seq to it.
    "CREATE INDEX tasks_dead_of_queue ON tasks (queue, ended_at) WHERE state = 6",
)

#: Version to the statements that lead to it from the one before.
MIGRATIONS: Mapping[int, Sequence[str]] = {
    1: _VERSION_1,
    2: _VERSION_2,
    3: _VERSION_3,
    4: _VERSION_4,
    5: _VERSION_5,
    6: _VERSION_6,
}


def pragma(connection: sqlite3.Connection, name: str) -> int:
    """The value of a numeric pragma."""
    (value,) = connection.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def examine(
    connection: sqlite3.Connection, path: str, migrations: Mapping[int, Sequence[str]] = MIGRATIONS
) -> int:
    """
    Refuse a file that is not for this version of taskqueue.

    @return: the version of its schema, 0 where it has none.
    @raises StoreVersion: a newer version wrote it.
    @raises StoreCorrupt: it is a database of something else.
    """
    version = pragma(connection, "user_version")
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if tables and pragma(connection, "application_id") != APPLICATION_ID:
        raise StoreCorrupt(
            f"{path} is an SQLite database, but not one of taskqueue. It was left as it is."
            " Name another directory in [store] path, or move the file away.",
            path=path,
        )
    if version > max(migrations):
        raise StoreVersion(
            f"{path} was written by a newer version of taskqueue (its schema is {version}, this"
            f" one knows up to {max(migrations)}). Install that version again, or restore a"
            " backup of before the upgrade.",
            path=path,
            found=version,
            known=max(migrations),
        )
    return version


def migrate(
    connection: sqlite3.Connection, migrations: Mapping[int, Sequence[str]] = MIGRATIONS
) -> int:
    """
    Bring a database to the newest schema, in one transaction.

    @return: the version that it had, 0 for a new one.
    """
    before = pragma(connection, "user_version")
    due = [version for version in sorted(migrations) if version > before]
    if not due:
        return before
    connection.execute("BEGIN IMMEDIATE")
    try:
        for version in due:
            for statement in migrations[version]:
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {due[-1]}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    return before
