"""
taskiq's broker: what is sent, and how, and what its workers get.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

from taskiq import SimpleRetryMiddleware, TaskiqEvents
from taskiq.exceptions import SendTaskError
from taskiq.receiver import Receiver

from taskqueue.contrib.taskiq import TaskqueueBroker
from taskqueue.errors import BadRequest, CannotConnect, QueueFull
from tests.contrib.programs import FrameworkTestCase


class BrokerTestCase(FrameworkTestCase):
    def run_with(
        self, test: Callable[[TaskqueueBroker], Coroutine[Any, Any, Any]], **options: Any
    ) -> Any:
        """Run a test with a broker that is started, and ended after it."""

        async def main() -> Any:
            async with asyncio.timeout(20):
                broker = TaskqueueBroker(self.address, **{"queue": self.name, **options})
                broker.register_task(_work, task_name="work")
                await broker.startup()
                try:
                    return await test(broker)
                finally:
                    await broker.shutdown()

        return asyncio.run(main())

    def send(self, **labels: Any) -> Any:
        """Send a task with these labels."""

        async def act(broker: TaskqueueBroker) -> Any:
            return await broker.find_task("work").kicker().with_labels(**labels).kiq(1)

        return self.run_with(act)


async def _work(n: int) -> int:
    return n


class KickTests(BrokerTestCase):
    def test_task_is_a_task(self) -> None:
        """Of the same name, so that people see what it is."""
        sent = self.send()
        (task,) = self.tasks()
        self.assertEqual((task["type"], task["priority"]), ("work", 150))
        self.assertEqual(task["headers"], {"taskiq-task-id": sent.task_id})
        self.assertIn(sent.task_id.encode(), self.client.payload(task["id"]))

    def test_names_that_types_cannot_have(self) -> None:
        async def act(broker: TaskqueueBroker) -> None:
            await broker.register_task(_work, task_name="mein Auftrag: größer").kiq(1)

        self.run_with(act)
        self.assertEqual([task["type"] for task in self.tasks()], ["mein_Auftrag:_gr__er"])

    def test_delay_is_waited_for_at_the_broker(self) -> None:
        self.send(delay=60)
        (task,) = self.tasks()
        self.assertEqual(task["state"], "scheduled")
        self.assertTrue(50 < task["run_at"] - time.time() <= 60)

    def test_priority(self) -> None:
        for priority in (-150, 5, 105):
            self.send(priority=priority)
        self.assertEqual([task["priority"] for task in self.tasks()], [0, 155, 255])

    def test_queue(self) -> None:
        other = f"{self.name}-other"
        self.send(queue_name=other)
        self.assertEqual(self.states(other), {"pending": 1})

    def test_labels_that_make_no_sense(self) -> None:
        for label, value, why in (
            ("delay", "soon", "the label delay is 'soon', expected a number"),
            ("delay", -1, "the label delay is '-1', expected seconds from now"),
            ("delay", "nan", "the label delay is 'nan', expected seconds from now"),
            ("priority", 106, "the label priority is 106, expected a whole number"),
            ("priority", "high", "the label priority is 'high', expected a number"),
            ("queue_name", "no spaces", "the label queue_name is 'no spaces'"),
        ):
            error = self.assertRaises(SendTaskError, self.send, **{label: value})
            self.assertIsInstance(error.__cause__, BadRequest)
            self.assertIn(why, str(error.__cause__))

    def test_same_task_can_be_sent_again(self) -> None:
        """As retries do, which keep its id."""

        async def act(broker: TaskqueueBroker) -> None:
            for _ in range(2):
                await broker.find_task("work").kicker().with_task_id("same").kiq(1)

        self.run_with(act)
        self.assertEqual(self.states(), {"pending": 2})

    def test_worker_waits_for_a_full_queue(self) -> None:
        """Its retries would be lost to it; a program that sends is told."""
        self.client.set_queue(self.name, 0)
        error = self.assertRaises(SendTaskError, self.send)
        self.assertIsInstance(error.__cause__, QueueFull)

        async def act(broker: TaskqueueBroker) -> None:
            broker.is_worker_process = True
            sending = asyncio.ensure_future(broker.find_task("work").kiq(1))
            await asyncio.wait([sending], timeout=0.3)
            self.assertFalse(sending.done())
            self.client.set_queue(self.name, None)
            await sending

        self.run_with(act)
        self.assertEqual(self.states(), {"pending": 1})

    def test_not_started(self) -> None:
        async def main() -> None:
            await TaskqueueBroker(self.address).task(_work).kiq(1)

        error = self.assertRaises(SendTaskError, asyncio.run, main())
        self.assertIn("this broker is not started: await broker.startup()", str(error.__cause__))

    def test_without_a_broker(self) -> None:
        """A program that sends is told at once."""
        broker = TaskqueueBroker("tq://127.0.0.1:1")
        self.assertRaises(CannotConnect, asyncio.run, broker.startup())

    def test_what_cannot_be(self) -> None:
        for options in ({"queue": "no spaces"}, {"prefetch": 0}, {"listen_to": ("", "a")}):
            self.assertRaises(BadRequest, TaskqueueBroker, **options)
        self.assertRaises(BadRequest, TaskqueueBroker, "amqp://localhost")

    def test_events(self) -> None:
        """What programs have asked to be told is told when there is a connection."""
        told: list[Any] = []

        async def act(broker: TaskqueueBroker) -> None:
            broker.add_event_handler(TaskiqEvents.CLIENT_STARTUP, told.append)
            await broker.startup()

        self.run_with(act)
        self.assertEqual(len(told), 1)


class ListenTests(BrokerTestCase):
    def test_acknowledged_is_completed(self) -> None:
        async def act(broker: TaskqueueBroker) -> None:
            await broker.find_task("work").kiq(1)
            listening = broker.listen()
            message = await anext(listening)
            self.assertEqual(broker.formatter.loads(message.data).args, [1])
            self.assertEqual(self.states(), {"in_progress": 1})
            await message.ack()
            self.assertEqual(self.states(), {"completed": 1})
            await listening.aclose()

        self.run_with(act)

    def test_what_was_not_acknowledged_is_given_back_at_the_end(self) -> None:
        async def act(broker: TaskqueueBroker) -> None:
            await broker.find_task("work").kiq(1)
            await anext(broker.listen())

        self.run_with(act)
        (task,) = self.tasks()
        self.assertEqual((task["state"], task["losses"]), ("pending", 0))
        self.assertNotIn([self.name], [worker["queues"] for worker in self.client.workers()])

    def test_prefetched_is_given_back_when_listening_ends(self) -> None:
        """Though the worker goes on with what it was given."""

        async def act(broker: TaskqueueBroker) -> None:
            for n in range(3):
                await broker.find_task("work").kiq(n)
            listening = broker.listen()
            message = await anext(listening)
            self.assertEqual(self.states(), {"in_progress": 3})
            await listening.aclose()
            self.assertEqual(self.states(), {"in_progress": 1, "pending": 2})
            await message.ack()

        self.run_with(act, prefetch=3)
        self.assertEqual(self.states(), {"completed": 1, "pending": 2})

    def test_in_their_order(self) -> None:
        async def act(broker: TaskqueueBroker) -> None:
            for n in range(5):
                await broker.find_task("work").kiq(n)
            listening, got = broker.listen(), []
            for _ in range(5):
                message = await anext(listening)
                got += broker.formatter.loads(message.data).args
            self.assertEqual(got, [0, 1, 2, 3, 4])

        self.run_with(act, prefetch=3)

    def test_one_at_a_time_unless_more_are_wanted(self) -> None:
        async def act(broker: TaskqueueBroker) -> None:
            for n in range(2):
                await broker.find_task("work").kiq(n)
            await anext(broker.listen())
            self.assertEqual(self.states(), {"in_progress": 1, "pending": 1})

        self.run_with(act)

    def test_cancelled_wait_leaves_nothing_behind(self) -> None:
        """taskiq cancels it when a worker stops; what comes then waits for another one."""

        async def act(broker: TaskqueueBroker) -> None:
            waiting = asyncio.ensure_future(anext(broker.listen()))
            while not self.client.workers():
                await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            await broker.find_task("work").kiq(1)
            self.assertEqual(self.states(), {"pending": 1})

        self.run_with(act)

    def test_most_urgent_first(self) -> None:
        async def act(broker: TaskqueueBroker) -> None:
            for n in (0, 9, 3):
                await broker.find_task("work").kicker().with_labels(priority=n).kiq(n)
            listening, got = broker.listen(), []
            for _ in range(3):
                message = await anext(listening)
                got += broker.formatter.loads(message.data).args
            self.assertEqual(got, [9, 3, 0])

        self.run_with(act)

    def test_tasks_of_other_programs_are_left_to_them(self) -> None:
        """taskiq would drop what it does not know."""

        async def act(broker: TaskqueueBroker) -> None:
            self.client.submit("unknown", b"{}", queue=self.name)
            await broker.find_task("work").kiq(1)
            listening = broker.listen()
            message = await anext(listening)
            self.assertEqual(broker.formatter.loads(message.data).task_name, "work")

        self.run_with(act)

    def test_several_queues(self) -> None:
        other = f"{self.name}-other"

        async def act(broker: TaskqueueBroker) -> None:
            for queue in (self.name, other):
                await broker.find_task("work").kicker().with_labels(queue_name=queue).kiq(queue)
            listening, got = broker.listen(), []
            for _ in range(2):
                message = await anext(listening)
                got += broker.formatter.loads(message.data).args
            self.assertEqual(got, [other, self.name])

        self.run_with(act, listen_to=(other, self.name))

    def test_a_lease_that_was_lost_is_no_error(self) -> None:
        async def act(broker: TaskqueueBroker) -> None:
            await broker.find_task("work").kiq(1)
            message = await anext(broker.listen())
            (task,) = self.tasks()
            self.client.cancel([task["id"]], running=True)
            for holding in [d.holding for d in broker._listener.worker._worker.held.values()]:
                self.client.release([holding])
            with self.assertLogs("taskqueue.contrib", "WARNING"):
                await message.ack()

        self.run_with(act)

    def test_retries_are_taskiqs(self) -> None:
        """With its middleware: each is a task of its own."""
        tried: list[int] = []

        async def failing() -> None:
            tried.append(1)
            raise ValueError("no good")

        async def act(broker: TaskqueueBroker) -> None:
            broker.add_middlewares(SimpleRetryMiddleware(default_retry_count=2))
            task = broker.register_task(failing, task_name="fail", retry_on_error=True)
            await task.kiq()
            finish = asyncio.Event()
            receiver = Receiver(broker, max_async_tasks=1, run_startup=False)
            listening = asyncio.ensure_future(receiver.listen(finish))
            while self.states().get("completed") != 2:
                await asyncio.sleep(0.01)
            finish.set()
            await listening

        with self.assertLogs("taskiq", "ERROR"):
            self.run_with(act)
        self.assertEqual(len(tried), 2)
