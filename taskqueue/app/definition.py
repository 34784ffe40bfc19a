"""
A function as a task.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar, Unpack

from taskqueue.app.calls import Parameters, encode_call
from taskqueue.app.options import TIMEOUT_HEADER, Options, checked, fields, merged
from taskqueue.client import Submission
from taskqueue.client.codecs import BYTES, Codec
from taskqueue.errors import BadRequest

if TYPE_CHECKING:
    from taskqueue.app.application import App

#: Of the function itself, and of calls of it: without the context.
_F = ParamSpec("_F")
_P = ParamSpec("_P")
_R = TypeVar("_R")


class TaskDefinition(Generic[_F, _P, _R]):
    """
    A function that can be submitted as a task; called, it is the function.

    @ivar app: where it belongs.
    @ivar function: what runs.
    @ivar type: the name that it has for the broker.
    @ivar raw: it is given the payload as bytes.
    @ivar in_loop: it is a coroutine function, or returns a Deferred: it runs on
        the worker's event loop, not in a process or thread of its own.
    @ivar no_retry_for: exceptions that no retry can mend.
    @ivar parameters: what it can be called with.
    @ivar codec: how its arguments are written.
    @ivar result_codec: how its result is.
    """

    def __init__(
        self,
        app: App,
        function: Callable[_F, _R],
        type: str,
        given: Mapping[str, Any],
        *,
        codec: Codec,
        result_codec: Codec | None = None,
        raw: bool = False,
        in_loop: bool | None = None,
        no_retry_for: tuple[type[BaseException], ...] = (),
    ) -> None:
        """
        @param given: L{Options}.
        @param result_codec: C{None}: as the arguments, and of a raw task, bytes.
        @param in_loop: C{None}: as the function is declared.
        @raises BadRequest: an option is unknown, or the function takes no payload
            although C{raw} is true.
        """
        functools.update_wrapper(self, function)
        self.app = app
        self.function = function
        self.type = type
        self.raw = raw
        self.in_loop = _is_coroutine(function) if in_loop is None else in_loop
        self.no_retry_for = no_retry_for
        self.parameters = Parameters(function, type)
        self.codec = codec
        self.result_codec = result_codec or (BYTES if raw else codec)
        self._options = checked(given)
        self._declared_s = self._options.get("timeout")
        if raw:
            self._check_raw()

    def _check_raw(self) -> None:
        try:
            self.parameters.check([b""], {})
        except TypeError as error:
            raise BadRequest(f"a raw task is called with one value, its payload: {error}") from None

    def __call__(self, *args: _F.args, **kwargs: _F.kwargs) -> _R:
        """Call the function, here and now."""
        return self.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<task {self.type}>"

    def __reduce__(self) -> str:
        """Pickled by name, as the function would be, whose place it has."""
        return self.function.__qualname__

    # --- how it is treated ----------------------------------------------------------------

    @property
    def timeout_s(self) -> float | None:
        """How long one run may take, seconds; C{None}: as long as it likes."""
        timeout_s: float | None = self._options.get("timeout")
        return timeout_s

    def timeout_for(self, headers: Mapping[str, str]) -> float | None:
        """How long the run of a task with these headers may take, seconds."""
        try:
            return float(headers[TIMEOUT_HEADER])
        except (KeyError, ValueError):
            return self.timeout_s

    def options(self, **more: Unpack[Options]) -> TaskDefinition[_F, _P, _R]:
        """
        The same task, treated otherwise: C{send.options(run_in=60).submit(...)}.

        @raises BadRequest: there is no such option.
        """
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._options = merged(self._options, more)
        return other

    # --- submitting -----------------------------------------------------------------------

    def submission(self, *args: _P.args, **kwargs: _P.kwargs) -> Submission:
        """
        What is submitted for a call with these arguments.

        @raises TypeError: they do not fit the function.
        @raises BadRequest: one of them is of a kind that the codec has no form
            for, or an option does not fit.
        """
        self.parameters.fit(args, kwargs)
        payload = self._raw(args, kwargs) if self.raw else encode_call(args, kwargs, self.codec)
        options = self._options
        if self.timeout_s == self._declared_s:  # the worker knows it
            options = {name: value for name, value in options.items() if name != "timeout"}
        bind = partial(self.parameters.check, args, kwargs)
        told = fields(options, self.type, payload, bind)
        told.setdefault("queue", self.app.queue)
        return Submission(self.type, payload, codec=self.result_codec, **told)

    def _raw(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        (payload,) = (*args, *kwargs.values())
        if not isinstance(payload, (bytes, bytearray, memoryview)):
            raise TypeError(f"{self.type} takes its payload as bytes, not {payload!r:.80}")
        return bytes(payload)

    def submit(self, *args: _P.args, **kwargs: _P.kwargs) -> Any:
        """
        Submit a call with the application's own client, and wait until the
        broker has it; for programs without an event loop.

        @return: a handle: C{.id}, C{.result(timeout=...)}.
        @raises TypeError: the arguments do not fit.
        @raises TaskQueueError: the broker refused it, or cannot be reached.
        """
        return self.app.send(self.submission(*args, **kwargs))

    def submit_async(self, client: Any, /, *args: _P.args, **kwargs: _P.kwargs) -> Any:
        """
        Submit a call with a client for Twisted or asyncio.

        @return: what the client's C{submit} returns: a Deferred or a coroutine.
        @raises TypeError: the arguments do not fit.
        """
        return self.app.send_async(client, self.submission(*args, **kwargs))


def _is_coroutine(function: Callable[..., Any]) -> bool:
    if inspect.iscoroutinefunction(function) or getattr(function, "_taskqueue_in_reactor", False):
        return True
    call = getattr(function, "__call__", None)  # noqa: B004  # the method, not whether there is one
    return inspect.iscoroutinefunction(call)
