"""Tests of reading what is left of a damaged database."""

from __future__ import annotations

import io
import os
import shutil
import sqlite3

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.changes import HistoryRow, QueueRow, ValueRow
from taskqueue.errors import StoreCorrupt
from taskqueue.store import Filter, LoggedStore, Page, SQLiteStore, commitlog, segment
from taskqueue.store.files import Files
from taskqueue.store.salvage import main, salvage
from tests.store.rows import HOURLY, NIGHTLY, NOW, batch, task, update


class SalvageTests(SynchronousTestCase):
    """What is readable is kept, what is not is told."""

    def setUp(self) -> None:
        self.directory = self.mktemp()
        self.target = self.mktemp()
        store = SQLiteStore(self.directory)
        store.open()
        self.rows = [
            task(
                seq,
                state=5 if seq % 3 == 0 else 0,
                payload=b"p" * (5000 if seq % 100 == 0 else 200),
                token=seq,
            )
            for seq in range(1, 3001)
        ]
        for start in range(0, 3000, 500):
            store.commit(batch(self.rows[start : start + 500]))
        self.event = HistoryRow(5, NOW, "failed", 1, "w", None, "Boom")
        self.queue = QueueRow("mail", True, None, 7)
        store.commit(
            batch(
                history=[self.event],
                queues=[self.queue],
                token_ceiling=4000,
                next_seq=3100,
                periodics=[HOURLY, NIGHTLY],
            )
        )
        store.close()
        self.path = os.path.join(self.directory, "taskqueue.db")

    def root(self, name: str) -> int:
        with sqlite3.connect(self.path) as connection:
            (page,) = connection.execute(
                "SELECT rootpage FROM sqlite_master WHERE name = ?", (name,)
            ).fetchone()
        connection.close()
        return int(page)

    def overwrite(self, *pages: int) -> None:
        with open(self.path, "r+b") as file:
            for page in pages:
                file.seek((page - 1) * 4096)
                file.write(b"\xa5" * 4096)

    def salvaged(self) -> SQLiteStore:
        store = SQLiteStore(self.target, check_on_start="full")
        store.open()
        self.addCleanup(store.close)
        return store

    def held(self, store: SQLiteStore) -> list[int]:
        return [r.seq for r in store.find(Filter(), Page(limit=10**6, descending=False))]

    def test_soundDatabaseIsCopiedWhole(self) -> None:
        out = io.StringIO()
        self.assertEqual(main([self.directory, self.target], out), 0)
        self.assertIn("3000 tasks were read", out.getvalue())
        store = self.salvaged()
        recovery = store.recover()
        self.assertEqual(list(recovery.tasks), [row for row in self.rows if row.state == 0])
        self.assertEqual((recovery.token_ceiling, recovery.next_seq), (4000, 3100))
        self.assertEqual(recovery.queues, [self.queue])
        self.assertEqual(recovery.periodics, [HOURLY, NIGHTLY])
        self.assertEqual(list(recovery.ended.values()), [1000])
        self.assertEqual(store.history(5), [self.event])

    def test_damagedPages(self) -> None:
        """A lost page costs its own rows; those before and behind it are kept."""
        self.overwrite(64, 65, 154)
        self.assertRaises(StoreCorrupt, SQLiteStore(self.directory).open)
        out = io.StringIO()
        self.assertEqual(main([self.directory, self.target], out), 1)
        self.assertIn("Unreadable: tasks with seq", out.getvalue())
        store = self.salvaged()
        held = self.held(store)
        self.assertGreater(len(held), 2900)
        self.assertLess(len(held), 3000)
        self.assertEqual((held[0], held[-1]), (1, 3000))
        by_seq = {row.seq: row for row in self.rows}
        live = list(store.recover().tasks)
        self.assertEqual(live, [by_seq[row.seq] for row in live])

    def test_gapsAreExact(self) -> None:
        """Every task is either stored or within a gap that is told."""
        self.overwrite(64, 154)
        result = salvage(self.directory, self.target)
        held = set(self.held(self.salvaged()))
        missing = set(range(1, 3001)) - held
        told = {seq for first, last in result.gaps for seq in range(first, min(last, 3000) + 1)}
        self.assertTrue(missing)
        self.assertEqual(missing, told & set(range(1, 3001)))

    def test_indexesAreNotNeeded(self) -> None:
        names = ("tasks_live", "tasks_ended", "sqlite_autoindex_tasks_1", "ended_counts")
        self.overwrite(*[self.root(name) for name in names])
        self.assertEqual(main([self.directory, self.target], io.StringIO()), 0)
        store = self.salvaged()
        self.assertEqual(len(self.held(store)), 3000)
        self.assertEqual(list(store.recover().ended.values()), [1000])

    def test_lostTokensAreNotGivenOutAgain(self) -> None:
        self.overwrite(self.root("meta"))
        out = io.StringIO()
        self.assertEqual(main([self.directory, self.target], out), 1)
        self.assertIn("the newest lease token", out.getvalue())
        recovery = self.salvaged().recover()
        self.assertGreater(recovery.token_ceiling, 4000)
        self.assertEqual(recovery.next_seq, 3001)

    def test_damagedTableOfTasks(self) -> None:
        self.overwrite(self.root("tasks"))
        self.assertEqual(main([self.directory, self.target], io.StringIO()), 1)
        self.assertEqual(self.held(self.salvaged()), [])

    def test_nothingToRead(self) -> None:
        with open(self.path, "r+b") as file:
            file.write(os.urandom(4096))
        out = io.StringIO()
        self.assertEqual(main([self.directory, self.target], out), 1)
        self.assertIn("0 tasks were read", out.getvalue())

    def test_wrongArguments(self) -> None:
        out = io.StringIO()
        self.assertEqual(main([], out), 2)
        self.assertEqual(main([self.mktemp(), self.target], out), 2)
        self.assertEqual(main([self.directory, self.directory], out), 2)
        for words in ("usage:", "There is no database", "has a database already"):
            self.assertIn(words, out.getvalue())


class SalvageOfALogTests(SynchronousTestCase):
    """What the log has and the database lacks is saved as well."""

    def setUp(self) -> None:
        self.patch(commitlog, "SEGMENT_BYTES", 300)
        running = os.path.abspath(self.mktemp())
        self.directory = os.path.abspath(self.mktemp())
        self.target = self.mktemp()
        store = LoggedStore(running)
        store.open()
        self.addCleanup(store.close)
        store.commit(batch([task(1), task(2)], token_ceiling=50))
        store.checkpoint()
        store.commit(batch(updates=[update(task(1), attempt=1)]))
        for seq in range(3, 9):
            store.commit(batch([task(seq)]))
        store.commit(batch(updates=[update(task(1), attempt=2)], removed=[2], token_ceiling=99))
        os.mkdir(self.directory)
        for name in os.listdir(running):
            if name != "lock":
                shutil.copy(os.path.join(running, name), self.directory)

    def segments(self) -> list[str]:
        return commitlog.paths(Files(), self.directory)

    def salvaged(self) -> tuple[list[int], str, int]:
        """The tasks in the new directory, what was said, and the exit status."""
        out = io.StringIO()
        status = main([self.directory, self.target], out)
        store = SQLiteStore(self.target, check_on_start="full")
        store.open()
        self.ceiling = store.recover().token_ceiling
        self.tasks = list(store.recover().tasks)
        store.close()
        return [row.seq for row in self.tasks], out.getvalue(), status

    def test_whole(self) -> None:
        seqs, said, status = self.salvaged()
        self.assertEqual((seqs, status, self.ceiling), ([1, *range(3, 9)], 0, 99))
        self.assertIn("2 tasks were read", said)
        self.assertIn("8 newer commits were read in its log", said)

    def test_damaged(self) -> None:
        """Commits before and behind the damage are there."""
        path = self.segments()[-2]
        with open(path, "r+b") as file:
            file.seek(segment.HEADER_BYTES + 20)
            file.write(b"\xff\xff")
        seqs, said, status = self.salvaged()
        self.assertEqual(status, 1)
        self.assertEqual(len(seqs), 6)
        self.assertIn("Missing: some of the log", said)
        self.assertEqual(self.ceiling, 99)

    def test_payloadsThatTheLogLeftInTheDatabase(self) -> None:
        """What was written again is there with its payload, or not at all."""
        for lost in (False, True):
            self.directory, self.target, running = self.mktemp(), self.mktemp(), self.mktemp()
            store = LoggedStore(running)
            store.open()
            store.commit(batch([task(1)]))
            store.checkpoint()
            store.commit(batch([task(1, payload=None, priority=-5), task(2)]))
            shutil.copytree(running, self.directory)
            store.close()
            if lost:
                path = os.path.join(self.directory, "taskqueue.db")
                with sqlite3.connect(path) as connection:
                    connection.execute("DELETE FROM tasks")
                connection.close()
            seqs, said, status = self.salvaged()
            self.assertEqual((seqs, status), ([2], 1) if lost else ([1, 2], 0))
            self.assertEqual("some of the log" in said, lost)
            found = [row.payload for row in self.tasks if row.priority < 0]
            self.assertEqual(found, [] if lost else [task(1).payload])

    def test_lostHeader(self) -> None:
        with open(self.segments()[0], "r+b") as file:
            file.write(b"lost")
        self.assertEqual(self.salvaged()[0], [1, *range(3, 9)])

    def test_ofAnotherDatabase(self) -> None:
        connection = sqlite3.connect(os.path.join(self.directory, "taskqueue.db"))
        connection.execute("UPDATE meta SET value = 77 WHERE key = 'log_id'")
        connection.commit()
        connection.close()
        seqs, said, status = self.salvaged()
        self.assertEqual((seqs, status), ([1, 2], 1))
        self.assertIn("Missing: some of the log", said)


class ValueTests(SynchronousTestCase):
    """Values are copied, and no version of theirs is given out again."""

    def setUp(self) -> None:
        self.directory, self.target = self.mktemp(), self.mktemp()
        store = SQLiteStore(self.directory)
        store.open()
        self.values = [
            ValueRow("n", f"key {version}", bytes(2000), version, None)
            for version in range(1, 1001)
        ]
        store.commit(batch(values=self.values))
        store.close()
        self.path = os.path.join(self.directory, "taskqueue.db")

    def edit(self, statement: str) -> None:
        with sqlite3.connect(self.path) as connection:
            connection.execute(statement)
        connection.close()

    def salvaged(self, status: int) -> tuple[set[ValueRow], int, str]:
        out = io.StringIO()
        self.assertEqual(main([self.directory, self.target], out), status)
        store = SQLiteStore(self.target, check_on_start="full")
        store.open()
        self.addCleanup(store.close)
        return set(store.key_values()), store.recover().next_seq, out.getvalue()

    def test_all(self) -> None:
        found, next_seq, said = self.salvaged(0)
        self.assertEqual(found, set(self.values))
        self.assertIn("1000 values were read and stored.", said)
        self.assertEqual(next_seq, 1001)

    def test_numbersThatAreLost(self) -> None:
        self.edit("DELETE FROM meta")
        _, next_seq, _ = self.salvaged(0)
        self.assertEqual(next_seq, 1001)

    def test_whatIsNoValue(self) -> None:
        self.edit("UPDATE key_values SET value = 'text' WHERE version = 7")
        found, _, said = self.salvaged(1)
        self.assertEqual(found, set(self.values) - {self.values[6]})
        self.assertIn("Missing: some of the values.", said)
        store = SQLiteStore(self.directory)
        store.open()
        self.addCleanup(store.close)
        refused = self.assertRaises(StoreCorrupt, list, store.key_values())
        self.assertIn("value 7 is unreadable", str(refused))

    def test_aLostPage(self) -> None:
        with open(self.path, "r+b") as file:
            file.seek(-4096 * 100, os.SEEK_END)
            file.write(b"\xa5" * 4096)
        found, _, said = self.salvaged(1)
        self.assertTrue(900 < len(found) < 1000)
        self.assertLess(found, set(self.values))
        self.assertIn("Missing: some of the values.", said)

    def test_aDatabaseFromBeforeThereWereAny(self) -> None:
        self.edit("DROP TABLE key_values")
        found, _, said = self.salvaged(0)
        self.assertEqual(found, set())
        self.assertNotIn("values", said)
