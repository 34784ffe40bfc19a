"""
dramatiq over this broker.

::

    import dramatiq
    from taskqueue.contrib.dramatiq import TaskqueueBroker

    dramatiq.set_broker(TaskqueueBroker("tq://127.0.0.1:7780"))
"""

from taskqueue.contrib.dramatiq.broker import TaskqueueBroker
from taskqueue.contrib.dramatiq.rate_limits import TaskqueueRateLimiterBackend
from taskqueue.contrib.dramatiq.results import TaskqueueResultBackend

__all__ = ["TaskqueueBroker", "TaskqueueRateLimiterBackend", "TaskqueueResultBackend"]
