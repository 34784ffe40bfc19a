"""
What consumers say of deliveries, on its way to the broker: many at a time, in order, until the
broker has it.

All of this runs in the event loop's thread, but for L{Settlements.settle}.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, NamedTuple

from twisted.logger import Logger

from taskqueue.client.all_calls import AllCalls
from taskqueue.client.answers import PASSING
from taskqueue.client.messages import Report
from taskqueue.contrib.kombu.link import Loop
from taskqueue.core.task import State
from taskqueue.errors import AnswerTimedOut, ConnectionLost, LeaseLost, TaskQueueError

Holding = tuple[str, int]

#: The pause before it is said again, where the broker names none, seconds.
PAUSE_S = 1.0

_AGAIN = (*PASSING, AnswerTimedOut, ConnectionLost)


class Settlement(NamedTuple):
    """
    @ivar holding: the task, and the token it was delivered with.
    @ivar state: completed, or failed for good; C{None}: it is given back.
    @ivar why: it failed.
    """

    holding: Holding
    state: State | None = State.COMPLETED
    why: str | None = None


class Settlements:
    """
    @ivar on_settled: told of each as it leaves, in the event loop's thread; returns whether
        it is to be said at all.
    """

    _log = Logger()

    def __init__(self, loop: Loop, calls: AllCalls) -> None:
        self._loop = loop
        self._calls = calls
        self._given: deque[Settlement] = deque()
        self._woken = False
        self._reports: list[Settlement] = []
        self._flying: set[asyncio.Task[None]] = set()
        self._reporting = False
        self.on_settled: Callable[[Settlement], bool] = lambda settlement: True

    def settle(self, settlement: Settlement) -> None:
        """Have this said to the broker; any thread may."""
        self._given.append(settlement)
        if not self._woken:
            self._woken = True
            self._loop.soon(self._flush)

    def _flush(self) -> None:
        self._woken = False
        releases: list[Holding] = []
        while self._given:
            one = self._given.popleft()
            if not self.on_settled(one):
                self._log.warn(
                    "task {task} was not this consumer's any more when it was acknowledged: "
                    "its lease had ended, and it is delivered again",
                    task=one.holding[0],
                )
            elif one.state is None:
                releases.append(one.holding)
            else:
                self._reports.append(one)
        if releases:
            # Before them all that was said before, and at once: others may ask for them now.
            self._report()
            self._spawn(self._release(releases))
        elif not self._reporting:
            self._report()

    def _report(self) -> None:
        if self._reports:
            reports, self._reports = self._reports, []
            self._reporting = True
            self._spawn(self._say(reports))

    def _spawn(self, coroutine: Any) -> None:
        task = asyncio.get_running_loop().create_task(coroutine)
        self._flying.add(task)
        task.add_done_callback(self._landed)

    def _landed(self, task: asyncio.Task[None]) -> None:
        self._flying.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._log.error("deliveries could not be settled: {error!r}", error=error)

    async def drained(self) -> None:
        """Wait until the broker has all of it."""
        while self._flying or self._given or self._reports:
            if self._flying:
                await asyncio.wait(self._flying)
            else:
                await asyncio.sleep(0)

    # --- saying it --------------------------------------------------------------------------

    async def _say(self, settlements: list[Settlement]) -> None:
        most = self._loop.limits.max_batch_results
        try:
            for start in range(0, len(settlements), most):
                await self._until_said(settlements[start : start + most])
        finally:
            self._reporting = False
            self._report()

    async def _until_said(self, settlements: list[Settlement]) -> None:
        left = settlements
        while left:
            answers = await self._once(self._calls.report([_report(one) for one in left]), left)
            left = [one for one, answer in zip(left, answers, strict=True) if self._again(answer)]
            if left:
                await asyncio.sleep(PAUSE_S)

    async def _release(self, holdings: list[Holding]) -> None:
        most = self._loop.limits.max_batch_results
        for start in range(0, len(holdings), most):
            left = holdings[start : start + most]
            while left:
                answers = await self._once(self._calls.release(left), left)
                left = [one for one, said in zip(left, answers, strict=True) if self._again(said)]
                if left:
                    await asyncio.sleep(PAUSE_S)

    async def _once(self, asking: Any, items: list[Any]) -> list[Any]:
        """The answers, an error in each place where there is none."""
        try:
            answers: list[Any] = await asking
        except TaskQueueError as error:
            return [error.alone()] * len(items)
        return answers

    def _again(self, answer: Any) -> bool:
        """Whether to say it again."""
        if not isinstance(answer, TaskQueueError):
            return False
        if isinstance(answer, _AGAIN):
            # Saying it twice counts once: a token is good for one end.
            return not self._loop.closing
        if isinstance(answer, LeaseLost):
            self._log.warn("{error}: it is delivered again", error=answer)
        else:
            self._log.error("a delivery could not be settled: {error}", error=answer)
        return False


def _report(one: Settlement) -> Report:
    assert one.state is not None
    failed = one.state is State.FAILED
    return Report(*one.holding, one.state, error=one.why if failed else None, permanent=failed)
