"""
Commands of those who do the work: claims, results, leases, heartbeats.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from twisted.internet.defer import Deferred, succeed

from taskqueue.core.changes import TaskRow
from taskqueue.core.delivery import Delivery, Outcome, tells
from taskqueue.core.leases import Holder
from taskqueue.core.rows import CONNECTION_LOST
from taskqueue.core.task import State
from taskqueue.core.waiting import Claim
from taskqueue.core.workers import Registration, Worker
from taskqueue.errors import LeaseLost, TaskQueueError
from taskqueue.service.answers import Answer
from taskqueue.service.commands import Commands, answered
from taskqueue.service.fetching import fetch_ahead


class WorkCommands(Commands):
    """Commands of those who do the work."""

    # --- claiming -----------------------------------------------------------------

    @answered
    def claim(
        self,
        holder: Holder,
        queues: Iterable[str] = ("default",),
        types: Iterable[str] | None = None,
        limit: int = 1,
        wait_s: float = 0.0,
        lease_s: float | None = None,
        max_bytes: int | None = None,
        by_priority: bool = False,
    ) -> Deferred[list[Delivery]]:
        """
        Claim up to C{limit} tasks for C{holder}, waiting up to C{wait_s}
        seconds for the first.

        @param max_bytes: about how many bytes they may take together, if they
            are more than one.
        @param by_priority: the order of the queues does not count, but that of their tasks.
        @return: fires with the deliveries, none when the time is over; it may
            be cancelled.
        """
        claim = self.new_claim(holder, queues, types, limit, lease_s, max_bytes, by_priority)
        reply: Deferred[list[Delivery]] = Deferred(lambda _: self._cancel_claim(claim))
        found = self.take(claim, wait_s, reply)
        return reply if found is None else succeed(found)

    def new_claim(
        self,
        holder: Holder,
        queues: Iterable[str],
        types: Iterable[str] | None,
        limit: int,
        lease_s: float | None,
        max_bytes: int | None,
        by_priority: bool = False,
    ) -> Claim:
        """A claim as L{claim} makes it, for L{take}."""
        wanted = None if types is None else frozenset(types)
        return Claim(
            holder,
            tuple(dict.fromkeys(queues)),
            wanted,
            limit,
            lease_s,
            max_bytes=max_bytes,
            by_priority=by_priority,
        )

    def take(
        self, claim: Claim, wait_s: float, reply: Answer[list[Delivery]]
    ) -> list[Delivery] | None:
        """
        Give a claim what is there, or let it wait.

        @param reply: told the deliveries, none when the time is over, of a claim
            that waits, for tasks or for their payloads; it may be before this
            returns.  Or told L{StoreUnavailable}, where payloads cannot be read.
        @return: the deliveries; C{None} where C{reply} is told.
        @raises TaskQueueError: as L{claim} fails.
        """
        self.check_open()
        now = self.moments()
        found = self.broker.desk.claim(claim, now)
        if claim.absent:
            claim.reply = reply
            self.fetch(claim, found)
            self.after(now)
            return None
        if found or wait_s <= 0:
            if self.broker.ledger.paged:
                fetch_ahead(self.broker, self.reader.payloads, found)
            self.after(now)
            return found
        self.check_may_wait("claims", "claim")
        claim.deadline = now.mono + wait_s
        claim.reply = reply
        self.broker.ledger.claims.add(claim)
        self.after(now)
        return None

    def _cancel_claim(self, claim: Claim) -> None:
        claim.reply = None
        self.broker.ledger.claims.remove(claim)

    # --- what holders say -----------------------------------------------------------

    @answered
    def report(self, outcomes: Sequence[Outcome]) -> Deferred[list[State | TaskQueueError]]:
        """
        Hand in how deliveries ended; the same said twice counts once.

        @return: fires with each task's state, or L{LeaseLost} or L{Conflict}.
        """
        answers, unclear = self.report_now(outcomes)
        if unclear:
            return self.explain_lost(unclear, outcomes, answers)
        return self.journal.barrier(answers)

    def report_now(
        self, outcomes: Sequence[Outcome]
    ) -> tuple[list[State | TaskQueueError], list[str]]:
        """
        As L{report}, without waiting.

        @return: each task's state, L{LeaseLost} or L{Conflict}, to be told when all
            that has changed so far is stored; and the tasks for which a C{LeaseLost}
            may not be the answer yet: see L{explain_lost}.
        @raises ShuttingDown: the broker stops.
        @raises StoreUnavailable: the store fails.
        """
        self.check_open()
        now = self.moments()
        answers = self.broker.desk.report_all(outcomes, now)
        self.after(now)
        find, unclear = self.broker.ledger.find, []
        for outcome, answer in zip(outcomes, answers, strict=True):
            if type(answer) is LeaseLost and find(outcome.task) is None:
                unclear.append(outcome.task)
        return answers, unclear

    def explain_lost(
        self,
        unclear: list[str],
        outcomes: Sequence[Outcome],
        answers: list[State | TaskQueueError],
    ) -> Deferred[list[State | TaskQueueError]]:
        """
        Look up how tasks ended that are in the store only.

        @param unclear: their ids, of L{report_now} as C{answers} is.
        @return: fires with the answers, when all is stored.
        """
        told = self.journal.barrier(answers)
        return told.addCallback(
            lambda _: self.reader.records(unclear).addCallback(self._repeated, outcomes, answers)
        )

    def _repeated(
        self,
        rows: dict[str, TaskRow],
        outcomes: Sequence[Outcome],
        answers: list[State | TaskQueueError],
    ) -> list[State | TaskQueueError]:
        """A worker that did not hear the answer says again what the store has."""
        for i, outcome in enumerate(outcomes):
            row = rows.get(outcome.task)
            if row is not None and isinstance(answers[i], LeaseLost) and tells(outcome, row):
                answers[i] = State(row.state)
        return answers

    @answered
    def extend(
        self, leases: Sequence[tuple[str, int, float | None]]
    ) -> Deferred[list[float | TaskQueueError]]:
        """
        Let leases run anew: (task id, token, seconds or C{None}) each.

        @return: fires with the seconds that each runs from now, or L{LeaseLost} or
            L{BadRequest}.
        """
        desk = self.broker.desk
        return succeed(
            self.each(lambda lease, now: desk.extend(lease[0], lease[1], lease[2], now), leases)
        )

    @answered
    def release(
        self, leases: Sequence[tuple[str, int, float, *tuple[int | None, ...]]]
    ) -> Deferred[list[State | TaskQueueError]]:
        """
        Give deliveries back: (task id, token, pause in seconds) each, and the priority that it has
        from now on, C{None} or nothing for the one it has.

        @return: fires with each task's state, or L{LeaseLost}.
        """
        self.check_open()
        desk = self.broker.desk
        return self.journal.barrier(
            self.each(lambda one, now: desk.release(one[0], one[1], one[2], now, *one[3:4]), leases)
        )

    @answered
    def bury(
        self, leases: Sequence[tuple[str, int, *tuple[int | None, ...]]]
    ) -> Deferred[list[State | TaskQueueError]]:
        """
        Lay deliveries aside as dead letters, without a failure: (task id, token) each, and the
        priority that it has from now on, C{None} or nothing for the one it has.

        @return: fires with each task's state, or L{LeaseLost}.
        """
        self.check_open()
        desk = self.broker.desk
        return self.journal.barrier(
            self.each(lambda one, now: desk.bury(one[0], one[1], now, *one[2:3]), leases)
        )

    @answered
    def report_progress(
        self, reports: Sequence[tuple[str, int, Any]]
    ) -> Deferred[list[bool | TaskQueueError]]:
        """
        Say how far deliveries have come: (task id, token, JSON-able value) each.

        @return: fires with, for each, whether it should stop, or L{LeaseLost}.
        """
        desk = self.broker.desk
        return succeed(self.each(lambda report, _: desk.report_progress(*report), reports))

    def holder_gone(self, holder: Holder) -> None:
        """The connection of C{holder} is gone."""
        now = self.moments()
        self.broker.upkeep.connection_lost(holder, now)
        self.after(now)

    def holders_gone(self, beginning: str) -> int:
        """
        The connections of an earlier broker whose holders' names begin so do not come back, as
        their protocol has nothing to say so with: their leases end.

        @return: how many leases those were.
        """
        now, ledger = self.moments(), self.broker.ledger
        gone = [
            lease
            for lease in ledger.leases.by_token.values()
            if lease.holder.link is None and lease.holder.name.startswith(beginning)
        ]
        for lease in gone:
            self.broker.desk.lose(lease, CONNECTION_LOST, now)
        self.after(now)
        return len(gone)

    # --- workers --------------------------------------------------------------------

    @answered
    def register(self, info: Registration, link: Any = None) -> Deferred[Worker]:
        """Fires with the worker, registered; see L{Control.register}."""
        self.check_open()
        now = self.moments()
        worker = self.broker.control.register(info, now, link)
        self.after(now)
        return succeed(worker)

    @answered
    def heartbeat(
        self,
        info: Registration,
        link: Any = None,
        *,
        cpu_percent: float | None = None,
        rss_bytes: int | None = None,
        in_hand: int | None = None,
    ) -> Deferred[Worker]:
        """Fires with the worker, alive; see L{Control.heartbeat}."""
        now = self.moments()
        worker = self.broker.control.heartbeat(
            info, now, link, cpu_percent=cpu_percent, rss_bytes=rss_bytes, in_hand=in_hand
        )
        self.after(now)
        return succeed(worker)

    @answered
    def deregister(self, worker_id: str) -> Deferred[int]:
        """Fires with the number of leases that ended; fails with L{UnknownWorker}."""
        now = self.moments()
        worker = self.broker.ledger.workers.get(worker_id)
        held = len(worker.leases)
        self.broker.control.strike(worker, "worker deregistered", now)
        self.after(now)
        return self.journal.barrier(held)

    @answered
    def order_worker(self, worker_id: str, order: str) -> Deferred[None]:
        """Tell a worker to be C{"quiet"} or to C{"terminate"}; it hears at its next heartbeat."""
        now = self.moments()
        self.broker.control.order(worker_id, order)
        self.after(now)
        return succeed(None)
