"""
What C{INSTALLED_APPS} is given.
"""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig


class TaskqueueConfig(AppConfig):
    """Has the command C{taskqueue_worker}; there are no models."""

    name = "taskqueue.contrib.django"
    label = "taskqueue"
    verbose_name = "taskqueue"

    def ready(self) -> None:
        """Have what C{TASKS} says checked, whether or not C{django_tasks} is an app too."""
        import_module("taskqueue.contrib.django.framework")
