"""
Values under keys, in the broker of a test.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from taskqueue.client.limits import Limits
from taskqueue.client.requests import Frame
from taskqueue.client.values import VALUE_WAIT_S, Value, ValueCalls
from taskqueue.wire import Header, MessageType

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Asked(Protocol):
    """What is needed of a broker."""

    def ask(self, kind: MessageType, **header: Any) -> Header:
        """Ask it for something."""

    def advance(self, seconds: float) -> None:
        """Let time pass."""


class _Session:
    """What the calls look at of a client's session."""

    limits = Limits()


class _Calls(ValueCalls):
    """The client's calls, which ask a broker in this process and so never wait."""

    def __init__(self, broker: Asked) -> None:
        self._broker = broker
        self._session = _Session()  # type: ignore[assignment]  # all that is looked at

    async def reached(self) -> None:
        """It is here."""

    async def _ask(self, kind: MessageType, header: Header | Frame, **how: Any) -> Header:
        assert isinstance(header, dict)
        return self._broker.ask(kind, **header)


def _at_once(
    call: Callable[Concatenate[ValueCalls, _P], Coroutine[Any, Any, _T]],
) -> Callable[Concatenate[ValuesFace, _P], _T]:
    """The same call, as one that is answered when it returns."""

    def method(self: ValuesFace, /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        coroutine = call(_Calls(self), *args, **kwargs)
        try:
            coroutine.send(None)
        except StopIteration as stop:
            answer: _T = stop.value
            return answer
        raise AssertionError("nothing in it waits")

    return wraps(call)(method)


class ValuesFace:
    """
    The calls on values of L{BlockingClient<taskqueue.client.blocking.BlockingClient>}.
    """

    def ask(self, kind: MessageType, **header: Any) -> Header:
        """Ask the broker for something."""
        raise NotImplementedError

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        raise NotImplementedError

    put_value = _at_once(ValueCalls.put_value)
    put_values = _at_once(ValueCalls.put_values)
    get_value = _at_once(ValueCalls.get_value)
    get_values = _at_once(ValueCalls.get_values)
    take_value = _at_once(ValueCalls.take_value)
    delete_values = _at_once(ValueCalls.delete_values)
    increase_value = _at_once(ValueCalls.increase_value)
    list_values = _at_once(ValueCalls.list_values)
    value_namespaces = _at_once(ValueCalls.value_namespaces)
    _changed_values = _at_once(ValueCalls.wait_values)

    def wait_values(
        self, namespace: str, known: Mapping[str, int], wait_s: float = VALUE_WAIT_S
    ) -> dict[str, Value]:
        """
        The values that have another version than is known; where there is none, let the
        time pass that the client would wait, and look again.
        """
        found = self._changed_values(namespace, known, 0)
        if not found and wait_s > 0:
            self.advance(wait_s)
            found = self._changed_values(namespace, known, 0)
        return found
