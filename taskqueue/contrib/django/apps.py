"""
What C{INSTALLED_APPS} is given.
"""

from __future__ import annotations

from django.apps import AppConfig


class TaskqueueConfig(AppConfig):
    """Has the command C{taskqueue_worker}; there are no models."""

    name = "taskqueue.contrib.django"
    label = "taskqueue"
    verbose_name = "taskqueue"
