"""
Handing in results, many at a time, until the broker has taken them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from taskqueue.client import Client, Report
from taskqueue.core.task import State
from taskqueue.errors import (
    BadRequest,
    BatchTooLarge,
    FatalClientError,
    LeaseLost,
    StoreUnavailable,
    TaskQueueError,
)

#: Requests under way at a time: what ends meanwhile goes with the next one.
FLIGHTS = 2

#: How long results wait for others, where more end soon, seconds.
GATHER_S = 0.002

#: So many wait for no others.
ENOUGH = 50

#: The pause after a refusal that names none, seconds.
PAUSE_S = 1.0

#: Refusals that come again however often the same is said.
_HOPELESS = (BadRequest, BatchTooLarge, FatalClientError)

#: Most bytes of results in one request.
_MOST_BYTES = 4 * 1024 * 1024


class Reporter:
    """
    Takes reports and hands them in, in batches.

    What the broker cannot take now is said again; what it never will is turned
    into a failure that it can take.

    @ivar more_soon: whether it pays to wait L{GATHER_S} for what ends meanwhile.
    @ivar on_taken: called whenever some have been handed in.
    """

    _log = Logger()

    def __init__(self, client: Client, reactor: Any, most: int = 1000) -> None:
        """
        @param most: reports in one request.
        """
        self.most = most
        self.more_soon: Callable[[], bool] = lambda: False
        self.on_taken: Callable[[], None] = lambda: None
        self._client = client
        self._reactor = reactor
        self._waiting: list[Report] = []
        self._flying: dict[int, Report] = {}
        self._flights = 0
        self._taking_off: Any = None
        self._drained: list[Deferred[None]] = []

    def __len__(self) -> int:
        return len(self._waiting) + len(self._flying)

    def tokens(self) -> list[int]:
        """The leases of what is not handed in yet."""
        return [report.lease for report in self._waiting] + list(self._flying)

    def add(self, report: Report) -> None:
        """Hand this in, with everything else that ends about now."""
        self._waiting.append(report)
        self._schedule()

    def drained(self) -> Deferred[None]:
        """Fires when everything has been handed in."""
        done: Deferred[None] = Deferred(self._drained_not_wanted)
        self._drained.append(done)
        self._tell_drained()
        return done

    def _drained_not_wanted(self, done: Deferred[None]) -> None:
        self._drained.remove(done)

    def _tell_drained(self) -> None:
        if not len(self):
            drained, self._drained = self._drained, []
            for done in drained:
                done.callback(None)

    def _schedule(self) -> None:
        if self._taking_off is None:
            if self._flights < FLIGHTS and self._waiting:
                delay_s = GATHER_S if len(self._waiting) < ENOUGH and self.more_soon() else 0.0
                self._taking_off = self._reactor.callLater(delay_s, self._take_off)
        elif len(self._waiting) == ENOUGH:
            self._taking_off.reset(0)

    def _take_off(self) -> None:
        self._taking_off = None
        batch = self._next_batch()
        if batch:
            self._flights += 1
            self._flying.update({report.lease: report for report in batch})
            flight = Deferred.fromCoroutine(self._fly(batch))
            flight.addErrback(lambda failure: self._log.failure("reporting failed", failure))
            self._schedule()

    def _next_batch(self) -> list[Report]:
        size = count = 0
        for report in self._waiting[: self.most]:
            size += len(report.result)
            if count and size > _MOST_BYTES:
                break
            count += 1
        batch, self._waiting = self._waiting[:count], self._waiting[count:]
        return batch

    async def _fly(self, batch: list[Report]) -> None:
        try:
            again, pause_s = await self._hand_in(batch)
            if again:
                await deferLater(self._reactor, pause_s, lambda: None)
        finally:
            for report in batch:
                self._flying.pop(report.lease, None)
            self._flights -= 1
        self._waiting.extend(again)
        self._schedule()
        self._tell_drained()
        self.on_taken()

    async def _hand_in(self, batch: list[Report]) -> tuple[list[Report], float]:
        """
        @return: what to say again, and after how many seconds.
        """
        try:
            answers = await self._client.report(batch)
        except _HOPELESS as error:
            if len(batch) > 1:  # one of them may be at fault: ask about each by itself
                return await self._one_by_one(batch)
            return self._instead(batch[0], error), 0.0
        except TaskQueueError as error:
            self._log.warn("results were not taken: {error}; they are sent again", error=error)
            return batch, error.retry_after_s or PAUSE_S
        again: list[Report] = []
        for report, answer in zip(batch, answers, strict=True):
            if isinstance(answer, TaskQueueError):
                again += self._instead(report, answer)
        return again, PAUSE_S if again else 0.0

    async def _one_by_one(self, batch: list[Report]) -> tuple[list[Report], float]:
        again: list[Report] = []
        longest_s = 0.0
        for report in batch:
            more, pause_s = await self._hand_in([report])
            again += more
            longest_s = max(longest_s, pause_s)
        return again, longest_s

    def _instead(self, report: Report, error: TaskQueueError) -> list[Report]:
        """What to say, now that the broker has refused to hear C{report}."""
        if isinstance(error, StoreUnavailable):
            return [report]
        if isinstance(error, LeaseLost) or report.status is not State.COMPLETED:
            self._log.info(
                "the end of task {task} was not taken: {error}", task=report.task, error=error
            )
            return []
        text = f"The handler's result was refused: {error}"
        return [Report(report.task, report.lease, State.FAILED, error=text, permanent=True)]
