"""
Workers of taskiq, dramatiq and huey go on when the broker was killed and is back.
"""

from __future__ import annotations

import signal

from taskqueue.client.blocking import BlockingClient
from tests.contrib.dramatiq.test_workers import ACTORS
from tests.contrib.huey.test_workers import TASKS as HUEY_TASKS
from tests.contrib.programs import FrameworkTestCase, begin_broker
from tests.contrib.taskiq.test_workers import TASKS as TASKIQ_TASKS
from tests.process.children import Child


class RestartTests(FrameworkTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.port = 0
        self.broker = self.begin_broker()
        self.port = self.broker.port()
        self.address = f"tq://127.0.0.1:{self.port}"
        self._client = BlockingClient(self.address)
        self.addCleanup(self._client.close)

    def begin_broker(self) -> Child:
        """At the same place whenever it is begun."""
        grace = "workers.reconnect_grace_s=20"
        broker = begin_broker(self.folder, f"tcp:{self.port}:interface=127.0.0.1", "--set", grace)
        self.addCleanup(broker.reap)
        return broker

    def goes_on(self, send: str, *worker: str) -> None:
        """A task that takes its time outlives the broker, and others follow it."""
        program = self.program("-m", *worker)
        self.finished("-c", send.format("1, 1.5"))
        self.until_done(1, "begin 1", program)
        self.finished("-c", send.format("2"))  # with which the claim of the first is on disk
        self.until_done(1, "end 2", program)
        self.broker.end(signal.SIGKILL)
        self.broker = self.begin_broker()
        self.broker.port()
        self.finished("-c", send.format("3"))
        self.until_done(1, "end 3", program)
        self.until_states(completed=3)
        self.assertEqual([task["losses"] for task in self.tasks()], [0, 0, 0])

    def test_dramatiq(self) -> None:
        self.module("actors", ACTORS)
        send = "from actors import *; work.send({})"
        self.goes_on(send, "dramatiq", "-p1", "-t2", "--skip-logging", "actors")

    def test_taskiq(self) -> None:
        self.module("tasks", TASKIQ_TASKS)
        send = (
            "import asyncio\nfrom tasks import *\nasync def main():\n"
            "    async with broker: await work.kiq({})\nasyncio.run(main())"
        )
        worker = ("taskiq", "worker", "tasks:broker", "--workers", "1", "--log-level", "ERROR")
        self.goes_on(send, *worker)

    def test_huey(self) -> None:
        self.module("tasks", HUEY_TASKS)
        send = "from tasks import *; work({})"
        self.goes_on(send, "huey.bin.huey_consumer", "tasks.huey", "-w", "2", "--quiet")
