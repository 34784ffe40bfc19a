"""
What goes around submitting and running every task of an application.

Middleware is any object with one or more of the methods of L{Middleware},
appended to C{app.middleware}; the first in the list is the outermost.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from twisted.logger import Logger

from taskqueue.app.context import Context
from taskqueue.app.outcomes import Discard, Retry, Snooze, TaskCancelled
from taskqueue.client import Submission

#: What tasks raise on purpose.
PURPOSEFUL: tuple[type[BaseException], ...] = (Retry, Snooze, Discard, TaskCancelled)


class Middleware:
    """
    Passes everything on.  Subclasses need only the methods that they change.
    """

    def around_submit(self, submission: Submission, call: Callable[[Submission], Any]) -> Any:
        """
        A task is submitted.

        @param call: submits; it may be given another submission, such as
            C{dataclasses.replace(submission, headers=...)}.
        @return: what C{call} returned: a handle, or of an asynchronous client a
            Deferred or coroutine of it.
        """
        return call(submission)

    def around_perform(self, context: Context, call: Callable[[], Any]) -> Any:
        """
        A plain function is run, wherever that is: in a child process or a thread.

        @param call: runs it, and raises what it raises.
        @return: its result.
        """
        return call()

    async def around_async_perform(
        self, context: Context, call: Callable[[], Awaitable[Any]]
    ) -> Any:
        """The same for functions on the event loop; between the two, others run."""
        return await call()


class ErrorReports(Middleware):
    """
    Tells somebody of every exception in a task, as services such as Sentry want::

        app.middleware.append(ErrorReports(lambda error, _: sentry_sdk.capture_exception(error)))

    What tasks raise on purpose (L{Retry}, L{Snooze}, L{Discard}, and when they are
    cancelled) is no error.  That the report fails does the task no harm.
    """

    _log = Logger()

    def __init__(
        self,
        report: Callable[[BaseException, Context], Any],
        ignore: tuple[type[BaseException], ...] = (),
    ) -> None:
        """
        @param report: called with the exception, while it is being handled, and with
            the context of the task.
        @param ignore: what is not reported beside L{PURPOSEFUL}.
        """
        self._report = report
        self._ignore = PURPOSEFUL + ignore

    def around_perform(self, context: Context, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:
            self._tell(error, context)
            raise

    async def around_async_perform(
        self, context: Context, call: Callable[[], Awaitable[Any]]
    ) -> Any:
        try:
            return await call()
        except Exception as error:
            self._tell(error, context)
            raise

    def _tell(self, error: Exception, context: Context) -> None:
        if isinstance(error, self._ignore):
            return
        try:
            self._report(error, context)
        except Exception:
            self._log.failure("an error of task {task} could not be reported", task=context.id)
