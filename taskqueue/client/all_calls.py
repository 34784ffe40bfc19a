"""
Everything that can be asked of a broker, in one class.
"""

from __future__ import annotations

from taskqueue.client.periodics import PeriodicCalls
from taskqueue.client.tasks import TaskCalls
from taskqueue.client.values import ValueCalls
from taskqueue.client.work import WorkCalls
from taskqueue.errors import TaskQueueError

#: How long an answer may take, seconds.
TIMEOUT_S = 30.0


class AllCalls(TaskCalls, WorkCalls, PeriodicCalls, ValueCalls):
    """Everything that can be asked of a broker."""

    def close(self, error: TaskQueueError) -> None:
        """Ask nothing any more; what is unanswered fails with C{error}."""
        self._session.close(error)
