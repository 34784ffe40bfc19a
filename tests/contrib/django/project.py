"""
What a project's settings say of its tasks, for one test.
"""

from __future__ import annotations

from typing import Any

from django.test.utils import override_settings

from taskqueue.contrib.django import framework
from taskqueue.contrib.django.backend import Backend
from tests.contrib.django import TASKS


def use(case: Any, options: dict[str, Any] | None = None, **more: Any) -> None:
    """Have C{TASKS} say this of its default backend until the test ends."""
    given = {**TASKS["default"], "OPTIONS": options or {}, **more}
    changed = override_settings(TASKS={"default": given})
    changed.enable()
    case.addCleanup(changed.disable)


def backend_with(options: Any = None, **params: Any) -> Backend:
    """A backend that no task uses."""
    return Backend("default", {"OPTIONS": {} if options is None else options, **params})


def listen(case: Any, name: str) -> list[Any]:
    """The results that the signal C{name} tells of, as they are then, until the test ends."""
    told: list[Any] = []
    signal = getattr(framework.signals, name)

    def heard(sender: type, task_result: Any, **how: Any) -> None:
        case.assertIs(sender, Backend)
        told.append((task_result, task_result.status))

    signal.connect(heard)
    case.addCleanup(signal.disconnect, heard)
    return told
