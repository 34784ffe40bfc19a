"""
What the client needs of an event loop, so that its logic runs on any.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

from twisted.internet.defer import Deferred
from txaio import tx

_T = TypeVar("_T")


class Delayed(Protocol):
    """A call that was put off."""

    def cancel(self) -> None:
        """Do not make it."""


class Framework(Protocol):
    """
    Futures and time.  A future is whatever the event loop has coroutines await.
    """

    def create_future(self, canceller: Callable[[Any], None]) -> Any:
        """A future, and what is called when its reader cancels it."""

    def resolve(self, future: Any, value: Any) -> None:
        """Let the future have its value."""

    def reject(self, future: Any, error: Exception) -> None:
        """Let the future fail."""

    def call_later(self, delay_s: float, function: Callable[..., None], *args: Any) -> Delayed:
        """Call C{function} in C{delay_s} seconds."""

    def spawn(self, coroutine: Coroutine[Any, Any, _T]) -> Any:
        """Run a coroutine now, beside the caller; return a future of its result."""

    def seconds(self) -> float:
        """The loop's own monotonic time."""


class TwistedFramework:
    """
    Deferreds and a reactor.

    @param reactor: an C{IReactorTime}.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def create_future(self, canceller: Callable[[Any], None]) -> Deferred[Any]:
        future: Deferred[Any] = tx.create_future(canceller=canceller)
        return future

    def resolve(self, future: Any, value: Any) -> None:
        tx.resolve(future, value)

    def reject(self, future: Any, error: Exception) -> None:
        tx.reject(future, error)

    def call_later(self, delay_s: float, function: Callable[..., None], *args: Any) -> Delayed:
        delayed: Delayed = self._reactor.callLater(delay_s, function, *args)
        return delayed

    def spawn(self, coroutine: Coroutine[Any, Any, _T]) -> Deferred[_T]:
        return Deferred.fromCoroutine(coroutine)

    def seconds(self) -> float:
        now: float = self._reactor.seconds()
        return now
