"""
A consumer of messages as a worker of the broker's: registered, and alive.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
import uuid
from collections.abc import Callable, Collection, Sequence

from twisted.logger import Logger

from taskqueue.client.all_calls import AllCalls
from taskqueue.contrib.kombu.names import broker_name
from taskqueue.errors import TaskQueueError

#: A lease is renewed this often in its length, so that one lost heartbeat is survived.
BEATS_A_LEASE = 3.0

#: The most queues that a worker can be registered with, or one claim can name.
MOST_QUEUES = 100


class Registration:
    """
    Registers its process with the broker when it first consumes, and says that it is alive
    from then on, which renews whatever it holds.  It runs in the event loop's thread.

    @ivar worker: its name at the broker.
    """

    _log = Logger()

    def __init__(
        self,
        calls: AllCalls,
        name: str,
        held: Callable[[], Collection[int]],
        on_lost: Callable[[list[int]], None],
    ) -> None:
        """
        @param name: what the program calls itself.
        @param held: the tokens of what is held.
        @param on_lost: told which of them are not, any more.
        """
        self._calls = calls
        self._held = held
        self._on_lost = on_lost
        host = socket.gethostname()
        self.worker = broker_name(f"{name}/{host}/{os.getpid()}/{uuid.uuid4().hex[:8]}")
        self._host = host[:255]
        self._incarnation = int(time.time() * 1000)
        self._queues: tuple[str, ...] = ()
        self._capacity = 1
        self._interval_s = 15.0
        self._lease_s = 86_400.0
        self._registering = asyncio.Lock()
        self._beating: asyncio.Task[None] | None = None
        self._sooner = asyncio.Event()

    async def ensure(self, queues: Sequence[str], capacity: int) -> None:
        """
        Be registered, with these queues among others.

        @raises TaskQueueError: the broker refuses.
        """
        async with self._registering:
            missing = [queue for queue in queues if queue not in self._queues]
            if missing or self._beating is None:
                self._capacity = max(self._capacity, capacity)
                await self._register((*missing, *self._queues)[:MOST_QUEUES], self._capacity)

    async def again(self) -> None:
        """The broker does not know this worker any more."""
        async with self._registering:
            await self._register(self._queues, self._capacity)

    async def _register(self, queues: tuple[str, ...], capacity: int) -> None:
        answer = await self._calls.register_worker(
            self.worker,
            self._incarnation,
            queues=queues,
            capacity=capacity,
            host=self._host,
            pid=os.getpid(),
        )
        self._queues = queues
        self._interval_s = answer["heartbeat_s"]
        if self._beating is None:
            self._beating = asyncio.get_running_loop().create_task(self._beat())

    def holds(self, lease_s: float) -> None:
        """Something with a lease of this length was delivered."""
        if lease_s < self._lease_s:
            self._lease_s = lease_s
            self._sooner.set()

    async def _beat(self) -> None:
        while True:
            pause_s = min(self._interval_s, self._lease_s / BEATS_A_LEASE)
            self._sooner.clear()
            try:
                await asyncio.wait_for(self._sooner.wait(), pause_s)
                continue  # the pause is shorter now
            except TimeoutError:
                pass
            try:
                await asyncio.wait_for(self._once(), self._interval_s)
            except TimeoutError:
                self._log.warn("a heartbeat was not answered yet; another one follows")
            except TaskQueueError as error:
                self._log.warn("a heartbeat was not answered: {error}", error=error)

    async def _once(self) -> None:
        held = list(self._held())
        orders = await self._calls.heartbeat(
            self.worker, self._incarnation, in_hand=len(held), leases=held
        )
        if orders.lost:
            self._on_lost(orders.lost)

    async def leave(self) -> None:
        """The worker stops."""
        if self._beating is None:
            return
        self._beating.cancel()
        self._beating = None
        try:
            await self._calls.deregister_worker(self.worker)
        except TaskQueueError as error:
            self._log.info("the broker did not hear that a consumer left: {error}", error=error)
