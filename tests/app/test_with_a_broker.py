"""
Applications with a real broker, on real sockets.
"""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.threads import deferToThread

from taskqueue.app.application import App
from taskqueue.errors import CannotConnect, TaskFailed
from taskqueue.worker import Worker
from tests.client.broker import BrokerCase, flow


class AppTests(BrokerCase):
    def setUp(self) -> None:
        super().setUp()
        self.app = App(self.address())
        self.addCleanup(deferToThread, self.app.close)

        @self.app.task
        def add(a, b=1):
            return {"sum": a + b}

        @self.app.task(result_codec="bytes")
        async def raw(text):
            return text.encode()

        self.add, self.raw = add, raw
        worker = Worker(self.app, self.client(), reactor, queues=["default"])
        worker.startService()
        self.addCleanup(worker.stopService)

    @flow
    async def test_with_the_client_for_twisted(self) -> None:
        client = await self.connect()
        handle = await self.add.submit_async(client, 1, b=2)
        self.assertEqual(await handle.result(timeout=10), {"sum": 3})
        handle = await self.raw.submit_async(client, "x")
        self.assertEqual(await handle.result(timeout=10), b"x")
        unfit = await client.submit("add", {"c": 3}, max_retries=0)
        with self.assertRaisesRegex(TaskFailed, "missing a required argument: 'a'"):
            await unfit.result(timeout=10)

    @flow
    async def test_for_programs_that_wait(self) -> None:
        def program():
            first, second = self.add.submit(1), self.raw.submit("y")
            client = self.app.client
            self.assertIs(self.app.client, client)
            self.app.close()
            self.assertIsNot(self.app.client, client)
            return self.add.submit(5).result(timeout=10), first, second

        result, first, second = await deferToThread(program)
        self.assertEqual(result, {"sum": 6})
        client = await self.connect()
        outcomes = [await client.outcome(task, 10) for task in (first, second)]
        self.assertEqual([outcome.result for outcome in outcomes], [b'{"sum":2}', b"y"])

    @flow
    async def test_a_worker_declares_what_is_periodic(self) -> None:
        fired: list[str] = []

        @self.app.periodic("x", every_s=1, name="pulse")
        @self.app.task
        def beat(ctx, what):
            fired.append(what)

        worker = Worker(self.app, self.client(), reactor, queues=["default"])
        worker.startService()
        self.addCleanup(worker.stopService)
        await self.until(lambda: fired)
        client = await self.connect()
        [periodic] = await client.periodics()
        self.assertEqual((periodic["name"], periodic["type"]), ("pulse", "beat"))
        self.assertEqual(fired[0], "x")

    @flow
    async def test_no_broker(self) -> None:
        app = App("tq://127.0.0.1:1")
        self.addCleanup(deferToThread, app.close)
        with self.assertRaises(CannotConnect):
            await deferToThread(app.task("t")(lambda: 1).submit)
