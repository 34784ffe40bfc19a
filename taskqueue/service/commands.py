"""
What every command does, whoever asks for it: read the clock, let the core
decide, serve waiting claims, answer when the journal has stored what changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from twisted.internet.defer import Deferred, DeferredLock, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from taskqueue.config import Config
from taskqueue.core.broker import Broker
from taskqueue.core.delivery import Delivery
from taskqueue.core.ledger import Notice
from taskqueue.core.moments import Now
from taskqueue.core.waiting import Claim
from taskqueue.errors import (
    ShuttingDown,
    StoreUnavailable,
    TaskQueueError,
    TooManyRequests,
)
from taskqueue.service.answers import Answer
from taskqueue.service.clock import Moments
from taskqueue.service.fetching import fetch, fetch_ahead, give_back
from taskqueue.service.journal import Journal
from taskqueue.service.reader import Reader
from taskqueue.service.sampling import Samples
from taskqueue.service.traffic import Traffic
from taskqueue.service.watches import Watches
from taskqueue.store.interface import IStore

_P = ParamSpec("_P")
_S = TypeVar("_S")
_T = TypeVar("_T")


def answered(
    method: Callable[Concatenate[_S, _P], Deferred[_T]],
) -> Callable[Concatenate[_S, _P], Deferred[_T]]:
    """Let what a method raises become the failure of the Deferred that it returns."""

    def call(self: _S, /, *args: _P.args, **kwargs: _P.kwargs) -> Deferred[_T]:
        try:
            return method(self, *args, **kwargs)
        except TaskQueueError as error:
            return fail(error)

    return wraps(method)(call)


class Commands:
    """
    What the rooms of commands share.

    Every command that returns a Deferred fails it with one of
    L{taskqueue.errors} when the request as a whole is refused; of a batch,
    each item is answered by itself.  "Accepted" is said when the change is as
    durable as the configuration asks for.
    """

    _log: Logger

    config: Config
    broker: Broker
    store: IStore
    journal: Journal
    reader: Reader
    watches: Watches
    traffic: Traffic
    moments: Moments
    reactor: Any
    #: Held by whoever reads tasks that are in the store only, in order to change them.
    ended_lock: DeferredLock
    samples: Samples
    started_at: float
    stopping: bool

    def check_open(self) -> None:
        """
        @raises ShuttingDown: the broker stops.
        @raises StoreUnavailable: the store fails.
        """
        if self.stopping:
            raise ShuttingDown(retry_after_s=1.0)
        self.journal.check()

    @property
    def waiting_requests(self) -> int:
        """How many claims wait, and requests to be told of a value."""
        ledger = self.broker.ledger
        return len(ledger.claims) + len(ledger.values.waits)

    def check_may_wait(self, who: str, again: str) -> None:
        """
        @param who: what waits, in the message.
        @param again: what to do again later.
        @raises TooManyRequests: no more requests may wait.
        """
        waiting, bound = self.waiting_requests, self.config.limits.max_waiting_claims
        if waiting >= bound:
            raise TooManyRequests(
                f"{waiting} {who} of all connections wait, which is the bound "
                f"(limits.max_waiting_claims): {again} again later, or with wait_s = 0",
                retry_after_s=1.0,
            )

    def after(self, now: Now) -> None:
        """What follows every command."""
        ledger = self.broker.ledger
        if ledger.touched:
            if ledger.claims.waiting:
                self._serve(now)
            else:
                ledger.touched.clear()
        if ledger.withdrawn:
            withdrawn, ledger.withdrawn = ledger.withdrawn, []
            for claim in withdrawn:
                self._hand_over(claim, [], now)
        if ledger.notices:
            notices, ledger.notices = ledger.notices, []
            for notice in notices:
                self._pass_on(notice)
        self.journal.changed()

    def _serve(self, now: Now) -> None:
        ledger, desk = self.broker.ledger, self.broker.desk
        while ledger.touched:
            served = desk.serve(now)
            for claim, deliveries in served:
                self._hand_over(claim, deliveries, now)
            if not served:
                break

    def _hand_over(self, claim: Claim, deliveries: list[Delivery], now: Now) -> None:
        if claim.absent:
            self.fetch(claim, deliveries)
            return
        reply: Answer[list[Delivery]] | None = claim.reply
        claim.reply = None
        if reply is None:  # the claimer went away while others were being served
            give_back(self.broker, deliveries, now)
            return
        reply.callback(deliveries)
        if self.broker.ledger.paged:
            fetch_ahead(self.broker, self.reader.payloads, deliveries)

    def fetch(self, claim: Claim, deliveries: list[Delivery]) -> None:
        """Tell a claim's reply its deliveries once the payloads that they lack are read."""
        found = fetch(self.broker, self.reader.payloads, claim, deliveries)
        found.addCallback(self._fetched, claim)
        found.addErrback(self._not_fetched, claim, deliveries)
        found.addErrback(lambda failure: self._log.failure("a claim went wrong", failure))

    def _fetched(self, deliveries: list[Delivery], claim: Claim) -> None:
        now = self.moments()
        self._hand_over(claim, deliveries, now)
        self.after(now)

    def _not_fetched(self, failure: Failure, claim: Claim, deliveries: list[Delivery]) -> None:
        failure.trap(StoreUnavailable)
        self._log.error("{error}", error=str(failure.value))
        now = self.moments()
        give_back(self.broker, deliveries, now)
        reply, claim.reply = claim.reply, None
        if reply is not None:
            reply.errback(failure.value)
        self.after(now)

    def _pass_on(self, notice: Notice) -> None:
        """What goes wrong with the one who hears it must not cost the one who caused it."""
        link = notice.holder.link
        if link is None:
            return
        try:
            link.notice(notice)
        except Exception:
            self._log.failure("{holder} cannot be told", holder=notice.holder.name)

    def each(
        self, command: Callable[[Any, Now], _T], items: Iterable[Any]
    ) -> list[_T | TaskQueueError]:
        """Carry out a command for each item; what one raises is its answer."""
        now = self.moments()
        answers: list[_T | TaskQueueError] = []
        for item in items:
            try:
                answers.append(command(item, now))
            except TaskQueueError as error:
                answers.append(error.alone())
        self.after(now)
        return answers
