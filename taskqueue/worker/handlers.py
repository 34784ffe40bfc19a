"""
Plain handlers, functions of a L{Task}: where they run, and what their end means.
"""

from __future__ import annotations

import asyncio
import inspect
import traceback
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred

from taskqueue import strictjson
from taskqueue.app.context import Context
from taskqueue.app.outcomes import (
    Discard,
    PermanentFailure,
    Retry,
    Snooze,
    TaskCancelled,
    Verdict,
)
from taskqueue.errors import BadRequest

Handler = Callable[[Any], Any]
_H = TypeVar("_H", bound=Callable[..., Any])

#: Most characters of an error that are reported; of a traceback the end matters.
LONGEST_ERROR = 8000

_IN_REACTOR = "_taskqueue_in_reactor"
_CANCELLED = (TaskCancelled, CancelledError, asyncio.CancelledError)


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
        raise BadRequest(
            "a worker needs tasks: an App that has some, or a mapping of task type to function,"
            " not empty"
        )
    for name, handler in handlers.items():
        if not isinstance(name, str) or not callable(handler):
            raise BadRequest(f"the handler for {name!r} must be a function, not {handler!r}")
    return dict(handlers)


def returned_in_thread(value: Any, context: Context) -> Any:
    """
    What a handler that runs outside the reactor's thread returned.

    @raises PermanentFailure: only the reactor could wait for that.
    """
    if isinstance(value, Deferred) or inspect.isawaitable(value):
        if inspect.iscoroutine(value):
            value.close()
        raise PermanentFailure(
            f"the handler for {context.type!r} ran outside the reactor's thread and returned a"
            f" {type(value).__name__}: mark it with taskqueue.worker.in_reactor"
        )
    return value


def completed(value: Any) -> Verdict:
    """
    What to tell of a handler that returned C{value}: bytes are the result as they
    are, text as UTF-8, C{None} an empty one; anything else is written as JSON.
    """
    try:
        return Verdict("completed", _as_bytes(value))
    except BadRequest as refusal:
        text = f"The handler returned what is neither bytes nor text nor JSON: {refusal}"
        return Verdict("failed", error=text, permanent=True)


def verdict_of(error: BaseException, context: Context) -> Verdict:
    """What to tell of a handler that raised C{error}."""
    if isinstance(error, Snooze):
        return Verdict("released", delay_s=error.in_s)
    if isinstance(error, Retry):
        return Verdict("failed", error=str(error)[:LONGEST_ERROR], retry_in_s=error.in_s)
    if isinstance(error, Discard):
        text = f"discarded: {error.reason}"[:LONGEST_ERROR]
        return Verdict("failed", error=text, permanent=True)
    if context.cancelled and isinstance(error, _CANCELLED):
        return Verdict("cancelled")
    permanent = isinstance(error, PermanentFailure)
    return Verdict("failed", error=error_text(error), permanent=permanent)


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
    return module.startswith(("taskqueue.worker.", "twisted."))
