"""
Where commits run: in the store's own thread, or, for whoever waits alone, right here.

To hand a commit to a thread, and its outcome back, takes about as long as the commit
itself on a quick disk.  Where many requests share a commit that does not matter; a
program that waits for each answer before it asks again waits for every one of them.

But what runs in the reactor's thread keeps everybody waiting.  So a commit runs there
only if one answer waits for it, if it is small, if the store has nothing to catch up with
in it, and if the newest commits were all quick.  After one that was slow none runs there
for a while.  C{docs/store.md} says what can still happen.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from taskqueue.core.changes import Batch
from taskqueue.service.runner import Runner
from taskqueue.store.interface import IStore

#: A commit that takes no longer is quick, seconds; so many in a row must have been.
QUICK_S = 0.001
QUICK_COMMITS = 4

#: One that takes longer is slow, seconds; so long after it none runs here.
SLOW_S = 0.05
DISTRUST_S = 60.0

#: What a small commit has at most: facts, and bytes of payloads and results.
MOST_FACTS = 100
MOST_BYTES = 64 * 1024

#: Before a commit here the store may be so far behind that it is still far from having to
#: catch up within one; that is looked at once for so many commits.
MOST_BEHIND_ROWS = 50_000
MOST_BEHIND_BYTES = 16 * 1024 * 1024
COMMITS_A_LOOK = 100


class Committer:
    """
    Commits one batch after another.

    @ivar here: how many commits ran in the reactor's thread.
    """

    _log = Logger()

    def __init__(
        self,
        store: IStore,
        runner: Runner,
        reactor: IReactorTime,
        *,
        stored: Callable[[], None],
        failed: Callable[[Failure], None],
        timer: Callable[[], float] = perf_counter,
    ) -> None:
        """
        @param runner: runs those that do not run here.
        @param stored: called when a batch is stored; what it raises is logged.
        @param failed: called when one is not.
        @param timer: gives seconds, in any thread.
        """
        self._store = store
        self._runner = runner
        self._reactor = reactor
        self._stored = stored
        self._failed = failed
        self._timer = timer
        self._quick = 0
        self._distrusted_until = 0.0
        self._looks_saved = 0
        self.here = 0

    def commit(self, batch: Batch, *, alone: bool = False) -> None:
        """
        Commit a batch; the one before must be over.

        @param alone: whether just one answer waits for it, so that it may run here: what
            comes of it is told before this returns then.
        """
        if not (alone and self._may_run_here(batch)):
            self._looks_saved = 0
            self._runner.run(self._commit, batch).addCallbacks(self._succeed, self._fail)
            return
        self.here += 1
        try:
            took_s = self._commit(batch)
        except Exception:
            self._fail(Failure())
        else:
            self._succeed(took_s)

    def _commit(self, batch: Batch) -> float:
        """How long it took, seconds."""
        began = self._timer()
        self._store.commit(batch)
        return self._timer() - began

    def _may_run_here(self, batch: Batch) -> bool:
        if self._quick < QUICK_COMMITS or self._store.inline:
            return False  # a store that is inline has a runner that is
        if self._distrusted_until:
            if self._reactor.seconds() < self._distrusted_until:
                return False
            self._distrusted_until = 0.0
        if self._looks_saved > 0:
            self._looks_saved -= 1
        elif not self._look_at_backlog():
            return False
        return _is_small(batch)

    def _look_at_backlog(self) -> bool:
        """Whether the store is far from having to catch up within a commit."""
        backlog = self._store.backlog()
        if backlog.rows > MOST_BEHIND_ROWS or backlog.size_bytes > MOST_BEHIND_BYTES:
            return False
        self._looks_saved = COMMITS_A_LOOK
        return True

    def _succeed(self, took_s: float) -> None:
        self._quick = self._quick + 1 if took_s <= QUICK_S else 0
        if took_s > SLOW_S:
            self._distrusted_until = self._reactor.seconds() + DISTRUST_S
        try:
            self._stored()
        except Exception:
            self._log.failure("a group was stored, but what follows from it failed")

    def _fail(self, failure: Failure) -> None:
        self._quick = 0
        try:
            self._failed(failure)
        except Exception:
            self._log.failure("a group was not stored, and what follows from that failed")


def _is_small(batch: Batch) -> bool:
    if len(batch.inserts) + len(batch.updates) + len(batch.history) > MOST_FACTS:
        return False
    size = 0
    for row in batch.inserts:
        if row.payload is not None:
            size += len(row.payload)
    for update in batch.updates:
        if update.result is not None:
            size += len(update.result)
    return size <= MOST_BYTES
