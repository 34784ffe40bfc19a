"""
A C{Huey} whose tasks survive the worker that has them.
"""

from __future__ import annotations

import logging
import traceback
from datetime import datetime
from typing import Any

from huey import Huey, signals
from huey.api import Task

from taskqueue.client.messages import Delivery
from taskqueue.contrib.huey.storage import DescribedBytes, TaskqueueStorage
from taskqueue.errors import TaskQueueError

#: Where a task that is executed has the delivery that it came with.
_DELIVERY = "taskqueue_delivery"

_log = logging.getLogger("taskqueue.contrib.huey")


class TaskqueueHuey(Huey):
    """
    huey, with its tasks in taskqueue.

    With huey's own storages a task is gone as soon as a worker has it.  Here it is held
    while it is executed, and gone when it has ended: what a worker that dies had, another
    one gets.
    """

    def __init__(self, name: str = "huey", **options: Any) -> None:
        """
        @param name: of the queue.
        @param options: of C{Huey}; and C{address}, C{tls}, C{api_key} and others of
            L{TaskqueueStorage}.
        @raises BadRequest: one of them cannot be used.
        """
        super().__init__(name, **options)
        self.signal(signals.SIGNAL_INTERRUPTED)(self._interrupted)

    def get_storage(self, **options: Any) -> TaskqueueStorage:
        """The storage, which is told what huey's moments mean."""
        return TaskqueueStorage(self.name, **{"utc": self.utc, **options})

    def serialize_task(self, task: Task) -> bytes:
        """The task as bytes that say what it is as well."""
        name = self._registry.task_to_string(type(task))
        return DescribedBytes.of(super().serialize_task(task), name, task.priority, task.eta)

    # --- executing ------------------------------------------------------------------------

    def dequeue(self) -> Task | None:
        """The next task, which is held until it was executed; C{None} where none came."""
        if not isinstance(self.storage, TaskqueueStorage):  # in immediate mode
            return super().dequeue()
        delivery = self.storage.take()
        if delivery is None:
            return None
        try:
            task = self.deserialize_task(delivery.payload)
        except Exception as error:
            self.storage.bury(delivery, _why(error))
            raise
        setattr(task, _DELIVERY, delivery)
        return task

    def execute(self, task: Task, timestamp: datetime | None = None) -> Any:
        """Execute a task, and say so to the broker when it has ended."""
        try:
            value = super().execute(task, timestamp)
        except TaskQueueError:
            # Its result or its retry could not be stored: as if it had not run.
            self._give_back(task)
            raise
        except Exception as error:
            if (delivery := _taken_from(task)) is not None:
                self.storage.bury(delivery, _why(error))
            raise
        except BaseException:
            self._give_back(task)
            raise
        if (delivery := _taken_from(task)) is not None:
            self.storage.finish(delivery)
        return value

    def _interrupted(self, signal: str, task: Task) -> None:
        """A consumer that stops at once leaves what it is at to others."""
        self._give_back(task)

    def _give_back(self, task: Task) -> None:
        if (delivery := _taken_from(task)) is not None:
            _log.warning("task %s did not end here: it will run again", task.id)
            self.storage.give_back(delivery)


def _taken_from(task: Task) -> Delivery | None:
    """The delivery that a task came with, once."""
    delivery: Delivery | None = task.__dict__.pop(_DELIVERY, None)
    return delivery


def _why(error: Exception) -> str:
    return f"{type(error).__name__}: {error}\n{''.join(traceback.format_exception(error))}"
