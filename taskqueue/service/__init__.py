"""
The running broker: owns clock, timers and store; performs what the core decided.
"""

from taskqueue.service.service import TaskQueueService

__all__ = ["TaskQueueService"]
