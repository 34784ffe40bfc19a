"""
Performing a task: from its payload to what the broker is told.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from taskqueue.app.calls import BadCall, decode_call
from taskqueue.app.context import Context
from taskqueue.app.definition import TaskDefinition
from taskqueue.app.outcomes import Verdict
from taskqueue.app.verdicts import LONGEST_ERROR, verdict_of
from taskqueue.client.codecs import encoded
from taskqueue.errors import BadRequest

Definition = TaskDefinition[..., ..., Any]

#: Of what most functions return, nothing can be awaited: it need not be looked for.
_PLAIN = frozenset((type(None), bool, str, int, float, bytes, list, dict))


def perform(definition: Definition, payload: bytes, context: Context) -> Verdict:
    """
    Run a plain function here and now.

    @return: how that ended; whatever the function raises, this does not.
        Only what asks the whole process to end passes: C{KeyboardInterrupt}.
    """
    call: Callable[[], Any] = partial(_call, definition, payload, context)
    for middleware in reversed(definition.app.middleware):
        around = getattr(middleware, "around_perform", None)
        if around is not None:
            call = partial(around, context, call)
    try:
        value = call()
        if type(value) not in _PLAIN and inspect.isawaitable(value):
            _close(value)
            raise BadCall(
                f"{definition.type} returned a {type(value).__name__}, which nobody awaits here:"
                " declare it with async def, or with in_loop=True"
            )
    except (Exception, SystemExit) as error:
        return _raised(error, definition, context)
    return completed(definition, value)


async def async_perform(definition: Definition, payload: bytes, context: Context) -> Verdict:
    """
    Run a coroutine function, or one that returns a Deferred, on the event loop
    that runs this.

    @return: how that ended.
    """
    call: Callable[[], Awaitable[Any]] = partial(_awaited, definition, payload, context)
    for middleware in reversed(definition.app.middleware):
        around = getattr(middleware, "around_async_perform", None)
        if around is not None:
            call = partial(around, context, call)
    try:
        value = await call()
    except (Exception, SystemExit, asyncio.CancelledError) as error:
        return _raised(error, definition, context)
    return completed(definition, value)


async def _awaited(definition: Definition, payload: bytes, context: Context) -> Any:
    value = _call(definition, payload, context)
    return await value if inspect.isawaitable(value) else value


def _call(definition: Definition, payload: bytes, context: Context) -> Any:
    parameters = definition.parameters
    if definition.raw:
        arguments: list[Any] = [payload]
        named: dict[str, Any] = {}
    else:
        arguments, named = decode_call(payload, definition.codec)
        try:
            parameters.fit(arguments, named)
        except TypeError as error:
            raise BadCall(f"the arguments do not fit: {error}") from None
    before = (context,) if parameters.wants_context else ()
    return definition.function(*before, *arguments, **named)


def _close(value: Any) -> None:
    if inspect.iscoroutine(value):
        value.close()


# --- verdicts -----------------------------------------------------------------------------


def completed(definition: Definition, value: Any) -> Verdict:
    """
    What to tell of a function that returned C{value}: C{None} is an empty result,
    bytes are the result as they are, all else is as the codec writes it.
    """
    try:
        return Verdict(
            "completed", b"" if value is None else encoded(value, definition.result_codec)
        )
    except BadRequest as error:
        text = f"{definition.type} returned what cannot be written as a result: {error}"
        return Verdict("failed", error=text[:LONGEST_ERROR], permanent=True)


def _raised(error: BaseException, definition: Definition, context: Context) -> Verdict:
    """What to tell of a function that raised C{error}."""
    if isinstance(error, BadCall):
        return Verdict("failed", error=str(error)[:LONGEST_ERROR], permanent=True)
    return verdict_of(error, cancelled=context.cancelled, permanent=definition.no_retry_for)
