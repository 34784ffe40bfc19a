"""
Plain handlers, functions of a L{Task}: where they run, and what their end means.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from taskqueue import strictjson
from taskqueue.app.context import Context
from taskqueue.app.outcomes import PermanentFailure, Verdict
from taskqueue.errors import BadRequest

Handler = Callable[[Any], Any]
_H = TypeVar("_H", bound=Callable[..., Any])

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


def _as_bytes(value: Any) -> bytes:
    if value is None:
        return b""
    if isinstance(value, str):
        return value.encode("utf-8", "replace")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    return strictjson.dumps(value)
