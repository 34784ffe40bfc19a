"""
The claims of one channel: what it consumes, and how much of it at a time.

All of this runs in the event loop's thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from twisted.logger import Logger

from taskqueue.client.all_calls import AllCalls
from taskqueue.client.answers import PASSING
from taskqueue.client.messages import Delivery
from taskqueue.contrib.kombu.registration import MOST_QUEUES, Registration
from taskqueue.errors import (
    AnswerTimedOut,
    Conflict,
    ConnectionLost,
    TaskQueueError,
    UnknownWorker,
)

#: How long a claim waits.  One that is not wanted any more cannot be taken back: for so long
#: it may still be answered, with what is then given back.
WAIT_S = 10.0

#: Consumers of several queues begin one after the other, and should make one claim.
GATHER_S = 0.005

#: The pause after a claim that came to nothing, seconds.
PAUSE_S = 1.0


class Intake:
    """
    Keeps one claim waiting at the broker while the channel has room.

    @ivar arrived: deliveries that the channel got.
    @ivar settled: of these, how many it has said something of.
    @ivar drained: of these, how many its consumer has taken; counted by that.
    """

    _log = Logger()

    def __init__(
        self,
        calls: AllCalls,
        registration: Registration,
        *,
        most: Callable[[], int],
        lease_s: float | None,
        max_prefetch: int,
        deliver: Callable[[Intake, list[Delivery]], None],
        give_back: Callable[[list[Delivery]], None],
        fail: Callable[[Exception], None],
    ) -> None:
        """
        @param most: how many tasks one claim may get.
        @param max_prefetch: deliveries that may wait where the channel names no limit.
        @param fail: told why nothing can be consumed.
        """
        self._calls = calls
        self._registration = registration
        self._most = most
        self._lease_s = lease_s
        self._max_prefetch = max_prefetch
        self._deliver = deliver
        self._give_back = give_back
        self._fail = fail
        self._queues: tuple[str, ...] = ()
        self._limit = 0
        self._turn = 0
        self._claim: asyncio.Task[None] | None = None
        self._claims: set[asyncio.Task[None]] = set()
        self._gathering: asyncio.TimerHandle | None = None
        self._stopped = False
        self.arrived = self.settled = self.drained = 0

    # --- what the channel says ----------------------------------------------------------------

    def set_queues(self, queues: Sequence[str]) -> None:
        """Consume from these, each as often as the others."""
        self._queues = tuple(queues)
        self._claim = None  # whatever it brings is looked at when it comes
        if self._gathering is None and queues:
            self._gathering = asyncio.get_running_loop().call_later(GATHER_S, self._gathered)

    def _gathered(self) -> None:
        self._gathering = None
        self.go_on()

    def set_limit(self, limit: int) -> None:
        """Let so many deliveries be unsettled at a time; 0: any number."""
        self._limit = limit
        self.go_on()

    def stop(self) -> None:
        """Claim no more; what comes all the same is given back by the client."""
        self._stopped = True
        self._queues = ()
        for claim in self._claims:
            claim.cancel()

    # --- claiming ---------------------------------------------------------------------------

    @property
    def room(self) -> int:
        """How many deliveries the channel may get now."""
        if self._limit:
            return self._limit - (self.arrived - self.settled)
        return self._max_prefetch - (self.arrived - self.drained)

    def go_on(self) -> None:
        """Claim, where there is room and no claim waits."""
        if self._claim is None and self._queues and self._gathering is None and not self._stopped:
            room = self.room
            if room > 0:
                claim = asyncio.get_running_loop().create_task(self._once(self._in_turn(), room))
                self._claim = claim
                self._claims.add(claim)
                claim.add_done_callback(self._ended)

    def _ended(self, claim: asyncio.Task[None]) -> None:
        self._claims.discard(claim)
        if claim.cancelled():  # as the loop ends, or this is stopped
            return
        if (error := claim.exception()) is not None:
            self._fail(error if isinstance(error, Exception) else RuntimeError(repr(error)))
            return
        if claim is self._claim:
            self._claim = None
            self.go_on()

    async def _once(self, queues: tuple[str, ...], room: int) -> None:
        try:
            await self._registration.ensure(queues, self._limit or room)
            deliveries = await self._calls.claim(
                queues,
                limit=min(room, self._most()),
                wait_s=WAIT_S if len(queues) < MOST_QUEUES else PAUSE_S,
                lease_s=self._lease_s,
            )
        except TaskQueueError as error:
            await self._refused(error)
        else:
            self._distribute(deliveries)

    def _in_turn(self) -> tuple[str, ...]:
        """The queues, each time another one first."""
        self._turn += 1
        at = self._turn % len(self._queues)
        return (*self._queues[at:], *self._queues[:at])[:MOST_QUEUES]

    async def _refused(self, error: TaskQueueError) -> None:
        if isinstance(error, UnknownWorker):
            await self._registration.again()
        elif isinstance(error, Conflict):
            self._stopped = True
            self._log.info("the broker told {w} to claim no more", w=self._registration.worker)
        elif isinstance(error, (*PASSING, AnswerTimedOut, ConnectionLost)):
            self._log.warn("nothing can be claimed: {error}; trying again", error=error)
            await asyncio.sleep(error.retry_after_s or PAUSE_S)
        else:
            raise error

    def _distribute(self, deliveries: list[Delivery]) -> None:
        """Pass on what is wanted still."""
        wanted: list[Delivery] = []
        unwanted: list[Delivery] = []
        for delivery in deliveries:
            fits = delivery.queue in self._queues and self.room > len(wanted)
            (wanted if fits else unwanted).append(delivery)
        if wanted:
            self.arrived += len(wanted)
            self._registration.holds(min(delivery.lease_s for delivery in wanted))
            self._deliver(self, wanted)
        if unwanted:
            self._give_back(unwanted)

    async def get(self, queue: str) -> Delivery | None:
        """One delivery of a queue, now; C{None} where it is empty."""
        await self._registration.ensure((queue,), 1)
        for delivery in await self._calls.claim((queue,), wait_s=0, lease_s=self._lease_s):
            self.arrived += 1
            self.drained += 1
            self._registration.holds(delivery.lease_s)
            return delivery
        return None
