"""
What dramatiq's workers get messages from.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from typing import Any

import dramatiq
from dramatiq.errors import DecodeError
from dramatiq.logging import get_logger

from taskqueue.client.messages import Delivery, Report
from taskqueue.contrib.claiming import BlockingWorker
from taskqueue.contrib.dramatiq.errors import as_theirs
from taskqueue.core.task import State

#: The longest part of a traceback that is kept with a dead letter, characters.
_LONGEST_ERROR = 16_384


class TaskqueueMessage(dramatiq.MessageProxy):
    """
    A message, and the delivery that it came with.

    @ivar delivery: what is said of it to the broker.
    @ivar stays: it was to be enqueued anew, which failed: it must not be acknowledged.
    """

    def __init__(self, message: dramatiq.Message[Any], delivery: Delivery) -> None:
        super().__init__(message)
        self.delivery = delivery
        self.stays = False


class TaskqueueConsumer(dramatiq.Consumer):
    """
    Gets the messages of one queue, as many at a time as may be prefetched.

    The thread that iterates waits at the broker; the threads that process messages say how
    they ended.
    """

    def __init__(
        self,
        worker: BlockingWorker,
        queue_name: str,
        prefetch: int,
        wait_s: float,
        lease_s: float | None = None,
    ) -> None:
        """
        @param prefetch: how many it may have at a time, unprocessed ones included.
        @param wait_s: how long it waits for one.
        @param lease_s: see L{TaskqueueBroker}.
        """
        self.logger = get_logger(__name__, type(self))
        self.queue_name = queue_name
        self.prefetch = max(1, prefetch)
        self._worker = worker
        self._wait_s = wait_s
        self._lease_s = lease_s
        self._waiting: deque[Delivery] = deque()
        self._out: set[int] = set()
        self._room = threading.Condition()

    # --- getting --------------------------------------------------------------------------

    def __next__(self) -> TaskqueueMessage | None:
        """
        The next message; C{None} where none came in time.

        @raises ConnectionClosed: the broker is away.
        """
        if not self._waiting and (limit := self._find_room()):
            with as_theirs():
                self._waiting.extend(
                    self._worker.claim([self.queue_name], limit, self._wait_s, self._lease_s)
                )
        while self._waiting:
            delivery = self._waiting.popleft()
            if (message := self._read(delivery)) is not None:
                with self._room:
                    self._out.add(delivery.lease)
                return message
        return None

    def _find_room(self) -> int:
        """How many more it may have, when there is room for any, or time is up."""
        with self._room:
            if len(self._out) >= self.prefetch:
                self._room.wait(self._wait_s)
            return self.prefetch - len(self._out)

    def _read(self, delivery: Delivery) -> TaskqueueMessage | None:
        try:
            return TaskqueueMessage(dramatiq.Message.decode(delivery.payload), delivery)
        except DecodeError as error:
            self.logger.exception(
                "Task %s in queue %r is no message of dramatiq's: it is a dead letter now.",
                *(delivery.id, self.queue_name),
            )
            with as_theirs():
                self._worker.settle(_dead(delivery, f"{error}: {error.error}"))
            return None

    # --- settling -------------------------------------------------------------------------

    def ack(self, message: dramatiq.MessageProxy) -> None:
        """The message has been processed, or is to be again."""
        delivery = _delivery(message)
        if getattr(message, "stays", False):
            self.logger.warning(
                "The retry of message %r was refused, so it is given back.", message.message_id
            )
            self.requeue([message])
        else:
            self._settle(delivery, Report(delivery.id, delivery.lease, State.COMPLETED))

    def nack(self, message: dramatiq.MessageProxy) -> None:
        """The message will not be processed: it is a dead letter now."""
        delivery = _delivery(message)
        self._settle(delivery, _dead(delivery, _why(message)))

    def _settle(self, delivery: Delivery, report: Report) -> None:
        try:
            with as_theirs():
                self._worker.settle(report)
        finally:
            self._make_room([delivery])

    def _make_room(self, deliveries: Iterable[Delivery]) -> None:
        with self._room:
            self._out.difference_update(delivery.lease for delivery in deliveries)
            self._room.notify_all()

    def requeue(self, messages: Iterable[dramatiq.MessageProxy]) -> None:
        """Let others have messages that were not begun; nothing is spent."""
        deliveries = [_delivery(message) for message in messages]
        self._release(deliveries)
        self._make_room(deliveries)

    def close(self) -> None:
        """Let others have what was not handed over; what was is settled as ever."""
        self._release(self._waiting)
        self._waiting.clear()

    def _release(self, deliveries: Iterable[Delivery]) -> None:
        holdings = [delivery.holding for delivery in deliveries]
        if holdings:
            with as_theirs():
                self._worker.release(holdings)


def _delivery(message: dramatiq.MessageProxy) -> Delivery:
    assert isinstance(message, TaskqueueMessage)
    return message.delivery


def _dead(delivery: Delivery, error: str) -> Report:
    return Report(
        *(delivery.id, delivery.lease, State.FAILED),
        error=error[:_LONGEST_ERROR],
        permanent=True,
    )


def _why(message: dramatiq.MessageProxy) -> str:
    """The error in a line, and its traceback below."""
    exception = message._exception
    traceback = message.options.get("traceback") or ""
    if exception is None:
        line = traceback.strip().rpartition("\n")[2] or "rejected"
    else:
        line = f"{type(exception).__name__}: {exception}"
    return f"{line}\n{traceback}".strip()
