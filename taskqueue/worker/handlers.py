"""
How a handler is run, and what its end means.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.threads import deferToThreadPool
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from taskqueue import strictjson
from taskqueue.client import Delivery, Report
from taskqueue.core.task import State
from taskqueue.errors import BadRequest
from taskqueue.worker.task import PermanentFailure, Task, TaskCancelled

Handler = Callable[[Task], Any]
_H = TypeVar("_H", bound=Callable[..., Any])

#: Most characters of an error that are reported; of a traceback the end matters.
LONGEST_ERROR = 8000

_IN_REACTOR = "_taskqueue_in_reactor"


def in_reactor(handler: _H) -> _H:
    """
    Mark a function that returns a Deferred, so that it is called in the
    reactor's thread.  Coroutine functions need no mark.
    """
    setattr(handler, _IN_REACTOR, True)
    return handler


def runs_in_reactor(handler: Handler) -> bool:
    """Whether C{handler} is called in the reactor's thread, not in one of the pool."""
    if getattr(handler, _IN_REACTOR, False) or inspect.iscoroutinefunction(handler):
        return True
    call = getattr(handler, "__call__", None)  # noqa: B004  # the method, not whether there is one
    return inspect.iscoroutinefunction(call)


def checked(handlers: Any) -> dict[str, Handler]:
    """
    C{handlers}, which must be a mapping of task type to function.

    @raises BadRequest: it is none, or empty, or something in it cannot be called.
    """
    if not isinstance(handlers, Mapping) or not handlers:
        raise BadRequest("a worker needs handlers: a mapping of task type to function, not empty")
    for name, handler in handlers.items():
        if not isinstance(name, str) or not callable(handler):
            raise BadRequest(f"the handler for {name!r} must be a function, not {handler!r}")
    return dict(handlers)


def call_in_thread(handler: Handler, task: Task, reactor: Any, pool: ThreadPool) -> Deferred[Any]:
    """Run C{handler} in a thread; fires with what it returns, or fails as it raises."""
    return deferToThreadPool(reactor, pool, _in_thread, handler, task)


def _in_thread(handler: Handler, task: Task) -> Any:
    value = handler(task)
    if isinstance(value, Deferred) or inspect.iscoroutine(value):
        if inspect.iscoroutine(value):
            value.close()
        raise PermanentFailure(
            f"the handler for {task.type!r} ran in a thread and returned a"
            f" {type(value).__name__}: mark it with taskqueue.worker.in_reactor"
        )
    return value


def report_of(delivery: Delivery, task: Task, ended: Any) -> Report:
    """
    What to tell the broker.

    @param ended: what the handler returned, or its L{Failure}.  Bytes are the
        result as they are, text as UTF-8, C{None} an empty one; anything else
        is written as JSON.
    """
    if not isinstance(ended, Failure):
        try:
            return Report(delivery.id, delivery.lease, State.COMPLETED, _as_bytes(ended))
        except BadRequest as refusal:
            text = f"The handler returned what is neither bytes nor text nor JSON: {refusal}"
            return _failed(delivery, text, permanent=True)
    error = ended.value or LookupError(ended.getErrorMessage())
    if task.cancelled and isinstance(error, (TaskCancelled, CancelledError)):
        return Report(delivery.id, delivery.lease, State.CANCELLED)
    return _failed(delivery, error_text(error), permanent=isinstance(error, PermanentFailure))


def _failed(delivery: Delivery, error: str, *, permanent: bool) -> Report:
    return Report(delivery.id, delivery.lease, State.FAILED, error=error, permanent=permanent)


def _as_bytes(value: Any) -> bytes:
    if value is None:
        return b""
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    return strictjson.dumps(value)


def error_text(error: BaseException) -> str:
    """What went wrong in one line, then the end of the traceback; bounded."""
    summary = "".join(traceback.format_exception_only(error)).strip()
    frames = error.__traceback__
    while frames is not None and _is_ours(frames):
        frames = frames.tb_next
    if frames is None:
        return summary[:LONGEST_ERROR]
    lines = "".join(traceback.format_exception(type(error), error, frames)).strip()
    summary = summary[: LONGEST_ERROR // 2]
    room = LONGEST_ERROR - len(summary) - 2
    return f"{summary}\n\n{lines[-room:]}"


def _is_ours(frames: TracebackType) -> bool:
    """Whether this frame only leads to the handler."""
    module = str(frames.tb_frame.f_globals.get("__name__"))
    return module == __name__ or module.startswith("twisted.")
