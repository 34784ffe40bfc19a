"""
What taskiq is to send later, at the broker.
"""

from __future__ import annotations

import asyncio
import datetime
import os
import time
from collections.abc import Callable, Coroutine
from typing import Any
from unittest import mock

from taskiq import InMemoryBroker

from taskqueue.contrib.taskiq import TaskqueueBroker, TaskqueueScheduleSource
from taskqueue.errors import BadRequest
from tests.contrib.programs import FrameworkTestCase
from tests.process.children import until

IN_A_MINUTE = datetime.timedelta(minutes=1)

SCHEDULER = """
import os

from taskiq import TaskiqScheduler

from taskqueue.contrib.taskiq import TaskqueueBroker, TaskqueueScheduleSource

broker = TaskqueueBroker(os.environ["TASKQUEUE_BROKER"], queue=os.environ["NAME"])
source = TaskqueueScheduleSource(broker, namespace=os.environ["NAME"])
scheduler = TaskiqScheduler(broker, [source])


@broker.task("work")
async def work(n: int) -> None:
    pass
"""


class ScheduleTests(FrameworkTestCase):
    def run_with(
        self, test: Callable[[Any, TaskqueueScheduleSource], Coroutine[Any, Any, None]]
    ) -> None:
        """Run a test with a task's sender and a source."""

        async def work(n: int) -> None:
            pass

        async def main() -> None:
            async with asyncio.timeout(20):
                broker = TaskqueueBroker(self.address, queue=self.name)
                source = TaskqueueScheduleSource(broker, namespace=self.name)
                await broker.startup()
                try:
                    await test(broker.register_task(work, task_name="work").kicker(), source)
                finally:
                    await broker.shutdown()

        asyncio.run(main())

    def test_what_is_sent_once_waits_at_the_broker(self) -> None:
        """And needs no scheduler; the schedule's own queue and priority hold."""

        async def act(kicker: Any, source: TaskqueueScheduleSource) -> None:
            moment = datetime.datetime.now(datetime.UTC) + IN_A_MINUTE
            kicker.with_labels(priority=5)
            created = await kicker.schedule_by_time(source, moment, 1)
            (task,) = self.tasks()
            self.assertEqual((task["state"], task["priority"]), ("scheduled", 155))
            self.assertAlmostEqual(task["run_at"], moment.timestamp(), 3)
            self.assertEqual(await source.get_schedules(), [])
            await created.unschedule()
            self.assertEqual(self.states(), {"cancelled": 1})

        self.run_with(act)

    def test_a_moment_without_a_time_zone_is_utc(self) -> None:
        """Wherever the program runs."""
        elsewhere = mock.patch.dict(os.environ, {"TZ": "Asia/Tokyo"})
        elsewhere.start()
        self.addCleanup(time.tzset)
        self.addCleanup(elsewhere.stop)
        time.tzset()

        async def act(kicker: Any, source: TaskqueueScheduleSource) -> None:
            moment = datetime.datetime.now(datetime.UTC) + IN_A_MINUTE
            await kicker.schedule_by_time(source, moment.replace(tzinfo=None), 1)
            (task,) = self.tasks()
            self.assertAlmostEqual(task["run_at"], moment.timestamp(), 3)

        self.run_with(act)

    def test_past_moment_is_now(self) -> None:
        async def act(kicker: Any, source: TaskqueueScheduleSource) -> None:
            await kicker.schedule_by_time(source, datetime.datetime(2000, 1, 1), 1)  # noqa: DTZ001

        self.run_with(act)
        self.assertEqual(self.states(), {"pending": 1})

    def test_same_schedule_again_replaces_it(self) -> None:
        async def act(kicker: Any, source: TaskqueueScheduleSource) -> None:
            moment = datetime.datetime.now(datetime.UTC) + IN_A_MINUTE
            for _ in range(2):
                await kicker.with_schedule_id("mine").schedule_by_time(source, moment, 1)

        self.run_with(act)
        self.assertEqual(self.states(), {"cancelled": 1, "scheduled": 1})

    def test_what_is_sent_again_and_again_is_kept(self) -> None:
        async def act(kicker: Any, source: TaskqueueScheduleSource) -> None:
            daily = await kicker.schedule_by_cron(source, "0 3 * * *", 1)
            await kicker.schedule_by_interval(source, 60, 2)
            kept = sorted(await source.get_schedules(), key=lambda schedule: schedule.args)
            self.assertEqual([s.cron for s in kept], ["0 3 * * *", None])
            self.assertEqual([s.interval for s in kept], [None, 60])
            self.assertEqual([s.task_name for s in kept], ["work", "work"])
            await daily.unschedule()
            self.assertEqual([s.args for s in await source.get_schedules()], [[2]])

        self.run_with(act)
        self.assertEqual(self.states(), {})

    def test_scheduler_sends_it(self) -> None:
        """taskiq's own process."""

        async def act(kicker: Any, source: TaskqueueScheduleSource) -> None:
            await kicker.schedule_by_interval(source, 1, 2)

        self.run_with(act)
        self.module("schedule", SCHEDULER)
        self.program("-m", "taskiq", "scheduler", "schedule:scheduler")
        until("it was sent twice", lambda: self.states().get("pending", 0) >= 2)

    def test_needs_a_broker_of_ours(self) -> None:
        self.assertRaises(BadRequest, TaskqueueScheduleSource, InMemoryBroker())
