"""
Workers of other frameworks, as the broker sees them: registered, alive, and holding tasks.

A worker's heartbeats renew all that it holds, so a task may take as long as it likes; they
end with its process, and then others get what it held.
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import math
import os
import socket
import time
from collections.abc import Callable, Coroutine, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar
from weakref import WeakSet

from taskqueue.client.all_calls import AllCalls
from taskqueue.client.answers import PASSING
from taskqueue.client.messages import Delivery, Lost, Report
from taskqueue.contrib.connecting import Connecting
from taskqueue.contrib.naming import worker_name
from taskqueue.errors import (
    AnswerTimedOut,
    CannotConnect,
    ConnectionLost,
    LeaseLost,
    TaskQueueError,
    UnknownWorker,
)
from taskqueue.wire import Header

_T = TypeVar("_T")

#: What passes when the broker is back.
AWAY = (AnswerTimedOut, CannotConnect, ConnectionLost)

#: The pause before something is said again, seconds.
_PAUSE_S = 1.0

#: A lease is renewed so many times while it lasts.
_BEATS_A_LEASE = 3

_log = logging.getLogger("taskqueue.contrib")


class Worker:
    """
    A worker that is registered when it first claims, and lives until it is ended.

    It runs on the event loop that its calls run on.

    @ivar name: by which the broker knows it.
    @ivar held: what it has claimed and not settled, by token.
    @ivar order: what an operator has ordered: C{"quiet"} and C{"terminate"} mean that nothing
        more is claimed.
    """

    def __init__(self, calls: AllCalls, framework: str, capacity: int = 1) -> None:
        """
        @param framework: whose worker it is, for its name.
        @param capacity: how many tasks it runs at once, for listings.
        """
        self.calls = calls
        self.name = worker_name(framework)
        self.held: dict[int, Delivery] = {}
        self.order: str | None = None
        self._capacity = capacity
        self._incarnation = time.time_ns() // 1_000_000
        self._queues: list[str] = []
        self._registering = asyncio.Lock()
        self._hurry = asyncio.Event()
        self._beating: asyncio.Task[None] | None = None
        self._heartbeat_s = self._pause_s = math.inf
        # Heartbeats would renew them as long as the process lives.
        self._unwanted: list[tuple[str, int]] = []
        calls.on_lost("lease_lost", self._lost)

    # --- claiming -------------------------------------------------------------------------

    async def claim(
        self,
        queues: Sequence[str],
        limit: int,
        wait_s: float,
        lease_s: float | None = None,
        types: Sequence[str] | None = None,
    ) -> list[Delivery]:
        """
        Claim tasks.

        @param queues: in order of preference.
        @param limit: at most how many.
        @param wait_s: how long to wait for the first.
        @param lease_s: how long the broker waits for a sign of life; C{None}: as the task says.
        @param types: C{None}: of any type.
        """
        await self._register(queues)
        if self.order is not None:
            await asyncio.sleep(wait_s)
            return []
        try:
            got = await self.calls.claim(queues, types, limit, wait_s, lease_s)
        except UnknownWorker:
            # It was silent for too long; its next heartbeat registers it again.
            self._hurry.set()
            await asyncio.sleep(min(wait_s, _PAUSE_S))
            return []
        self._hold(got)
        return got

    def _hold(self, deliveries: Iterable[Delivery]) -> None:
        for delivery in deliveries:
            self.held[delivery.lease] = delivery
            if delivery.lease_s / _BEATS_A_LEASE < self._pause_s:
                self._hurry.set()

    async def _register(self, queues: Sequence[str]) -> None:
        async with self._registering:
            new = [queue for queue in queues if queue not in self._queues]
            if self._beating is not None and not new:
                return
            wanted = self._queues + new
            answer = await self.calls.register_worker(
                self.name,
                self._incarnation,
                queues=wanted,
                capacity=self._capacity,
                host=socket.gethostname(),
                pid=os.getpid(),
                on_registered=self._registered_again,
            )
            self._queues = wanted
            self._heartbeat_s = answer["heartbeat_s"]
            if self._beating is None:
                self._beating = asyncio.ensure_future(self._live())

    def _registered_again(self, answer: Header | Exception) -> None:
        """The connection is a new one; answers to claims may have gone down with the old one."""
        if isinstance(answer, Exception):
            _log.warning("worker %s: it cannot register again: %s", self.name, answer)
            return
        leases = [(lease["task"], lease["lease"]) for lease in answer["leases"]]
        self._unwanted += [holding for holding in leases if holding[1] not in self.held]
        self._hurry.set()

    # --- living ---------------------------------------------------------------------------

    async def _live(self) -> None:
        self._pause_s = self._period_s()
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pause_s):
                    await self._hurry.wait()
            self._hurry.clear()
            try:
                orders = await self.calls.heartbeat(
                    self.name, self._incarnation, in_hand=len(self.held)
                )
            except TaskQueueError as error:
                if _is_closed(self.calls):
                    return
                _log.warning("worker %s: its heartbeat failed: %s", self.name, error)
                self._pause_s = min(self._period_s(), _PAUSE_S)
            else:
                self._pause_s = self._period_s()
                self._obey(orders.order)
                await self._give_back()

    def _period_s(self) -> float:
        """How often to give a sign of life, for the broker, and for the shortest lease."""
        leases = (delivery.lease_s for delivery in self.held.values())
        return min(self._heartbeat_s, min(leases, default=math.inf) / _BEATS_A_LEASE)

    def _obey(self, order: str | None) -> None:
        if order is not None and order != self.order:
            _log.warning("worker %s: ordered to be %s, and claims no more", self.name, order)
        self.order = order

    def _lost(self, lost: Lost) -> None:
        delivery = self.held.pop(lost.lease, None)
        if delivery is not None:
            _log.warning(
                "worker %s: task %s (%s) was taken from it: %s; it will run again elsewhere",
                *(self.name, delivery.id, delivery.type, lost.reason or "its lease ran out"),
            )

    # --- settling -------------------------------------------------------------------------

    async def settle(self, report: Report) -> bool:
        """
        Say how a delivery ended, until the broker has taken it.

        @return: whether it counted; not, where somebody else has the task by now.
        @raises TaskQueueError: it will never be taken.
        """
        while True:
            pause_s = None
            try:
                (answer,) = await self.calls.report([report])
            except (*AWAY, *PASSING) as error:
                self.calls.must_be_open()
                _log.warning("task %s cannot be settled yet: %s", report.task, error)
                pause_s = error.retry_after_s
            else:
                if not isinstance(answer, PASSING):
                    return self._settled(report, answer)
                pause_s = answer.retry_after_s
            await asyncio.sleep(pause_s or _PAUSE_S)

    def _settled(self, report: Report, answer: Any) -> bool:
        self.held.pop(report.lease, None)
        if isinstance(answer, LeaseLost):
            _log.warning(
                "task %s has ended here, but its lease was lost: it runs, or ran, again elsewhere",
                report.task,
            )
            return False
        if isinstance(answer, TaskQueueError):
            raise answer
        return True

    async def release(self, holdings: Iterable[tuple[str, int]]) -> None:
        """Let others have these, now, or else when the broker is back."""
        for holding in holdings:
            self.held.pop(holding[1], None)
            self._unwanted.append(holding)
        await self._give_back()

    async def _give_back(self) -> None:
        unwanted, self._unwanted = self._unwanted, []
        if not unwanted:
            return
        try:
            answers = await self.calls.release(unwanted)
        except TaskQueueError as error:
            _log.warning("%d tasks cannot be given back yet: %s", len(unwanted), error)
            self._unwanted += unwanted
        else:
            # A lease that is lost is none to give back.
            again = zip(unwanted, answers, strict=True)
            self._unwanted += [holding for holding, answer in again if isinstance(answer, PASSING)]

    async def end(self) -> None:
        """Give back what is held, and leave.  What is not said now, the broker finds out."""
        beating, self._beating = self._beating, None
        if beating is None:
            return
        beating.cancel()
        with suppress(TaskQueueError):
            await self.release([delivery.holding for delivery in self.held.values()])
            self._unwanted.clear()
            await self.calls.deregister_worker(self.name)


def _is_closed(calls: AllCalls) -> bool:
    try:
        calls.must_be_open()
    except TaskQueueError:
        return True
    return False


class BlockingWorker:
    """
    The same for programs that wait; threads may share it.

    A process that was forked is another worker, which holds nothing of its parent's.
    """

    def __init__(self, connecting: Connecting, framework: str, capacity: int = 1) -> None:
        """
        @param framework: whose worker it is, for its name.
        @param capacity: how many tasks it runs at once, for listings.
        """
        self._connecting = connecting
        self._framework = framework
        self._capacity = capacity
        self._worker: Worker | None = None
        _alive.add(self)

    def claim(
        self, queues: Sequence[str], limit: int, wait_s: float, lease_s: float | None = None
    ) -> list[Delivery]:
        """Claim tasks; see L{Worker.claim}."""
        return self._run(lambda worker: worker.claim(queues, limit, wait_s, lease_s))

    def settle(self, report: Report) -> bool:
        """Say how a delivery ended; see L{Worker.settle}."""
        return self._run(lambda worker: worker.settle(report))

    def release(self, holdings: Iterable[tuple[str, int]]) -> None:
        """Let others have these; see L{Worker.release}."""
        self._run(lambda worker: worker.release(holdings))

    def end(self) -> None:
        """Give back what is held, and leave, where the broker can be told of it."""
        if self._worker is not None and self._connecting.connected:
            self._run(lambda worker: worker.end())
        self._worker = None

    def begin(self, call: Callable[[Worker], Coroutine[Any, Any, _T]]) -> Future[_T]:
        """
        Do something without waiting for it, for event loops.

        @param call: given the worker; it runs on the connection's event loop.
        """
        return self._connecting.begin(partial(self._with_worker, call))

    def _run(self, call: Callable[[Worker], Coroutine[Any, Any, _T]]) -> _T:
        return self._connecting.run(partial(self._with_worker, call))

    async def _with_worker(
        self, call: Callable[[Worker], Coroutine[Any, Any, _T]], calls: AllCalls
    ) -> _T:
        # After a fork there are other calls, on another connection.
        if self._worker is None or self._worker.calls is not calls:
            self._worker = Worker(calls, self._framework, self._capacity)
        return await call(self._worker)


_alive: WeakSet[BlockingWorker] = WeakSet()


def _ending() -> None:
    """Before clients are closed, which were imported, and so registered, before this."""
    for worker in list(_alive):
        with suppress(Exception):
            worker.end()


atexit.register(_ending)
