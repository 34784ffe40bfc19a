"""
Traces of OpenTelemetry through tasks.

The context of the trace travels as the task's header C{traceparent}, as the W3C
has it (https://www.w3.org/TR/trace-context/), so that workers and producers in
other languages can take part.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

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
    Makes a span of every submission and of every run, the run a child of the
    submission: C{app.middleware.append(Tracing())}.

    Names of attributes follow OpenTelemetry's conventions for messaging.  Without
    C{opentelemetry-api} (C{pip install 'taskqueue[otel]'}), it does nothing.
    """

    def __init__(self, provider: Any = None) -> None:
        """
        @param provider: a C{TracerProvider}; the global one unless given.
        """
        self._provider = provider

    def around_submit(self, submission: Submission, call: Callable[[Submission], Any]) -> Any:
        if not AVAILABLE:
            return call(submission)
        attributes = _attributes(submission.type, submission.queue, "send")
        with self._tracer().start_as_current_span(
            f"send {submission.type}", kind=SpanKind.PRODUCER, attributes=attributes
        ):
            headers = dict(submission.headers or {})
            propagate.inject(headers)
            return call(replace(submission, headers=headers or None))

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
        attributes = _attributes(context.type, context.queue, "process")
        attributes["messaging.message.id"] = context.id
        attributes["taskqueue.attempt"] = context.attempt
        with self._tracer().start_as_current_span(
            f"process {context.type}",
            context=propagate.extract(context.headers),
            kind=SpanKind.CONSUMER,
            attributes=attributes,
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except Exception as error:
                if not isinstance(error, PURPOSEFUL):
                    span.record_exception(error)
                    span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
                raise

    def _tracer(self) -> Any:
        return trace.get_tracer(TRACER, tracer_provider=self._provider)


def _attributes(type: str, queue: str, operation: str) -> dict[str, Any]:
    return {
        "messaging.system": "taskqueue",
        "messaging.operation.name": operation,
        "messaging.destination.name": queue,
        "taskqueue.type": type,
    }
