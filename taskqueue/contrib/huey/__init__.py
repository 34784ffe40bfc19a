"""
huey over this broker.

::

    from taskqueue.contrib.huey import TaskqueueHuey

    huey = TaskqueueHuey("app", address="tq://127.0.0.1:7780")
"""

from taskqueue.contrib.huey.application import TaskqueueHuey
from taskqueue.contrib.huey.storage import TaskqueueStorage

__all__ = ["TaskqueueHuey", "TaskqueueStorage"]
