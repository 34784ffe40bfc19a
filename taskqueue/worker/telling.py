"""
Telling the broker how far running tasks have come.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger
from twisted.python.failure import Failure

from taskqueue.client import Client
from taskqueue.errors import TaskQueueError


class Progress:
    """
    Reports of one delivery: one is under way at a time, and of those that come
    meanwhile the newest is next.
    """

    _log = Logger()

    def __init__(
        self, client: Client, holding: tuple[str, int], cancelled: Callable[[], None]
    ) -> None:
        """
        @param cancelled: called when the broker answers that somebody has asked to
            cancel the task.
        """
        self._client = client
        self._holding = holding
        self._cancelled = cancelled
        self._newest: tuple[Any] | None = None
        self._under_way = False
        self._over = False

    def tell(self, value: Any) -> None:
        """The task has come so far."""
        self._newest = (value,)
        if not self._under_way:
            self._send()

    def stop(self) -> None:
        """The task has ended: nobody asks any more how far it is."""
        self._over = True

    def _send(self) -> None:
        if self._newest is None or self._over:
            return
        (value,), self._newest = self._newest, None
        self._under_way = True
        told = self._client.progress(self._holding, value)
        told.addCallbacks(self._told, self._refused).addBoth(self._next)

    def _told(self, cancel: bool) -> None:
        if cancel and not self._over:
            self._cancelled()

    def _refused(self, failure: Failure) -> None:
        failure.trap(TaskQueueError)
        self._log.info("a report of progress was not taken: {error}", error=failure.value)

    def _next(self, result: Failure | None) -> None:
        self._under_way = False
        if result is not None:
            self._log.failure("a report of progress failed", result)
        self._send()
