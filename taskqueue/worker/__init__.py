"""
The worker runtime, built on the client.

A handler is a function of a L{Task}.
"""

from taskqueue.worker.handlers import Handler, in_reactor
from taskqueue.worker.task import PermanentFailure, Task, TaskCancelled
from taskqueue.worker.worker import Worker

__all__ = ["Handler", "PermanentFailure", "Task", "TaskCancelled", "Worker", "in_reactor"]
