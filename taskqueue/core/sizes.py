"""
About what tasks take in memory.
"""

from __future__ import annotations

from taskqueue.core.task import Task

#: About what a live task takes in memory beside its payload and extras: measured, with
#: what the allocator adds, and rounded up.
TASK_BYTES = 330

#: About what the row of a new task takes on its way to the store, as an object and as it is
#: written, beside its payload.
ROW_BYTES = 450

#: About what is taken for each moment, lease, set of dependencies or key that is watched for one.
WATCHED_BYTES = 500

#: About what the line of a priority takes in a lane.
LINE_BYTES = 180


def extra_bytes(task: Task) -> int:
    """About what the headers, dependencies and key of a task take in memory."""
    extras = task.extras
    headers = 0 if extras.headers is None else len(extras.headers)
    return headers + 100 * len(extras.depends_on) + (0 if extras.unique is None else 200)
