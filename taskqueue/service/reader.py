"""
Reading from the store beside the commits.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from twisted.internet.defer import Deferred, succeed

from taskqueue.core.changes import HistoryRow, TaskRow
from taskqueue.core.ledger import Ledger
from taskqueue.core.seen import SeenIds
from taskqueue.service.runner import Runner
from taskqueue.store.interface import Filter, IStore, Page

#: How many ids are learned in one go: about two milliseconds' work.
IDS_AT_A_TIME = 2000


class Reader:
    """
    Looks tasks up that are in the store only.

    Look-ups by id that come while one is under way share the next one.  Ended
    tasks are forgotten by the core only between two look-ups: so an id that a
    look-up did not find in the store, and the core does not know when it
    returns, has never been used.

    What was deleted lately is not found, though the store may have it still: where answers
    do not wait for the store, it was said to be gone.
    """

    def __init__(self, ledger: Ledger, store: IStore, runner: Runner) -> None:
        self._ledger = ledger
        self._store = store
        self._runner = runner
        self._asked: set[str] = set()
        self._waiting: list[tuple[Sequence[str], Deferred[dict[str, TaskRow]]]] = []
        self.busy = False

    def records(self, ids: Sequence[str]) -> Deferred[dict[str, TaskRow]]:
        """
        Fires with the stored tasks among C{ids}, by id, without payloads; fails
        with L{StoreFailed} when they cannot be read.
        """
        if not ids:
            return succeed({})
        answer: Deferred[dict[str, TaskRow]] = Deferred()
        self._waiting.append((ids, answer))
        self._asked.update(ids)
        if not self.busy:
            self._look_up()
        return answer

    def _look_up(self) -> None:
        self.busy = True
        waiting, self._waiting = self._waiting, []
        asked, self._asked = list(self._asked), set()
        found = self._runner.run(self._store.records, asked)
        found.addCallback(self._found, waiting)
        found.addErrback(self._fail, waiting)

    def _found(
        self,
        rows: Iterable[TaskRow],
        waiting: list[tuple[Sequence[str], Deferred[dict[str, TaskRow]]]],
    ) -> None:
        by_id = {row.id: row for row in self._left(rows)}
        for ids, answer in waiting:
            answer.callback({i: by_id[i] for i in ids if i in by_id})
        self._next()

    def _fail(
        self,
        failure: object,
        waiting: list[tuple[Sequence[str], Deferred[dict[str, TaskRow]]]],
    ) -> None:
        for _, answer in waiting:
            if not answer.called:
                answer.errback(failure)  # type: ignore[arg-type]  # it is a Failure
        self._next()

    def _next(self) -> None:
        self.busy = False
        self._ledger.prune_ended()
        if self._waiting:
            self._look_up()

    async def learn_ids(self, seen: SeenIds) -> None:
        """Tell C{seen} the ids of all ended tasks, a few at a time."""
        after = 0
        while True:
            found = await self._runner.run(self._store.ended_ids, after, IDS_AT_A_TIME)
            if not found:
                break
            seen.add([task_id for _, task_id in found])
            after = found[-1][0]
        seen.complete = True

    def numbered(self, seqs: Sequence[int]) -> Deferred[list[TaskRow]]:
        """Fires with the stored tasks that have these places in line, without payloads."""
        return self._runner.run(self._store.numbered, seqs).addCallback(self._left)

    def _left(self, rows: Iterable[TaskRow]) -> list[TaskRow]:
        """Those that nobody has had deleted meanwhile."""
        forgotten = self._ledger.forgotten
        return [row for row in rows if row.seq not in forgotten]

    def dead_letters(self, queue: str, limit: int) -> Deferred[list[TaskRow]]:
        """Fires with the stored dead letters of a queue that have been so longest."""
        return self._runner.run(self._store.dead_letters, queue, limit)

    def payloads(self, seqs: Sequence[int]) -> Deferred[dict[int, bytes]]:
        """Fires with the payloads of these tasks."""
        return self._runner.run(self._store.payloads, seqs)

    def history(self, seq: int) -> Deferred[list[HistoryRow]]:
        """Fires with the events of one task, oldest first."""
        return self._runner.run(self._store.history, seq)

    def find(self, filter: Filter, page: Page) -> Deferred[list[TaskRow]]:
        """Fires with one page of matching tasks."""
        return self._runner.run(self._store.find, filter, page)

    def backup(self, path: str) -> Deferred[int]:
        """Fires with the size in bytes of the copy made at C{path}."""
        return self._runner.run(self._store.backup, path)
