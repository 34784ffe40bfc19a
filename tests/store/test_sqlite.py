"""Tests of the store in SQLite: the contract, and what a medium can do to it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.changes import Batch
from taskqueue.core.task import State
from taskqueue.errors import StoreCorrupt, StoreError, StoreFailed
from taskqueue.store import (
    Filter,
    IStore,
    LoggedStore,
    Page,
    SQLiteStore,
    database,
    make_store,
    sqlite,
)
from tests.store.contract import StoreContract
from tests.store.rows import NOW, batch, task, update


class SQLiteStoreTests(StoreContract, SynchronousTestCase):
    """The contract, in a database."""

    def makeStore(self) -> IStore:
        # Unsynced: hundreds of stores are made, and none of them meets a power cut.
        return SQLiteStore(self.mktemp(), synchronous=False)

    def test_notInline(self) -> None:
        self.assertFalse(SQLiteStore(self.mktemp()).inline)


class MakeStoreTests(SynchronousTestCase):
    """From settings to a store."""

    def synchronous(self, durability: str) -> int:
        store = make_store("sqlite", self.mktemp(), durability, "none")
        assert isinstance(store, LoggedStore)
        self.assertEqual(store._log._synchronous, durability != "none")
        store.open()
        self.addCleanup(store.close)
        (level,) = store._database._writer.execute("PRAGMA synchronous").fetchone()
        return int(level)

    def test_durabilities(self) -> None:
        self.assertEqual(self.synchronous("fsync"), 1)
        self.assertEqual(self.synchronous("interval"), 1)
        self.assertEqual(self.synchronous("none"), 0)

    def test_memory(self) -> None:
        self.assertTrue(make_store("memory", "", "fsync", "quick").inline)

    def test_unknownWords(self) -> None:
        with self.assertRaisesRegex(ValueError, "kind is one of sqlite, memory, not 'redis'"):
            make_store("redis", "x", "fsync", "quick")
        with self.assertRaisesRegex(ValueError, "durability is one of"):
            make_store("sqlite", "x", "maybe", "quick")
        with self.assertRaisesRegex(ValueError, "check_on_start is one of"):
            make_store("sqlite", "x", "fsync", "slow")


class OneStoreCase(SynchronousTestCase):
    """A synced store in a directory of its own."""

    def setUp(self) -> None:
        self.directory = self.mktemp()
        self.path = os.path.join(self.directory, "taskqueue.db")
        self.store = SQLiteStore(self.directory)
        self.store.open()
        self.addCleanup(self.store.close)

    def seqs(self) -> list[int]:
        found = self.store.find(Filter(), Page(limit=10**6, descending=False))
        return [row.seq for row in found]


class WritingTests(OneStoreCase):
    """Commits that the medium refuses, or that make no sense."""

    def limitPages(self, more: int) -> None:
        (pages,) = self.store._writer.execute("PRAGMA page_count").fetchone()
        self.store._writer.execute(f"PRAGMA max_page_count = {pages + more}").fetchall()

    def test_fullDisk(self) -> None:
        """Nothing of the batch is stored; once there is room, the same batch is."""
        self.store.commit(batch([task(1)]))
        self.limitPages(10)
        big = batch(
            [task(seq, payload=bytes(50_000)) for seq in (2, 3)],
            updates=[update(task(1), state=int(State.COMPLETED))],
            token_ceiling=50,
        )
        refused = self.assertRaises(StoreFailed, self.store.commit, big)
        self.assertIn("database or disk is full (SQLITE_FULL)", str(refused))
        self.assertIn("Free some disk space", str(refused))
        self.assertEqual(self.seqs(), [1])
        recovery = self.store.recover()
        self.assertEqual((recovery.token_ceiling, recovery.next_seq, recovery.ended), (0, 2, {}))
        self.store.commit(batch([task(4)]))
        self.limitPages(100_000)
        self.store.commit(big)
        self.assertEqual(self.seqs(), [1, 2, 3, 4])

    def test_fullDiskInOneStatement(self) -> None:
        self.limitPages(5)
        many = batch([task(seq, payload=bytes(1000)) for seq in range(1, 200)])
        self.assertRaises(StoreFailed, self.store.commit, many)
        self.assertEqual(self.seqs(), [])
        self.limitPages(100_000)
        self.store.commit(many)
        self.assertEqual(len(self.seqs()), 199)

    def test_readOnlyMedium(self) -> None:
        self.store._writer.execute("PRAGMA query_only = 1").fetchall()
        refused = self.assertRaises(StoreFailed, self.store.commit, batch([task(1)]))
        self.assertIn("readonly", str(refused))
        self.store._writer.execute("PRAGMA query_only = 0").fetchall()
        self.store.commit(batch([task(1)]))

    def test_lockedByAnOperator(self) -> None:
        self.patch(database, "PATIENCE_MS", 0)
        self.store.close()
        self.store.open()
        shell = sqlite3.connect(self.path, isolation_level=None)
        shell.execute("BEGIN IMMEDIATE")
        with self.assertRaisesRegex(StoreFailed, "end its transaction"):
            self.store.commit(batch([task(1)]))
        shell.execute("COMMIT")
        shell.close()
        self.store.commit(batch([task(1)]))

    def test_twoTasksWithOneSeq(self) -> None:
        """An error that no later try mends, and nothing is overwritten or half stored."""
        self.store.commit(batch([task(1)]))
        wrong = batch([task(2), task(1, id="another")])
        refused = self.assertRaises(StoreError, self.store.commit, wrong)
        self.assertNotIsInstance(refused, StoreFailed)
        self.assertEqual(self.seqs(), [1])
        self.assertEqual(self.store.records(["task-1"])[0].id, "task-1")

    def test_twoTasksWithOneId(self) -> None:
        self.store.commit(batch([task(1)]))
        with self.assertRaisesRegex(StoreError, "UNIQUE constraint failed: tasks.id"):
            self.store.commit(batch([task(2, id="task-1")]))
        self.assertEqual(self.seqs(), [1])

    def test_valuesThatNoColumnHolds(self) -> None:
        for wrong in (task(1, priority=2**64), task(1, error="\ud800"), task(1, worker=object())):
            refused = self.assertRaises(
                StoreError, self.store.commit, batch([wrong], token_ceiling=1)
            )
            self.assertNotIsInstance(refused, StoreFailed)
        self.store.commit(batch([task(1)]))
        self.assertEqual(self.seqs(), [1])

    def test_oneStatementCommitsByItself(self) -> None:
        """A batch of new tasks alone waits for the interpreter lock once."""
        seen: list[str] = []
        self.store._writer.set_trace_callback(seen.append)
        self.store.commit(batch([task(1), task(2)]))
        self.assertEqual([text for text in seen if not text.startswith("INSERT INTO tasks")], [])

    def test_logStaysSmallUnderLoad(self) -> None:
        """With a checkpoint offered after each commit the log is used over again."""
        for start in range(1, 40_000, 1000):
            self.store.commit(batch([task(seq) for seq in range(start, start + 1000)]))
            self.store.checkpoint()
        self.assertLess(os.path.getsize(self.path + "-wal"), 8 * 1024 * 1024)

    def test_logIsCutBackOnceReadersAreGone(self) -> None:
        self.patch(sqlite, "WAL_BOUND_BYTES", 200_000)
        self.patch(sqlite, "_WORTH_PAGES", 0)
        self.store.commit(batch([task(1)]))
        reading = sqlite3.connect(self.path, isolation_level=None)
        reading.execute("BEGIN")
        reading.execute("SELECT * FROM tasks").fetchall()
        for seq in range(2, 10):
            self.store.commit(batch([task(seq, payload=bytes(100_000))]))
            self.store.checkpoint()
        self.assertGreater(os.path.getsize(self.path + "-wal"), 200_000)
        reading.close()
        self.store.checkpoint()
        self.assertEqual(os.path.getsize(self.path + "-wal"), 0)

    def test_cleanCloseLeavesNoLog(self) -> None:
        self.store.commit(batch([task(1)]))
        self.store.close()
        self.assertEqual(sorted(os.listdir(self.directory)), ["lock", "taskqueue.db"])


class TwoThreadTests(OneStoreCase):
    """A writer and a reader at the same time."""

    def writeMeanwhile(self, batches: int) -> threading.Thread:
        def write() -> None:
            for seq in range(1, batches * 2, 2):
                # Two tasks a batch: a reader must never see one without the other.
                self.store.commit(batch([task(seq), task(seq + 1)]))
                self.store.checkpoint()

        thread = threading.Thread(target=write)
        thread.start()
        self.addCleanup(thread.join)
        return thread

    def test_readsSeeWholeBatches(self) -> None:
        thread = self.writeMeanwhile(200)
        counts = [0]
        while thread.is_alive():
            counts.append(len(self.seqs()))
        self.assertEqual([count for count in counts if count % 2], [])
        self.assertTrue(all(one <= two for one, two in pairwise(counts)))
        self.assertEqual(len(self.seqs()), 400)

    def test_backupIsOneMoment(self) -> None:
        self.store.commit(batch([task(10**6 + n, payload=bytes(3000)) for n in range(2000)]))
        target = self.mktemp()
        os.mkdir(target)
        thread = self.writeMeanwhile(100)
        self.store.backup(os.path.join(target, "taskqueue.db"))
        thread.join()
        copy = SQLiteStore(target, check_on_start="full")
        copy.open()
        self.addCleanup(copy.close)
        rows = list(copy.recover().tasks)
        self.assertGreaterEqual(len(rows), 2000)
        self.assertEqual(len(rows) % 2, 0)


class DamageTests(OneStoreCase):
    """Damage is found at the start, told with what to do, and left as it is."""

    def setUp(self) -> None:
        super().setUp()
        for start in range(1, 3000, 500):
            rows = [task(seq, payload=b"p" * 300) for seq in range(start, start + 500)]
            self.store.commit(batch(rows))
        self.store.close()

    def damage(self, offset: int, data: bytes, path: str | None = None) -> None:
        with open(path or self.path, "r+b") as file:
            file.seek(offset)
            file.write(data)

    def content(self) -> dict[str, bytes]:
        found = {}
        for name in sorted(os.listdir(self.directory)):
            if name not in ("lock", "taskqueue.db-shm"):
                with open(os.path.join(self.directory, name), "rb") as file:
                    found[name] = file.read()
        # SQLite makes an empty log where there is none, whoever looks at the database.
        return {name: data for name, data in found.items() if data}

    def refused(self, check: str = "quick") -> StoreCorrupt:
        """Opening fails, changes nothing, and says what to do."""
        before = self.content()
        store = SQLiteStore(self.directory, check_on_start=check)
        error: StoreCorrupt = self.assertRaises(StoreCorrupt, store.open)
        self.assertEqual(self.content(), before)
        self.assertIn(os.path.abspath(self.path), str(error))
        self.assertIn("Restore a backup", str(error))
        return error

    def test_garbage(self) -> None:
        self.damage(0, os.urandom(5000))
        self.assertIn("file is not a database", str(self.refused()))
        self.refused("none")

    def test_truncated(self) -> None:
        os.truncate(self.path, os.path.getsize(self.path) // 2)
        self.assertIn("python -m taskqueue.store.salvage", str(self.refused()))

    def test_truncatedWithinAPage(self) -> None:
        os.truncate(self.path, os.path.getsize(self.path) - 1000)
        self.refused()

    def test_overwrittenPages(self) -> None:
        """Wherever a whole page is lost, it is noticed."""
        size = os.path.getsize(self.path)
        with open(self.path, "rb") as file:
            sound = file.read()
        for page in range(1, size // 4096, size // 4096 // 12):
            self.damage(page * 4096, b"\xa5" * 4096)
            self.refused("full")
            self.damage(0, sound)

    def test_flippedBytesInsideATable(self) -> None:
        """The cell pointers of an inner page of the table of tasks."""
        connection = sqlite3.connect(self.path)
        (root,) = connection.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'tasks'"
        ).fetchone()
        connection.close()
        self.damage((root - 1) * 4096 + 12, b"\xff\xff\xff\xff")
        self.refused()

    def test_damageMetWhileRecovering(self) -> None:
        """Without a check at the start it is still no silent loss."""
        size = os.path.getsize(self.path)
        for page in range(20, size // 4096):
            self.damage(page * 4096, b"\xa5" * 4096)
        store = SQLiteStore(self.directory, check_on_start="none")
        self.addCleanup(store.close)

        def start() -> None:
            store.open()
            list(store.recover().tasks)

        self.assertRaises(StoreCorrupt, start)

    def test_unreadableOptions(self) -> None:
        connection = sqlite3.connect(self.path)
        connection.execute("UPDATE tasks SET options = '{\"speed\": 9}' WHERE seq = 3")
        connection.commit()
        connection.close()
        self.store.open()
        with self.assertRaisesRegex(StoreCorrupt, "task task-3 is unreadable"):
            list(self.store.recover().tasks)
        with self.assertRaisesRegex(StoreCorrupt, "task task-3 is unreadable"):
            self.store.records(["task-3"])


class TornLogTests(OneStoreCase):
    """What stands in the log after a crash, whole or not."""

    def setUp(self) -> None:
        super().setUp()
        for seq in range(1, 21):
            self.store.commit(batch([task(seq)]))
        # What a crash leaves: the files as they are, with the log unmerged.
        self.crashed = self.mktemp()
        os.mkdir(self.crashed)
        for suffix in ("", "-wal"):
            shutil.copy(self.path + suffix, os.path.join(self.crashed, "taskqueue.db" + suffix))
        self.log = os.path.join(self.crashed, "taskqueue.db-wal")

    def recovered(self, check: str = "quick") -> list[int]:
        store = SQLiteStore(self.crashed, check_on_start=check)
        store.open()
        self.addCleanup(store.close)
        return [row.seq for row in store.recover().tasks]

    def flip(self, offset: int) -> None:
        with open(self.log, "r+b") as file:
            file.seek(offset)
            (byte,) = file.read(1)
            file.seek(offset)
            file.write(bytes([byte ^ 0x10]))

    def test_whole(self) -> None:
        self.assertEqual(self.recovered(), list(range(1, 21)))

    def test_torn(self) -> None:
        """Only what was in the torn frames is missing: at most the newest commit."""
        os.truncate(self.log, os.path.getsize(self.log) - 100)
        self.assertEqual(self.recovered(), list(range(1, 20)))

    def test_tornInTheNewestCommit(self) -> None:
        self.flip(os.path.getsize(self.log) - 100)
        self.assertEqual(self.recovered(), list(range(1, 20)))

    def test_damagedInTheMiddle(self) -> None:
        """Commits that were acknowledged stand behind it: that is no crash's work."""
        self.flip(os.path.getsize(self.log) * 2 // 3)
        refused = self.assertRaises(StoreCorrupt, self.recovered)
        self.assertIn("commits in it cannot be read", str(refused))
        self.assertGreater(refused.fields["commits"], 2)
        seqs = self.recovered("none")
        self.assertEqual(seqs, list(range(1, len(seqs) + 1)))
        self.assertLess(len(seqs), 19)

    def test_damagedHeader(self) -> None:
        for offset in (2, 10, 18, 26):
            self.flip(offset)
            self.assertRaises(StoreCorrupt, self.recovered)
            self.flip(offset)
        self.assertEqual(self.recovered(), list(range(1, 21)))

    def test_leftoversOfAnOlderLogAreNoDamage(self) -> None:
        """After a checkpoint the log is overwritten from its start; its end is old."""
        self.patch(sqlite, "_WORTH_PAGES", 0)
        self.store.checkpoint()
        self.store.commit(batch([task(21)]))
        for suffix in ("", "-wal"):
            shutil.copy(self.path + suffix, os.path.join(self.crashed, "taskqueue.db" + suffix))
        self.assertEqual(self.recovered(), list(range(1, 22)))


WRITE = """
import sys
from taskqueue import store as stores
from tests.store.rows import batch, task, update
store = getattr(stores, sys.argv[2])(sys.argv[1])
store.open()
seq = 1
while True:
    rows = [task(n, payload=bytes(2000)) for n in range(seq, seq + 100)]
    changes = [update(task(n), state=5) for n in range(max(seq - 100, 1), seq)]
    store.commit(batch(rows, changes, token_ceiling=seq + 100))
    print(seq + 99, flush=True)
    seq += 100
    if seq % 700 == 1:
        store.checkpoint()
"""


class KilledWriterTests(SynchronousTestCase):
    """C{kill -9} in the middle of commits."""

    store: type[SQLiteStore] | type[LoggedStore] = SQLiteStore

    def test_wholeBatchesOnlyAndAllAcknowledgedOnes(self) -> None:
        for after_lines in (1, 4, 9):
            with self.subTest(after_lines=after_lines):
                directory = self.mktemp()
                acknowledged = self.killedAfter(after_lines, directory)
                self.check(directory, acknowledged)

    def killedAfter(self, lines: int, directory: str) -> int:
        """The newest C{seq} that a writer in C{directory} told of before it died."""
        with subprocess.Popen(
            [sys.executable, "-c", WRITE, directory, self.store.__name__],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdout=subprocess.PIPE,
        ) as child:
            assert child.stdout is not None
            for _ in range(lines):
                child.stdout.readline()
            child.kill()
            rest = child.stdout.read().split()
        return max([lines * 100, *map(int, rest)])

    def check(self, directory: str, acknowledged: int) -> None:
        store = self.store(directory, check_on_start="full")
        store.open()
        self.addCleanup(store.close)
        found = store.find(Filter(), Page(limit=10**6, descending=False))
        newest = found[-1].seq
        self.assertEqual([row.seq for row in found], list(range(1, newest + 1)))
        self.assertEqual(newest % 100, 0)
        self.assertGreaterEqual(newest, acknowledged)
        recovery = store.recover()
        self.assertEqual([row.seq for row in recovery.tasks], [*range(newest - 99, newest + 1)])
        self.assertEqual(recovery.token_ceiling, newest + 100 - 99)
        self.assertEqual(sum(recovery.ended.values()), newest - 100)


class BatchLifeTests(OneStoreCase):
    """What a sweep leaves behind in the file: nothing."""

    def test_sweptRowsLeaveNothing(self) -> None:
        rows = [
            task(seq, state=5, ended_at=NOW, payload=bytes(3000), result=bytes(3000))
            for seq in range(1, 50)
        ]
        self.store.commit(batch(rows))
        self.store.sweep({State.COMPLETED: NOW + 1}, 1000)
        for table in ("tasks", "blobs", "history"):
            (left,) = self.store._reader.execute(f"SELECT count(*) FROM {table}").fetchone()
            self.assertEqual(left, 0, table)

    def test_batchIsNotChanged(self) -> None:
        """A batch may be sent again, so the store must not write into it."""
        original: Batch = batch([task(1, payload=bytes(5000))], [update(task(1), result=b"")])
        self.store.commit(original)
        self.assertEqual(original.inserts, [task(1, payload=bytes(5000))])
        self.assertEqual(len(original.updates), 1)
