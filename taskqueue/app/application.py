"""
The application: its tasks, what goes around them, and its way to the broker.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Callable
from dataclasses import fields as fields_of
from functools import partial
from typing import Any, Concatenate, ParamSpec, TypeVar, Unpack, overload
from weakref import WeakSet

from taskqueue.app.context import Context
from taskqueue.app.definition import TaskDefinition
from taskqueue.app.options import ONCE, Options
from taskqueue.app.periodics import Periodic
from taskqueue.client import Submission
from taskqueue.client.codecs import Codec, codec_of
from taskqueue.errors import BadRequest

_F = ParamSpec("_F")
_P = ParamSpec("_P")
_R = TypeVar("_R")

DEFAULT_ADDRESS = "tq://127.0.0.1:7780"

#: Names the broker where the application does not.
ADDRESS_VARIABLE = "TASKQUEUE_BROKER"

_NAME = re.compile(r"[A-Za-z0-9_\-.:/]{1,128}")


class _Declares:
    """What makes a task of the function below it."""

    def __init__(self, declare: Callable[[Callable[..., Any]], Any]) -> None:
        self._declare = declare

    @overload
    def __call__(
        self, function: Callable[Concatenate[Context, _P], _R], /
    ) -> TaskDefinition[Concatenate[Context, _P], _P, _R]: ...

    @overload
    def __call__(self, function: Callable[_P, _R], /) -> TaskDefinition[_P, _P, _R]: ...

    def __call__(self, function: Callable[..., Any], /) -> Any:
        """
        @raises BadRequest: its name is taken, or none that the broker takes.
        """
        return self._declare(function)


class _Recurs:
    """What has the task below it, or a function, come again and again."""

    def __init__(self, declare: Callable[[Any], Any]) -> None:
        self._declare = declare

    @overload
    def __call__(self, task: TaskDefinition[_F, _P, _R], /) -> TaskDefinition[_F, _P, _R]: ...

    @overload
    def __call__(
        self, function: Callable[Concatenate[Context, _P], _R], /
    ) -> TaskDefinition[Concatenate[Context, _P], _P, _R]: ...

    @overload
    def __call__(self, function: Callable[_P, _R], /) -> TaskDefinition[_P, _P, _R]: ...

    def __call__(self, what: Any, /) -> Any:
        """
        @raises BadRequest: the schedule is none, or it is not for such a task.
        @raises TypeError: the arguments do not fit.
        """
        return self._declare(what)


class App:
    """
    The tasks of an application.

    It connects when it first submits, not before: to import a module with tasks
    costs no connection, and a worker uses its own.

    @ivar handlers: every task by its type.
    @ivar middleware: what goes around submitting and running, outermost first;
        see L{taskqueue.app.middleware}.
    @ivar periodics: what comes again and again.
    @ivar address: where the broker is.
    @ivar queue: where tasks wait that name no queue.
    """

    def __init__(
        self,
        address: str | None = None,
        *,
        codec: str | Codec = "json",
        queue: str = "default",
    ) -> None:
        """
        @param address: C{tq://host:port}; where it is C{None}, what the
            environment names as C{TASKQUEUE_BROKER}, or else C{tq://127.0.0.1:7780}.
        @param codec: how arguments and results are written: a name, or an object
            with C{encode} and C{decode}.
        @raises BadRequest: there is no such codec.
        """
        self.address = address or os.environ.get(ADDRESS_VARIABLE) or DEFAULT_ADDRESS
        self.queue = queue
        self.codec = codec_of(codec)
        self.handlers: dict[str, TaskDefinition[..., ..., Any]] = {}
        self.middleware: list[Any] = []
        self.periodics: list[Periodic] = []
        #: Submits instead of the client where it is set: see L{taskqueue.testing}.
        self.sender: Callable[[Submission], Any] | None = None
        self._client: Any = None
        self._lock = threading.Lock()
        _apps.add(self)

    # --- declaring ------------------------------------------------------------------------

    @overload
    def task(
        self, function: Callable[Concatenate[Context, _P], _R], /
    ) -> TaskDefinition[Concatenate[Context, _P], _P, _R]: ...

    @overload
    def task(self, function: Callable[_P, _R], /) -> TaskDefinition[_P, _P, _R]: ...

    @overload
    def task(
        self,
        name: str | None = None,
        /,
        *,
        codec: str | Codec | None = None,
        result_codec: str | Codec | None = None,
        raw: bool = False,
        in_loop: bool | None = None,
        no_retry_for: tuple[type[BaseException], ...] = (),
        **options: Unpack[Options],
    ) -> _Declares: ...

    def task(self, name: Any = None, /, **how: Any) -> Any:
        """
        Make a task of a function: C{@app.task}, or C{@app.task("mail.send", timeout=30)}.

        A first parameter named C{ctx}, or annotated with L{Context}, is given
        the context; it is not part of the arguments.

        @param name: its type; the function's name where there is none.
        @keyword codec: instead of the application's.
        @keyword result_codec: where the result is written otherwise than the arguments;
            a raw task's is bytes.
        @keyword raw: it takes the payload, as bytes.
        @keyword in_loop: it returns a Deferred: run it on the worker's event loop.
            Coroutine functions are anyway.
        @keyword no_retry_for: exceptions that no retry can mend.
        @keyword options: see L{Options}.
        @raises BadRequest: a name is taken or none, or an option is unknown.
        """
        if callable(name):
            return self._declare(None, {}, name)
        return _Declares(partial(self._declare, name, how))

    def _declare(
        self, name: Any, how: dict[str, Any], function: Callable[..., Any]
    ) -> TaskDefinition[..., ..., Any]:
        if name is None:
            name = getattr(function, "__name__", "")
        if not isinstance(name, str) or not _NAME.fullmatch(name):
            raise BadRequest(
                f"{name!r} is no name for a task: 1 to 128 characters out of letters, digits"
                " and _ - . : /; say another one as the first argument of task()"
            )
        how = dict(how)
        codec, result_codec = how.pop("codec", None), how.pop("result_codec", None)
        own = {key: how.pop(key) for key in ("raw", "in_loop", "no_retry_for") if key in how}
        once = ONCE & how.keys()
        if once:
            raise BadRequest(
                f"{', '.join(sorted(once))} of {name} is said with options(), each time"
            )
        definition = TaskDefinition[..., ..., Any](
            self,
            function,
            name,
            how,
            codec=self.codec if codec is None else codec_of(codec),
            result_codec=None if result_codec is None else codec_of(result_codec),
            **own,
        )
        self._check_free(name, function)
        self.handlers[name] = definition
        return definition

    def _check_free(self, name: str, function: Callable[..., Any]) -> None:
        known = self.handlers.get(name)
        # In an interactive session, a function is defined anew to be mended.
        if known is not None and _place(known.function) != _place(function):
            raise BadRequest(
                f"there are two tasks named {name}: {'.'.join(_place(known.function))} and"
                f" {'.'.join(_place(function))}; name one of them in task()"
            )

    def periodic(
        self,
        *args: Any,
        cron: str | None = None,
        every_s: float | None = None,
        tz: str = "UTC",
        catch_up: str = "skip",
        catch_up_window_s: float | None = None,
        overlap: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ) -> _Recurs:
        """
        Have a task submitted again and again: C{@app.periodic(cron="0 3 * * *")}
        above C{@app.task}, or above a function, of which it makes a task.

        The broker fires it, once a tick, however many workers declare it; they
        do so when they start.

        @param args: what the task is called with; so are C{kwargs}.
        @param name: of the schedule; the task's type where there is none.
        @raises BadRequest: see L{Periodic<taskqueue.app.periodics.Periodic>}.
        @raises TypeError: the arguments do not fit.
        """

        def declare(function: Any) -> Any:
            known = isinstance(function, TaskDefinition)
            definition = function if known else self._declare(None, {}, function)
            periodic = Periodic(
                name or definition.type,
                definition.submission(*args, **kwargs),
                cron,
                every_s,
                tz,
                catch_up,
                catch_up_window_s,
                overlap,
            )
            periodic.check()
            self.periodics[:] = [one for one in self.periodics if one.name != periodic.name]
            self.periodics.append(periodic)
            return definition

        return _Recurs(declare)

    # --- submitting -----------------------------------------------------------------------

    @property
    def client(self) -> Any:
        """
        The application's own blocking client, which connects when it is first asked for.

        @raises CannotConnect: there is no broker.
        """
        with self._lock:
            if self._client is None:
                from taskqueue.client.blocking import connect

                self._client = connect(self.address)
            return self._client

    def send(self, submission: Submission) -> Any:
        """Submit with the application's own client; see L{TaskDefinition.submit}."""
        return self._around_submit(submission, self.sender or self._send)

    def _send(self, submission: Submission) -> Any:
        return _submit_with(self.client, submission)

    def send_async(self, client: Any, submission: Submission) -> Any:
        """Submit with another client; see L{TaskDefinition.submit_async}."""
        return self._around_submit(submission, partial(_submit_with, client))

    def _around_submit(self, submission: Submission, call: Callable[[Submission], Any]) -> Any:
        for middleware in reversed(self.middleware):
            around = getattr(middleware, "around_submit", None)
            if around is not None:
                call = partial(_around, around, call)
        return call(submission)

    def close(self) -> None:
        """Close the client, where there is one; the next submission makes another."""
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()


def _renew_locks() -> None:
    """A lock that another thread held when the process forked is never let go here."""
    for app in _apps:
        app._lock = threading.Lock()


_apps: WeakSet[App] = WeakSet()
os.register_at_fork(after_in_child=_renew_locks)


def _around(around: Callable[..., Any], call: Callable[..., Any], submission: Submission) -> Any:
    return around(submission, call)


def _place(function: Callable[..., Any]) -> tuple[str, str]:
    return (
        str(getattr(function, "__module__", "?")),
        str(getattr(function, "__qualname__", function)),
    )


def _submit_with(client: Any, submission: Submission) -> Any:
    options = {
        field.name: getattr(submission, field.name)
        for field in fields_of(submission)
        if field.name not in ("type", "payload")
        and getattr(submission, field.name) != field.default
    }
    return client.submit(submission.type, submission.payload, **options)
