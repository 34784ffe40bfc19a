"""
What a job is as a task: the note "What a job is" in docs/beanstalkd.md says it for people.
"""

from __future__ import annotations

from functools import lru_cache

from taskqueue.core.task import HIGHEST_PRIORITY, UNLESS_SET, State, TaskOptions

#: The type of the tasks that are put at this door.
JOB_TYPE = "beanstalkd"

#: What a task's state is called.
STATE_NAMES = {
    State.PENDING: "ready",
    State.SCHEDULED: "delayed",
    State.BLOCKED: "delayed",
    State.FAILED: "delayed",
    State.IN_PROGRESS: "reserved",
    State.DEAD_LETTER: "buried",
}


def priority_of(pri: int) -> int:
    """A task's priority, where the higher one is more urgent, from that of a job, where 0 is."""
    return HIGHEST_PRIORITY - pri


def pri_of(priority: int) -> int:
    """A job's priority from that of a task."""
    return HIGHEST_PRIORITY - priority


@lru_cache(maxsize=1024)
def options_of(ttr_s: int) -> TaskOptions:
    """
    The options of a task that may run for so many seconds, and be lost as often as it may be,
    unless its queue's own section of the configuration says otherwise; equal ones are one object.
    """
    return TaskOptions(UNLESS_SET, UNLESS_SET, float(ttr_s))
