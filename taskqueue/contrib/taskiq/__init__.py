"""
taskiq over this broker.

::

    from taskqueue.contrib.taskiq import TaskqueueBroker, TaskqueueResultBackend

    broker = TaskqueueBroker("tq://127.0.0.1:7780").with_result_backend(
        TaskqueueResultBackend("tq://127.0.0.1:7780")
    )
"""

from taskqueue.contrib.taskiq.broker import TaskqueueBroker
from taskqueue.contrib.taskiq.results import ResultIsMissing, TaskqueueResultBackend
from taskqueue.contrib.taskiq.schedules import TaskqueueScheduleSource

__all__ = [
    "ResultIsMissing",
    "TaskqueueBroker",
    "TaskqueueResultBackend",
    "TaskqueueScheduleSource",
]
