"""
Why a running task is stopped, and how it learns of it.
"""

from __future__ import annotations

from typing import Literal

Reason = Literal["cancel", "lease_lost", "timeout"]

#: Somebody has asked to cancel the task.
CANCEL: Reason = "cancel"

#: The task is not this worker's any more; nothing is reported.
LEASE_LOST: Reason = "lease_lost"

#: The task has run for longer than it may.
TIMEOUT: Reason = "timeout"


class TaskTimedOut(TimeoutError):
    """
    Raised in a task, wherever it is just then, when it has run for longer than its
    time-out.  It may clean up; if it goes on instead, its process is killed.
    """
