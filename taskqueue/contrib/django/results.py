"""
Tasks as the broker knows them, as Django's results.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.conf import settings

from taskqueue.app.calls import BadCall, decode_call
from taskqueue.client.codecs import JSON
from taskqueue.contrib.django.failures import error_from
from taskqueue.contrib.django.framework import InvalidTask, TaskResult, TaskResultStatus
from taskqueue.contrib.django.functions import path_of, resolve
from taskqueue.contrib.django.priorities import django_priority
from taskqueue.errors import BadRequest

#: The header with the moment before which a task was not to run: what the broker says of that
#: changes with each retry.
RUN_AFTER_HEADER = "django-run-after"

_STATUS = {
    "in_progress": TaskResultStatus.RUNNING,
    "completed": TaskResultStatus.SUCCESSFUL,
    "dead_letter": TaskResultStatus.FAILED,
    "cancelled": TaskResultStatus.FAILED,
    "expired": TaskResultStatus.FAILED,
}

_WITHOUT_ERROR = {
    "cancelled": "taskqueue.app.outcomes.TaskCancelled: the task was cancelled",
    "expired": "the task expired before it was begun",
}


class Attempt(NamedTuple):
    """
    One delivery of a task to a worker.

    @ivar began_at: seconds since the epoch.
    """

    worker: str
    began_at: float


def moment(seconds: float | None) -> datetime | None:
    """Seconds since the epoch as Django has it: aware or not, as the settings say."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, tz=UTC if settings.USE_TZ else None)


def attempts_of(view: Mapping[str, Any]) -> list[Attempt]:
    """The deliveries of a task, the first one first; C{view} has its history."""
    found = [
        Attempt(str(event.get("worker", "")), event["started_at"])
        for event in view.get("history") or ()
        if "started_at" in event
    ]
    if view["state"] in ("in_progress", "completed") and "claimed_at" in view:
        found.append(Attempt(str(view.get("worker", "")), view["claimed_at"]))
    return found


def errors_of(view: Mapping[str, Any]) -> list[Any]:
    """Why a task has failed, each time; the newest one is whole."""
    texts = [
        str(event.get("detail", ""))
        for event in view.get("history") or ()
        if event["event"] == "failed"
    ]
    state, newest = view["state"], view.get("error")
    # The history keeps the beginning of each.
    if newest and texts and newest.startswith(texts[-1].removesuffix("…")):
        texts[-1] = newest
    elif _STATUS.get(state) == TaskResultStatus.FAILED:
        texts.append(newest or _WITHOUT_ERROR.get(state, "the task failed"))
    return [error_from(text) for text in texts]


def task_of(alias: str, view: Mapping[str, Any], modules: Iterable[str] = ()) -> Any:
    """
    The task as it was enqueued, of what the broker says of it.

    @raises UnknownFunction: there is no such task here.
    """
    headers = view.get("headers") or {}
    task = resolve(path_of(view["type"], headers), modules)
    after = headers.get(RUN_AFTER_HEADER)
    try:
        return task.using(
            backend=alias,
            queue_name=view["queue"],
            priority=django_priority(view["priority"]),
            run_after=None if after is None else _read(after),
        )
    except InvalidTask:  # of a queue that the settings do not name any more
        return task


def _read(text: str) -> datetime | None:
    """A moment in a header, which may be anybody's."""
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def result_of(
    alias: str, view: Mapping[str, Any], payload: bytes, modules: Iterable[str] = ()
) -> Any:
    """
    The result of a task.

    @param view: what the broker says of it, with history and result.
    @param modules: where tasks are beside in apps, as the options say.
    @raises UnknownFunction: it is no task of Django's, or none that there is here.
    @raises BadCall: its payload is no call.
    """
    task = task_of(alias, view, modules)
    args, kwargs = decode_call(payload, JSON)
    try:
        result = _made(alias, view, task=task, args=args, kwargs=kwargs)
    except RecursionError:  # Django goes through them once more
        raise BadCall("the arguments are nested too deeply") from None
    if view["state"] == "completed":
        change(result, _return_value=_returned(view.get("result") or b""))
    return result


def _made(alias: str, view: Mapping[str, Any], **call: Any) -> Any:
    attempts = attempts_of(view)
    return TaskResult(
        **call,
        id=view["id"],
        status=_STATUS.get(view["state"], TaskResultStatus.READY),
        enqueued_at=moment(view["submitted_at"]),
        started_at=moment(attempts[0].began_at if attempts else None),
        last_attempted_at=moment(attempts[-1].began_at if attempts else None),
        finished_at=moment(view.get("ended_at")),
        backend=alias,
        errors=errors_of(view),
        worker_ids=[attempt.worker for attempt in attempts],
    )


def _returned(data: bytes) -> Any:
    """What a function returned; of a worker that has no Django, it may be any bytes."""
    try:
        return JSON.decode(data)
    except BadRequest:
        return data.decode("utf-8", "replace")


def change(result: Any, **values: Any) -> None:
    """Change a result, which is frozen, as Django's own backends do."""
    for name, value in values.items():
        object.__setattr__(result, name, value)
