"""
The embedded default: a commit log in front of one SQLite database.

A commit is encoded and appended to the log (L{taskqueue.store.commitlog}), and
that is all that anybody waits for.  What it says is merged with what else the
database does not have yet (L{taskqueue.store.pending}), and written there in one
transaction for many commits: so a task that is submitted, claimed and completed
within a second is one row written once.

C{docs/store.md} says why nothing is lost at any crash point.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from random import SystemRandom
from threading import Lock, RLock
from time import monotonic, sleep

from twisted.logger import Logger
from zope.interface import implementer

from taskqueue.core.changes import Batch, HistoryRow, OpenWindow, TaskRow
from taskqueue.core.rows import ValueRow
from taskqueue.core.task import State
from taskqueue.errors import StoreError, StoreFailed
from taskqueue.store import dead_letters, overlay, pending, searches
from taskqueue.store.commitlog import PREFIX, CommitLog
from taskqueue.store.database import Marks
from taskqueue.store.faults import log_damaged, translating
from taskqueue.store.files import Files
from taskqueue.store.interface import Backlog, EndedCounts, Filter, IStore, Page, Recovery
from taskqueue.store.pending import Pending
from taskqueue.store.replay import LeftLog
from taskqueue.store.sqlite import SQLiteStore

#: So much behind, the database is to catch up at once, and not when a second has passed.
SETTLE_ROWS = 20_000
SETTLE_BYTES = 16 * 1024 * 1024

#: So much behind, commits wait for it.  It is memory, and what was taken once is seldom given
#: back: a row takes some 430 bytes beside its payload until it is in the database.
BOUND_ROWS = 60_000
BOUND_BYTES = 64 * 1024 * 1024

#: So many rows are freed at a time, in less than half a millisecond; and so long others may take
#: the interpreter lock then, seconds.  (0 would not let them: who asks for it first has to wake
#: up.)
FREED_AT_A_TIME = 1024
HAND_OVER_S = 0.00005


@implementer(IStore)
class LoggedStore:
    """
    Tasks in C{<directory>/taskqueue.db}, and what is newer in
    C{<directory>/taskqueue.log.*}.
    """

    inline = False
    most_ended_bytes: int | None = None
    wants_sweep = False
    memory_bytes = 0
    _logger = Logger()

    def __init__(
        self,
        directory: str,
        synchronous: bool = True,
        check_on_start: str = "quick",
        files: Files | None = None,
    ) -> None:
        """
        @param directory: the data directory, created (0700) where there is none;
            on a local file system.
        @param synchronous: whether C{commit} waits until the medium has it.
        @param check_on_start: how thoroughly the database is looked over.
        @param files: what the log is written through, for tests.
        """
        files = files or Files()
        self._database = SQLiteStore(directory, synchronous, check_on_start, self._examine)
        path = self._database.directory
        self._log = CommitLog(path, synchronous, files)
        self._left = LeftLog(path, files, check_on_start == "none" or not synchronous)
        self._settling = RLock()
        self._merging = Lock()
        # Oldest first: what is being settled, if anything is, and what is merged into.  Readers
        # take hold of the tuple as it is.
        self._generations: tuple[Pending, ...] = (Pending(),)
        self._settled = 0

    # --- start and stop ---------------------------------------------------------

    def open(self) -> None:
        """
        Lock the directory, look database and log over, bring the database up to
        date, begin a new log.

        @raises StoreLocked: another broker has it.
        @raises StoreCorrupt: the check found damage; the files are untouched.
        @raises StoreVersion: a newer version wrote it.
        @raises StoreFailed: it cannot be created or written.
        """
        if self._database.is_open:
            return
        self._database.open()
        try:
            with translating(self._database.path, "be brought up to date"):
                self._replay()
                self._log.remove()
                log_id = SystemRandom().getrandbits(63)
                self._database.begin_log(log_id)
                self._log.begin(log_id, self._settled)
                self._generations = (Pending(self._database.next_seq - 1),)
        except BaseException:
            self._log.close()
            self._database.close()
            raise

    def close(self) -> None:
        """
        Bring the database up to date, remove the log, close and unlock.  What fails of
        it is done at the next start.
        """
        if not self._database.is_open:
            return
        try:
            with suppress(StoreError, OSError):
                self.settle()
                self._database.sync()
                self._log.remove()
        finally:
            self._log.close()
            self._generations = (Pending(),)
            self._database.close()

    def _examine(self, marks: Marks) -> None:
        """Read the log through before anything is written."""
        for _ in self._left.batches(marks):
            pass

    def _replay(self) -> None:
        """Everything that the log has and the database lacks."""
        marks = self._database.marks()
        self._settled = marks.lsn
        left = Pending()
        for lsn, batch in self._left.batches(marks):
            left.add(batch, lsn, 0)
            if left.rows >= SETTLE_ROWS:
                self._replay_some(left)
                left = Pending()
        self._replay_some(left)
        self._database.sync()
        if self._settled > marks.lsn:
            self._logger.info(
                "{count} commits of the log were brought into the database",
                count=self._settled - marks.lsn,
            )

    def _replay_some(self, left: Pending) -> None:
        if not left:
            return
        try:
            self._database.settle(left.pieces(), left.lsn)
        except StoreFailed:
            raise
        except StoreError as problem:
            raise log_damaged(f"{self._database.directory}/{PREFIX}*", str(problem)) from problem
        self._settled = left.lsn

    def recover(self, payload_bytes: int | None = None) -> Recovery:
        self.settle()
        return self._database.recover(payload_bytes)

    def open_windows(self, beyond: float) -> list[OpenWindow]:
        self.settle()
        return self._database.open_windows(beyond)

    def key_values(self) -> Iterable[ValueRow]:
        self.settle()
        return self._database.key_values()

    # --- the writer's -----------------------------------------------------------

    def commit(self, batch: Batch) -> None:
        """
        Make a batch safe in the log.  The same batch may be sent again.

        @raises StoreFailed: nothing of it was stored; it may be sent again.
        @raises StoreError: nothing of it was stored, nor ever can be.
        """
        self._database.check_open()
        if self._is_far_behind():
            self.settle()
        pending.check(batch, self._generations)
        with translating(self._database.path, "store a batch"):
            if self._log.doubtful:
                self._renew_log()
            lsn, size_bytes = self._log.append(batch)
        with self._merging:
            self._generations[-1].add(batch, lsn, size_bytes, monotonic())

    def _is_far_behind(self) -> bool:
        rows = size_bytes = 0
        for each in self._generations:
            rows += each.rows
            size_bytes += each.size_bytes
        return rows > BOUND_ROWS or size_bytes > BOUND_BYTES

    def _renew_log(self) -> None:
        with self._merging:
            base, generations = self._settled, self._generations
        unsettled = Pending()
        for each in generations:
            unsettled.absorb(each)
        self._log.renew(base, unsettled.batch())

    def sweep(self, before: Mapping[State, float], limit: int) -> EndedCounts:
        """
        Remove ended tasks, those that ended first of each state first.

        @param limit: at most this many, of all states together.
        @raises ValueError: C{before} names a state that is no end.
        """
        with self._settling:
            self.settle()
            return self._database.sweep(before, limit)

    # --- catching up ------------------------------------------------------------

    @property
    def wants_checkpoint(self) -> bool:
        """Whether the database is so far behind that it should catch up at once."""
        newest = self._generations[-1]
        return newest.rows >= SETTLE_ROWS or newest.size_bytes >= SETTLE_BYTES

    def backlog(self) -> Backlog:
        """How far the database is behind."""
        generations = self._generations
        begun = [each.since for each in generations if each]
        return Backlog(
            sum(each.rows for each in generations),
            sum(each.size_bytes for each in generations),
            max(0.0, monotonic() - min(begun)) if begun else 0.0,
            self._log.size_bytes,
        )

    def settle(self) -> None:
        """
        Bring the database up to date with all that is committed by now.

        @raises StoreFailed: it cannot be written; nothing is lost, and nothing forgotten.
        """
        self._database.check_open()
        with self._settling:
            if len(self._generations) > 1:  # it failed the last time
                self._settle_oldest()
            if self._begin_generation():
                self._settle_oldest()

    def _begin_generation(self) -> bool:
        """Merge into another from now on; whether there is anything in the one before."""
        with self._merging:
            newest = self._generations[-1]
            if newest:
                self._generations = (newest, Pending(newest.newest))
            return bool(newest)

    def _settle_oldest(self) -> None:
        oldest = self._generations[0]
        self._database.settle(oldest.pieces(), oldest.lsn)
        with self._merging:
            self._settled = oldest.lsn
            self._generations = self._generations[1:]
        # A reader may hold it still: its rows are freed after that, then.
        contents = oldest.contents()
        del oldest
        _free_in_steps(contents)

    def checkpoint(self) -> None:
        """
        Bring the database up to date, compact what SQLite has logged itself, and
        remove what the log need not keep any longer.
        """
        with self._settling:
            self.settle()
            self._database.checkpoint()
            settled = self._settled
            if self._log.has_spare(settled):
                self._database.sync()
                with translating(self._database.path, "shorten its log"):
                    self._log.forget(settled)

    # --- the reader's -----------------------------------------------------------

    def records(self, ids: Sequence[str]) -> list[TaskRow]:
        return overlay.records(ids, self._generations, self._database.records)

    def numbered(self, seqs: Sequence[int]) -> list[TaskRow]:
        return overlay.numbered(seqs, self._generations, self._database.numbered)

    def payloads(self, seqs: Sequence[int]) -> dict[int, bytes]:
        return overlay.payloads(seqs, self._generations, self._database.payloads)

    def dead_letters(self, queue: str, limit: int) -> list[TaskRow]:
        self._database.check_open()
        return dead_letters.find(queue, limit, self._generations, self._database)

    def ended_ids(self, after: int, limit: int) -> list[tuple[int, str]]:
        self.settle()
        return self._database.ended_ids(after, limit)

    def history(self, seq: int) -> list[HistoryRow]:
        generations = self._generations
        return overlay.history(seq, self._database.history(seq), generations)

    def find(self, filter: Filter, page: Page) -> list[TaskRow]:
        """Tasks of one page, whether the database has them yet or not."""
        self._database.check_open()
        return searches.find(filter, page, self._generations, self._database)

    def backup(self, path: str) -> int:
        """
        Copy the database as it stands at this moment.  The copy is a data
        directory's C{taskqueue.db}; it has the name C{path} only when it is
        whole and on the medium.

        @raises StoreFailed: C{path} exists, or cannot be written.
        """
        self.settle()
        return self._database.backup(path)

    def size(self) -> int:
        return self._database.size() + self._log.size_bytes


def _free_in_steps(lists: list[list[object]]) -> None:
    """
    Empty lists, and let other threads have the interpreter lock meanwhile: to free all at once
    would hold it for a millisecond for every thousand or two of tasks.
    """
    for each in lists:
        while each:
            del each[-FREED_AT_A_TIME:]
            sleep(HAND_OVER_S)
