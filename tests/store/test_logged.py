"""Tests of the embedded default: a commit log in front of the database."""

from __future__ import annotations

import os
import shutil
import sqlite3
import threading
from itertools import pairwise

from twisted.trial.unittest import SynchronousTestCase

from taskqueue.core.changes import Batch, HistoryRow, QueueRow
from taskqueue.core.task import State
from taskqueue.errors import StoreCorrupt, StoreError, StoreFailed, StoreVersion
from taskqueue.store import Filter, IStore, LoggedStore, Page, commitlog, logged, segment
from taskqueue.store.files import Files
from tests.store import test_sqlite
from tests.store.contract import StoreContract
from tests.store.media import everything
from tests.store.rows import HOURLY, NOW, VALUE, batch, task, update


class LoggedStoreTests(StoreContract, SynchronousTestCase):
    """The contract, with a log."""

    def makeStore(self) -> IStore:
        # Unsynced: hundreds of stores are made, and none of them meets a power cut.
        return LoggedStore(self.mktemp(), synchronous=False)

    def test_notInline(self) -> None:
        self.assertFalse(LoggedStore(self.mktemp()).inline)


class UnsettledStore(LoggedStore):
    """One whose database cannot be written once it is open, so everything is read over it."""

    def commit(self, batch: Batch) -> None:
        self._database._writer.execute("PRAGMA query_only = 1").fetchall()
        super().commit(batch)

    def close(self) -> None:
        if self._database.is_open:
            self._database._writer.execute("PRAGMA query_only = 0").fetchall()
        super().close()


class ReadOverTests(SynchronousTestCase):
    """What searches and look-ups find while the database cannot be written."""

    find = StoreContract.test_findEqualsBruteForce
    recordsInOrder = StoreContract.test_recordsInOrderOfTheQuestion
    unknownPayloads = StoreContract.test_payloadsOfUnknownTasks
    rangesAreHalfOpen = StoreContract.test_rangesAreHalfOpen
    results = StoreContract.test_resultsReplaceEachOther
    opened = StoreContract.opened
    holding = StoreContract.holding
    pages = StoreContract.pages

    def makeStore(self) -> IStore:
        return UnsettledStore(self.mktemp(), synchronous=False)

    def test_find(self) -> None:
        self.find()

    def test_recordsInOrder(self) -> None:
        self.recordsInOrder()

    def test_unknownPayloads(self) -> None:
        self.unknownPayloads()

    def test_rangesAreHalfOpen(self) -> None:
        self.rangesAreHalfOpen()

    def test_results(self) -> None:
        self.results()

    def test_historyAndRemovals(self) -> None:
        """Of tasks in the database, and of those that are not there yet."""
        store = UnsettledStore(self.mktemp(), synchronous=False)
        store.open()
        self.addCleanup(store.close)
        events = [HistoryRow(1, NOW, "failed", n, None, None, None) for n in range(3)]
        LoggedStore.commit(store, batch([task(1), task(2)], history=events[:1]))
        store.settle()
        store.commit(batch([task(3)], history=events[1:2], removed=[2]))
        self.assertRaises(StoreFailed, store.settle)
        store.commit(batch([task(4, id="task-2")], history=events[2:], removed=[3]))
        self.assertEqual(store.history(1), events)
        self.assertEqual([row.seq for row in store.records(["task-1", "task-2", "task-3"])], [1, 4])
        self.assertEqual(store.payloads([1, 2, 3, 4]), {1: b"payload 1", 4: b"payload 4"})
        found = store.find(Filter(), Page())
        self.assertEqual([row.seq for row in found], [4, 1])
        with self.assertRaises(StoreError):
            store.backup(self.mktemp())


class OneStoreCase(SynchronousTestCase):
    """
    A synced store in a directory of its own.

    @ivar store: open.
    """

    def setUp(self) -> None:
        self.directory = os.path.abspath(self.mktemp())
        self.store = LoggedStore(self.directory)
        self.store.open()
        self.addCleanup(self.store.close)

    def seqs(self, store: LoggedStore | None = None) -> list[int]:
        found = (store or self.store).find(Filter(), Page(limit=10**6, descending=False))
        return [row.seq for row in found]

    def names(self) -> list[str]:
        return sorted(os.listdir(self.directory))

    def crashed(self) -> str:
        """A directory with what a crash would leave now."""
        left = os.path.abspath(self.mktemp())
        os.mkdir(left)
        for name in self.names():
            if not name.endswith(("lock", "-shm")):
                shutil.copy(os.path.join(self.directory, name), left)
        return left

    def started(self, directory: str, check: str = "quick") -> LoggedStore:
        store = LoggedStore(directory, check_on_start=check)
        store.open()
        self.addCleanup(store.close)
        return store

    def settle_no_more(self, off: bool = True) -> None:
        """Let the database be written no more, or again."""
        self.store._database._writer.execute(f"PRAGMA query_only = {int(off)}").fetchall()


class FileTests(OneStoreCase):
    """What stands in the directory, when."""

    def test_whileItRuns(self) -> None:
        self.store.commit(batch([task(1)]))
        self.assertIn("taskqueue.log.000001", self.names())
        log = os.path.join(self.directory, "taskqueue.log.000001")
        self.assertEqual(os.stat(log).st_mode & 0o777, 0o600)
        self.assertEqual(os.stat(self.directory).st_mode & 0o777, 0o700)

    def test_cleanCloseLeavesTheDatabaseOnly(self) -> None:
        self.store.commit(batch([task(1)]))
        self.store.close()
        self.assertEqual(self.names(), ["lock", "taskqueue.db"])
        with sqlite3.connect(os.path.join(self.directory, "taskqueue.db")) as shell:
            self.assertEqual(shell.execute("SELECT id FROM readable").fetchall(), [("task-1",)])
        shell.close()

    def test_closeWhereTheDatabaseFailsLeavesTheLog(self) -> None:
        self.store.commit(batch([task(1)]))
        self.settle_no_more()
        self.store.close()
        self.assertIn("taskqueue.log.000001", self.names())
        self.store.open()
        self.assertEqual(self.seqs(), [1])

    def test_aCommitIsInTheLogAndNotInTheDatabase(self) -> None:
        self.store.commit(batch([task(1)]))
        database = self.store._database
        self.assertEqual(database.records(["task-1"]), [])
        self.store.checkpoint()
        self.assertEqual(len(database.records(["task-1"])), 1)

    def test_whatIsSettledIsNotReplayed(self) -> None:
        self.store.commit(batch([task(1)]))
        self.store.settle()
        self.store.sweep({}, 1)
        store = self.started(self.crashed())
        self.assertEqual((self.seqs(store), store._settled), ([1], 1))

    def test_whatIsWrittenAgainWithoutItsPayloadIsReplayed(self) -> None:
        """Where the payload is in the database, and where it is in the log."""
        self.store.commit(batch([task(1, payload=bytes(3000)), task(2)]))
        self.store.checkpoint()
        self.store.commit(batch([task(1, payload=None, priority=-5), task(3)]))
        dead = update(task(2), state=int(State.DEAD_LETTER), ended_at=NOW)
        self.store.commit(batch([task(3, payload=None, priority=-6)], [dead]))
        store = self.started(self.crashed())
        expected = [task(1, payload=bytes(3000), priority=-5), task(3, priority=-6)]
        self.assertEqual(list(store.recover().tasks), expected)
        self.assertEqual([row.seq for row in store.dead_letters("default", 9)], [2])

    def test_backupKnowsNoLog(self) -> None:
        """Beside the log of the very database that it is a copy of, too."""
        self.store.commit(batch([task(1)]))
        copy = os.path.join(self.mktemp())
        self.store.backup(copy)
        self.store.commit(batch([task(2)]))
        left = self.crashed()
        for name in ("taskqueue.db", "taskqueue.db-wal"):
            os.unlink(os.path.join(left, name))
        shutil.copy(copy, os.path.join(left, "taskqueue.db"))
        with self.assertRaisesRegex(StoreCorrupt, "does not belong to the database"):
            self.started(left)
        os.unlink(os.path.join(left, "taskqueue.log.000001"))
        self.assertEqual(self.seqs(self.started(left)), [1])


#: By number of commits, the values that there are after them.
_VALUES_AFTER: tuple[list[bytes], ...] = ([], [VALUE.value], [b"newer"], [b"newer"], [])


class EveryByteTests(OneStoreCase):
    """A crash may cut the log at any byte."""

    def test_everyPrefix(self) -> None:
        """Exactly the commits that are whole are there, whatever they did."""
        self.patch(commitlog, "STEP_BYTES", 0)
        ends = {}
        log = os.path.join(self.directory, "taskqueue.log.000001")
        for number, each in enumerate(
            (
                batch([task(1), task(2)], token_ceiling=5, periodics=[HOURLY], values=[VALUE]),
                batch(
                    updates=[update(task(1), attempt=1)],
                    queues=[QueueRow("a", True, 1.0, 2)],
                    values=[VALUE._replace(value=b"newer", version=7)],
                ),
                batch([task(3)], history=[HistoryRow(1, NOW, "lost", 1, None, None, None)]),
                batch(
                    updates=[update(task(2), state=5)],
                    removed=[1],
                    dropped=["hourly"],
                    unset=[(VALUE.namespace, VALUE.key)],
                ),
            )
        ):
            self.store.commit(each)
            ends[os.path.getsize(log)] = number + 1
        left = self.crashed()
        with open(os.path.join(left, "taskqueue.log.000001"), "rb") as file:
            whole = file.read()
        with open(os.path.join(left, "taskqueue.db"), "rb") as file:
            database = file.read()
        states: dict[int, object] = {}
        for length in [*range(segment.HEADER_BYTES + 3), *range(sorted(ends)[1], len(whole) + 1)]:
            directory = self.mktemp()
            os.mkdir(directory)
            for name, data in (
                ("taskqueue.db", database),
                ("taskqueue.db-wal", self._wal(left)),
                ("taskqueue.log.000001", whole[:length]),
            ):
                with open(os.path.join(directory, name), "wb") as file:
                    file.write(data)
            store = LoggedStore(directory)
            store._database._synchronous = False
            store.open()
            count = max([n for end, n in ends.items() if end <= length], default=0)
            self.assertEqual(store._settled, count, length)
            found = everything(store), store.recover()[1:], list(store.key_values())
            self.assertEqual([row.value for row in found[2]], _VALUES_AFTER[count])
            store.close()
            shutil.rmtree(directory)
            self.assertEqual(states.setdefault(count, found), found)
        self.assertEqual(sorted(states), [0, 2, 3, 4])
        last = everything(self.store), self.store.recover()[1:], list(self.store.key_values())
        self.assertEqual(states[4], last)

    def _wal(self, directory: str) -> bytes:
        with open(os.path.join(directory, "taskqueue.db-wal"), "rb") as file:
            return file.read()


class DamageTests(OneStoreCase):
    """What no crash can have done stops the start, and everything stays as it is."""

    def setUp(self) -> None:
        super().setUp()
        self.patch(commitlog, "SEGMENT_BYTES", 300)
        self.patch(commitlog, "STEP_BYTES", 0)
        self.settle_no_more()
        for seq in range(1, 13):
            self.store.commit(batch([task(seq)]))
        self.left = self.crashed()
        self.logs = [os.path.basename(path) for path in commitlog.paths(Files(), self.left)]
        self.assertGreater(len(self.logs), 3)

    def content(self) -> dict[str, bytes]:
        found = {}
        for name in sorted(os.listdir(self.left)):
            if name != "lock" and not name.endswith("-shm"):
                with open(os.path.join(self.left, name), "rb") as file:
                    found[name] = file.read()
        # SQLite makes an empty log where there is none, whoever looks at the database.
        return {name: data for name, data in found.items() if data}

    def edit(self, log: int, offset: int, data: bytes) -> None:
        with open(os.path.join(self.left, self.logs[log]), "r+b") as file:
            file.seek(offset, os.SEEK_SET if offset >= 0 else os.SEEK_END)
            file.write(data)

    def refused(self, words: str, error: type[StoreError] = StoreCorrupt) -> None:
        before = self.content()
        store = LoggedStore(self.left)
        refusal = self.assertRaises(error, store.open)
        self.assertIn(words, str(refusal))
        self.assertIn(self.left, str(refusal))
        self.assertEqual(self.content(), before)

    def test_whole(self) -> None:
        self.assertEqual(self.seqs(self.started(self.left)), list(range(1, 13)))

    def test_flippedBitInAPayload(self) -> None:
        """Which the database could not notice."""
        path = os.path.join(self.left, self.logs[1])
        with open(path, "rb") as file:
            data = file.read()
        self.edit(1, data.index(b"payload"), b"Payload")
        self.refused("is damaged")

    def test_flippedBitBeforeTheNewestCommit(self) -> None:
        self.store.commit(batch([task(13)]))
        self.store.commit(batch([task(14)]))
        self.left = self.crashed()
        self.logs = [os.path.basename(path) for path in commitlog.paths(Files(), self.left)]
        self.edit(-1, segment.HEADER_BYTES + 30, b"\xff")
        self.refused("cannot be read")

    def test_flippedBitInTheNewestCommitIsATear(self) -> None:
        self.edit(-1, -5, b"\xff\xff")
        self.assertEqual(self.seqs(self.started(self.left)), list(range(1, 12)))

    def test_missingSegments(self) -> None:
        for number in range(len(self.logs) - 1):
            path = os.path.join(self.left, self.logs[number])
            os.rename(path, path + ".away")
            self.refused("are missing")
            os.rename(path + ".away", path)

    def test_lostEndOfASegment(self) -> None:
        with open(os.path.join(self.left, self.logs[1]), "r+b") as file:
            file.truncate(200)
        self.refused("are missing")

    def test_brokenHeader(self) -> None:
        self.edit(1, 3, b"x")
        self.refused("its header cannot be read")

    def test_newerFormat(self) -> None:
        self.edit(-1, 8, b"\x00\x00\x00\x09")
        self.refused("newer version of taskqueue (its format is 9", StoreVersion)

    def test_anotherDatabase(self) -> None:
        other = LoggedStore(self.mktemp())
        other.open()
        other.close()
        for name in ("taskqueue.db", "taskqueue.db-wal"):
            os.unlink(os.path.join(self.left, name))
        shutil.copy(other._database.path, self.left)
        self.refused("does not belong to the database beside it")

    def test_noDatabase(self) -> None:
        for name in ("taskqueue.db", "taskqueue.db-wal"):
            os.unlink(os.path.join(self.left, name))
        self.refused("does not belong to the database beside it")

    def test_anOlderDatabase(self) -> None:
        """Of the same life, from before what the log begins with."""
        early = self.crashed()
        self.settle_no_more(off=False)
        self.store.checkpoint()
        self.store.commit(batch([task(13)]))
        self.left = self.crashed()
        for name in ("taskqueue.db", "taskqueue.db-wal"):
            shutil.copy(os.path.join(early, name), self.left)
        self.refused("commits 1 to 12 are missing")

    def test_withoutACheckItGoesOnWithWhatStandsBefore(self) -> None:
        self.edit(1, segment.HEADER_BYTES + 30, b"\xff")
        store = self.started(self.left, "none")
        seqs = self.seqs(store)
        self.assertEqual(seqs, list(range(1, len(seqs) + 1)))
        self.assertLess(len(seqs), 10)
        store.commit(batch([task(50)]))
        store.close()
        self.assertEqual(self.seqs(self.started(self.left)), [*seqs, 50])

    def test_rowsThatTheDatabaseRefuses(self) -> None:
        """Only a fault of the broker's own can have written them; salvage leaves them out."""
        self.settle_no_more(off=False)
        self.store.settle()
        self.store.commit(batch([task(20, id="task-1")]))
        self.left = self.crashed()
        store = LoggedStore(self.left)
        refusal = self.assertRaises(StoreCorrupt, store.open)
        self.assertIn("UNIQUE constraint failed", str(refusal))
        self.assertIn("taskqueue.store.salvage", str(refusal))


class CommitTests(OneStoreCase):
    """What is refused, and what waits."""

    def test_twoTasksInOnePlace(self) -> None:
        self.store.commit(batch([task(1)]))
        for wrong in (
            batch([task(2), task(1, id="another")]),
            batch([task(3), task(3, id="another")]),
            batch([task(4, id="task-1")]),
        ):
            refusal = self.assertRaises(StoreError, self.store.commit, wrong)
            self.assertNotIsInstance(refusal, StoreFailed)
        self.store.commit(batch([task(4, id="task-1")], removed=[1]))
        self.assertEqual(self.seqs(), [4])

    def test_valuesThatNoColumnHolds(self) -> None:
        for wrong in (task(1, priority=2**64), task(1, error="\ud800"), task(1, worker=object())):
            refused = self.assertRaises(StoreError, self.store.commit, batch([wrong]))
            self.assertNotIsInstance(refused, StoreFailed)
        self.store.commit(batch([task(1)]))
        self.assertEqual(self.seqs(self.started(self.crashed())), [1])

    def test_aLongBatchLeavesNoRoomBehind(self) -> None:
        self.store.commit(batch([task(1, payload=bytes(5_000_000))]))
        self.assertEqual(len(self.store._log._room), 0)
        self.store.commit(batch([task(2)]))
        self.assertLess(len(self.store._log._room), 1000)
        self.assertEqual(self.store.payloads([1]), {1: bytes(5_000_000)})

    def test_commitsWaitForADatabaseThatIsFarBehind(self) -> None:
        self.patch(logged, "BOUND_ROWS", 10)
        for seq in range(1, 30):
            self.store.commit(batch([task(seq)]))
            self.assertLessEqual(self.store.backlog().rows, 11)
        self.assertGreater(len(self.store._database.records(["task-1", "task-9"])), 1)

    def test_commitsFailOnceItIsTooFarBehind(self) -> None:
        self.patch(logged, "BOUND_BYTES", 2000)
        self.settle_no_more()
        with self.assertRaisesRegex(StoreFailed, "readonly"):
            for seq in range(1, 100):
                self.store.commit(batch([task(seq)]))
        self.settle_no_more(off=False)
        self.store.commit(batch([task(100)]))
        self.assertEqual(self.seqs(), [*range(1, len(self.seqs())), 100])

    def test_backlog(self) -> None:
        nothing = self.store.backlog()
        self.assertEqual(nothing, (0, 0, 0.0, segment.HEADER_BYTES))
        self.store.commit(batch([task(1), task(2)]))
        some = self.store.backlog()
        self.assertEqual((some.rows, some.log_bytes), (2, nothing.log_bytes + some.size_bytes))
        self.assertGreater(some.age_s, 0)
        self.store.checkpoint()
        self.assertEqual(self.store.backlog()[:3], (0, 0, 0.0))

    def test_asksToCatchUp(self) -> None:
        self.assertFalse(self.store.wants_checkpoint)
        self.patch(logged, "SETTLE_ROWS", 2)
        self.store.commit(batch([task(1), task(2)]))
        self.assertTrue(self.store.wants_checkpoint)
        self.store.checkpoint()
        self.assertFalse(self.store.wants_checkpoint)

    def test_aTaskThatLivesShortIsWrittenOnce(self) -> None:
        seen: list[str] = []
        self.store.commit(batch([task(1)]))
        self.store.commit(batch(updates=[update(task(1), state=3)]))
        self.store.commit(batch(updates=[update(task(1), state=5, ended_at=NOW)]))
        self.store._database._writer.set_trace_callback(seen.append)
        self.store.settle()
        words = {" ".join(text.split()[:3]) for text in seen}
        self.assertEqual([each for each in words if each.startswith("UPDATE")], [])
        self.assertIn("INSERT INTO tasks", words)
        ended = self.store.recover().ended
        self.assertEqual(ended, {("default", "send_email", State.COMPLETED): 1})


class ThreadTests(OneStoreCase):
    """Commits, catching up and reads at the same time."""

    def test_readsSeeWholeBatches(self) -> None:
        self.patch(commitlog, "SEGMENT_BYTES", 20_000)
        done = threading.Event()

        def write() -> None:
            for seq in range(1, 601, 2):
                # Two tasks a batch: a reader must never see one without the other.
                self.store.commit(batch([task(seq), task(seq + 1)]))
            done.set()

        def catch_up() -> None:
            while not done.wait(0.002):
                self.store.checkpoint()

        threads = [threading.Thread(target=each) for each in (write, catch_up)]
        for thread in threads:
            thread.start()
            self.addCleanup(thread.join)
        counts = [0]
        while not done.is_set():
            counts.append(len(self.seqs()))
            newest = [f"task-{counts[-1]}"] if counts[-1] else []
            self.assertEqual([row.id for row in self.store.records(newest)], newest)
        self.assertEqual([count for count in counts if count % 2], [])
        self.assertTrue(all(one <= two for one, two in pairwise(counts)))
        self.assertEqual(len(self.seqs()), 600)


class KilledTests(test_sqlite.KilledWriterTests):
    """C{kill -9} in the middle of commits and of catching up."""

    store = LoggedStore
