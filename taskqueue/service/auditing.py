"""
The self-audit: whether the books, the leases and the store agree with the tasks.

It takes small steps in the reactor's thread, with rests in between, however many
tasks there are; what the store has is read a page at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from taskqueue.core.audit import audit
from taskqueue.core.changes import Batch
from taskqueue.core.ledger import Ledger
from taskqueue.core.recount import Recount, unfounded, unfounded_of
from taskqueue.core.task import LIVE_STATES
from taskqueue.core.values import bytes_of
from taskqueue.errors import InternalError, ShuttingDown, StoreUnavailable
from taskqueue.service.timers import Timer
from taskqueue.store.interface import Filter, Page

if TYPE_CHECKING:
    from taskqueue.service.service import TaskQueueService

#: How often it is looked whether an audit is due, seconds.
LOOK_S = 5.0

#: For how long at a time it keeps the reactor's thread, and how long it rests then,
#: seconds; the rest is short where somebody waits for what is found.
SLICE_S = 0.004
REST_S = 0.02
SHORT_REST_S = 0.002

#: How many tasks are looked at between two looks at the clock.
STRIDE = 100

#: How many tasks are read from the store at a time.
PAGE = 200

#: How many live tasks are compared with a store in memory at most.
MOST_INLINE = 2000

#: How many differences are named; all are counted.
MOST_NAMED = 100

#: How many the log's one line names.
MOST_LOGGED = 5

#: As many tasks, times queues, and as many lanes as can be looked at whole in one slice.
_WHOLE = 2000
_WHOLE_LANES = 100

_LIVE = Filter(states=LIVE_STATES)


class Findings(NamedTuple):
    """
    What one audit found.

    @ivar at: wall-clock moment of its end.
    @ivar took_s: how long it took, seconds.
    @ivar tasks: live tasks that were looked at.
    @ivar leases: leases that were.
    @ivar workers: registered workers that were.
    @ivar stored: live tasks that were read from the store; C{None}: it was not looked
        at, being in memory and too large for that.
    @ivar found: how many differences there are.
    @ivar differences: a sentence for each, up to L{MOST_NAMED}.
    """

    at: float
    took_s: float
    tasks: int
    leases: int
    workers: int
    stored: int | None
    found: int
    differences: list[str]


class Auditor(Timer):
    """
    Audits the broker again and again, and when somebody asks.

    @ivar newest: what the newest audit that came to its end found.
    @ivar audits: how many came to their end.
    """

    _log = Logger()

    def __init__(self, service: TaskQueueService) -> None:
        super().__init__("self-audit", LOOK_S, self._due, service.reactor)
        self._service = service
        self._waiting: list[Deferred[Findings]] = []
        self._running: Deferred[Any] | None = None
        self._hurried = False
        self._began_at = 0.0
        self.newest: Findings | None = None
        self.audits = 0

    def startService(self) -> None:
        self._began_at = self._service.moments().mono
        super().startService()

    def stopService(self) -> Deferred[None]:
        if self._running is not None:
            self._running.cancel()
        return super().stopService()

    def audit(self, *, hurried: bool = True) -> Deferred[Findings]:
        """
        Audit the broker; whoever asks while that is under way gets the same.

        @param hurried: somebody waits for it: rest less.
        @return: fires with what was found; fails with L{StoreUnavailable} where the
            store fails, with L{ShuttingDown} where the broker stops.
        """
        answer: Deferred[Findings] = Deferred()
        self._waiting.append(answer)
        self._hurried = self._hurried or hurried
        if len(self._waiting) == 1:
            running = Deferred.fromCoroutine(self._audit())
            self._running = running
            running.addCallbacks(self._tell, self._fail)
        return answer

    def seconds(self) -> float:
        """The clock by which a slice is measured."""
        return self._service.moments().mono

    def rest(self) -> Deferred[None]:
        """Fires when the audit may go on."""
        pause_s = SHORT_REST_S if self._hurried else REST_S
        return deferLater(self._service.reactor, pause_s)

    def _due(self) -> Deferred[None] | None:
        service = self._service
        interval_s = service.config.broker.audit_interval_s
        due = 0 < interval_s <= service.moments().mono - self._began_at
        if not due or service.stopping or service.journal.trouble is not None:
            return None
        return self.audit(hurried=False).addCallbacks(_nothing, _no_time)

    async def _audit(self) -> Findings:
        service = self._service
        if service.stopping or not service.running:
            raise ShuttingDown(retry_after_s=1.0)
        service.journal.check()
        self._began_at = service.moments().mono
        one = _Audit(service, self.rest, self.seconds)

        def drained(batch: Batch) -> None:
            # Whatever is wrong here must cost no commit.
            try:
                one.drained(batch)
            except Exception:
                self._log.failure("the audit cannot follow what changes, and is given up")
                service.journal.drained = None
                one.give_up()

        service.journal.drained = drained
        try:
            return await one.run()
        finally:
            service.journal.drained = None

    def _tell(self, findings: Findings) -> None:
        self.newest = findings
        self.audits += 1
        if findings.found:
            self._log.error(
                "the audit found {found} differences: {differences}",
                found=findings.found,
                differences="; ".join(findings.differences[:MOST_LOGGED]),
            )
        else:
            self._log.debug("the audit of {tasks} tasks found all well", tasks=findings.tasks)
        for answer in self._ended():
            answer.callback(findings)

    def _fail(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            failure = Failure(ShuttingDown(retry_after_s=1.0))
        for answer in self._ended():
            answer.errback(failure)

    def _ended(self) -> list[Deferred[Findings]]:
        waiting, self._waiting = self._waiting, []
        self._running, self._hurried = None, False
        return waiting


def _nothing(_: object) -> None:
    """The timer need not know what was found."""


def _no_time(failure: Failure) -> None:
    """The broker stops, or its store fails: another time."""
    failure.trap(ShuttingDown, StoreUnavailable)


class _Audit:
    """One audit, under way."""

    def __init__(
        self,
        service: TaskQueueService,
        rest: Callable[[], Deferred[None]],
        seconds: Callable[[], float],
    ) -> None:
        self._service = service
        self._ledger: Ledger = service.broker.ledger
        self._recount = Recount(self._ledger)
        self._rest = rest
        self._seconds = seconds
        self._slice_began = seconds()
        self._clean: list[Deferred[None]] = []
        self._lost = False
        self._suspects: list[tuple[int, str]] = []
        self._found = 0
        self._named: list[str] = []

    async def run(self) -> Findings:
        """Look at everything."""
        began = self._service.moments().mono
        tasks = await self._visit_tasks()
        leases, workers = await self._visit_leases()
        await self._visit_values()
        stored = await self._read_store() if self._can_read_store() else None
        await self._no_changes()
        # From here to the end nothing else runs: what was noted is what is so.
        for seq, sentence in self._suspects:
            if not self._recount.changed(seq):
                self._differs(sentence)
        for sentence in self._recount.differences():
            self._differs(sentence)
        if self._is_small():
            for sentence in audit(self._ledger):
                self._differs(sentence)
        now = self._service.moments()
        took_s = now.mono - began
        return Findings(now.wall, took_s, tasks, leases, workers, stored, self._found, self._named)

    def drained(self, batch: Batch) -> None:
        """These changes will be stored next, and there are no others."""
        self._recount.drained(batch)
        clean, self._clean = self._clean, []
        for waiting in clean:
            waiting.callback(None)

    def give_up(self) -> None:
        """What changes is not known any more: whoever waits for that waits in vain."""
        self._lost = True
        clean, self._clean = self._clean, []
        for waiting in clean:
            waiting.errback(InternalError())

    def _differs(self, sentence: str) -> None:
        self._found += 1
        if len(self._named) < MOST_NAMED:
            self._named.append(sentence)

    async def _breathe(self) -> None:
        """Let others have their turn, where this one has lasted long enough."""
        if self._seconds() - self._slice_began >= SLICE_S:
            await self._rest()
            self._slice_began = self._seconds()

    def _no_changes(self) -> Deferred[None]:
        """Fires when all that has changed is drained, in that very moment."""
        clean: Deferred[None] = Deferred()
        if self._lost:
            clean.errback(InternalError())
        elif self._ledger.changes:
            self._clean.append(clean)
        else:
            clean.callback(None)
        return clean

    # --- memory ---------------------------------------------------------------------

    async def _visit_tasks(self) -> int:
        tasks = list(self._ledger.tasks.values())
        count = len(tasks)
        while tasks:
            # From the end, so that ended tasks are not kept, and nothing large is freed at once.
            for task in reversed(tasks[-STRIDE:]):
                self._note(self._recount.visit(task))
            del tasks[-STRIDE:]
            await self._breathe()
        return count

    async def _visit_leases(self) -> tuple[int, int]:
        ledger = self._ledger
        leases = list(ledger.leases.by_token.values())
        for start in range(0, len(leases), STRIDE):
            for lease in leases[start : start + STRIDE]:
                self._note(unfounded(ledger, lease))
            await self._breathe()
        workers = 0
        for worker in ledger.workers:
            if ledger.workers.find(worker.name) is worker:
                workers += 1
                self._note(*unfounded_of(ledger, worker))
                await self._breathe()
        return len(leases), workers

    async def _visit_values(self) -> None:
        """None of them ever changes, as another takes its place: so those of now are counted."""
        values = self._ledger.values
        expected = values.count, values.size_bytes
        rows, size_bytes = list(values.everything()), 0
        for start in range(0, len(rows), STRIDE):
            size_bytes += sum(map(bytes_of, rows[start : start + STRIDE]))
            await self._breathe()
        found = len(rows), size_bytes
        if found != expected:
            self._differs(
                f"{expected[0]} values of {expected[1]} bytes are counted, recounted {found[0]} of"
                f" {found[1]}"
            )

    def _note(self, *sentences: str | None) -> None:
        for sentence in sentences:
            if sentence is not None:
                self._differs(sentence)

    def _is_small(self) -> bool:
        """Whether every book can be recounted in one slice, as tests do."""
        ledger = self._ledger
        lanes = sum(len(queue.lanes) for queue in ledger.queues.values())
        tasks = len(ledger.tasks) * (len(ledger.queues) + 4)
        few = max(tasks, len(ledger.ended) // 5, ledger.values.count) <= _WHOLE
        return few and lanes <= _WHOLE_LANES

    # --- the store ------------------------------------------------------------------

    def _can_read_store(self) -> bool:
        """A store in memory looks through all that it has for each page, in this thread."""
        return not self._service.store.inline or len(self._ledger.tasks) <= MOST_INLINE

    async def _read_store(self) -> int:
        """Compare the live tasks of the store with those in memory; returns how many it has."""
        journal = self._service.journal
        await (journal.barrier(None) if journal.waits else journal.flush())
        count, after = 0, None
        while True:
            page = Page(PAGE, after, descending=False)
            rows = await self._service.reader.find(_LIVE, page)
            for row in rows:
                sentence = self._recount.compare(row)
                if sentence is not None:
                    self._suspects.append((row.seq, sentence))
            count += len(rows)
            if len(rows) < PAGE:
                break
            after = rows[-1].seq
            await self._breathe()
        await self._look_for_missing()
        return count

    async def _look_for_missing(self) -> None:
        missing: set[int] = set()
        for number, seqs in enumerate(self._recount.not_stored()):
            missing.update(seqs)
            if number % STRIDE == 0:
                await self._breathe()
        if missing:
            await self._name_missing(missing)

    async def _name_missing(self, missing: set[int]) -> None:
        tasks: Iterable[Any] = iter(list(self._ledger.tasks.values()))
        while some := list(islice(tasks, STRIDE)):
            for task in some:
                if task.seq in missing:
                    self._suspects.append((task.seq, f"{task!r} is not live in the store"))
            await self._breathe()
