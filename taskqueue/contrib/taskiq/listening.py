"""
The worker of a taskiq process, as the broker sees it.

It lives in a thread of its own: a task that holds up the event loop keeps it from nothing, so
that the worker does not count as dead, and the task is not given to somebody else as well.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any

from taskqueue.client.messages import Delivery, Report
from taskqueue.client.options import ClientOptions
from taskqueue.contrib.claiming import AWAY, BlockingWorker, Worker
from taskqueue.contrib.connecting import Connecting
from taskqueue.errors import ShuttingDown, StoreUnavailable

#: The pause before claiming again from a broker that is away, seconds.
_PAUSE_S = 1.0

_log = logging.getLogger("taskqueue.contrib.taskiq")


class Listener:
    """Claims and settles tasks, awaited on any event loop."""

    def __init__(self, address: str, how: ClientOptions) -> None:
        """
        @param address: of the broker.
        @param how: see L{ClientSettings}.
        """
        self._connecting = Connecting(address, **how)
        self.worker = BlockingWorker(self._connecting, "taskiq")

    async def claim(self, claim: dict[str, Any]) -> list[Delivery]:
        """
        Claim tasks, from a broker that may be away for a while.

        @param claim: see L{Worker.claim}.  Where this is cancelled, tasks that come all the same
            are given back.
        """
        wanted = asyncio.Event()
        wanted.set()

        async def claim_what_is_wanted(worker: Worker) -> list[Delivery]:
            got = await worker.claim(**claim)
            if not wanted.is_set():
                await worker.release([delivery.holding for delivery in got])
            return got

        future = self.worker.begin(claim_what_is_wanted)
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            wanted.clear()
            if future.done() and not future.cancelled() and future.exception() is None:
                await self.release([delivery.holding for delivery in future.result()])
            raise
        except (*AWAY, ShuttingDown, StoreUnavailable) as error:
            _log.warning("no tasks can be claimed: %s; trying again", error)
            await asyncio.sleep(error.retry_after_s or _PAUSE_S)
            return []

    async def settle(self, report: Report) -> bool:
        """Say how a delivery ended; see L{Worker.settle}."""
        return await asyncio.wrap_future(self.worker.begin(lambda worker: worker.settle(report)))

    async def release(self, holdings: Sequence[tuple[str, int]]) -> None:
        """Let others have these; see L{Worker.release}."""
        if holdings:
            await asyncio.wrap_future(self.worker.begin(lambda worker: worker.release(holdings)))

    def end(self) -> None:
        """Give back what is held, leave, and disconnect; this waits for it."""
        self.worker.end()
        self._connecting.close()
