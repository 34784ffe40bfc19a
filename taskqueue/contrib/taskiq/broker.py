"""
The broker of taskiq: where tasks are sent, and where its workers get them from.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, Unpack

from taskiq import AckableMessage, AsyncBroker, BrokerMessage

from taskqueue.client.addresses import DEFAULT_ADDRESS
from taskqueue.client.messages import Delivery, Report
from taskqueue.client.options import ClientOptions
from taskqueue.contrib.naming import priority_at, queue_name, type_name
from taskqueue.contrib.taskiq.connecting import Connecting
from taskqueue.contrib.taskiq.listening import Listener
from taskqueue.core.task import State
from taskqueue.errors import BadRequest

_T = TypeVar("_T")

#: The queue of tasks that do not name another one.
DEFAULT_QUEUE = "taskiq"

#: What is said of tasks to people, by header.
TASK_ID = "taskiq-task-id"

#: How long a claim waits at the broker, seconds.
CLAIM_WAIT_S = 30.0

#: How long a worker goes on with what it sends, where the queue is full, seconds.
RETRY_FOR_S = 60.0

#: The most types that a claim can name.
_MOST_TYPES = 1000

#: What is said of tasks that are being sent, beside what their labels say.
_sending: ContextVar[dict[str, Any] | None] = ContextVar("_sending", default=None)


@contextmanager
def sending(**options: Any) -> Iterator[None]:
    """
    Submit what is kicked meanwhile with more options; see L{Submission}.  A label would stay
    with the task, and be said again when it is tried again.
    """
    token = _sending.set(options)
    try:
        yield
    finally:
        _sending.reset(token)


class TaskqueueBroker(AsyncBroker):
    """
    A broker that keeps tasks in taskqueue.

    Labels say how a task is sent: C{queue_name}; C{delay}, seconds that it is kept at the
    broker; C{priority}, 0 being the usual one and larger ones more urgent.  A task's type is
    its name in taskiq.  It is acknowledged when taskiq says so; what a worker that dies had
    not acknowledged, others get.
    """

    def __init__(
        self,
        address: str = DEFAULT_ADDRESS,
        *,
        queue: str = DEFAULT_QUEUE,
        listen_to: tuple[str, ...] | None = None,
        prefetch: int = 1,
        lease_s: float | None = None,
        **how: Unpack[ClientOptions],
    ) -> None:
        """
        @param address: C{tq://host:port}, with TLS C{tqs://host:port}, several of these with
            commas between, or C{unix:/path}.
        @param queue: of tasks without the label C{queue_name}.
        @param listen_to: queues that workers get tasks from, in order of preference;
            C{None}: C{queue} only.
        @param prefetch: how many tasks a worker claims in one go, where so many wait.  With
            more than 1, some may wait at a busy worker while another one is idle.
        @param lease_s: how long a worker may give no sign of life before others get what it
            has; C{None}: as the broker's configuration says.
        @param how: C{name}, C{timeout_s}, C{tls}, C{api_key}; see L{ClientSettings}.
        @raises BadRequest: one of these cannot be used.
        """
        super().__init__()
        self.queue = queue_name(queue, "queue")
        self.queues = tuple(queue_name(name, "listen_to") for name in listen_to or (queue,))
        if prefetch < 1:
            raise BadRequest(f"prefetch is {prefetch!r}, expected 1 or more")
        self.connecting = Connecting("this broker", address, **how)
        self._prefetch = prefetch
        self._lease_s = lease_s
        self._listener: Listener | None = None

    # --- beginning and ending -------------------------------------------------------------

    async def startup(self) -> None:
        """
        Connect.  A worker waits for a broker that is not there yet.

        @raises CannotConnect: there is none; or what it refused the connection with.
        """
        await self.connecting.begin(patient=self.is_worker_process)
        await super().startup()

    async def shutdown(self) -> None:
        """Give back what this worker has not acknowledged, and disconnect."""
        await super().shutdown()
        listener, self._listener = self._listener, None
        if listener is not None:
            await asyncio.to_thread(listener.end)
        await self.connecting.end()

    # --- sending --------------------------------------------------------------------------

    async def kick(self, message: BrokerMessage) -> None:
        """
        Send a task; when this returns, the broker will not lose it.

        @raises BadRequest: a label cannot be understood, or nothing was started.
        @raises QueueFull: the queue is; try again after C{retry_after_s}.
        """
        options = options_of(message, self.queue) | (_sending.get() or {})
        if self.is_worker_process:  # where nobody else tries a retry again
            options["retry_for_s"] = RETRY_FOR_S
        await self.connecting.client.submit(
            type_name(message.task_name), message.message, **options
        )

    # --- working --------------------------------------------------------------------------

    async def listen(self) -> AsyncGenerator[AckableMessage, None]:
        """Tasks, as long as somebody asks for another one; each is to be acknowledged."""
        if self._listener is None:
            self._listener = Listener(self.connecting.address, self.connecting.how)
        listener = self._listener
        waiting: list[Delivery] = []
        try:
            while True:
                if not waiting:
                    waiting = await listener.claim(self._claiming())
                    waiting.reverse()
                while waiting:
                    yield _message(listener, waiting.pop())
        finally:
            await listener.release([delivery.holding for delivery in waiting])

    def _claiming(self) -> dict[str, Any]:
        # Tasks that this program does not have are left to one that does.
        types = {type_name(name) for name in self.get_all_tasks()}
        return {
            "queues": self.queues,
            "limit": self._prefetch,
            "wait_s": CLAIM_WAIT_S,
            "lease_s": self._lease_s,
            "types": sorted(types) if 0 < len(types) <= _MOST_TYPES else None,
        }


def _message(listener: Listener, delivery: Delivery) -> AckableMessage:
    async def ack() -> None:
        await listener.settle(Report(delivery.id, delivery.lease, State.COMPLETED))

    return AckableMessage(data=delivery.payload, ack=ack)


def options_of(message: BrokerMessage, queue: str) -> dict[str, Any]:
    """
    How a task is submitted, by its labels.

    @param queue: where it goes unless it says otherwise.
    @raises BadRequest: a label cannot be understood.
    """
    labels = message.labels
    delay_s = _number(labels, "delay", float)
    if delay_s is not None and not 0 <= delay_s < float("inf"):
        raise BadRequest(f"the label delay is {labels['delay']!r}, expected seconds from now")
    return {
        "queue": queue_name(labels.get("queue_name") or queue, "the label queue_name"),
        "priority": priority_at(_number(labels, "priority", int), "the label priority"),
        "run_in_s": delay_s or None,
        "headers": {TASK_ID: message.task_id},
    }


def _number(labels: Mapping[str, Any], name: str, convert: Callable[[Any], _T]) -> _T | None:
    """A label, which comes as a text."""
    value = labels.get(name)
    if value is None or value == "None":
        return None
    try:
        return convert(value)
    except (TypeError, ValueError):
        raise BadRequest(f"the label {name} is {value!r}, expected a number") from None
