"""
The client's event loop in Twisted.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from txaio import tx

from taskqueue.client.framework import Delayed

_T = TypeVar("_T")


class TwistedFramework:
    """
    Deferreds and a reactor.

    @param reactor: an C{IReactorTime}.
    """

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor

    def create_future(self, canceller: Callable[[Any], None]) -> Deferred[Any]:
        """A Deferred, and what is called when it is cancelled."""
        future: Deferred[Any] = tx.create_future(canceller=canceller)
        return future

    def resolve(self, future: Any, value: Any) -> bool:
        """Let it fire; whoever cancels it has said so at once."""
        tx.resolve(future, value)
        return True

    def value_of(self, future: Any) -> Any:
        """Nothing: what a Deferred has is read in the moment in which it comes."""
        return None

    def reject(self, future: Any, error: Exception) -> None:
        """Let it fail."""
        tx.reject(future, error)

    def call_later(self, delay_s: float, function: Callable[..., object], *args: Any) -> Delayed:
        """Call C{function} in C{delay_s} seconds."""
        delayed: Delayed = self._reactor.callLater(delay_s, function, *args)
        return delayed

    def spawn(self, coroutine: Coroutine[Any, Any, _T]) -> Deferred[_T]:
        """Run a coroutine, at once until it first waits."""
        return Deferred.fromCoroutine(coroutine)

    def seconds(self) -> float:
        """The reactor's time."""
        now: float = self._reactor.seconds()
        return now
