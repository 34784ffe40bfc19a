"""Tasks on the event loop, Twisted's and asyncio's."""

from __future__ import annotations

import asyncio
from typing import Any

from twisted.internet.defer import CancelledError as Withdrawn
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.app.application import App
from taskqueue.app.outcomes import Verdict
from taskqueue.worker import in_reactor
from taskqueue.worker.executors.inloop import InLoop, bridged
from taskqueue.worker.work import works_of
from tests.worker.executors.deliveries import Notes, delivery, fate_of

app = App()
waits: list[Deferred[Any]] = []
seen: list[Any] = []


@app.task
async def wait(ctx: Any) -> Any:
    ctx.progress(1)
    ctx.log("waits", n=1)
    waits.append(Deferred())
    try:
        return await waits[-1]
    finally:
        seen.append((ctx.cancelled, ctx.lease_lost))


@app.task
async def pause() -> str:
    await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await asyncio.sleep(0)
    return "rested"


@app.task
async def both(ctx: Any) -> Any:
    await asyncio.sleep(0)
    later: Deferred[Any] = Deferred()
    asyncio.get_running_loop().call_soon(later.callback, "called")
    return [await later, await asyncio.sleep(0, "slept")]


@app.task
async def forever() -> None:
    await asyncio.get_running_loop().create_future()


@in_reactor
def deferred(task: Any) -> Deferred[Any]:
    waits.append(Deferred())
    return waits[-1]


class OnTwisted(SynchronousTestCase):
    def setUp(self) -> None:
        waits.clear()
        seen.clear()
        self.notes = Notes()
        works = {**works_of(app), **works_of({"deferred": deferred})}
        self.loop = InLoop(works, 2, Clock())
        self.loop.listener = self.notes

    def test_a_coroutine(self) -> None:
        given = delivery("wait")
        running = fate_of(self.loop, given)
        self.assertEqual(self.notes.told, [(given.lease, 1)])
        self.assertEqual(self.notes.lines, [(given.lease, "waits", {"n": 1})])
        self.assertNoResult(running)
        waits[0].callback({"a": 1})
        self.assertEqual(self.successResultOf(running), Verdict("completed", b'{"a":1}'))

    def test_a_deferred(self) -> None:
        running = fate_of(self.loop, delivery("deferred"))
        waits[0].callback(b"later")
        self.assertEqual(self.successResultOf(running), Verdict("completed", b"later"))
        running = fate_of(self.loop, delivery("deferred"))
        waits[1].errback(ValueError("broken"))
        self.assertIn("ValueError: broken", self.successResultOf(running).error or "")

    def test_stopping(self) -> None:
        for reason, status, flags in (
            ("cancel", "cancelled", (True, False)),
            ("lease_lost", "failed", (False, True)),
            ("timeout", "failed", (False, False)),
        ):
            given = delivery("wait")
            running = fate_of(self.loop, given)
            self.loop.stop_task(given.lease, reason)
            self.assertEqual(self.successResultOf(running).status, status)
            self.assertEqual(seen[-1], flags)
        self.loop.stop_task(given.lease, "cancel")

    def test_the_end(self) -> None:
        running = fate_of(self.loop, delivery("wait"))
        self.successResultOf(self.loop.shut_down(0))
        self.assertEqual(self.successResultOf(running).status, "failed")


class OnAsyncio(SynchronousTestCase):
    def setUp(self) -> None:
        waits.clear()
        seen.clear()
        self.asyncio = asyncio.new_event_loop()
        self.addCleanup(self.asyncio.close)
        reactor = Clock()
        reactor._asyncioEventloop = self.asyncio
        self.loop = InLoop(works_of(app), 2, reactor)

    def turn(self, times: int = 10) -> None:
        for _ in range(times):
            self.asyncio.run_until_complete(asyncio.sleep(0))

    def run_task(self, kind: str) -> tuple[int, Deferred[Verdict]]:
        given = delivery(kind)
        running = fate_of(self.loop, given)
        self.turn()
        return given.lease, running

    def test_what_asyncio_has(self) -> None:
        _, running = self.run_task("pause")
        self.assertEqual(self.successResultOf(running).result, b'"rested"')

    def test_deferreds_as_well(self) -> None:
        _, running = self.run_task("both")
        self.assertEqual(self.successResultOf(running).result, b'["called","slept"]')

    def test_a_deferred_that_fails(self) -> None:
        _, running = self.run_task("wait")
        waits[0].errback(ValueError("broken"))
        self.turn()
        self.assertIn("ValueError: broken", self.successResultOf(running).error or "")

    def test_stopping(self) -> None:
        for kind in ("forever", "wait"):
            token, running = self.run_task(kind)
            self.loop.stop_task(token, "cancel")
            self.turn()
            self.assertEqual(self.successResultOf(running).status, "cancelled", kind)

    def test_a_time_out(self) -> None:
        token, running = self.run_task("forever")
        self.loop.stop_task(token, "timeout")
        self.turn()
        self.assertEqual(self.successResultOf(running).status, "failed")

    def test_a_deferred_that_cannot_be_cancelled(self) -> None:
        """Its canceller gives it a result: the task goes on with that."""

        async def body() -> Any:
            return await Deferred(lambda waited: waited.callback("all the same"))

        running = self.asyncio.create_task(bridged(body()))
        self.turn()
        running.cancel()
        self.turn()
        self.assertEqual(running.result(), "all the same")

    def test_what_is_thrown_at_it(self) -> None:
        async def body() -> Any:
            try:
                await Deferred()
            except Withdrawn:
                return "withdrawn"

        running = self.asyncio.create_task(bridged(body()))
        self.turn()
        running.cancel()
        self.turn()
        self.assertEqual(running.result(), "withdrawn")
