"""
A task as a plain handler sees it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taskqueue import strictjson
from taskqueue.app.context import DESCRIBED, Context, Sink
from taskqueue.app.outcomes import PermanentFailure, TaskCancelled

__all__ = ["PermanentFailure", "Task", "TaskCancelled"]


class Task(Context):
    """
    What a handler is given: the L{Context} of a delivery, and the payload.  It may
    be used in the handler's thread.

    @ivar payload: what the task was submitted with, bytes.
    """

    __slots__ = ("payload",)

    def __init__(self, sink: Sink, described: Mapping[str, Any], payload: bytes) -> None:
        """
        @param sink: carries progress and log lines.
        @param described: see L{Context}.
        """
        super().__init__(sink, described)
        self.payload = payload

    @classmethod
    def of(cls, delivery: Any, sink: Sink) -> Task:
        """The task of a L{Delivery<taskqueue.client.Delivery>}."""
        return cls(sink, {name: getattr(delivery, name) for name in DESCRIBED}, delivery.payload)

    def json(self) -> Any:
        """
        The payload, read as JSON.

        @raises BadRequest: it is none.
        """
        return strictjson.loads(self.payload)
