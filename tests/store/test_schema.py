"""Tests of the schema, its versions and the way between them."""

from __future__ import annotations

import os
import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.changes import OpenWindow, QueueRow
from taskqueue.core.task import State, TaskOptions, Unique, Until
from taskqueue.errors import StoreCorrupt, StoreVersion
from taskqueue.store import Filter, Page, SQLiteStore, schema
from taskqueue.store.salvage import salvage
from tests.store.rows import NOW, batch, task, update


class MigrationTests(SynchronousTestCase):
    """An older file becomes a newer one, or stays what it was."""

    def setUp(self) -> None:
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        self.addCleanup(self.connection.close)

    def tables(self) -> set[str]:
        return {name for (name,) in self.connection.execute("SELECT name FROM sqlite_master")}

    def test_newFile(self) -> None:
        self.assertEqual(schema.migrate(self.connection), 0)
        self.assertEqual(schema.pragma(self.connection, "user_version"), max(schema.MIGRATIONS))
        self.assertEqual(schema.pragma(self.connection, "application_id"), schema.APPLICATION_ID)
        self.assertIn("tasks", self.tables())

    def test_again(self) -> None:
        schema.migrate(self.connection)
        self.assertEqual(schema.migrate(self.connection), max(schema.MIGRATIONS))

    def test_onlyWhatIsMissing(self) -> None:
        steps = {1: ["CREATE TABLE one (x)"], 2: ["CREATE TABLE two (x)", "DROP TABLE one"]}
        schema.migrate(self.connection, {1: steps[1]})
        self.assertEqual(schema.migrate(self.connection, steps), 1)
        self.assertEqual(self.tables(), {"two"})
        self.assertEqual(schema.pragma(self.connection, "user_version"), 2)

    def test_allOrNothing(self) -> None:
        steps = {1: ["CREATE TABLE one (x)"], 2: ["CREATE TABLE two (x)"], 3: ["no SQL"]}
        schema.migrate(self.connection, {1: steps[1]})
        self.assertRaises(sqlite3.OperationalError, schema.migrate, self.connection, steps)
        self.assertEqual(self.tables(), {"one"})
        self.assertEqual(schema.pragma(self.connection, "user_version"), 1)


class VersionTests(SynchronousTestCase):
    """What a store does with files of other versions, and of other programs."""

    def setUp(self) -> None:
        self.directory = self.mktemp()
        self.store = SQLiteStore(self.directory)
        self.path = os.path.join(self.directory, "taskqueue.db")

    def edit(self, *statements: str) -> None:
        os.makedirs(self.directory, exist_ok=True)
        connection = sqlite3.connect(self.path, isolation_level=None)
        for statement in statements:
            connection.execute(statement)
        connection.close()

    def content(self) -> bytes:
        with open(self.path, "rb") as file:
            return file.read()

    def test_newerVersion(self) -> None:
        self.store.open()
        self.store.close()
        self.edit("PRAGMA user_version = 99")
        before = self.content()
        refused = self.assertRaises(StoreVersion, self.store.open)
        self.assertIn("its schema is 99, this one knows up to 6", str(refused))
        self.assertEqual(self.content(), before)

    def test_databaseOfSomethingElse(self) -> None:
        self.edit("CREATE TABLE bookmarks (x)")
        before = self.content()
        refused = self.assertRaises(StoreCorrupt, self.store.open)
        self.assertIn("not one of taskqueue", str(refused))
        self.assertEqual(self.content(), before)

    def test_emptyFileIsANewStore(self) -> None:
        os.mkdir(self.directory)
        with open(self.path, "w"):
            pass
        self.store.open()
        self.addCleanup(self.store.close)
        self.assertEqual(list(self.store.recover().tasks), [])

    def test_olderFileIsMigratedWhenOpened(self) -> None:
        """A file of the version before the first: marked as ours, without a table."""
        self.edit(f"PRAGMA application_id = {schema.APPLICATION_ID}", "CREATE TABLE old (x)")
        self.store.open()
        self.addCleanup(self.store.close)
        self.store.commit(batch([task(1)]))
        self.assertEqual(list(self.store.recover().tasks), [task(1)])


class FirstVersionTests(SynchronousTestCase):
    """A database as the first version wrote it."""

    def setUp(self) -> None:
        self.directory = self.mktemp()
        os.mkdir(self.directory)
        path = os.path.join(self.directory, "taskqueue.db")
        connection = sqlite3.connect(path, isolation_level=None)
        self.addCleanup(connection.close)
        schema.migrate(connection, {1: schema.MIGRATIONS[1]})
        columns = (
            "seq, id, queue, type, priority, submitted_at, expires_at, options, headers,"
            " depends_on, payload, state, run_at, attempt, failures, losses, token, worker,"
            " incarnation, lease_s, claimed_at, ended_at, cancel_requested, error, result"
        )
        connection.executemany(
            f"INSERT INTO tasks ({columns}) VALUES ({','.join('?' * 25)})", [LIVE_V1, ENDED_V1]
        )
        connection.execute("INSERT INTO blobs VALUES (2, zeroblob(3000))")
        connection.execute("INSERT INTO queues VALUES ('mail', 1, NULL, 7)")
        connection.execute("INSERT INTO meta VALUES ('token_ceiling', 99), ('next_seq', 5)")
        connection.close()
        self.live = task(
            1,
            id="a",
            queue="mail",
            options=TaskOptions(max_retries=2),
            depends_on=("x",),
            payload=bytes(3000),
            state=int(State.IN_PROGRESS),
            attempt=1,
            token=98,
            worker="w",
            lease_s=30.0,
            claimed_at=NOW,
            submitted_at=NOW,
        )

    def opened(self, directory: str) -> SQLiteStore:
        store = SQLiteStore(directory, check_on_start="full")
        store.open()
        self.addCleanup(store.close)
        return store

    def test_nothingIsLost(self) -> None:
        store = self.opened(self.directory)
        recovery = store.recover()
        self.assertEqual(list(recovery.tasks), [self.live])
        self.assertEqual(recovery.queues, [QueueRow("mail", True, None, 7)])
        self.assertEqual((recovery.token_ceiling, recovery.next_seq), (99, 5))
        self.assertEqual(recovery.ended, {("default", "send_email", State.COMPLETED): 1})
        self.assertEqual([row.result for row in store.records(["b"])], [b"done"])
        self.assertEqual(store.open_windows(0.0), [])
        self.assertEqual(recovery.periodics, [])

    def test_itIsUsedAsAnyOther(self) -> None:
        store = self.opened(self.directory)
        unique = Unique("k", Until.WINDOW, NOW + 9)
        store.commit(batch([task(5, unique=unique, state=5, ended_at=NOW)]))
        store.commit(batch(updates=[update(self.live, state=5, ended_at=NOW)]))
        self.assertEqual(
            store.open_windows(NOW), [OpenWindow(5, "task-5", State.COMPLETED, unique)]
        )
        self.assertEqual(
            store.sweep({State.COMPLETED: NOW + 1}, 10),
            {
                ("mail", "send_email", State.COMPLETED): 1,
                ("default", "send_email", State.COMPLETED): 1,
            },
        )

    def test_salvaged(self) -> None:
        """Also from what no broker has migrated."""
        target = self.mktemp()
        self.assertEqual(salvage(self.directory, target), (2, [], 0, [], 0, 0))
        self.assertEqual(list(self.opened(target).recover().tasks), [self.live])


#: Rows as the first version bound them.
LIVE_V1 = (
    *(1, "a", "mail", "send_email", 150, NOW, None, '{"max_retries":2}', None, '["x"]', 3000),
    *(int(State.IN_PROGRESS), None, 1, 0, 0, 98, "w", 0, 30.0, NOW, None, False, None, None),
)
ENDED_V1 = (
    *(2, "b", "default", "send_email", 150, NOW, None, None, None, None, b"payload"),
    *(int(State.COMPLETED), None, 1, 0, 0, 97, "w", 0, None, NOW, NOW, False, None, b"done"),
)


class ShellTests(SynchronousTestCase):
    """What a person with the sqlite3 shell sees and may do."""

    def setUp(self) -> None:
        directory = self.mktemp()
        self.store = SQLiteStore(directory)
        self.store.open()
        self.addCleanup(self.store.close)
        self.shell = sqlite3.connect(os.path.join(directory, "taskqueue.db"), isolation_level=None)
        self.addCleanup(self.shell.close)

    def test_readable(self) -> None:
        self.store.commit(batch([task(1, state=6, ended_at=NOW, payload=b"p" * 5000)]))
        row = self.shell.execute(
            "SELECT id, state, ended_at, payload_bytes, result_bytes FROM readable"
        ).fetchall()
        self.assertEqual(row, [("task-1", "dead_letter", "2023-11-14 22:13:20", 5000, None)])

    def test_deletedByHand(self) -> None:
        """Counts, and what belongs to the task, stay right."""
        self.store.commit(batch([task(1, state=6, payload=b"p" * 5000), task(2, state=6)]))
        self.shell.execute("DELETE FROM tasks WHERE id = 'task-1'")
        self.assertEqual(list(self.store.recover().ended.values()), [1])
        self.assertEqual(self.shell.execute("SELECT count(*) FROM blobs").fetchone(), (0,))

    def test_indexesAreUsed(self) -> None:
        """Recovery, dead letters and sweeps must not read all that has ended."""
        live = "SELECT seq FROM tasks AS t INDEXED BY tasks_live WHERE t.state < 5 ORDER BY t.seq"
        (plan,) = self.shell.execute(f"EXPLAIN QUERY PLAN {live}").fetchall()
        self.assertIn("tasks_live", plan[3])
        # INDEXED BY makes a statement fail where the index does not serve it.
        self.store.find(Filter(states=[0, 1]), Page())  # type: ignore[list-item]  # as JSON has it
        self.store.find(Filter(states=[6]), Page(after=3))  # type: ignore[list-item]  # the same
        self.store.find(Filter(states=[7, 8]), Page())  # type: ignore[list-item]  # the same
        self.store.find(Filter(error_contains="x"), Page(after=3, until=1))
        self.store.open_windows(NOW)

    def test_tasksWithoutAKeyAreInNoIndexOfKeys(self) -> None:
        unique = Unique("k", Until.SUCCESS, NOW)
        self.store.commit(batch([task(1), task(2, unique=unique)]))
        self.store.commit(batch([task(3, unique=unique._replace(until=Until.WINDOW))]))
        (entries,) = self.shell.execute(
            "SELECT count(*) FROM tasks INDEXED BY tasks_windows WHERE unique_until = 2"
        ).fetchone()
        self.assertEqual(entries, 1)
        indexes = {name for _, name, *_ in self.shell.execute("PRAGMA index_list(tasks)")}
        self.assertEqual(
            indexes,
            {
                "sqlite_autoindex_tasks_1",
                "tasks_dead",
                "tasks_dead_of_queue",
                "tasks_ended",
                "tasks_given_up",
                "tasks_live",
                "tasks_windows",
                "tasks_with_error",
            },
        )

    def test_readableKey(self) -> None:
        self.store.commit(batch([task(1, unique=Unique("k", Until.WINDOW, NOW))]))
        row = self.shell.execute(
            "SELECT unique_key, unique_until, unique_ends_at FROM readable"
        ).fetchone()
        self.assertEqual(row, ("k", "window", "2023-11-14 22:13:20"))
