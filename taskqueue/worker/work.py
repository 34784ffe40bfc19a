"""
What a worker can run: tasks of an application, or plain handlers by type.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Protocol

from taskqueue.app.application import App
from taskqueue.app.context import Context, Sink
from taskqueue.app.definition import TaskDefinition
from taskqueue.app.options import TIMEOUT_HEADER
from taskqueue.app.outcomes import Verdict
from taskqueue.app.performing import async_perform, perform
from taskqueue.app.periodics import register
from taskqueue.app.verdicts import verdict_of
from taskqueue.client import Client
from taskqueue.errors import BadRequest
from taskqueue.worker.handlers import (
    Handler,
    checked,
    completed,
    returned_in_thread,
    runs_in_reactor,
)
from taskqueue.worker.task import Task


class Work(Protocol):
    """
    One type of task, and how it is run.

    @ivar in_loop: it runs on the event loop, not in a process or thread.
    """

    in_loop: bool

    def timeout_for(self, headers: Mapping[str, str]) -> float | None:
        """How long a task with these headers may run, seconds; C{None}: no limit."""

    def context(self, sink: Sink, described: Mapping[str, Any], payload: bytes) -> Context:
        """What the function is told about a delivery."""

    def perform(self, payload: bytes, context: Context) -> Verdict:
        """Run it here and now; whatever it raises, this does not."""

    async def perform_in_loop(self, payload: bytes, context: Context) -> Verdict:
        """Run it on the event loop."""


class DefinedWork:
    """A task of an L{App}."""

    def __init__(self, definition: TaskDefinition[..., ..., Any]) -> None:
        self._definition = definition
        self.in_loop = definition.in_loop

    def timeout_for(self, headers: Mapping[str, str]) -> float | None:
        """See L{Work}."""
        return self._definition.timeout_for(headers)

    def context(self, sink: Sink, described: Mapping[str, Any], payload: bytes) -> Context:
        """See L{Work}."""
        return Context(sink, described)

    def perform(self, payload: bytes, context: Context) -> Verdict:
        """See L{Work}."""
        return perform(self._definition, payload, context)

    async def perform_in_loop(self, payload: bytes, context: Context) -> Verdict:
        """See L{Work}."""
        return await async_perform(self._definition, payload, context)


class HandlerWork:
    """A function of a L{Task}."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self.in_loop = runs_in_reactor(handler)

    def timeout_for(self, headers: Mapping[str, str]) -> float | None:
        """See L{Work}."""
        try:
            return float(headers[TIMEOUT_HEADER])
        except (KeyError, ValueError):
            return None

    def context(self, sink: Sink, described: Mapping[str, Any], payload: bytes) -> Task:
        """See L{Work}."""
        return Task(sink, described, payload)

    def perform(self, payload: bytes, context: Context) -> Verdict:
        """See L{Work}."""
        try:
            return completed(returned_in_thread(self._handler(context), context))
        except (Exception, SystemExit) as error:
            return verdict_of(error, cancelled=context.cancelled)

    async def perform_in_loop(self, payload: bytes, context: Context) -> Verdict:
        """See L{Work}."""
        try:
            value = self._handler(context)
            return completed(await value if hasattr(value, "__await__") else value)
        except BaseException as error:
            if isinstance(error, (GeneratorExit, KeyboardInterrupt)):
                raise
            return verdict_of(error, cancelled=context.cancelled)


def works_of(tasks: Any) -> dict[str, Work]:
    """
    What C{tasks} has for each type.

    @param tasks: an L{App}, or a mapping of task type to function or definition.
    @raises BadRequest: it is neither, or there are none in it.
    """
    if isinstance(tasks, App):
        if not tasks.handlers:
            raise BadRequest("the application has no tasks: declare some with @app.task")
        return {name: DefinedWork(definition) for name, definition in tasks.handlers.items()}
    return {name: _work_of(handler) for name, handler in checked(tasks).items()}


def preparation_for(tasks: Any) -> Callable[[Client], Awaitable[None]] | None:
    """What a worker of C{tasks} tells the broker before it claims: an L{App}'s schedules."""
    if isinstance(tasks, App) and tasks.periodics:
        return partial(register, tasks.periodics)
    return None


def _work_of(handler: Any) -> Work:
    if isinstance(handler, TaskDefinition):
        return DefinedWork(handler)
    return HandlerWork(handler)


def load_tasks(named: str) -> Any:
    """
    The application, or the mapping of handlers, that C{MODULE:NAME} names;
    modules in the working directory count.

    @raises BadRequest: there is none, or its module cannot be imported.
    """
    module_name, colon, name = named.partition(":")
    if not module_name or not colon or not name:
        raise BadRequest(f"{named!r} does not name tasks: write MODULE:NAME, as in myapp.tasks:app")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # whatever the module does when it is imported
        raise BadRequest(f"cannot import {module_name}: {type(error).__name__}: {error}") from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise BadRequest(f"module {module_name} has no {name}")
        found = getattr(found, part)
    return found
