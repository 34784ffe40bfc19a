"""
What a task is told about itself, and how it speaks while it runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from taskqueue.app.outcomes import TaskCancelled

#: What a context is made from, by these names.
DESCRIBED = (
    "id",
    "type",
    "queue",
    "priority",
    "attempt",
    "failures",
    "losses",
    "lease",
    "headers",
    "submitted_at",
)


class Sink(Protocol):
    """
    Carries what a task says to whoever runs it, from whatever thread or process
    the task is in.  It must not block for long, nor raise.
    """

    def progress(self, context: Context, value: Any) -> None:
        """The task has come so far; C{value} is what JSON has a form for."""

    def log(self, context: Context, message: str, fields: Mapping[str, Any]) -> None:
        """The task has something for the worker's log."""


class Context:
    """
    One delivery of a task, as its function sees it.

    @ivar id: the task's id, a UUID.
    @ivar type: the name under which the function was found.
    @ivar queue: the queue that it came from.
    @ivar priority: 0-255.
    @ivar attempt: 1 for the first delivery.
    @ivar failures: how many deliveries failed before this one.
    @ivar losses: how many were lost.
    @ivar lease: the token of this delivery: larger than that of every delivery before.
    @ivar headers: text by name.
    @ivar submitted_at: seconds since the epoch.
    @ivar cancelled: somebody has asked to cancel the task.
    @ivar lease_lost: the task is not this worker's any more: whatever it does
        from now on, somebody else may do too, and its result is not wanted.
    """

    __slots__ = (*DESCRIBED, "_sink", "cancelled", "lease_lost")

    id: str
    type: str
    queue: str
    priority: int
    attempt: int
    failures: int
    losses: int
    lease: int
    headers: dict[str, str]
    submitted_at: float

    def __init__(self, sink: Sink, described: Mapping[str, Any]) -> None:
        """
        @param sink: carries progress and log lines.
        @param described: a value for each name in L{DESCRIBED}; more are ignored.
        """
        # One by one: a loop over the names costs twice as much, for every task.
        self.id = described["id"]
        self.type = described["type"]
        self.queue = described["queue"]
        self.priority = described["priority"]
        self.attempt = described["attempt"]
        self.failures = described["failures"]
        self.losses = described["losses"]
        self.lease = described["lease"]
        self.headers = dict(described["headers"] or {})
        self.submitted_at = described["submitted_at"]
        self.cancelled = False
        self.lease_lost = False
        self._sink = sink

    @classmethod
    def of(cls, delivery: Any, sink: Sink) -> Context:
        """The context of a L{Delivery<taskqueue.client.Delivery>}."""
        return cls(sink, {name: getattr(delivery, name) for name in DESCRIBED})

    def described(self) -> dict[str, Any]:
        """What another process needs to make this context again."""
        return {name: getattr(self, name) for name in DESCRIBED}

    def progress(self, value: Any) -> None:
        """
        Say how far the work has come; it does not wait for the broker.

        @param value: anything that JSON has a form for, up to 4 KiB.
        """
        self._sink.progress(self, value)

    def log(self, message: str, **fields: Any) -> None:
        """Write a line into the worker's log, with the task's id beside it."""
        self._sink.log(self, message, fields)

    @property
    def stopping(self) -> bool:
        """Whether the task should end soon: it is cancelled, or its lease is lost."""
        return self.cancelled or self.lease_lost

    def check(self) -> None:
        """
        For long tasks, to be called now and then.

        @raises TaskCancelled: the task should end.
        """
        if self.lease_lost:
            raise TaskCancelled(f"task {self.id} is not this worker's any more")
        if self.cancelled:
            raise TaskCancelled(f"task {self.id} is cancelled")
