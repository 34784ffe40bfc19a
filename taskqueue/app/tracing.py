"""
Traces of OpenTelemetry through tasks.

The context of the trace travels as the task's header C{traceparent}, as the W3C
has it (https://www.w3.org/TR/trace-context/), so that workers and producers in
other languages can take part.  The broker makes no spans: both ends know what they
need to.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from taskqueue.app.context import Context
from taskqueue.app.middleware import PURPOSEFUL, Middleware
from taskqueue.client import Submission

try:
    from opentelemetry import propagate, trace
    from opentelemetry.trace import SpanKind, Status, StatusCode
except ImportError:  # then there is nothing to trace with
    AVAILABLE = False
else:
    AVAILABLE = True

#: Under this name the spans are made.
TRACER = "taskqueue"


class Tracing(Middleware):
    """
    Makes a span of every submission, of how long each task waited, and of every run;
    the latter two are children of the submission: C{app.middleware.append(Tracing())}.

    Names of attributes follow OpenTelemetry's conventions for messaging.  Without
    C{opentelemetry-api} (C{pip install 'taskqueue[otel]'}), it does nothing.

    @cvar clock: gives the present moment, as nanoseconds since the epoch.
    """

    clock: Callable[[], int] = staticmethod(time.time_ns)

    def __init__(self, provider: Any = None) -> None:
        """
        @param provider: a C{TracerProvider}; the global one unless given.
        """
        self._provider = provider

    def around_submit(self, submission: Submission, call: Callable[[Submission], Any]) -> Any:
        if not AVAILABLE:
            return call(submission)
        attributes = _attributes(submission.type, submission.queue, "send", "send")
        span = self._tracer().start_span(
            f"send {submission.type}", kind=SpanKind.PRODUCER, attributes=attributes
        )
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False):
                headers = dict(submission.headers or {})
                propagate.inject(headers)
                answer = call(replace(submission, headers=headers or None))
        except BaseException as error:
            _refused(span, error)
            raise
        if isinstance(answer, Deferred):
            return answer.addCallbacks(_sent, _not_sent, (span,), errbackArgs=(span,))
        if inspect.iscoroutine(answer):
            return _awaited(answer, span)
        return _sent(answer, span)

    def around_perform(self, context: Context, call: Callable[[], Any]) -> Any:
        with self._run(context):
            return call()

    async def around_async_perform(
        self, context: Context, call: Callable[[], Awaitable[Any]]
    ) -> Any:
        with self._run(context):
            return await call()

    @contextmanager
    def _run(self, context: Context) -> Iterator[None]:
        if not AVAILABLE:
            yield
            return
        origin = propagate.extract(context.headers)
        self._waited(context, origin)
        with self._tracer().start_as_current_span(
            f"process {context.type}",
            context=origin,
            kind=SpanKind.CONSUMER,
            attributes=_of_delivery(context, "process", "process"),
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except Exception as error:
                if not isinstance(error, PURPOSEFUL):
                    _failed(span, error)
                raise

    def _waited(self, context: Context, origin: Any) -> None:
        """
        A span from the submission to the first run.  Before a later run, nobody here
        knows how long the task has waited, and how long it was being run.
        """
        if context.attempt > 1:
            return
        until_ns = self.clock()
        # The broker's clock may be ahead of this one.
        since_ns = min(until_ns, int(context.submitted_at * 1e9))
        self._tracer().start_span(
            f"wait {context.type}",
            context=origin,
            kind=SpanKind.INTERNAL,
            attributes=_of_delivery(context, "wait"),
            start_time=since_ns,
        ).end(until_ns)

    def _tracer(self) -> Any:
        return trace.get_tracer(TRACER, tracer_provider=self._provider)


def _attributes(type: str, queue: str, name: str, operation: str | None = None) -> dict[str, Any]:
    """
    @param name: what is done, as this system calls it.
    @param operation: the same, as the conventions call it, where they have a word.
    """
    found: dict[str, Any] = {
        "messaging.system": "taskqueue",
        "messaging.operation.name": name,
        "messaging.destination.name": queue,
        "taskqueue.type": type,
    }
    return found if operation is None else {**found, "messaging.operation.type": operation}


def _of_delivery(context: Context, name: str, operation: str | None = None) -> dict[str, Any]:
    return {
        **_attributes(context.type, context.queue, name, operation),
        "messaging.message.id": context.id,
        "taskqueue.attempt": context.attempt,
    }


# --- the end of a submission ------------------------------------------------------------


def _sent(handle: Any, span: Any) -> Any:
    task_id = getattr(handle, "id", None)
    if isinstance(task_id, str):
        span.set_attribute("messaging.message.id", task_id)
    span.end()
    return handle


def _not_sent(failure: Failure, span: Any) -> Failure:
    _refused(span, failure.value)
    return failure


async def _awaited(answer: Awaitable[Any], span: Any) -> Any:
    try:
        handle = await answer
    except BaseException as error:
        _refused(span, error)
        raise
    return _sent(handle, span)


def _refused(span: Any, error: BaseException | None) -> None:
    _failed(span, error)
    span.end()


def _failed(span: Any, error: BaseException | None) -> None:
    name = type(error).__name__
    span.record_exception(error)
    span.set_attribute("error.type", name)
    span.set_status(Status(StatusCode.ERROR, f"{name}: {error}"))
