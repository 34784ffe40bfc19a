"""
A channel of kombu's: what is published and consumed on it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from queue import Empty
from typing import Any

from kombu.transport import virtual

from taskqueue.client.messages import Delivery
from taskqueue.contrib.kombu.declaring import Declaring
from taskqueue.contrib.kombu.deliveries import Deliveries
from taskqueue.contrib.kombu.intake import Intake
from taskqueue.contrib.kombu.messages import encode_body, message_of, now, submission
from taskqueue.contrib.kombu.settlements import Settlement
from taskqueue.contrib.kombu.topology import Queue
from taskqueue.core.task import State
from taskqueue.errors import ConnectionLost, TaskQueueError

Message = dict[str, Any]


class Channel(Declaring, virtual.Channel):
    """
    @ivar pid: of the process that has it; one that was forked off may not consume with it.
    """

    closed: bool
    QoS = Deliveries
    supports_fanout = True
    do_restore = False

    def __init__(self, connection: Any, **how: Any) -> None:
        super().__init__(connection, **how)
        self.pid = os.getpid()
        self._topology = connection.topology
        self._link = connection.link
        self._intake: Intake | None = None
        self._handlers: dict[str, tuple[Callable[[Any], Any], bool, str]] = {}
        self.begin_declaring()

    # --- publishing -------------------------------------------------------------------------

    def basic_publish(
        self,
        message: Message,
        exchange: str = "",
        routing_key: str = "",
        timeout: float | None = None,
        **_: Any,
    ) -> None:
        """
        Publish a message; when this returns, the broker will not lose it.

        @param timeout: how long to go on where it is refused for now, seconds.
        @raises TaskQueueError: it was not accepted.
        """
        encode_body(message)
        properties = message["properties"]
        properties.setdefault("delivery_info", {}).update(
            exchange=exchange, routing_key=routing_key
        )
        if exchange:
            queues = self._routed(exchange, routing_key)
        else:
            queues = [self._topology.known(routing_key)]
        if queues:
            self._submit(message, queues, timeout)

    def _put(self, queue: str, message: Message, **how: Any) -> None:
        self._submit(message, [self._topology.known(queue)], how.get("timeout"))

    def _put_fanout(
        self, exchange: str, message: Message, routing_key: str = "", **how: Any
    ) -> None:
        self._submit(message, self._routed(exchange, routing_key), how.get("timeout"))

    def _submit(self, message: Message, queues: list[Queue], timeout: float | None) -> None:
        moment = now()
        tasks = [
            submission(message, self._topology.address(queue.name), queue.limits, moment)
            for queue in queues
        ]
        answers = self._link.submit_together(tasks, timeout)
        for answer in answers:
            if isinstance(answer, TaskQueueError):
                raise answer

    def _routed(self, exchange: str, routing_key: str) -> list[Queue]:
        """The queues that a message to this exchange gets into."""
        declared, bindings = self._topology.bindings(exchange)
        kind = self.exchange_types[(declared or {}).get("type") or "direct"]
        queues = {binding.queue.name: binding.queue for binding in bindings}
        table = [
            kind.prepare_bind(binding.queue.name, exchange, binding.routing_key, None)
            for binding in bindings
        ]
        names = kind.lookup(table, exchange, routing_key, None)
        if not names and self.deadletter_queue is not None:
            return [self._topology.known(self.deadletter_queue)]
        return [queues[name] for name in names]

    # --- consuming --------------------------------------------------------------------------

    def basic_consume(
        self,
        queue: str,
        no_ack: bool = False,
        callback: Callable[[Any], Any] | None = None,
        consumer_tag: str = "",
        **_: Any,
    ) -> None:
        """Have C{callback} called with the messages of a queue."""
        assert callback is not None
        self._tag_to_queue[consumer_tag] = queue
        self._active_queues.append(queue)
        self._consumers.add(consumer_tag)
        self._handlers[self._topology.address(queue)] = (callback, bool(no_ack), queue)
        self._keep(queue)
        self._tell_queues()

    def basic_cancel(self, consumer_tag: str) -> None:
        """Call it no more."""
        if consumer_tag not in self._consumers:
            return
        self._consumers.remove(consumer_tag)
        queue = self._tag_to_queue.pop(consumer_tag)
        if queue in self._active_queues:
            self._active_queues.remove(queue)
        if queue not in self._active_queues:
            address = self._topology.address(queue)
            self._handlers.pop(address, None)
            self._tell_queues()
            self.connection.feed.withdraw(self.intake, address)
            self._let_go(queue)

    def _tell_queues(self) -> None:
        self._tell(self.intake.set_queues, tuple(self._handlers))

    def basic_qos(
        self, prefetch_size: int = 0, prefetch_count: int = 0, apply_global: bool = False
    ) -> None:
        """Let so many messages be unacknowledged at a time; 0: any number."""
        self.qos.prefetch_count = prefetch_count
        if self._intake is not None:
            self._tell(self._intake.set_limit, prefetch_count)

    def arrived(self, delivery: Delivery) -> None:
        """Something was delivered."""
        intake = self.intake
        intake.drained += 1
        if not self.qos.prefetch_count and intake.room == 1:
            self._tell(intake.go_on)  # there was none
        handler = self._handlers.get(delivery.queue)
        if handler is None:
            self.settle(Settlement(delivery.holding, None))
            return
        callback, no_ack, _ = handler
        callback(self._received(delivery, no_ack))

    def _received(self, delivery: Delivery, no_ack: bool) -> Any:
        message = self.Message(message_of(delivery), channel=self)
        if no_ack:
            self.settle(Settlement(delivery.holding, State.COMPLETED))
        else:
            self.qos.delivered(delivery.id, delivery.lease)
            self.qos.append(message, delivery.lease)
        return message

    @property
    def intake(self) -> Intake:
        """What claims for this channel."""
        if self._intake is None:
            self._intake = self.connection.feed.intake()
            self._tell(self._intake.set_limit, self.qos.prefetch_count)
        return self._intake

    @property
    def intake_there_is(self) -> Intake | None:
        """The same, where something was consumed."""
        return self._intake

    def _tell(self, function: Callable[..., object], *args: Any) -> None:
        """Have this called where claims are made."""
        self.connection.feed.loop.soon(function, *args)

    def settle(self, settlement: Settlement) -> None:
        """Say how a delivery ended, in the process that it was made to."""
        if self.pid == os.getpid():
            if self.connection is None:
                raise ConnectionLost("this channel is closed: what it was given is given back")
            self.connection.feed.settle(settlement)

    def basic_get(self, queue: str, no_ack: bool = False, **_: Any) -> Any:
        """One message of a queue, now; C{None} where it is empty."""
        delivery = self.connection.feed.get(self.intake, self._topology.address(queue))
        return None if delivery is None else self._received(delivery, no_ack)

    def _get(self, queue: str, timeout: float | None = None) -> Message:
        delivery = self.connection.feed.get(self.intake, self._topology.address(queue))
        if delivery is None:
            raise Empty
        self.qos.delivered(delivery.id, delivery.lease)
        return message_of(delivery)

    def basic_recover(self, requeue: bool = False) -> Any:
        """Give back all that is not acknowledged."""
        if not requeue:
            raise NotImplementedError("only recover(requeue=True) is supported")
        return self.qos.restore_unacked()

    def drain_events(self, timeout: float | None = None, callback: Any = None) -> None:
        """Deliver what has come for the channels of this connection."""
        self.connection.drain_events(self.connection, timeout=timeout)

    # --- the end ----------------------------------------------------------------------------

    def close(self) -> None:
        """Consume no more, and give back what is not acknowledged."""
        if self.closed:
            return
        self.closed = True
        connection = self.connection
        if self.pid == os.getpid() and connection is not None and connection.alive:
            for tag in list(self._consumers):
                self.basic_cancel(tag)
            if self._intake is not None:
                self.qos.restore_unacked_once()
                self.connection.feed.withdraw(self._intake)
                self._tell(self._intake.stop)
        self._consumers.clear()
        if connection is not None:
            connection.close_channel(self)
