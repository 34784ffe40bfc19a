"""
A task as its handler sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from taskqueue import strictjson
from taskqueue.client import Delivery


class PermanentFailure(Exception):
    """Raised by a handler: the task has failed, and no retry can mend that."""


class TaskCancelled(Exception):
    """Raised by L{Task.check}: somebody has asked to cancel the task, or it was lost."""


class Task:
    """
    What a handler is given.  It may be used in the handler's thread.

    @ivar id: the task's id, a UUID.
    @ivar type: the name under which the handler was found.
    @ivar queue: the queue that it came from.
    @ivar payload: what it was submitted with, bytes.
    @ivar headers: text by name.
    @ivar attempt: 1 for the first delivery.
    @ivar failures: how many deliveries failed before this one.
    @ivar losses: how many were lost.
    @ivar submitted_at: seconds since the epoch.
    @ivar cancelled: the handler should stop: its result is not wanted any more.
    """

    __slots__ = (
        "_tell",
        "attempt",
        "cancelled",
        "failures",
        "headers",
        "id",
        "losses",
        "payload",
        "priority",
        "queue",
        "submitted_at",
        "type",
    )

    def __init__(self, delivery: Delivery, tell: Callable[[Any], None]) -> None:
        """
        @param tell: carries a report of progress to the broker, from any thread.
        """
        self.id = delivery.id
        self.type = delivery.type
        self.queue = delivery.queue
        self.priority = delivery.priority
        self.payload = delivery.payload
        self.headers = delivery.headers
        self.attempt = delivery.attempt
        self.failures = delivery.failures
        self.losses = delivery.losses
        self.submitted_at = delivery.submitted_at
        self.cancelled = False
        self._tell = tell

    def json(self) -> Any:
        """
        The payload, read as JSON.

        @raises BadRequest: it is none.
        """
        return strictjson.loads(self.payload)

    def progress(self, value: Any) -> None:
        """
        Say how far the work has come; it does not wait for the broker.

        @param value: anything that JSON has a form for, up to 4 KiB.
        """
        self._tell(value)

    def check(self) -> None:
        """
        @raises TaskCancelled: the handler should stop.
        """
        if self.cancelled:
            raise TaskCancelled(f"task {self.id} is not wanted any more")
