"""Tests of the schema, its versions and the way between them."""

from __future__ import annotations

import os
import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.errors import StoreCorrupt, StoreVersion
from taskqueue.store import Filter, Page, SQLiteStore, schema
from tests.store.rows import NOW, batch, task


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
        self.assertIn("its schema is 99, this one knows up to 1", str(refused))
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
