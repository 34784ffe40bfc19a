"""
The broker of dramatiq: where messages are put, and queues are looked after.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, Unpack

import dramatiq
from dramatiq.errors import ActorNotFound, QueueJoinTimeout, QueueNotFound

from taskqueue.client.addresses import DEFAULT_ADDRESS
from taskqueue.client.options import ClientOptions
from taskqueue.contrib.claiming import BlockingWorker
from taskqueue.contrib.connecting import Connecting
from taskqueue.contrib.dramatiq.consumer import TaskqueueConsumer, TaskqueueMessage
from taskqueue.contrib.dramatiq.errors import as_theirs
from taskqueue.contrib.naming import priority_at, queue_name, type_name
from taskqueue.errors import UnknownQueue

#: What is said of messages to people, by header.
MESSAGE_ID = "dramatiq-message-id"

#: How long a worker goes on with a retry that is refused because its queue is full, seconds.
RETRY_FOR_S = 60.0

#: States of tasks that are still to be processed.
_UNPROCESSED = ("pending", "scheduled", "blocked", "failed", "in_progress")

#: The longest that a consumer may wait for a message, milliseconds.
_LONGEST_TIMEOUT_MS = 300_000


class TaskqueueBroker(dramatiq.Broker):
    """
    A broker that keeps messages in taskqueue.

    A message is a task: of the queue that dramatiq names, and with the actor's name as its
    type.  A delay is waited for at the broker, and not in a worker's memory: so there are no
    delay queues (C{.DQ}).  Retries and ages are the business of dramatiq's middleware; what
    that gives up is a dead letter.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        middleware: Sequence[dramatiq.Middleware] | None = None,
        lease_s: float | None = None,
        **how: Unpack[ClientOptions],
    ) -> None:
        """
        @param address: C{tq://host:port}, with TLS C{tqs://host:port}, several of these with
            commas between, or C{unix:/path}.
        @param middleware: all of it, instead of dramatiq's own.
        @param lease_s: how long a worker may give no sign of life before others get what it
            has; C{None}: as the broker's configuration says.
        @param how: C{name}, C{timeout_s}, C{tls}, C{api_key}; see L{ClientSettings}.
        @raises BadRequest: the address is none, or a file of TLS or of the key cannot be used.
        """
        super().__init__(middleware=None if middleware is None else list(middleware))
        self.queues: set[str] = set()
        self.actor_options.add("broker_priority")
        how.setdefault("name", "dramatiq")
        self.connecting = Connecting(address, **how)
        self._worker = BlockingWorker(self.connecting, "dramatiq")
        self._lease_s = lease_s

    def close(self) -> None:
        """Give back what this process's worker still has, and disconnect."""
        self._worker.end()
        self.connecting.close()

    # --- queues ---------------------------------------------------------------------------

    def declare_queue(self, queue_name: str) -> None:
        """
        Declare a queue; declaring it again does nothing.

        @raises BadRequest: the broker cannot have a queue of that name.
        """
        if queue_name not in self.queues:
            checked_queue(queue_name)
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def declare_actor(self, actor: dramatiq.Actor[Any, Any]) -> None:
        """
        Declare an actor, and its queue.

        @raises BadRequest: the broker has no such priority, or no queue of that name.
        """
        _priority(actor.priority, actor.options.get("broker_priority"))
        super().declare_actor(actor)

    def get_declared_queues(self) -> set[str]:
        """The names of all that were declared."""
        return self.queues.copy()

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> TaskqueueConsumer:
        """
        A consumer of one queue.

        @param prefetch: how many messages it may have at a time, unprocessed ones included.
        @param timeout: how long it waits for one, milliseconds.
        @raises QueueNotFound: the queue was never declared.
        """
        self._must_be_declared(queue_name)
        wait_s = min(timeout, _LONGEST_TIMEOUT_MS) / 1000
        return TaskqueueConsumer(self._worker, queue_name, prefetch, wait_s, self._lease_s)

    def _must_be_declared(self, queue_name: str) -> None:
        if queue_name not in self.queues:
            raise QueueNotFound(queue_name)

    # --- messages -------------------------------------------------------------------------

    def enqueue(
        self, message: dramatiq.Message[Any], *, delay: int | None = None
    ) -> dramatiq.Message[Any]:
        """
        Enqueue a message; when this returns, the broker will not lose it.

        @param delay: before nobody gets it, milliseconds.
        @raises BadRequest: the broker has no such priority.
        @raises ConnectionFailed: there is no broker; or C{ConnectionClosed}, it went away.
        @raises QueueFull: the queue is; try again after C{retry_after_s}.
        """
        self.declare_queue(message.queue_name)
        self.emit_before("enqueue", message, delay)
        self.logger.debug(
            "Enqueueing message %r on queue %r.", message.message_id, message.queue_name
        )
        task: dict[str, Any] = {
            "queue": message.queue_name,
            "priority": self._priority_of(message),
            "run_in_s": None if delay is None else max(0, delay) / 1000,
            "headers": {MESSAGE_ID: message.message_id},
        }
        if isinstance(message, TaskqueueMessage):
            self._enqueue_again(message, task)
        else:
            self._submit(message, task)
        self.emit_after("enqueue", message, delay)
        return message

    def _enqueue_again(self, message: TaskqueueMessage, task: dict[str, Any]) -> None:
        """Middleware retries a message, and acknowledges it next, whatever comes of this."""
        try:
            self._submit(message, {**task, "retry_for_s": RETRY_FOR_S})
        except Exception:
            message.stays = True
            raise

    def _submit(self, message: Any, task: dict[str, Any]) -> None:
        kind, payload = type_name(message.actor_name), message.encode()
        with as_theirs():
            self.connecting.run(lambda calls: calls.submit(kind, payload, **task))

    def _priority_of(self, message: dramatiq.Message[Any]) -> int:
        try:
            actor = self.get_actor(message.actor_name)
        except ActorNotFound:  # messages may be sent to actors of other programs
            return _priority(0, message.options.get("broker_priority"))
        own = message.options.get("broker_priority", actor.options.get("broker_priority"))
        return _priority(actor.priority, own)

    # --- looking after queues -------------------------------------------------------------

    def flush(self, queue_name: str) -> None:
        """Cancel everything that waits in a queue, delayed messages too."""
        self._must_be_declared(queue_name)
        left = 1
        while left:
            with as_theirs():
                try:
                    left = self.connecting.run(lambda calls: calls.purge(queue_name)).left
                except UnknownQueue:  # nothing was ever put there
                    return

    def flush_all(self) -> None:
        """Cancel everything that waits in any queue that was declared."""
        for queue in self.get_declared_queues():
            self.flush(queue)

    def join(self, queue_name: str, *, interval: int = 100, timeout: int | None = None) -> None:
        """
        Wait until all messages of a queue are processed; for tests.

        @param interval: the pause between two looks, milliseconds.
        @param timeout: how long to wait, milliseconds; C{None}: for ever.
        @raises QueueNotFound: the queue was never declared.
        @raises QueueJoinTimeout: there are still some.
        """
        self._must_be_declared(queue_name)
        deadline = None if timeout is None else time.monotonic() + timeout / 1000
        while self.unprocessed(queue_name):
            if deadline is not None and time.monotonic() >= deadline:
                raise QueueJoinTimeout(queue_name)
            time.sleep(interval / 1000)

    def unprocessed(self, queue_name: str) -> int:
        """How many messages of a queue wait, are delayed or being processed."""
        with as_theirs():
            queue = self.connecting.run(lambda calls: calls.queue(queue_name))
        return 0 if queue is None else sum(queue["states"][state] for state in _UNPROCESSED)


def checked_queue(name: str) -> str:
    """
    A queue's name.

    @raises BadRequest: the broker cannot have a queue of that name.
    """
    return queue_name(name, "the queue of an actor")


def _priority(priority: int, broker_priority: int | None) -> int:
    """
    What dramatiq says in two ways.

    @param priority: of an actor, smaller for what is more urgent.
    @param broker_priority: larger for what is more urgent; it goes before the other.
    """
    if broker_priority is not None:
        return priority_at(broker_priority, "broker_priority")
    return priority_at(-priority, "the priority of an actor, negated,")
