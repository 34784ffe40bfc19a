"""
taskqueue: a task-queue broker on Twisted that does not lose tasks.
"""

__version__ = "0.1.0"
