"""
Where tasks' functions are, and what the broker calls them.

A task of a module in which workers look for tasks has a type of its own, its dotted path:
people see it by its name, and a worker that does not have it yet, because it runs older
code, leaves it alone.  One from anywhere else has the type L{ANY}, and carries its path in
a header: every worker takes it, and imports what it needs.
"""

from __future__ import annotations

import logging
import pkgutil
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import Any

from django.apps import apps
from django.conf import settings

from taskqueue.contrib.django.framework import Task
from taskqueue.errors import BadRequest

#: The type of tasks that workers do not look for.
ANY = "django.task"

#: The header that says which function such a task calls.
PATH_HEADER = "django-task"

#: The module of an app in which its tasks are looked for.
TASKS = "tasks"

#: The broker's own rule for names of types.
_TYPE = re.compile(r"[A-Za-z0-9_\-.:/]{1,128}")

_log = logging.getLogger("taskqueue")


class UnknownFunction(Exception):
    """There is no such task here; the text says why."""


# --- names -------------------------------------------------------------------------------


def places(modules: Iterable[str]) -> list[str]:
    """The modules in which workers look for tasks; within packages, everywhere."""
    return [*(f"{config.name}.{TASKS}" for config in apps.get_app_configs()), *modules]


def type_and_headers(path: str, modules: Iterable[str]) -> tuple[str, dict[str, str]]:
    """
    What the broker is told of the task with this path: its type, and the headers that say
    more.

    @param modules: see L{places}.
    """
    module = f"{path.rpartition('.')[0]}."
    if _TYPE.fullmatch(path) and any(module.startswith(f"{place}.") for place in places(modules)):
        return path, {}
    return ANY, {PATH_HEADER: path}


def path_of(type: str, headers: Mapping[str, str]) -> str:
    """The path of a task that the broker names so."""
    return headers.get(PATH_HEADER, "") if type == ANY else type


# --- functions ---------------------------------------------------------------------------


def resolve(path: str, modules: Iterable[str] = ()) -> Any:
    """
    The task with this path, imported where it was not.

    A path comes from whoever may submit, and to import a module runs it: so only those of the
    project are.

    @param modules: see L{places}.
    @raises UnknownFunction: there is none.
    """
    name, _, attribute = path.rpartition(".")
    if not name:
        raise UnknownFunction(f"{path!r} is no path of a task, such as 'shop.tasks.send_receipt'")
    if name not in sys.modules and not _is_of_the_project(name, modules):
        raise UnknownFunction(
            f"there is no task {path}: module {name} is in no app, nor where the project's settings"
            " and URLs are; name it in the option 'modules' of TASKS"
        )
    try:
        module = import_module(name)
    except Exception as error:  # whatever the module does when it is imported
        raise UnknownFunction(
            f"there is no task {path}: importing {name} failed with {type(error).__name__}: {error}"
        ) from error
    found = getattr(module, attribute, None)
    if isinstance(found, Task) and found.module_path == path:
        return found
    for task in _tasks_in(module):  # made of a function whose name it does not have
        if task.module_path == path:
            return task
    raise UnknownFunction(f"there is no task {path}: module {name} has none of that name")


def _is_of_the_project(name: str, modules: Iterable[str]) -> bool:
    own = [getattr(settings, where, None) for where in ("SETTINGS_MODULE", "ROOT_URLCONF")]
    packages = [
        *(config.name for config in apps.get_app_configs()),
        *(module.partition(".")[0] for module in own if isinstance(module, str)),
        *modules,
    ]
    return any(f"{name}.".startswith(f"{package}.") for package in packages)


def _tasks_in(module: ModuleType) -> Iterator[Any]:
    return (
        value for value in list(getattr(module, "__dict__", {}).values()) if isinstance(value, Task)
    )


def discover(modules: Iterable[str]) -> list[str]:
    """
    Import every module in which tasks are looked for.

    @param modules: see L{places}.
    @return: the paths of the tasks in them.
    @raises BadRequest: one cannot be imported, or is not there although the options name it.
    """
    named = list(modules)
    for config in apps.get_app_configs():
        if find_spec(f"{config.name}.{TASKS}") is not None:
            _import_all(f"{config.name}.{TASKS}")
    for name in named:
        _import_all(name)
    wanted = [f"{place}." for place in places(named)]
    found = {
        task.module_path
        for name, module in list(sys.modules.items())
        if any(f"{name}.".startswith(place) for place in wanted)
        for task in _tasks_in(module)
    }
    return sorted(path for path in found if type_and_headers(path, named)[0] == path)


def _import_all(name: str) -> None:
    """Import a module, and all that is in it where it is a package."""
    module = _imported(name)
    for inner in pkgutil.iter_modules(getattr(module, "__path__", ())):
        _import_all(f"{name}.{inner.name}")


def _imported(name: str) -> ModuleType | None:
    try:
        return import_module(name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and _is_elsewhere(error.name, name):
            # Many apps have tasks for another framework, which need not be installed.
            _log.warning("no tasks of %s: it needs %s, which is not installed", name, error.name)
            return None
        raise BadRequest(
            f"cannot import {name}, where tasks are looked for: {type(error).__name__}: {error}"
        ) from error


def _is_elsewhere(missing: str | None, wanted: str) -> bool:
    """Whether a module that is missing belongs to no app of the project, nor to C{wanted}."""
    ours = {name.partition(".")[0] for name in (wanted, *(c.name for c in apps.get_app_configs()))}
    return missing is not None and missing.partition(".")[0] not in ours
