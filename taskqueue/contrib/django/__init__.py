"""
A backend for Django's tasks, and the worker that Django does not bring along.

In the settings, C{TASKS} names L{Backend}, and C{INSTALLED_APPS} has
C{"taskqueue.contrib.django"} for C{manage.py taskqueue_worker}.  It works with
C{django.tasks} of Django 6 and later, and before that with C{django_tasks}, the package
that it grew from.
"""

from typing import Any

__all__ = ["Backend"]


def __getattr__(name: str) -> Any:
    # Django imports this package before it is ready for what a backend is made of.
    if name == "Backend":
        from taskqueue.contrib.django.backend import Backend

        return Backend
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
