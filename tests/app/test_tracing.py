"""
Spans of submissions, waits and runs, and how they belong together.
"""

from __future__ import annotations

from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.semconv._incubating.attributes import messaging_attributes
from opentelemetry.trace import SpanKind, StatusCode
from twisted.internet.defer import Deferred, fail, succeed

from taskqueue.app import tracing
from taskqueue.app.outcomes import Retry
from taskqueue.app.tracing import Tracing
from taskqueue.client.handles import TaskHandle
from tests.app.running import context
from tests.app.test_middleware import MiddlewareCase as _MiddlewareCase

#: When the task of these tests was submitted, and is run first, seconds.
SUBMITTED_AT, RUN_AT = 1_800_000_000.0, 1_800_000_007.5

NS = 1_000_000_000


class TracingCase(_MiddlewareCase):
    def setUp(self) -> None:
        super().setUp()
        self.spans = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.spans))
        self.addCleanup(provider.shutdown)
        self.tracing = Tracing(provider)
        self.now_s = RUN_AT
        self.tracing.clock = lambda: int(self.now_s * NS)
        self.app.middleware.append(self.tracing)

    def submitted(self, **how: Any) -> Any:
        """The headers of a task that was submitted."""
        self.app.task("mail", **how)(lambda: None).submit()
        self.app.handlers.clear()
        return self.sent.last.headers

    def finished(self, name: str) -> list[Any]:
        """The spans that are over, of one kind."""
        return [s for s in self.spans.get_finished_spans() if s.name.partition(" ")[0] == name]


class LinkTests(TracingCase):
    def test_wait_and_run_are_children_of_the_submission(self) -> None:
        headers = self.submitted(headers={"a": "1"})
        self.assertEqual(headers["a"], "1")
        self.assertRegex(headers["traceparent"], r"^00-[0-9a-f]{32}-[0-9a-f]{16}-0[13]$")

        async def later():
            self.assertTrue(trace.get_current_span().get_span_context().is_valid)

        for function in (lambda: None, later):
            self.run_task(function, headers=headers)
        [send], waits, runs = map(self.finished, ("send", "wait", "process"))
        self.assertEqual((send.name, send.kind), ("send mail", SpanKind.PRODUCER))
        self.assertEqual((len(waits), len(runs)), (2, 2))
        for span, kind in ((waits[0], SpanKind.INTERNAL), (runs[0], SpanKind.CONSUMER)):
            self.assertEqual(span.kind, kind)
            self.assertEqual(span.name.partition(" ")[2], "greet")
            self.assertEqual(span.parent.span_id, send.context.span_id)
            self.assertEqual(span.context.trace_id, send.context.trace_id)

    def test_a_task_that_was_not_traced_begins_a_trace(self) -> None:
        self.run_task(lambda: None)
        [run] = self.finished("process")
        self.assertIsNone(run.parent)

    def test_a_task_submitted_by_a_task_goes_on_with_its_trace(self) -> None:
        other = self.app.task("other")(lambda: None)
        self.run_task(lambda: str(other.submit()))
        [send], [run] = self.finished("send"), self.finished("process")
        self.assertEqual(send.parent.span_id, run.context.span_id)


class WaitTests(TracingCase):
    def test_from_the_submission_to_the_first_run(self) -> None:
        self.run_task(lambda: None, submitted_at=SUBMITTED_AT)
        [wait] = self.finished("wait")
        self.assertEqual(wait.start_time, int(SUBMITTED_AT * NS))
        self.assertEqual(wait.end_time, int(RUN_AT * NS))

    def test_a_later_run_has_none(self) -> None:
        self.run_task(lambda: None, attempt=2)
        self.assertEqual(self.finished("wait"), [])
        self.assertEqual(len(self.finished("process")), 1)

    def test_a_clock_that_is_behind_the_broker(self) -> None:
        self.now_s = SUBMITTED_AT - 5
        self.run_task(lambda: None, submitted_at=SUBMITTED_AT)
        [wait] = self.finished("wait")
        self.assertEqual(wait.start_time, wait.end_time)


class AttributeTests(TracingCase):
    def test_each(self) -> None:
        self.run_task(lambda: None, headers=self.submitted(queue="letters"))
        [send], [wait], [run] = map(self.finished, ("send", "wait", "process"))
        common = {"messaging.system": "taskqueue"}
        self.assertEqual(
            dict(send.attributes),
            common
            | {
                "messaging.operation.name": "send",
                "messaging.operation.type": "send",
                "messaging.destination.name": "letters",
                "taskqueue.type": "mail",
            },
        )
        delivery = common | {
            "messaging.destination.name": context().queue,
            "messaging.message.id": context().id,
            "taskqueue.type": context().type,
            "taskqueue.attempt": 1,
        }
        self.assertEqual(dict(wait.attributes), delivery | {"messaging.operation.name": "wait"})
        self.assertEqual(
            dict(run.attributes),
            delivery
            | {"messaging.operation.name": "process", "messaging.operation.type": "process"},
        )

    def test_names_are_those_of_the_conventions(self) -> None:
        self.run_task(lambda: None, headers=self.submitted())
        known = {value for value in vars(messaging_attributes).values() if isinstance(value, str)}
        operations = {value.value for value in messaging_attributes.MessagingOperationTypeValues}
        for span in self.spans.get_finished_spans():
            used = {name for name in span.attributes if name.startswith("messaging.")}
            self.assertEqual(used - known, set())
            operation = span.attributes.get("messaging.operation.type", "send")
            self.assertIn(operation, operations)


class EndTests(TracingCase):
    def test_errors_stand_in_the_span(self) -> None:
        for function in (*self.both(ValueError("x")), *self.both(Retry())):
            self.run_task(function)
        *failed, asked, asked_too = self.finished("process")
        for span in failed:
            self.assertEqual(span.status.status_code, StatusCode.ERROR)
            self.assertEqual(span.status.description, "ValueError: x")
            self.assertEqual(span.attributes["error.type"], "ValueError")
            self.assertEqual([event.name for event in span.events], ["exception"])
        for span in (asked, asked_too):
            self.assertEqual(span.status.status_code, StatusCode.UNSET)
            self.assertEqual(span.events, ())

    def answering(self, answer: Any) -> Any:
        """Submit, and be answered so."""
        self.app.sender = lambda submission: answer
        return self.app.task("mail")(lambda: None).submit()

    def test_a_handle(self) -> None:
        handle = TaskHandle("an-id", None, None)
        self.assertIs(self.answering(handle), handle)
        [send] = self.finished("send")
        self.assertEqual(send.attributes["messaging.message.id"], "an-id")

    def test_a_deferred(self) -> None:
        waiting: Deferred[Any] = Deferred()
        answer = self.answering(waiting)
        self.assertEqual(self.finished("send"), [])
        handle = TaskHandle("an-id", None, None)
        waiting.callback(handle)
        self.assertIs(self.successResultOf(answer), handle)
        [send] = self.finished("send")
        self.assertEqual(send.attributes["messaging.message.id"], "an-id")

    def test_a_coroutine(self) -> None:
        handle = TaskHandle("an-id", None, None)

        async def submitting():
            return await succeed(handle)

        answer = self.answering(submitting())
        self.assertEqual(self.finished("send"), [])
        self.assertIs(self.successResultOf(Deferred.fromCoroutine(answer)), handle)
        self.assertEqual(len(self.finished("send")), 1)

    def test_a_submission_that_fails(self) -> None:
        async def submitting():
            return await fail(OSError("no"))

        self.failureResultOf(self.answering(fail(OSError("no"))), OSError)
        self.failureResultOf(Deferred.fromCoroutine(self.answering(submitting())), OSError)

        def refusing(submission):
            raise OSError("no")

        self.app.sender = refusing
        self.assertRaises(OSError, self.app.task("other")(lambda: None).submit)
        sends = self.finished("send")
        self.assertEqual(len(sends), 3)
        for send in sends:
            self.assertEqual(send.status.description, "OSError: no")
            self.assertEqual(send.attributes["error.type"], "OSError")
            self.assertEqual(len(send.events), 1)

    def test_without_the_package_nothing_happens(self) -> None:
        self.patch(tracing, "AVAILABLE", False)
        self.assertIsNone(self.submitted())
        self.assertEqual(self.run_task(lambda: 1).result, b"1")
        self.assertEqual(self.spans.get_finished_spans(), ())
