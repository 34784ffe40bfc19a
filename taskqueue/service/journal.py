"""
Group commit: many requests share one write to the store.

Answers are held, not requests.  A command changes the core at once; the answer
that says "accepted" is given when the group that holds its changes is stored.
While one group is being written, the next collects.

Where the store fails, the group is kept and tried again, nothing new is
accepted, and the answers held are given up after a while: they then say that
the outcome is not known, which is the truth.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from taskqueue.core.changes import Batch, Changes
from taskqueue.core.counters import BUCKETS_S, Histogram
from taskqueue.core.ledger import Ledger
from taskqueue.core.task import Task
from taskqueue.errors import ShuttingDown, StoreUnavailable, TaskQueueError
from taskqueue.service.answers import Answer
from taskqueue.service.committing import Committer
from taskqueue.service.outbox import Outbox
from taskqueue.service.runner import Runner
from taskqueue.store.interface import IStore

_T = TypeVar("_T")

#: Upper bounds of the buckets for the number of rows in a group.
BUCKETS_ROWS: tuple[float, ...] = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)

#: Pauses between tries while the store fails, seconds: the first and the longest.
FIRST_RETRY_S = 0.25
LONGEST_RETRY_S = 5.0

#: While answers wait for the store, groups begin at least so far apart, so that
#: they grow with the load, up to this many facts; a group after a pause
#: begins at once.  Seconds: with the commit log a group is cheap, so that little is gained by more,
#: and whoever waits for each answer beside them waits no longer.
GROUP_SPACING_S = 0.0005
GROUP_FACTS = 100

#: Changes that nobody waits for (claims, above all) wait so long for others to share a
#: group with, seconds, or up to twice as long.
UNHELD_S = 0.005

#: For how long after a group with several answers groups are spaced, seconds.
#: A program that waits for each answer before it asks again gains nothing by it.
CROWDED_S = 1.0

#: After how long without an answer the store counts as failing, seconds.
HANGING_S = 15.0

#: How long an answer is held while the store fails, seconds.
ANSWER_WITHIN_S = 5.0


class Journal:
    """
    Writes the core's changes to the store, group by group.

    @ivar committer: where groups are committed.
    @ivar error: what the store said when it failed last; C{None} while it works.
    @ivar commits: groups stored.
    @ivar rows: how many rows the groups had.
    @ivar seconds: how long the store took for each.
    @ivar observe: looks at the changes before a group is made of them, and returns what
        is to be called when it is stored; neither may raise.  C{None} for nobody.
    @ivar drained: told of every group when it is put together: all that has changed is
        in it then.  It must not raise.
    """

    _log = Logger()

    def __init__(
        self,
        ledger: Ledger,
        store: IStore,
        runner: Runner,
        reactor: IReactorTime,
        *,
        durability: str,
        interval_s: float,
        stored: Callable[[list[Task]], None],
        told: Callable[[list[Task]], None],
        committed: Callable[[], None],
        outbox: Outbox | None = None,
    ) -> None:
        """
        @param durability: C{"fsync"}: answers wait for the store.  Otherwise
            they do not, and groups are written every C{interval_s} seconds.
        @param told: called with tasks that ended, when their outcome may be told.
        @param stored: called with them when their end is stored.
        @param committed: called after each group, when everybody was told.
        @param outbox: where those stand who were told, so that each sends once.
        """
        self._ledger = ledger
        self._reactor = reactor
        self.committer = Committer(
            store, runner, reactor, stored=self._written, failed=self._failed
        )
        self.waits = durability == "fsync"
        self._interval_s = interval_s
        self._stored_tasks = stored
        self._told = told
        self._committed = committed
        self._outbox = outbox or Outbox(reactor)
        # When the next group is written at the latest; when for those that wait for it; when one
        # that failed is tried again; when those that wait for it are given up.
        self._latest: IDelayedCall | None = None
        self._soon: IDelayedCall | None = None
        self._retry: IDelayedCall | None = None
        self._give_up: IDelayedCall | None = None
        self._soon_is_spaced = False
        self._written_since = False
        self._writing: tuple[Batch, list[Task]] | None = None
        self._held: list[tuple[Answer[Any], Any]] = []
        self._next_held: list[tuple[Answer[Any], Any]] = []
        self._ended_told: list[Task] = []
        self._retry_s = FIRST_RETRY_S
        self._idle: list[Deferred[None]] = []
        self._closed = False
        self.error: Exception | None = None
        self._began = 0.0
        self._crowded_until = 0.0
        self.observe: Callable[[Changes], Callable[[], None] | None] | None = None
        self._noted: Callable[[], None] | None = None
        self.commits = 0
        self.rows = Histogram(BUCKETS_ROWS)
        self.seconds = Histogram(BUCKETS_S)
        self.drained: Callable[[Batch], None] | None = None

    def check(self) -> None:
        """
        @raises StoreUnavailable: the store fails, so nothing can be accepted.
        """
        if self._writing is None:
            return  # a group that failed stays the one being written
        trouble = self.trouble
        if trouble is not None:
            raise StoreUnavailable(
                f"the store cannot write at the moment ({trouble}): nothing was accepted",
                retry_after_s=self._retry_s,
            )

    @property
    def trouble(self) -> str | None:
        """Why nothing can be accepted at the moment, C{None} where all is well."""
        if self.error is not None:
            return str(self.error)
        if self._writing is not None:
            since_s = self._reactor.seconds() - self._began
            if since_s > HANGING_S:
                return f"it has not answered for {since_s:.0f} s"
        return None

    @property
    def being_written(self) -> Batch | None:
        """The group that is on its way to the store, C{None} where none is."""
        return None if self._writing is None else self._writing[0]

    def changed(self) -> None:
        """A command may have changed something: see to it that it is stored."""
        changes = self._ledger.changes
        if not self.waits and changes.ended:
            ended, changes.ended = changes.ended, []
            self._ended_told += ended
            self._tell(ended)
        if self._latest is None and changes:
            self._plan_latest()

    def _plan_latest(self) -> None:
        """What has changed is written in good time, whether anybody waits for it or not."""
        if self._writing is None and not self._closed:
            pause_s = UNHELD_S if self.waits else self._interval_s
            self._written_since = False
            self._latest = self._reactor.callLater(pause_s, self._write_latest)

    def _write_latest(self) -> None:
        self._latest = None
        if self._writing is not None or not self._ledger.changes:
            return
        if self._written_since and self.waits:  # what has changed is newer than this was planned
            self._plan_latest()
        else:
            self._write()

    def _plan_soon(self) -> None:
        """Somebody waits: see to it that the next group is written."""
        if self._soon is None:
            pause_s = self._spacing_s() if self._crowded_until else 0.0
            self._soon_is_spaced = pause_s > 0
            self._soon = self._reactor.callLater(pause_s, self._write_soon)
        elif self._soon_is_spaced and len(self._ledger.changes) >= GROUP_FACTS:
            self._soon_is_spaced = False
            self._soon.reset(0)

    def _write_soon(self) -> None:
        self._soon = None
        if self._writing is None and self._next_held:
            self._write()

    def _spacing_s(self) -> float:
        """How long the next group may still collect, seconds."""
        now = self._reactor.seconds()
        since_s = now - self._began
        if now >= self._crowded_until:
            self._crowded_until = 0.0
        elif 0 <= since_s < GROUP_SPACING_S and len(self._ledger.changes) < GROUP_FACTS:
            return GROUP_SPACING_S - since_s
        return 0.0

    def barrier(self, value: _T) -> Deferred[_T]:
        """
        Fires with C{value} when all that has changed so far is stored (with
        relaxed durability: at once).

        Fails with L{StoreUnavailable} when the store fails for long, and with
        L{ShuttingDown} when nothing is stored any more.
        """
        answer: Deferred[_T] = Deferred()
        try:
            return answer if self.hold(answer, value) else succeed(value)
        except TaskQueueError as error:
            return fail(error)

    def hold(self, answer: Answer[_T], value: _T) -> bool:
        """
        Tell C{answer} when all that has changed so far is stored: C{value}, or the
        error with which L{barrier} fails.

        @return: whether it will be told; not where all is stored already, or need not be.
        @raises ShuttingDown: nothing is stored any more.
        @raises StoreUnavailable: the store has failed for long.
        """
        if self._closed:
            raise ShuttingDown(retry_after_s=1.0)
        if not self.waits:
            return False
        if self.error is not None and self._give_up is None:
            raise self._not_known()
        if self._ledger.changes:
            self._next_held.append((answer, value))
            if self._writing is None:
                self._plan_soon()
        elif self._writing is not None:
            self._held.append((answer, value))
        else:
            return False
        return True

    def flush(self) -> Deferred[None]:
        """Fires when everything is stored, or at once while the store fails."""
        if self.error is not None:
            return succeed(None)
        self._cancel_plans()
        if self._writing is None:
            if not self._ledger.changes:
                return succeed(None)
            self._write()
            if not self._is_under_way():
                return self.flush()
        idle: Deferred[None] = Deferred()
        self._idle.append(idle)
        return idle.addCallback(lambda _: self.flush())

    def _is_under_way(self) -> bool:
        return self._writing is not None and self.error is None

    def close(self) -> None:
        """Write no more, and answer no more."""
        self._closed = True
        self._cancel_plans()
        for call in (self._retry, self._give_up):
            if call is not None:
                call.cancel()
        self._retry = self._give_up = None
        self._refuse_held()

    def _cancel_plans(self) -> None:
        for call in (self._latest, self._soon):
            if call is not None:
                call.cancel()
        self._latest = self._soon = None

    # --- one group ----------------------------------------------------------------

    def _write(self) -> None:
        self._written_since = True
        self._noted = None if self.observe is None else self.observe(self._ledger.changes)
        batch, ended = self._ledger.changes.drain(self._ledger.next_seq)
        ended_told, self._ended_told = self._ended_told, []
        self._writing = batch, ended + ended_told
        self._held, self._next_held = self._next_held, []
        if len(self._held) > 1:
            self._crowded_until = self._reactor.seconds() + CROWDED_S
        if self.drained is not None:
            self.drained(batch)
        self._try(alone=len(self._held) == 1 and not self._crowded_until)

    def _try_again(self) -> None:
        self._retry = None
        self._try()

    def _try(self, *, alone: bool = False) -> None:
        assert self._writing is not None
        self._began = self._reactor.seconds()
        self.committer.commit(self._writing[0], alone=alone)

    def _written(self) -> None:
        assert self._writing is not None
        batch, ended = self._writing
        held, self._held = self._held, []
        noted, self._noted = self._noted, None
        self._writing = None
        took_s = self._reactor.seconds() - self._began
        if batch.token_ceiling is not None:
            self._ledger.tokens_reserved(batch.token_ceiling)
        if self.error is not None:
            self._recovered()
        self._outbox.collect(at_once=len(held) == 1)
        try:
            if self.waits and ended:
                self._tell(ended)
            self._stored_tasks(ended)
            for answer, value in held:
                answer.callback(value)
        finally:
            self._outbox.flush()
        # Nobody waits for what follows.
        self.commits += 1
        self.rows.observe(batch.facts)
        self.seconds.observe(took_s)
        if noted is not None:
            noted()
        self._committed()
        if self._next_held and self._writing is None:
            self._plan_soon()
        self.changed()
        self._tell_idle()

    def _tell(self, ended: list[Task]) -> None:
        """What goes wrong with those who hear it must cost no answer."""
        try:
            self._told(ended)
        except Exception:
            self._log.failure("telling how tasks ended failed")

    def _tell_idle(self) -> None:
        idle, self._idle = self._idle, []
        for waiting in idle:
            waiting.callback(None)

    # --- trouble ------------------------------------------------------------------

    def _failed(self, failure: Failure) -> None:
        if self._closed:
            return
        if self.error is None:
            self._log.error(
                "the store failed and nothing is accepted: {error}", error=str(failure.value)
            )
            self._give_up = self._reactor.callLater(ANSWER_WITHIN_S, self._refuse_held)
        else:
            self._retry_s = min(2 * self._retry_s, LONGEST_RETRY_S)
        self.error = failure.value if isinstance(failure.value, Exception) else None
        self._retry = self._reactor.callLater(self._retry_s, self._try_again)
        self._tell_idle()

    def _recovered(self) -> None:
        self._log.info("the store works again")
        self.error = None
        self._retry_s = FIRST_RETRY_S
        if self._give_up is not None:
            self._give_up.cancel()
            self._give_up = None

    def _refuse_held(self) -> None:
        """Give up the answers that are held; what they would have said is not known."""
        self._give_up = None
        held = self._held + self._next_held
        self._held, self._next_held = [], []
        for answer, _ in held:
            answer.errback(self._not_known())

    def _not_known(self) -> StoreUnavailable:
        return StoreUnavailable(
            "the store failed before this was stored: it may still be, or not; ask again with the "
            "same ids when the store works",
            retry_after_s=self._retry_s,
        )
