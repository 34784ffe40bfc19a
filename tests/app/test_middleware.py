"""
What comes with the package to go around tasks.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.app.application import App
from taskqueue.app.middleware import ErrorReports, Middleware
from taskqueue.app.outcomes import Retry, Snooze
from taskqueue.app.performing import async_perform, perform
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
