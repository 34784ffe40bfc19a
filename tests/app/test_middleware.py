"""
What comes with the package to go around tasks.
"""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.app import tracing
from taskqueue.app.application import App
from taskqueue.app.middleware import ErrorReports, Middleware
from taskqueue.app.outcomes import Retry, Snooze
from taskqueue.app.performing import async_perform, perform
from taskqueue.app.tracing import Tracing
from tests.app.running import Sent, context


class MiddlewareCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.app = App()
        self.sent = Sent(self.app)

    def run_task(self, function, **described):
        definition = self.app.task("a-task")(function)
        self.app.handlers.clear()
        if not definition.in_loop:
            return perform(definition, b"", context(**described))
        running = async_perform(definition, b"", context(**described))
        return self.successResultOf(Deferred.fromCoroutine(running))

    def both(self, error):
        """A plain function and a coroutine function that raise this."""

        def plain():
            raise error

        async def later():
            raise error

        return plain, later


class PassingTests(MiddlewareCase):
    def test_everything_passes(self) -> None:
        self.app.middleware.append(Middleware())

        async def later():
            return 2

        self.assertEqual(self.run_task(lambda: 1).result, b"1")
        self.assertEqual(self.run_task(later).result, b"2")
        self.assertEqual(self.app.task("t")(lambda: 1).submit(), "handle 1")


class ErrorReportTests(MiddlewareCase):
    def setUp(self) -> None:
        super().setUp()
        self.reported: list[tuple[BaseException, str]] = []
        self.app.middleware.append(
            ErrorReports(lambda error, where: self.reported.append((error, where.id)), (OSError,))
        )

    def test_an_exception_is_reported_once_and_goes_on(self) -> None:
        error = ValueError("x")
        for function in self.both(error):
            self.assertEqual(self.run_task(function).status, "failed")
        self.assertEqual(self.reported, [(error, context().id)] * 2)

    def test_what_is_no_error(self) -> None:
        for error in (Retry(), Snooze(1), OSError()):
            for function in self.both(error):
                self.run_task(function)
        self.run_task(lambda: 1)
        self.assertEqual(self.reported, [])

    def test_a_report_that_fails_does_no_harm(self) -> None:
        def broken(error, where):
            raise KeyError("x")

        self.app.middleware[:] = [ErrorReports(broken)]
        plain, _ = self.both(ValueError("the real one"))
        self.assertTrue(self.run_task(plain).error.startswith("ValueError: the real one"))
        self.assertEqual(len(self.flushLoggedErrors(KeyError)), 1)


class TracingTests(MiddlewareCase):
    def setUp(self) -> None:
        super().setUp()
        self.spans = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.spans))
        self.addCleanup(provider.shutdown)
        self.app.middleware.append(Tracing(provider))

    def test_a_run_is_a_child_of_its_submission(self) -> None:
        task = self.app.task("mail", headers={"a": "1"})(lambda: None)
        self.assertEqual(task.submit(), "handle 1")
        headers = self.sent.last.headers
        self.assertEqual(headers["a"], "1")
        self.assertRegex(headers["traceparent"], r"^00-[0-9a-f]{32}-[0-9a-f]{16}-0[13]$")
        self.app.handlers.clear()

        async def later():
            self.assertTrue(trace.get_current_span().get_span_context().is_valid)

        self.run_task(lambda: None, headers=headers)
        self.run_task(later, headers=headers)
        send, *runs = self.spans.get_finished_spans()
        self.assertEqual((send.name, send.kind), ("send mail", SpanKind.PRODUCER))
        self.assertEqual(send.attributes["messaging.destination.name"], "default")
        self.assertEqual(len(runs), 2)
        for run in runs:
            self.assertEqual((run.name, run.kind), ("process greet", SpanKind.CONSUMER))
            self.assertEqual(run.parent.span_id, send.context.span_id)
            self.assertEqual(run.context.trace_id, send.context.trace_id)
            self.assertEqual(run.attributes["messaging.message.id"], context().id)
            self.assertEqual(run.attributes["taskqueue.attempt"], 1)

    def test_errors_stand_in_the_span(self) -> None:
        for function in (*self.both(ValueError("x")), *self.both(Retry())):
            self.run_task(function)
        *failed, asked, asked_too = self.spans.get_finished_spans()
        for span in failed:
            self.assertEqual(span.status.status_code, StatusCode.ERROR)
            self.assertEqual(span.status.description, "ValueError: x")
            self.assertEqual([event.name for event in span.events], ["exception"])
        for span in (asked, asked_too):
            self.assertEqual(span.status.status_code, StatusCode.UNSET)
            self.assertEqual(span.events, ())

    def test_without_the_package_nothing_happens(self) -> None:
        self.patch(tracing, "AVAILABLE", False)
        self.app.task("mail")(lambda: None).submit()
        self.assertIsNone(self.sent.last.headers)
        self.assertEqual(self.run_task(lambda: 1).result, b"1")
        self.assertEqual(self.spans.get_finished_spans(), ())
