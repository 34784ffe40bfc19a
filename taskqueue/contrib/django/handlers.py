"""
What a worker runs: its child processes import C{tasks} from here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import cache
from typing import Any

import django
from django.apps import apps

from taskqueue.errors import BadRequest


def __getattr__(name: str) -> Any:
    # Not when this is imported, which costs and needs nothing.
    if name == "tasks":
        return _tasks()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


@cache
def _tasks() -> dict[str, Callable[..., Any]]:
    """
    The function that runs the tasks of each type.

    @raises BadRequest: the project cannot be set up, or a module with tasks not imported.
    """
    try:
        if not apps.ready:
            django.setup()
        # What needs the project to be set up.
        from taskqueue.contrib.django.functions import ANY, discover
        from taskqueue.contrib.django.running import backend_of, run

        return dict.fromkeys((ANY, *discover(backend_of(os.environ).settings.modules)), run)
    except BadRequest:
        raise
    except Exception as error:  # whatever the project's own modules do
        raise BadRequest(
            f"the Django project cannot be set up: {type(error).__name__}: {error}"
        ) from error
