"""
The worker runtime, built on the client.

It runs the tasks of an L{App<taskqueue.app.application.App>}, or plain handlers:
functions of a L{Task}.
"""

from taskqueue.app.outcomes import Discard, Retry, Snooze
from taskqueue.worker.handlers import Handler, in_reactor
from taskqueue.worker.service import WorkerService
from taskqueue.worker.stopping import TaskTimedOut
from taskqueue.worker.task import PermanentFailure, Task, TaskCancelled
from taskqueue.worker.worker import Worker

__all__ = [
    "Discard",
    "Handler",
    "PermanentFailure",
    "Retry",
    "Snooze",
    "Task",
    "TaskCancelled",
    "TaskTimedOut",
    "Worker",
    "WorkerService",
    "in_reactor",
]
