"""
huey over this broker.

A worker is C{huey_consumer examples.with_huey.huey}; C{python -m examples.with_huey} sends.
"""

import os

from taskqueue.contrib.huey import TaskqueueHuey

huey = TaskqueueHuey("sums", address=os.environ.get("TASKQUEUE_BROKER", "tq://127.0.0.1:7780"))


@huey.task()
def add(a: int, b: int) -> int:
    return a + b


if __name__ == "__main__":
    # huey knows a task by its module, which is not the one that is the program.
    from examples.with_huey import add as task

    print(task(1, 2).get(blocking=True, timeout=60))
