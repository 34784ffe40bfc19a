"""
Why a task failed: as a text, which is what the broker keeps, and read again from it.

The first line is for lists, C{path.of.Exception: what it says}; below it stands the traceback.
"""

from __future__ import annotations

import builtins
import re
import traceback
from importlib import import_module
from importlib.util import find_spec
from operator import attrgetter
from types import TracebackType
from typing import Any

from taskqueue.app.verdicts import LONGEST_ERROR
from taskqueue.contrib.django.framework import TaskError

#: An exception's path as the text begins with it.
_PATH = re.compile(r"([^\W\d][\w.<>]*)(?::|$)")

#: Of failures that are no exception's: a lost worker, somebody who cancelled it.
OTHERWISE = "taskqueue.errors.TaskFailed"

#: Frames of these only lead to the function.
_LEADING = ("taskqueue.", "asgiref.", "django.tasks.", "django_tasks.")


class NestedTaskError(TaskError):
    """One whose exception may stand in a class, as C{Order.DoesNotExist} does."""

    __slots__ = ()

    @property
    def exception_class(self) -> type[BaseException]:
        """
        The exception's class.

        @raises ImportError: it is not here.
        """
        module, _, name = self.exception_class_path.rpartition(".")
        names = [name]
        while module and not _is_module(module):
            module, _, name = module.rpartition(".")
            names.insert(0, name)
        try:
            found: Any = attrgetter(".".join(names))(import_module(module or "builtins"))
        except AttributeError as error:
            raise ImportError(f"there is no {self.exception_class_path}: {error}") from None
        if not isinstance(found, type) or not issubclass(found, BaseException):
            raise ImportError(f"{self.exception_class_path} is no exception")
        return found


def _is_module(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):  # what it would be in is no package, or is not here
        return False


def text_of(error: BaseException) -> str:
    """An exception as a text, its end left out where it is too long."""
    kind = type(error)
    path = kind.__qualname__ if kind.__module__ == "builtins" else exception_path(error)
    first = (_said(error).strip().splitlines() or [""])[0]
    summary = (f"{path}: {first}" if first else path)[: LONGEST_ERROR // 4]
    trace = traceback_of(error)
    return f"{summary}\n\n{trace[-(LONGEST_ERROR - len(summary) - 2) :]}"


def _said(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # the task's own, which must not keep its failure from being told
        return "<it cannot be printed>"


def exception_path(error: BaseException) -> str:
    """The dotted path of an exception's class."""
    kind = type(error)
    return f"{kind.__module__}.{kind.__qualname__}"


def traceback_of(error: BaseException) -> str:
    """The traceback, from the task's function on."""
    frames = error.__traceback__
    while frames is not None and _only_leads(frames):
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames))


def _only_leads(frames: TracebackType) -> bool:
    return str(frames.tb_frame.f_globals.get("__name__")).startswith(_LEADING)


def failure(error: BaseException) -> NestedTaskError:
    """An exception as Django has it."""
    return NestedTaskError(
        exception_class_path=exception_path(error), traceback=traceback_of(error)
    )


def error_from(text: str) -> NestedTaskError:
    """What C{text} says, as Django has it; anybody's text will do."""
    summary, _, trace = text.partition("\n\n")
    path = _path_in(summary)
    if path is None:  # a time-out stands before what it raised
        summary, _, trace = trace.partition("\n\n")
        path = _path_in(summary)
    if path is None:
        return NestedTaskError(exception_class_path=OTHERWISE, traceback=text)
    return NestedTaskError(exception_class_path=path, traceback=trace or text)


def _path_in(summary: str) -> str | None:
    found = _PATH.match(summary)
    if found is None:
        return None
    if "." in found[1]:
        return found[1]
    kind = getattr(builtins, found[1], None)
    is_exception = isinstance(kind, type) and issubclass(kind, BaseException)
    return f"builtins.{found[1]}" if is_exception else None
