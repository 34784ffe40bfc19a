"""
Running a task: in a worker's child process, from what the broker delivered to what it is told.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.core.cache import close_caches
from django.db import close_old_connections, reset_queries

from taskqueue.app.calls import BadCall
from taskqueue.app.outcomes import Discard, PermanentFailure, Retry, Snooze, TaskCancelled
from taskqueue.client.codecs import JSON
from taskqueue.contrib.django import framework
from taskqueue.contrib.django.backend import RETRIES_HEADER, Backend
from taskqueue.contrib.django.failures import failure, text_of
from taskqueue.contrib.django.framework import (
    TaskContext,
    TaskResultStatus,
    normalize_json,
)
from taskqueue.contrib.django.functions import UnknownFunction
from taskqueue.contrib.django.results import change, moment, result_of
from taskqueue.errors import BadRequest, TaskQueueError
from taskqueue.worker import Task

#: What a worker tells its child processes: the backend whose tasks they run, and its own id.
BACKEND_VARIABLE = "TASKQUEUE_DJANGO_BACKEND"
WORKER_VARIABLE = "TASKQUEUE_DJANGO_WORKER"

#: What tasks raise that want no other attempt.
_PERMANENT = (Discard, PermanentFailure)

#: What a delivery and the view of a task have in common.
_DESCRIBED = ("id", "type", "queue", "priority", "headers", "submitted_at")

_NUMBER = re.compile(r"[0-9]{1,4}")

_log = logging.getLogger("taskqueue")


def backend_of(environ: Mapping[str, str]) -> Backend:
    """
    The backend whose tasks this process runs.

    @raises BadRequest: the settings have none of that name, or it is another one.
    """
    alias = environ.get(BACKEND_VARIABLE, framework.DEFAULT_ALIAS)
    if alias not in framework.task_backends:
        raise BadRequest(
            f"TASKS has no backend {alias!r}; there are"
            f" {', '.join(sorted(map(repr, framework.task_backends))) or 'none'}"
        )
    backend = framework.task_backends[alias]
    if not isinstance(backend, Backend):
        kind = f"{type(backend).__module__}.{type(backend).__qualname__}"
        raise BadRequest(
            f"TASKS[{alias!r}] is a {kind}, whose tasks this worker cannot run: its BACKEND must be"
            " taskqueue.contrib.django.Backend"
        )
    return backend


def run(delivery: Task) -> bytes:
    """
    Run one delivery, here and now.

    @return: what the task's function returned, as JSON.
    @raises PermanentFailure: it is no task that there is here.
    @raises Retry: it failed; whether it is tried again is for the broker to say.
    """
    backend = backend_of(os.environ)
    with _as_for_a_request():
        try:
            result = _begun(backend, delivery)
        except (UnknownFunction, BadCall) as error:
            raise PermanentFailure(str(error)) from error
        framework.signals.task_started.send_robust(type(backend), task_result=result)
        try:
            returned = JSON.encode(normalize_json(_call(result)))
        except Snooze:
            raise
        except BaseException as error:
            if delivery.lease_lost or isinstance(error, KeyboardInterrupt):
                raise  # nothing is said of it
            raise _failed(backend, result, delivery, error) from error
        if not delivery.lease_lost:
            value = JSON.decode(returned)
            _finish(backend, result, TaskResultStatus.SUCCESSFUL, _return_value=value)
        return returned


@contextmanager
def _as_for_a_request() -> Iterator[None]:
    """What Django does before and after each request, so that no task finds a dead connection."""
    reset_queries()
    close_old_connections()
    try:
        yield
    finally:
        close_old_connections()
        close_caches()


def _begun(backend: Backend, delivery: Task) -> Any:
    """The result of a task that begins."""
    now = time.time()
    described = {name: getattr(delivery, name) for name in _DESCRIBED}
    under_way = {
        "state": "in_progress",
        "worker": os.environ.get(WORKER_VARIABLE, ""),
        "claimed_at": now,
        "history": _earlier(backend, delivery) if delivery.attempt > 1 else [],
    }
    view = {**described, **under_way}
    return result_of(backend.alias, view, delivery.payload, backend.settings.modules)


def _earlier(backend: Backend, delivery: Task) -> list[Any]:
    """
    What became of the deliveries before: asked for where there were some, which is seldom.
    Those that nobody may know of, or tells of, are counted all the same.
    """
    found: list[Any] = []
    try:
        found = [e for e in backend.history(delivery.id) if e["attempt"] < delivery.attempt]
    except TaskQueueError as error:
        _log.warning("earlier attempts of task %s are not known: %s", delivery.id, error)
    unknown = {"event": "lost", "started_at": delivery.submitted_at, "worker": ""}
    known = sum("started_at" in event for event in found)
    return [unknown] * (delivery.attempt - 1 - known) + found


def _call(result: Any) -> Any:
    task = result.task
    before = (TaskContext(task_result=result),) if task.takes_context else ()
    return task.call(*before, *result.args, **result.kwargs)


def _failed(backend: Backend, result: Any, delivery: Task, error: BaseException) -> BaseException:
    """What to raise for a function that raised C{error}, after telling who listens."""
    cancelled = delivery.cancelled and isinstance(error, TaskCancelled)
    retries = delivery.headers.get(RETRIES_HEADER, "")  # of whoever submitted it
    most = int(retries) if _NUMBER.fullmatch(retries) else 0
    if cancelled or isinstance(error, _PERMANENT) or delivery.failures >= most:
        result.errors.append(failure(error))
        _finish(backend, result, TaskResultStatus.FAILED)
    if cancelled or isinstance(error, (Retry, *_PERMANENT)):
        return error
    return Retry(reason=text_of(error))


def _finish(backend: Backend, result: Any, status: Any, **values: Any) -> None:
    change(result, status=status, finished_at=moment(time.time()), **values)
    framework.signals.task_finished.send_robust(type(backend), task_result=result)
