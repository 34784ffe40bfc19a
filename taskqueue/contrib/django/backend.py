"""
The backend: from C{enqueue} to the broker, and from the broker to results.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, TypeVar
from uuid import UUID

from django.apps import apps
from django.core import checks

from taskqueue.app.calls import BadCall, encode_call
from taskqueue.app.options import TIMEOUT_HEADER
from taskqueue.client.codecs import JSON
from taskqueue.contrib.django import framework
from taskqueue.contrib.django.connections import connected
from taskqueue.contrib.django.framework import (
    BaseTaskBackend,
    InvalidTask,
    TaskResult,
    TaskResultDoesNotExist,
    TaskResultStatus,
)
from taskqueue.contrib.django.functions import UnknownFunction, type_and_headers
from taskqueue.contrib.django.options import QUEUE_NAME, BadOptions, Options, read
from taskqueue.contrib.django.priorities import broker_priority
from taskqueue.contrib.django.results import RUN_AFTER_HEADER, moment, result_of
from taskqueue.errors import UnknownTask
from taskqueue.ids import new_task_id

_T = TypeVar("_T")

#: What C{INSTALLED_APPS} needs, for the command that runs a worker.
APP = "taskqueue.contrib.django"

#: The header that tells a worker whether there will be another attempt.
RETRIES_HEADER = "django-max-retries"


class Backend(BaseTaskBackend):
    """
    Tasks that a taskqueue broker keeps, and their results::

        TASKS = {
            "default": {
                "BACKEND": "taskqueue.contrib.django.Backend",
                "QUEUES": ["default", "mail"],
                "OPTIONS": {"address": "tq://127.0.0.1:7780"},
            }
        }

    What C{OPTIONS} may hold is in L{taskqueue.contrib.django.options}.  Calls raise one of
    L{taskqueue.errors} where the broker refuses, or does not answer in time.

    @ivar queue_names: as the settings list them, which is the order in which workers prefer
        them; none: any queue will do.
    """

    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: Mapping[str, Any]) -> None:
        super().__init__(alias, params)
        self.queue_names = list(dict.fromkeys(params.get("QUEUES", ["default"])))
        self._settings: Options | None = None

    @property
    def settings(self) -> Options:
        """
        C{OPTIONS}, read when they are first asked for: tasks are declared where nobody
        expects an error, and C{manage.py check} tells of it better.

        @raises BadOptions: something is wrong with them.
        """
        if self._settings is None:
            self._settings = read(self.alias, self.options, self.queue_names, os.environ)
        return self._settings

    def _wait_for(self, call: Callable[[Any], Coroutine[Any, Any, _T]]) -> _T:
        with connected(self.settings.reach) as client:
            return client.run(call)

    async def _await(self, call: Callable[[Any], Coroutine[Any, Any, _T]]) -> _T:
        with connected(self.settings.reach) as client:
            return await asyncio.wrap_future(client.begin(call))

    def check(self, **kwargs: Any) -> Iterable[checks.CheckMessage]:
        """What is wrong with the settings, without asking the broker."""
        where = f"TASKS[{self.alias!r}]"
        try:
            unusable = self.settings.reach.problem()
        except BadOptions as error:
            unusable = None
            for problem in error.problems:
                yield checks.Error(f"{where}: {problem}.", id="taskqueue.E001")
        if unusable is not None:
            # No error: commands run as users who may not read keys, and where images are built.
            hint = "Nothing can be enqueued here."
            yield checks.Warning(f"{where}: {unusable}.", hint=hint, id="taskqueue.W002")
        if not apps.is_installed(APP):
            yield checks.Warning(
                f"{where} uses taskqueue, but no command runs a worker for it.",
                hint=f"Add {APP!r} to INSTALLED_APPS.",
                id="taskqueue.W001",
            )

    # --- enqueueing -----------------------------------------------------------------------

    def validate_task(self, task: Any) -> None:
        """
        @raises InvalidTask: it is one that no worker could run.
        """
        super().validate_task(task)
        if task.func.__module__ == "__main__":
            raise InvalidTask(
                f"{task.name} is defined in the program itself, which no worker can import: move"
                " it into a module"
            )
        if not QUEUE_NAME.fullmatch(task.queue_name):
            raise InvalidTask(
                f"{task.queue_name!r} is no name for a queue: 1 to 128 characters out of letters"
                " of ASCII, digits and _ - . : /"
            )

    def enqueue(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """
        Hand a task to the broker, and wait until it is on its disk.

        @return: its result, which is C{READY}.
        @raises BadOptions: something is wrong with C{OPTIONS}.
        @raises TaskQueueError: the broker refused it, or did not answer in time.
        """
        result, submission = self._prepared(task, args, kwargs)
        self._wait_for(lambda calls: calls.submit(**submission))
        framework.signals.task_enqueued.send(type(self), task_result=result)
        return result

    async def aenqueue(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """See L{enqueue}; no thread waits for the broker."""
        result, submission = self._prepared(task, args, kwargs)
        await self._await(lambda calls: calls.submit(**submission))
        await framework.signals.task_enqueued.asend(type(self), task_result=result)
        return result

    def _prepared(
        self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[Any, dict[str, Any]]:
        self.validate_task(task)
        result = TaskResult(
            task=task,
            id=new_task_id(),
            status=TaskResultStatus.READY,
            enqueued_at=moment(time.time()),
            started_at=None,
            last_attempted_at=None,
            finished_at=None,
            args=args,
            kwargs=kwargs,
            backend=self.alias,
            errors=[],
            worker_ids=[],
        )
        return result, self._submission(result)

    def _submission(self, result: Any) -> dict[str, Any]:
        task = result.task
        treatment = self.settings.of_queue(task.queue_name)
        type_, headers = type_and_headers(task.module_path, self.settings.modules)
        if task.run_after is not None:
            headers[RUN_AFTER_HEADER] = task.run_after.isoformat()
        if treatment.max_retries:
            headers[RETRIES_HEADER] = str(treatment.max_retries)
        if treatment.task_timeout is not None:
            headers[TIMEOUT_HEADER] = f"{treatment.task_timeout:g}"
        return {
            "type": type_,
            "payload": encode_call(result.args, result.kwargs, JSON),
            "queue": task.queue_name,
            "priority": broker_priority(task.priority),
            "id": result.id,
            "run_at": None if task.run_after is None else task.run_after.timestamp(),
            "max_retries": treatment.max_retries,
            "max_lost": treatment.max_lost,
            "retry_delay_s": treatment.retry_delay,
            "retry_max_delay_s": treatment.retry_max_delay,
            "headers": headers or None,
        }

    # --- results --------------------------------------------------------------------------

    def get_result(self, result_id: str) -> Any:
        """
        The result of a task, wherever it was enqueued.

        @raises TaskResultDoesNotExist: the broker knows no such task, or it is none of Django's.
        @raises TaskQueueError: the broker did not answer in time.
        """
        task_id = _canonical(result_id)
        return self._result(task_id, *self._wait_for(lambda calls: _asked(calls, task_id)))

    async def aget_result(self, result_id: str) -> Any:
        """See L{get_result}; no thread waits for the broker."""
        task_id = _canonical(result_id)
        asked = await self._await(lambda calls: _asked(calls, task_id))
        return self._result(task_id, *asked)

    def history(self, task_id: str) -> list[Any]:
        """What happened to a task, as the broker has it; nothing of one that it does not know."""
        views = self._wait_for(lambda calls: calls.status([task_id], history=True))
        return [] if views[0] is None else list(views[0].get("history") or ())

    def _result(self, task_id: str, view: Mapping[str, Any] | None, payload: bytes) -> Any:
        if view is None:
            raise TaskResultDoesNotExist(task_id)
        try:
            return result_of(self.alias, view, payload, self.settings.modules)
        except (UnknownFunction, BadCall) as error:
            raise TaskResultDoesNotExist(f"{task_id} is no task of this project: {error}") from None


def _canonical(result_id: str) -> str:
    """
    An id as the broker has it.

    @raises TaskResultDoesNotExist: no task can have it.
    """
    try:
        task_id = str(UUID(result_id))
    except (ValueError, AttributeError, TypeError):
        task_id = ""
    if not task_id or task_id != result_id.lower():
        raise TaskResultDoesNotExist(result_id)
    return task_id


async def _asked(calls: Any, task_id: str) -> tuple[Mapping[str, Any] | None, bytes]:
    """What the broker says of a task, and what it was submitted with; both at once."""
    asked = calls.status([task_id], history=True, result=True), calls.payload(task_id)
    answers: Any = await asyncio.gather(*asked, return_exceptions=True)
    if isinstance(answers[1], UnknownTask):
        return None, b""
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers[0][0], answers[1]
