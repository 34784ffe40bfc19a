"""
The transport over a real broker: what is declared, delivered and settled, and what goes wrong.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from typing import Any

from kombu import Connection, Consumer, Exchange, Producer, Queue
from kombu.asynchronous.hub import Hub
from kombu.exceptions import ChannelError, OperationalError
from kombu.transport.virtual.base import NotEquivalentError

import taskqueue.contrib.kombu  # noqa: F401  # registers the schemes
from taskqueue.contrib.kombu.topology import NAMESPACE
from taskqueue.errors import BadRequest, CannotConnect, ConnectionLost
from tests.contrib.programs import FrameworkTestCase, begin_broker
from tests.process.children import environment, until


class TransportTestCase(FrameworkTestCase):
    timeout = 60

    @property
    def url(self) -> str:
        return self.address.replace("tq://", "taskqueue://")

    def connect(self, **options: Any) -> Connection:
        connection = Connection(self.url, transport_options=options)
        self.addCleanup(connection.release)
        connection.connect()
        return connection

    def queue(self, **how: Any) -> Queue:
        return Queue(self.name, routing_key=self.name, **how)

    def publish(self, connection: Connection, *bodies: Any, **how: Any) -> None:
        producer = Producer(connection.default_channel)
        for body in bodies:
            producer.publish(body, **{"routing_key": self.name, **how})

    def consume(
        self, connection: Connection, queue: Queue, **how: Any
    ) -> tuple[Consumer, list[Any]]:
        """A consumer, and the messages that it gets."""
        got: list[Any] = []
        consumer = Consumer(connection, [queue], on_message=got.append, **how)
        consumer.consume()
        return consumer, got

    def drain(self, connection: Connection, got: list[Any], count: int) -> list[Any]:
        """Wait for so many messages; their bodies."""
        while len(got) < count:
            connection.drain_events(timeout=10)
        return [message.payload for message in got]

    def nothing(self, connection: Connection) -> None:
        self.assertRaises(socket.timeout, connection.drain_events, timeout=0.3)


class Topology(TransportTestCase):
    def test_what_one_process_binds_another_one_sees(self) -> None:
        exchange = Exchange(self.name, type="topic")
        one, other = self.connect(), self.connect()
        queue = Queue(self.name, exchange, routing_key="a.*")
        queue(one.default_channel).declare()
        self.publish(other, "seen", exchange=exchange, routing_key="a.b")
        self.publish(other, "not seen", exchange=exchange, routing_key="b.b")
        _, got = self.consume(one, queue)
        self.assertEqual(self.drain(one, got, 1), ["seen"])
        self.nothing(one)

    def test_bindings_are_listed_and_undone(self) -> None:
        exchange = Exchange(self.name, type="direct")
        connection = self.connect()
        channel = connection.default_channel
        bound = Queue(self.name, exchange, routing_key="k")(channel)
        bound.declare()
        found = [one for one in connection.manager.get_bindings() if one["source"] == self.name]
        wanted = {"destination": self.name, "source": self.name, "routing_key": "k"}
        self.assertEqual(found, [wanted])
        self.assertIn(self.name, channel.get_exchanges())
        bound.unbind_from(exchange(channel), "k")
        self.assertNotIn((self.name, self.name, "k"), channel.list_bindings())
        self.publish(connection, "lost", exchange=exchange, routing_key="k")
        self.assertEqual(bound.queue_declare().message_count, 0)

    def test_an_exchange_stays_what_it_is(self) -> None:
        one, other = self.connect(), self.connect()
        Exchange(self.name, type="topic")(one.default_channel).declare()
        again = Exchange(self.name, type="fanout")(other.default_channel)
        error = self.assertRaises(NotEquivalentError, again.declare)
        self.assertIn("is a topic exchange already", str(error))
        Exchange(self.name)(one.default_channel).delete()
        again.declare()

    def test_a_type_that_there_is_not(self) -> None:
        headers = Exchange(self.name, type="headers")(self.connect().default_channel)
        error = self.assertRaises(ChannelError, headers.declare)
        self.assertIn("direct, fanout, topic", str(error))

    def test_passive_declarations(self) -> None:
        connection = self.connect()
        channel = connection.default_channel
        queue, exchange = self.queue()(channel), Exchange(self.name)(channel)
        for passive in (queue.queue_declare, exchange.declare):
            error = self.assertRaises(ChannelError, passive, passive=True)
            self.assertIn("NOT_FOUND", str(error))
        exchange.declare()
        queue.declare()
        self.publish(connection, 1, 2)
        self.assertEqual(queue.queue_declare(passive=True).message_count, 2)
        exchange.declare(passive=True)

    def test_purge_and_delete(self) -> None:
        connection = self.connect()
        queue = self.queue()(connection.default_channel)
        queue.declare()
        self.publish(connection, 1, 2, 3)
        self.assertEqual(queue.purge(), 3)
        self.assertEqual(queue.purge(), 0)
        self.publish(connection, 1)
        queue.delete(if_empty=True)
        self.assertEqual(self.states(), {"cancelled": 3, "pending": 1})
        queue.delete()
        self.assertEqual(self.states(), {"cancelled": 4})
        self.assertRaises(ChannelError, queue.queue_declare, passive=True)

    def test_a_name_that_the_broker_does_not_take(self) -> None:
        connection = self.connect()
        self.publish(connection, "there", routing_key=f"{self.name}@host")
        self.assertEqual(self.states(f"{self.name}:40host"), {"pending": 1})
        queue = Queue(f"{self.name}@host")
        _, got = self.consume(connection, queue)
        self.assertEqual(self.drain(connection, got, 1), ["there"])


class Temporary(TransportTestCase):
    def kept(self) -> list[str]:
        listed = self.client.list_values(NAMESPACE)
        return [key for key, _ in listed if self.name in key]

    def test_goes_with_its_consumer(self) -> None:
        connection = self.connect()
        exchange = Exchange(self.name, type="fanout")
        queue = Queue(self.name, exchange, auto_delete=True)
        consumer, got = self.consume(connection, queue)
        self.publish(connection, 1, exchange=exchange)
        self.drain(connection, got, 1)
        got[0].ack()
        self.assertGreater(len(self.kept()), 2)
        consumer.cancel()
        self.assertEqual(self.kept(), [key for key in self.kept() if key.endswith("/")])

    def test_goes_with_the_last_of_its_consumers(self) -> None:
        """As RabbitMQ has it; of two workers with one name, both hear what is broadcast."""
        queue = Queue(self.name, Exchange(self.name), auto_delete=True)
        one, other = self.connect(), self.connect()
        first, _ = self.consume(one, queue)
        second, got = self.consume(other, queue)
        until("both are there", lambda: sum("q//" in key for key in self.kept()) == 3)
        first.cancel()
        self.publish(one, "heard", exchange=Exchange(self.name), routing_key="")
        self.assertEqual(self.drain(other, got, 1), ["heard"])
        second.cancel()
        self.assertEqual([key for key in self.kept() if not key.endswith("/")], [])

    def test_expires_where_its_consumer_was_killed(self) -> None:
        """It wrote it again and again; what it wrote last does not stay."""
        connection = self.connect()
        queue = Queue(self.name, Exchange(self.name), expires=10.0)
        self.consume(connection, queue)
        moments = [
            value.expires_at
            for key, value in self.client.list_values(NAMESPACE)
            if self.name in key and not key.endswith("/")
        ]
        self.assertGreaterEqual(len(moments), 2)
        now = self.client.ping()
        self.assertTrue(all(now + 30 < (at or 0) < now + 61 for at in moments), moments)

    def test_messages_do_not_outlive_their_queue_for_ever(self) -> None:
        connection = self.connect()
        queue = self.queue(auto_delete=True, message_ttl=300.0)
        queue(connection.default_channel).declare()
        self.publish(connection, 1)
        (task,) = self.tasks()
        self.assertLess(task["expires_at"], self.client.ping() + 301)

    def test_the_life_of_messages_is_known_to_other_processes(self) -> None:
        self.queue(message_ttl=60.0)(self.connect().default_channel).declare()
        self.publish(self.connect(), 1)
        (task,) = self.tasks()
        self.assertLess(task["expires_at"], self.client.ping() + 61)

    def test_a_lasting_one_stays(self) -> None:
        connection = self.connect()
        consumer, _ = self.consume(connection, self.queue())
        consumer.cancel()
        self.assertIn("q//" + self.name, self.kept())


class Settling(TransportTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.connection = self.connect()
        self.consumer, self.got = self.consume(self.connection, self.queue())

    def test_acknowledged(self) -> None:
        self.publish(self.connection, 1, 2)
        self.drain(self.connection, self.got, 2)
        for message in self.got:
            message.ack()
        self.until_states(completed=2)

    def test_given_back(self) -> None:
        self.publish(self.connection, 1)
        self.drain(self.connection, self.got, 1)
        self.got[0].requeue()
        self.drain(self.connection, self.got, 2)
        first, second = self.got
        self.assertEqual(second.payload, 1)
        self.assertFalse(first.delivery_info["redelivered"])
        self.assertTrue(second.delivery_info["redelivered"])
        second.ack()
        self.until_states(completed=1)
        self.assertEqual(self.tasks()[0]["losses"], 0)

    def test_recovered(self) -> None:
        self.publish(self.connection, 1, 2)
        self.drain(self.connection, self.got, 2)
        self.consumer.recover(requeue=True)
        self.assertEqual(self.drain(self.connection, self.got, 4), [1, 2, 1, 2])
        self.assertRaises(NotImplementedError, self.consumer.recover)

    def test_rejected(self) -> None:
        """A person may look at it, and let it run again."""
        self.publish(self.connection, 1)
        self.drain(self.connection, self.got, 1)
        self.got[0].reject()
        self.until_states(dead_letter=1)
        (task,) = self.tasks()
        self.assertEqual(task["error"], "rejected by its consumer")
        self.client.retry([task["id"]])
        self.drain(self.connection, self.got, 2)
        self.got[1].ack()
        self.until_states(completed=1)

    def test_without_acknowledgements(self) -> None:
        self.consumer.cancel()
        consumer, got = self.consume(self.connection, self.queue(), no_ack=True)
        self.publish(self.connection, 1)
        self.drain(self.connection, got, 1)
        self.until_states(completed=1)
        consumer.cancel()

    def test_a_connection_that_is_closed_gives_back(self) -> None:
        self.publish(self.connection, *range(5))
        self.drain(self.connection, self.got, 5)
        self.got[0].ack()
        (worker,) = {task["worker"] for task in self.tasks()}
        self.assertIn(worker, [one["id"] for one in self.client.workers()])
        self.connection.release()
        self.until_states(completed=1, pending=4)
        self.assertEqual({task["losses"] for task in self.tasks()}, {0})
        until("it is gone", lambda: worker not in [one["id"] for one in self.client.workers()])

    def test_what_came_and_was_not_seen_is_given_back(self) -> None:
        self.publish(self.connection, *range(3))
        until("they are delivered", lambda: self.states() == {"in_progress": 3})
        self.consumer.cancel()
        self.until_states(pending=3)

    def test_from_another_thread(self) -> None:
        self.publish(self.connection, 1)
        self.drain(self.connection, self.got, 1)
        acknowledging = threading.Thread(target=self.got[0].ack)
        acknowledging.start()
        acknowledging.join()
        self.until_states(completed=1)


class Prefetching(TransportTestCase):
    def test_no_more_than_was_said(self) -> None:
        connection = self.connect()
        self.publish(connection, *range(10))
        _, got = self.consume(connection, self.queue(), prefetch_count=3)
        self.drain(connection, got, 3)
        self.nothing(connection)
        self.assertEqual(self.states(), {"in_progress": 3, "pending": 7})
        got[0].ack()
        self.assertEqual(self.drain(connection, got, 4), [0, 1, 2, 3])
        self.until_states(in_progress=3, pending=6, completed=1)

    def test_more_of_it_later(self) -> None:
        connection = self.connect()
        self.publish(connection, *range(4))
        consumer, got = self.consume(connection, self.queue(), prefetch_count=1)
        self.drain(connection, got, 1)
        consumer.qos(prefetch_count=4)
        self.assertEqual(self.drain(connection, got, 4), [0, 1, 2, 3])

    def test_without_a_limit_as_much_as_waits_here(self) -> None:
        connection = self.connect(max_prefetch=4)
        self.publish(connection, *range(20))
        _, got = self.consume(connection, self.queue())
        until("some wait here", lambda: self.states().get("in_progress") == 4)
        self.assertEqual(self.drain(connection, got, 20), list(range(20)))

    def test_queues_take_turns(self) -> None:
        connection = self.connect()
        names = [f"{self.name}-{letter}" for letter in "abc"]
        for name in names:
            self.publish(connection, *[name] * 10, routing_key=name)
        got: list[Any] = []
        queues = [Queue(name) for name in names]
        consumer = Consumer(connection, queues, on_message=got.append, prefetch_count=2)
        consumer.consume()
        seen: list[str] = []
        while len(seen) < 12:
            connection.drain_events(timeout=10)
            for message in got:
                seen.append(message.payload)
                message.ack()
            got.clear()
        self.assertEqual(set(seen), set(names))

    def test_pushed_into_an_event_loop(self) -> None:
        connection, hub = self.connect(), Hub()
        self.addCleanup(hub.close)
        _, got = self.consume(connection, self.queue())
        connection.register_with_event_loop(hub)
        self.publish(connection, 1)
        until("the hub delivers", lambda: hub.run_once() or got)
        connection.transport.unregister_from_event_loop(connection, hub)


class Wrong(TransportTestCase):
    def test_nobody_there(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            url = f"taskqueue://127.0.0.1:{taken.getsockname()[1]}"
            error = self.assertRaises(CannotConnect, Connection(url).connect)
            self.assertIn("cannot connect to tq://127.0.0.1", str(error))
            self.assertRaises(
                OperationalError, Connection(url).ensure_connection, max_retries=1, timeout=1
            )

    def test_somebody_who_does_not_answer(self) -> None:
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            url = f"taskqueue://127.0.0.1:{silent.getsockname()[1]}"
            connection = Connection(url, connect_timeout=0.3)
            error = self.assertRaises(CannotConnect, connection.connect)
            self.assertIn("no answer within 0.3 s", str(error))

    def test_somebody_who_speaks_something_else(self) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.1", 0))
            other.listen()

            def answer() -> None:
                for _ in range(2):  # kombu tries it twice
                    accepted, _ = other.accept()
                    accepted.recv(4096)
                    accepted.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    accepted.close()

            answering = threading.Thread(target=answer)
            answering.start()
            url = f"taskqueue://127.0.0.1:{other.getsockname()[1]}"
            error = self.assertRaises(CannotConnect, Connection(url).connect)
            answering.join()
            self.assertIn("no taskqueue broker answers there", str(error))

    def test_a_lease_that_the_broker_does_not_give(self) -> None:
        connection = self.connect(visibility_timeout=10**7)
        self.consume(connection, self.queue())
        error = self.assertRaises(BadRequest, connection.drain_events, timeout=10)
        self.assertIn("lease_s", str(error))

    def test_an_option_that_means_nothing(self) -> None:
        error = self.assertRaises(BadRequest, self.connect, visibility_timeout="soon")
        self.assertIn("visibility_timeout", str(error))

    def test_a_queue_that_is_full(self) -> None:
        """It is the publisher's to try again; kombu does where it is told to."""
        self.client.set_queue(self.name, 1)
        connection = self.connect()
        self.publish(connection, 1)
        self.assertRaises(
            OperationalError, self.publish, connection, 2, retry=True,
            retry_policy={"max_retries": 0},
        )  # fmt: skip
        self.client.set_queue(self.name, None)
        self.publish(connection, 2)
        self.assertEqual(self.states(), {"pending": 2})


class Lost(TransportTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.port = 0
        self.begin()

    def begin(self) -> None:
        self.broker = begin_broker(
            self.folder,
            *(f"tcp:{self.port}:interface=127.0.0.1", "--set", "workers.reconnect_grace_s=10"),
        )
        self.addCleanup(self.broker.reap)
        self.port = self.broker.port()
        self.address = f"tq://127.0.0.1:{self.port}"

    def test_a_broker_that_comes_back(self) -> None:
        connection = self.connect()
        _, got = self.consume(connection, self.queue())
        self.publish(connection, 1)
        self.drain(connection, got, 1)
        # What is accepted is on the disk, and the claim before it.
        self.publish(connection, 0, routing_key=f"{self.name}-other")
        self.broker.end(9)
        self.begin()
        self.publish(connection, 2)
        self.assertEqual(self.drain(connection, got, 2), [1, 2])
        for message in got:
            message.ack()
        self.until_states(completed=2)

    def test_a_broker_that_does_not(self) -> None:
        """Whoever consumes is told, and may look for another one."""
        connection = self.connect(reconnect_timeout_s=1)
        self.consume(connection, self.queue())
        self.broker.end(9)
        error = self.assertRaises(ConnectionLost, connection.drain_events, timeout=30)
        self.assertIn("no connection to the broker", str(error))
        self.assertIsInstance(error, connection.connection_errors)

    def test_the_other_address(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            dead = f"taskqueue://127.0.0.1:{taken.getsockname()[1]}"
            connection = Connection(f"{dead};{self.url}")
            self.addCleanup(connection.release)
            connection.ensure_connection(max_retries=3, interval_start=0)
            self.assertEqual(connection.port, self.port)

    def test_a_connection_that_was_idle(self) -> None:
        """The broker has closed it, and nobody had noticed; nothing is said of it."""
        self.broker.end()
        self.broker = begin_broker(
            self.folder, f"tcp:{self.port}:interface=127.0.0.1", "--set", "limits.idle_timeout_s=1"
        )
        self.addCleanup(self.broker.reap)
        self.broker.port()
        connection = self.connect()
        self.publish(connection, 1)
        threading.Event().wait(2.5)
        self.publish(connection, 2)
        self.assertEqual(self.states(), {"pending": 2})


FORKING = """
import os, sys, time
import taskqueue.contrib.kombu
from kombu import Connection, Consumer, Producer, Queue

connection = Connection(os.environ["URL"])
queue = Queue(os.environ["NAME"], routing_key=os.environ["NAME"])
got = []
consumer = Consumer(connection, [queue], on_message=got.append)
consumer.consume()
producer = Producer(connection.default_channel)
producer.publish("before", routing_key=queue.name)
while not got:
    connection.drain_events(timeout=10)
child = os.fork()
if not child:
    producer.publish("of the child", routing_key=queue.name)
    try:
        connection.drain_events(timeout=0.5)
        raise AssertionError("a child consumes what its parent does")
    except TimeoutError:
        pass
    connection.release()
    os._exit(0)
_, status = os.waitpid(child, 0)
assert status == 0, status
while len(got) < 2:
    connection.drain_events(timeout=10)
assert [message.payload for message in got] == ["before", "of the child"]
assert not got[0].delivery_info["redelivered"] and not got[1].delivery_info["redelivered"]
for message in got:
    message.ack()
connection.release()
"""


class Forked(TransportTestCase):
    def test_a_child_takes_nothing_away(self) -> None:
        """It may publish, and close what it has; its parent's deliveries are its parent's."""
        ran = subprocess.run(
            [sys.executable, "-c", FORKING],
            env=environment(URL=self.url, NAME=self.name, HOME=os.environ.get("HOME", "/")),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        self.assertEqual(ran.returncode, 0, ran.stderr)
        self.until_states(completed=2)
        self.assertEqual({task["losses"] for task in self.tasks()}, {0})
