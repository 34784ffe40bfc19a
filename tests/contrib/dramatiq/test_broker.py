"""
dramatiq's broker: what is put, and how, and looking after queues.
"""

from __future__ import annotations

import time
from typing import Any

import dramatiq
from dramatiq.errors import ConnectionFailed, QueueJoinTimeout, QueueNotFound
from dramatiq.middleware import Middleware

from taskqueue.contrib.dramatiq import TaskqueueBroker, broker
from taskqueue.errors import BadRequest, QueueFull
from tests.contrib.programs import FrameworkTestCase


class BrokerTestCase(FrameworkTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.dramatiq = TaskqueueBroker(self.address, middleware=[])
        self.addCleanup(self.dramatiq.close)
        self.dramatiq.declare_queue(self.name)

    def message(self, *args: Any, **options: Any) -> dramatiq.Message[Any]:
        return dramatiq.Message(self.name, "work", args, {}, options)

    def actor(self, **options: Any) -> dramatiq.Actor[Any, Any]:
        return dramatiq.actor(
            lambda *args: None,
            actor_name="work",
            queue_name=self.name,
            broker=self.dramatiq,
            **options,
        )

    def next(self, consumer: Any) -> Any:
        """The next message, which must be there."""
        message = next(consumer)
        assert message is not None
        return message


class EnqueueTests(BrokerTestCase):
    def test_message_is_a_task(self) -> None:
        """Of the actor's name as its type, so that people see what it is."""
        message = self.dramatiq.enqueue(self.message(1, 2))
        (task,) = self.tasks()
        self.assertEqual(task["type"], "work")
        self.assertEqual(task["priority"], 150)
        self.assertEqual(task["headers"]["dramatiq-message-id"], message.message_id)
        self.assertEqual(self.client.payload(task["id"]), message.encode())

    def test_delay_is_waited_for_at_the_broker(self) -> None:
        message = self.dramatiq.enqueue(self.message(), delay=60_000)
        (task,) = self.tasks()
        self.assertEqual(task["state"], "scheduled")
        self.assertTrue(50 < task["run_at"] - time.time() <= 60)
        self.assertEqual(message.queue_name, self.name)
        self.assertNotIn("eta", message.options)

    def test_there_are_no_delay_queues(self) -> None:
        self.assertEqual(self.dramatiq.get_declared_delay_queues(), set())

    def test_same_message_can_be_put_again(self) -> None:
        """As retries do, which keep its id."""
        message = self.message()
        for _ in range(2):
            self.dramatiq.enqueue(message)
        self.assertEqual(self.states(), {"pending": 2})

    def test_priorities(self) -> None:
        """Of an actor, where smaller is more urgent, and for brokers, where larger is."""
        self.actor(priority=10)
        self.dramatiq.enqueue(self.message())
        self.dramatiq.enqueue(self.message(broker_priority=5))
        self.assertEqual([task["priority"] for task in self.tasks()], [140, 155])

    def test_priorities_that_the_broker_does_not_have(self) -> None:
        for options in ({"priority": 151}, {"priority": -106}, {"broker_priority": 106}):
            error = self.assertRaises(BadRequest, self.actor, **options)
            self.assertIn("150 priorities below the usual one, and for 105 above", str(error))
        self.assertRaises(BadRequest, self.dramatiq.enqueue, self.message(broker_priority="high"))

    def test_queues_that_the_broker_cannot_have(self) -> None:
        error = self.assertRaises(BadRequest, self.dramatiq.declare_queue, "no spaces")
        self.assertIn("'no spaces'", str(error))
        self.assertRaises(BadRequest, self.dramatiq.declare_queue, "x" * 129)

    def test_middleware_is_told(self) -> None:
        told: list[Any] = []

        class Listening(Middleware):
            def before_enqueue(self, broker: Any, message: Any, delay: Any) -> None:
                told.append(("before", message.message_id, delay))

            def after_enqueue(self, broker: Any, message: Any, delay: Any) -> None:
                told.append(("after", message.message_id, delay))

            def after_declare_queue(self, broker: Any, queue_name: str) -> None:
                told.append(queue_name)

        self.dramatiq.add_middleware(Listening())
        message = self.dramatiq.enqueue(self.message(), delay=5)
        id_ = message.message_id
        self.assertEqual(told, [self.name, ("before", id_, 5), ("after", id_, 5)])

    def test_without_a_broker(self) -> None:
        """It is said at once, in dramatiq's words and with the address."""
        lost = TaskqueueBroker("tq://127.0.0.1:1", middleware=[])
        self.addCleanup(lost.close)
        error = self.assertRaises(ConnectionFailed, lost.enqueue, self.message())
        self.assertIn("tq://127.0.0.1:1", str(error))
        # It is tried again: nothing of the first time is remembered.
        self.assertRaises(ConnectionFailed, lost.enqueue, self.message())

    def test_bad_address(self) -> None:
        self.assertRaises(BadRequest, TaskqueueBroker, "redis://localhost")


class ConsumerTests(BrokerTestCase):
    def test_ack_completes(self) -> None:
        self.dramatiq.enqueue(self.message(1))
        consumer = self.dramatiq.consume(self.name, timeout=1000)
        message = self.next(consumer)
        self.assertEqual(message.args, (1,))
        self.assertEqual(self.states(), {"in_progress": 1})
        consumer.ack(message)
        self.assertEqual(self.states(), {"completed": 1})

    def test_nack_makes_a_dead_letter(self) -> None:
        """With the error in a line, and the traceback that dramatiq has kept below it."""
        self.dramatiq.enqueue(self.message(traceback="Traceback\n  here\n"))
        consumer = self.dramatiq.consume(self.name, timeout=1000)
        message = self.next(consumer)
        message.stuff_exception(ValueError("no good"))
        consumer.nack(message)
        (task,) = self.tasks()
        self.assertEqual(task["state"], "dead_letter")
        self.assertEqual(task["error"], "ValueError: no good\nTraceback\n  here")

    def test_requeue_gives_back(self) -> None:
        self.dramatiq.enqueue(self.message())
        consumer = self.dramatiq.consume(self.name, timeout=1000)
        message = self.next(consumer)
        consumer.requeue([message])
        self.assertEqual(self.states(), {"pending": 1})
        again = self.next(consumer)
        self.assertEqual(again.message_id, message.message_id)
        self.assertEqual(again.delivery.losses, 0)

    def test_waits_for_a_message_at_the_broker(self) -> None:
        consumer = self.dramatiq.consume(self.name, timeout=200)
        began = time.monotonic()
        self.assertIsNone(next(consumer))
        self.assertGreater(time.monotonic() - began, 0.19)

    def test_has_no_more_than_it_may_prefetch(self) -> None:
        for n in range(5):
            self.dramatiq.enqueue(self.message(n))
        consumer = self.dramatiq.consume(self.name, prefetch=2, timeout=100)
        first, second = self.next(consumer), self.next(consumer)
        self.assertIsNone(next(consumer))
        self.assertEqual(self.states(), {"in_progress": 2, "pending": 3})
        consumer.ack(first)
        self.assertEqual(self.next(consumer).args, (2,))
        consumer.ack(second)

    def test_close_gives_back_what_was_not_handed_over(self) -> None:
        for n in range(3):
            self.dramatiq.enqueue(self.message(n))
        consumer = self.dramatiq.consume(self.name, prefetch=3, timeout=1000)
        message = self.next(consumer)
        self.assertEqual(self.states(), {"in_progress": 3})
        consumer.close()
        self.assertEqual(self.states(), {"in_progress": 1, "pending": 2})
        consumer.ack(message)

    def test_acknowledged_by_the_consumer_that_follows(self) -> None:
        """dramatiq makes a new one after an error, and has the old one's messages in hand."""
        self.dramatiq.enqueue(self.message())
        first = self.dramatiq.consume(self.name, timeout=1000)
        message = self.next(first)
        first.close()
        self.dramatiq.consume(self.name, timeout=1000).ack(message)
        self.assertEqual(self.states(), {"completed": 1})

    def test_most_urgent_first(self) -> None:
        for priority in (0, 3, 9):
            self.dramatiq.enqueue(self.message(priority, broker_priority=priority))
        consumer = self.dramatiq.consume(self.name, prefetch=3, timeout=1000)
        self.assertEqual([self.next(consumer).args[0] for _ in range(3)], [9, 3, 0])

    def test_what_is_no_message_is_a_dead_letter(self) -> None:
        self.client.submit("other", b"\xff", queue=self.name)
        self.dramatiq.enqueue(self.message(1))
        consumer = self.dramatiq.consume(self.name, prefetch=2, timeout=1000)
        with self.assertLogs("taskqueue.contrib.dramatiq", "ERROR"):
            self.assertEqual(self.next(consumer).args, (1,))
        (task,) = self.tasks(self.name, "dead_letter")
        self.assertIn("Failed to decode message", task["error"])

    def test_a_lease_that_was_lost_is_no_error(self) -> None:
        """dramatiq would call it a defect of its own; somebody else has the task."""
        self.dramatiq.enqueue(self.message())
        consumer = self.dramatiq.consume(self.name, timeout=1000)
        message = self.next(consumer)
        self.client.release([message.delivery.holding])
        with self.assertLogs("taskqueue.contrib", "WARNING") as logged:
            consumer.ack(message)
        self.assertIn("its lease was lost", logged.output[0])
        self.assertEqual(self.states(), {"pending": 1})

    def test_retry_that_is_refused(self) -> None:
        """dramatiq acknowledges a message all the same; it is given back instead."""
        self.patch(broker, "RETRY_FOR_S", 0.0)
        self.dramatiq.enqueue(self.message())
        consumer = self.dramatiq.consume(self.name, timeout=1000)
        message = self.next(consumer)
        self.client.set_queue(self.name, 0)
        self.assertRaises(QueueFull, self.dramatiq.enqueue, message, delay=10)
        with self.assertLogs("taskqueue.contrib.dramatiq", "WARNING"):
            consumer.ack(message)
        self.assertEqual(self.states(), {"pending": 1})

    def test_undeclared_queue(self) -> None:
        for call in (self.dramatiq.consume, self.dramatiq.flush, self.dramatiq.join):
            self.assertRaises(QueueNotFound, call, "undeclared")

    def test_worker_is_registered_and_leaves(self) -> None:
        self.dramatiq.enqueue(self.message())
        consumer = self.dramatiq.consume(self.name, timeout=1000)
        self.next(consumer)
        ours = [w for w in self.client.workers() if w["queues"] == [self.name]]
        self.assertEqual([worker["leases"] for worker in ours], [1])
        self.dramatiq.close()
        self.assertNotIn(ours[0]["id"], [worker["id"] for worker in self.client.workers()])
        (task,) = self.tasks()
        self.assertEqual((task["state"], task["losses"]), ("pending", 0))


class QueueTests(BrokerTestCase):
    def test_flush(self) -> None:
        for delay in (None, 60_000):
            self.dramatiq.enqueue(self.message(), delay=delay)
        self.dramatiq.flush(self.name)
        self.assertEqual(self.states(), {"cancelled": 2})

    def test_flush_of_a_queue_that_nothing_was_put_into(self) -> None:
        self.dramatiq.flush(self.name)

    def test_flush_all(self) -> None:
        other = f"{self.name}-other"
        self.dramatiq.enqueue(self.message())
        self.dramatiq.enqueue(dramatiq.Message(other, "work", (), {}, {}))
        self.dramatiq.flush_all()
        self.assertEqual(self.states(), {"cancelled": 1})
        self.assertEqual(self.states(other), {"cancelled": 1})

    def test_declared_queues(self) -> None:
        self.dramatiq.declare_queue("other")
        self.assertEqual(self.dramatiq.get_declared_queues(), {self.name, "other"})

    def test_join(self) -> None:
        """It waits for what is delayed and for what is being processed, too."""
        self.dramatiq.join(self.name, timeout=1000)
        self.dramatiq.enqueue(self.message(), delay=60_000)
        join = self.dramatiq.join
        self.assertRaises(QueueJoinTimeout, join, self.name, interval=10, timeout=50)
        self.dramatiq.flush(self.name)
        self.dramatiq.enqueue(self.message())
        consumer = self.dramatiq.consume(self.name, timeout=1000)
        message = self.next(consumer)
        self.assertRaises(QueueJoinTimeout, join, self.name, interval=10, timeout=50)
        consumer.ack(message)
        join(self.name, timeout=1000)
