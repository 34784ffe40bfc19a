"""
What the client needs of an event loop, so that its logic runs on any.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

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

    def resolve(self, future: Any, value: Any) -> bool:
        """Let the future have its value; returns whether it was not given up before."""

    def value_of(self, future: Any) -> Any:
        """
        The value of a future whose reader was cancelled: it had come, and not been
        read yet; C{None} where there is none.
        """

    def reject(self, future: Any, error: Exception) -> None:
        """Let the future fail."""

    def call_later(self, delay_s: float, function: Callable[..., object], *args: Any) -> Delayed:
        """Call C{function} in C{delay_s} seconds."""

    def spawn(self, coroutine: Coroutine[Any, Any, _T]) -> Any:
        """Run a coroutine beside the caller; return a future of its result."""

    def seconds(self) -> float:
        """The loop's own monotonic time."""


def pause(framework: Framework, delay_s: float) -> Any:
    """A future that has its value, C{None}, after C{delay_s} seconds."""
    future = framework.create_future(lambda _: delayed.cancel())
    delayed = framework.call_later(delay_s, framework.resolve, future, None)
    return future


class Carrier(Protocol):
    """What carries the bytes of one connection."""

    def write(self, data: bytes) -> None:
        """Send bytes."""

    def abort(self) -> None:
        """End the connection without waiting for anything."""
