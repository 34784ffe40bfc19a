"""
What a channel has been given and not settled yet.
"""

from __future__ import annotations

import os
from typing import Any

from kombu.transport import virtual

from taskqueue.contrib.kombu.settlements import Settlement
from taskqueue.core.task import State


class Deliveries(virtual.QoS):
    """
    The broker keeps what is unsettled, and the feed how much of it there may be.  So this
    only knows which task a delivery tag means: the tag is its token.
    """

    def __init__(self, channel: Any, prefetch_count: int = 0) -> None:
        # Not virtual's: it would put messages back from whichever process ends, forked ones
        # among them, by submitting them once more.
        self.channel = channel
        self.prefetch_count = prefetch_count or 0
        self._tasks: dict[int, str] = {}
        self._messages: dict[int, Any] = {}

    def append(self, message: Any, delivery_tag: int) -> None:
        """A message was delivered."""
        self._messages[delivery_tag] = message

    def delivered(self, task: str, token: int) -> None:
        """A task was delivered, which has a message in it."""
        self._tasks[token] = task

    def get(self, delivery_tag: int) -> Any:
        """The message with this tag."""
        return self._messages[delivery_tag]

    def can_consume(self) -> bool:
        """Whether the channel may get more."""
        return not self.prefetch_count or len(self._tasks) < self.prefetch_count

    def can_consume_max_estimate(self) -> int | None:
        """How much more it may get; C{None}: any number."""
        if not self.prefetch_count:
            return None
        return max(self.prefetch_count - len(self._tasks), 0)

    def ack(self, delivery_tag: int) -> None:
        """A message is done."""
        self._settle(delivery_tag, State.COMPLETED)

    def reject(self, delivery_tag: int, requeue: bool = False) -> None:
        """A message is given back; or it is a dead letter."""
        if requeue:
            self._settle(delivery_tag, None)
        else:
            self._settle(delivery_tag, State.FAILED, "rejected by its consumer")

    def _settle(self, tag: int, state: State | None, why: str | None = None) -> None:
        self._messages.pop(tag, None)
        task = self._tasks.pop(tag, None)
        if task is not None:
            self.channel.settle(Settlement((task, tag), state, why))

    def unsettled(self) -> list[Settlement]:
        """What is to be given back; it is not here any more after that."""
        tasks, self._tasks = self._tasks, {}
        self._messages.clear()
        return [Settlement((task, token), None) for token, task in tasks.items()]

    def restore_unacked(self) -> list[Any]:
        """Give back whatever is not settled."""
        for one in self.unsettled():
            self.channel.settle(one)
        return []

    def restore_unacked_once(self, stderr: Any = None) -> None:
        """Give back whatever is not settled, in the process that it was delivered to."""
        if self.channel.pid == os.getpid():
            self.restore_unacked()
