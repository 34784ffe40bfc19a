"""
Giving deliveries back, many at a time, until the broker has them.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger

from taskqueue.client import Client
from taskqueue.errors import (
    BadRequest,
    FatalClientError,
    LeaseLost,
    StoreUnavailable,
    TaskQueueError,
)

#: The pause after a refusal that names none, seconds.
PAUSE_S = 1.0

Holding = tuple[str, int]


class Returns:
    """
    Takes deliveries to give back.

    It may be said twice: a token is given out once, so that the second time the
    broker only answers that the lease is lost.
    """

    _log = Logger()

    def __init__(self, client: Client, reactor: Any) -> None:
        self._client = client
        self._reactor = reactor
        self._waiting: dict[float, list[Holding]] = {}
        self._flying: list[Holding] = []
        self._under_way: Deferred[None] | None = None

    def __len__(self) -> int:
        return sum(map(len, self._waiting.values())) + len(self._flying)

    def tokens(self) -> list[int]:
        """The leases of what is not given back yet."""
        waiting = [token for holdings in self._waiting.values() for _, token in holdings]
        return waiting + [token for _, token in self._flying]

    def add(self, holding: Holding, delay_s: float = 0.0) -> None:
        """Give this back; nobody gets it before C{delay_s} seconds are over."""
        self._waiting.setdefault(delay_s, []).append(holding)
        if self._under_way is None:
            self._under_way = deferLater(self._reactor, 0, lambda: None)
            self._under_way.addCallback(lambda _: Deferred.fromCoroutine(self._all()))
            self._under_way.addBoth(self._landed)

    def _landed(self, result: Any) -> None:
        self._under_way = None
        if result is not None:
            self._log.failure("giving back failed", result)

    async def drained(self) -> None:
        """Wait until everything is given back."""
        while self._under_way is not None:
            finished: Deferred[None] = Deferred()

            def pass_on(result: Any, finished: Deferred[None] = finished) -> Any:
                finished.callback(None)
                return result

            self._under_way.addBoth(pass_on)
            await finished

    async def _all(self) -> None:
        while self._waiting:
            delay_s = next(iter(self._waiting))
            self._flying = self._waiting.pop(delay_s)
            pause_s = await self._give_back(delay_s)
            if pause_s:
                await deferLater(self._reactor, pause_s, lambda: None)

    async def _give_back(self, delay_s: float) -> float:
        """
        @return: how long to wait before the next, seconds.
        """
        most = self._client.limits.max_batch_claim
        batch, later = self._flying[:most], self._flying[most:]
        again: list[Holding] = []
        pause_s = 0.0
        try:
            answers = await self._client.release(batch, delay_s or None)
        except (BadRequest, FatalClientError) as error:
            self._log.error("deliveries could not be given back: {error}", error=error)
        except TaskQueueError as error:
            again, pause_s = batch, error.retry_after_s or PAUSE_S
        else:
            again = self._refused(batch, answers)
            pause_s = PAUSE_S if again else 0.0
        self._flying = []
        if again or later:
            self._waiting.setdefault(delay_s, [])[:0] = [*again, *later]
        return pause_s

    def _refused(self, batch: list[Holding], answers: list[Any]) -> list[Holding]:
        again: list[Holding] = []
        for holding, answer in zip(batch, answers, strict=True):
            if isinstance(answer, StoreUnavailable):
                again.append(holding)
            elif isinstance(answer, TaskQueueError) and not isinstance(answer, LeaseLost):
                self._log.info(
                    "task {task} was not taken back: {error}", task=holding[0], error=answer
                )
        return again
