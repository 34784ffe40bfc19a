"""
The self-audit of a broker with a store on disk, while clients keep it busy.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, gatherResults

from taskqueue.client import Submission
from taskqueue.service import auditing
from tests.client.broker import BrokerCase, flow

#: How many audits, one after another.
AUDITS = 5


class BusyTests(BrokerCase):
    def start_broker(self, *args: Any, **how: Any) -> Any:
        return super().start_broker(*args, path=self.mktemp(), **how)

    @flow
    async def test_nothing_is_wrong_whatever_goes_on(self) -> None:
        """Small slices and pages, so that there is much that goes on in between."""
        self.patch(auditing, "STRIDE", 5)
        self.patch(auditing, "SLICE_S", 0.0)
        self.patch(auditing, "PAGE", 7)
        client = await self.connect()
        await client.submit_many([Submission("waits") for _ in range(100)])
        over: list[bool] = []
        busy = [Deferred.fromCoroutine(self.work(over, number)) for number in range(3)]
        for _ in range(AUDITS):
            found = await client.audit()
            self.assertEqual(found["differences"], [])
            self.assertGreaterEqual(found["tasks"], 100)
            self.assertGreaterEqual(found["stored"], 100)
        over.append(True)
        self.assertGreater(min(await gatherResults(busy)), 2)

    async def work(self, over: list[bool], number: int) -> int:
        """Submit, claim and report until it is over; returns how often."""
        client = await self.connect()
        queue = f"q{number}"
        done = 0
        while not over:
            done += 1
            await client.submit("job", b"x" * done, queue=queue, max_retries=done % 2)
            for delivery in await client.claim([queue], limit=2):
                if done % 3:
                    await client.complete(delivery.holding, b"y")
                else:
                    await client.fail(delivery.holding, "oh")
            if done % 7 == 0:
                await client.cancel([str(await client.submit("job", queue=queue))])
        return done
