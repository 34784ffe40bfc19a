"""
The framework that is adapted: Django's own from version 6 on, before that the package that
it grew from.  What the two call otherwise has one name here.
"""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from django.core.exceptions import ImproperlyConfigured

#: The package that has it.
PACKAGE = "django.tasks" if find_spec("django.tasks") else "django_tasks"


def _module(name: str) -> Any:
    try:
        return import_module(f"{PACKAGE}{name}")
    except ModuleNotFoundError as error:
        if error.name != PACKAGE:
            raise
        raise ImproperlyConfigured(
            "this Django has no tasks of its own, which came with version 6: install the package"
            " that they were before, pip install 'django-tasks>=0.12'"
        ) from None


_tasks, _base, _exceptions = _module(""), _module(".base"), _module(".exceptions")

# Importing it has C{manage.py check} look at C{TASKS}; so does the older package's own app.
_module(".checks")

BaseTaskBackend: Any = _module(".backends.base").BaseTaskBackend
signals: Any = _module(".signals")
task_backends: Any = _tasks.task_backends

DEFAULT_ALIAS: str = _base.DEFAULT_TASK_BACKEND_ALIAS
HIGHEST_PRIORITY: int = _base.TASK_MAX_PRIORITY
LOWEST_PRIORITY: int = _base.TASK_MIN_PRIORITY
Task: Any = _base.Task
TaskContext: Any = _base.TaskContext
TaskError: Any = _base.TaskError
TaskResult: Any = _base.TaskResult
TaskResultStatus: Any = _base.TaskResultStatus
#: Makes of a value what JSON has a form for.
normalize_json: Any = _base.normalize_json

InvalidTask: Any = getattr(_exceptions, "InvalidTask", None) or _exceptions.InvalidTaskError
TaskResultDoesNotExist: Any = _exceptions.TaskResultDoesNotExist
