"""
All that one connection of kombu's consumes.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from twisted.logger import Logger

from taskqueue.client.all_calls import AllCalls
from taskqueue.client.messages import Delivery
from taskqueue.contrib.kombu.inbox import Inbox
from taskqueue.contrib.kombu.intake import Intake
from taskqueue.contrib.kombu.keeping import Keeping
from taskqueue.contrib.kombu.link import Loop
from taskqueue.contrib.kombu.options import Options
from taskqueue.contrib.kombu.registration import Registration
from taskqueue.contrib.kombu.settlements import Settlement, Settlements
from taskqueue.errors import ConnectionLost, TaskQueueError

#: How long the end of a connection may take, seconds.
FAREWELL_S = 5.0

#: How often is looked whether there is a connection, seconds.
LOOK_S = 1.0


class Arrival(NamedTuple):
    """A delivery, and whose it is."""

    intake: Intake
    delivery: Delivery


class Feed:
    """
    Deliveries come in by themselves; what is said of them goes out by itself.

    Methods are for the thread that consumes, and others, unless they say otherwise.

    @ivar loop: whose event loop does the work.
    @ivar inbox: has what came in.
    @ivar keeping: keeps alive what lives as long as it is consumed.
    """

    _log = Logger()

    inbox: Inbox[Arrival]
    keeping: Keeping
    _calls: AllCalls
    _registration: Registration
    _settlements: Settlements

    def __init__(self, loop: Loop, options: Options) -> None:
        self.loop = loop
        self._options = options
        self.inbox = Inbox()
        self._held: dict[int, Intake | None] = {}
        self._lost: set[int] = set()
        self._apart_s = 0.0
        self._looking: asyncio.Task[None] | None = None
        loop.run(self._begin)

    async def _begin(self, calls: AllCalls) -> None:
        self._calls = calls
        self._settlements = Settlements(self.loop, calls)
        self._settlements.on_settled = self._settled
        self._registration = Registration(
            calls, self._options.name, self._held.keys, self._are_lost
        )
        self.keeping = Keeping(calls)

    # --- consuming ----------------------------------------------------------------------------

    def intake(self) -> Intake:
        """The claims of another channel; use it in the event loop's thread only."""
        self.loop.soon(self._look)
        return Intake(
            self._calls,
            self._registration,
            most=lambda: self.loop.limits.max_batch_claim,
            lease_s=self._options.visibility_timeout,
            max_prefetch=self._options.max_prefetch,
            deliver=self._deliver,
            give_back=self._give_back,
            fail=self.inbox.fail,
        )

    def arrivals(self) -> list[Arrival]:
        """
        What has come in since.

        @raises TaskQueueError: nothing has, and nothing will.
        """
        arrivals = self.inbox.take()
        if self._lost:
            arrivals = [one for one in arrivals if not self._is_lost(one.delivery.lease)]
        return arrivals

    def _is_lost(self, token: int) -> bool:
        if token not in self._lost:
            return False
        self._lost.discard(token)
        return True

    def get(self, intake: Intake, queue: str) -> Delivery | None:
        """One delivery, now; C{None} where the queue is empty."""
        delivery = self.loop.run(lambda calls: intake.get(queue))
        if delivery is not None:
            self.loop.soon(self._hold, intake, delivery)
        return delivery

    def settle(self, settlement: Settlement) -> None:
        """Say how a delivery ended, soon."""
        self._settlements.settle(settlement)

    def give_back(self, delivery: Delivery) -> None:
        """Nobody consumes this any more."""
        self.settle(Settlement(delivery.holding, None))

    def withdraw(self, intake: Intake, queue: str | None = None) -> None:
        """Give back what has come for a channel, from one queue or all, and not been seen."""
        arrivals = self.inbox.withdraw(
            lambda one: one.intake is intake and queue in (None, one.delivery.queue)
        )
        for arrival in arrivals:
            intake.drained += 1
            self.give_back(arrival.delivery)

    # --- in the event loop's thread -------------------------------------------------------------

    def _hold(self, intake: Intake, delivery: Delivery) -> None:
        self._held[delivery.lease] = intake

    def _deliver(self, intake: Intake, deliveries: list[Delivery]) -> None:
        for delivery in deliveries:
            self._hold(intake, delivery)
        self.inbox.put([Arrival(intake, delivery) for delivery in deliveries])

    def _give_back(self, deliveries: list[Delivery]) -> None:
        """Deliveries that nobody has seen here."""
        for delivery in deliveries:
            self._held[delivery.lease] = None
            self._settlements.settle(Settlement(delivery.holding, None))

    def _settled(self, settlement: Settlement) -> bool:
        token = settlement.holding[1]
        if token not in self._held:
            return False
        self._makes_room(self._held.pop(token))
        return True

    def _makes_room(self, intake: Intake | None) -> None:
        if intake is not None:
            intake.settled += 1
            intake.go_on()

    def _are_lost(self, tokens: list[int]) -> None:
        for token in tokens:
            if token in self._held:
                self._lost.add(token)
                self._makes_room(self._held.pop(token))

    def _look(self) -> None:
        if self._looking is None:
            self._looking = asyncio.get_running_loop().create_task(self._keep_looking())

    async def _keep_looking(self) -> None:
        """Say it where the connection is not made anew."""
        while True:
            await asyncio.sleep(LOOK_S)
            self._apart_s = 0.0 if self.loop.connected else self._apart_s + LOOK_S
            try:
                self._calls.must_be_open()
            except TaskQueueError as error:
                self.inbox.fail(error)
                return
            if self._apart_s >= self._options.reconnect_timeout_s:
                self.inbox.fail(
                    ConnectionLost(
                        f"there was no connection to the broker for {self._apart_s:g} s; "
                        "what is not acknowledged is delivered again"
                    )
                )
                return

    # --- the end --------------------------------------------------------------------------------

    def close(self, intakes: list[Intake]) -> None:
        """Consume no more; what was not given out here is given back."""
        try:
            self.loop.run(lambda calls: self._end(intakes))
        except TaskQueueError as error:
            self._log.warn("a connection did not end well: {error}", error=error)

    async def _end(self, intakes: list[Intake]) -> None:
        for intake in intakes:
            intake.stop()
        if self._looking is not None:
            self._looking.cancel()
        await self.keeping.end()
        for arrival in self.inbox.take():
            self._settlements.settle(Settlement(arrival.delivery.holding, None))
        self.loop.closing = True
        if self.loop.connected:
            try:
                async with asyncio.timeout(FAREWELL_S):
                    await self._settlements.drained()
                    await self._registration.leave()
            except TimeoutError:
                self._log.warn("the broker did not hear in time how deliveries ended")
