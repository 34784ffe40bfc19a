"""
An event loop that turns only while somebody waits in it: futures and timers for a client that
needs no thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine, Generator
from heapq import heappop, heappush
from itertools import count
from typing import Any


class Future:
    """What a coroutine here awaits."""

    __slots__ = ("_error", "_value", "done")

    def __init__(self) -> None:
        self.done = False
        self._value: Any = None
        self._error: Exception | None = None

    def settle(self, value: Any, error: Exception | None = None) -> bool:
        """Let it have its value, or fail; returns whether it had not before."""
        if self.done:
            return False
        self.done, self._value, self._error = True, value, error
        return True

    @property
    def value(self) -> Any:
        """The value; C{None} where there is none."""
        return self._value

    def __await__(self) -> Generator[Future, None, Any]:
        if not self.done:
            yield self
        if self._error is not None:
            raise self._error
        return self._value


class Timer:
    """A call that was put off."""

    __slots__ = ("_call",)

    def __init__(self, call: Callable[[], object]) -> None:
        self._call: Callable[[], object] | None = call

    @property
    def cancelled(self) -> bool:
        """Whether it is not to be made."""
        return self._call is None

    def cancel(self) -> None:
        """Do not make it."""
        self._call = None

    def fire(self) -> None:
        """Make it, unless it was cancelled."""
        call, self._call = self._call, None
        if call is not None:
            call()


class WaitingFramework:
    """Futures and timers; whoever waits has the timers fire."""

    def __init__(self) -> None:
        self._timers: list[tuple[float, int, Timer]] = []
        self._order = count()

    def create_future(self, canceller: Callable[[Any], None]) -> Future:
        """A future; nobody cancels one here."""
        return Future()

    def resolve(self, future: Any, value: Any) -> bool:
        """Let it have its value."""
        return bool(future.settle(value))

    def value_of(self, future: Any) -> Any:
        """The value that it has."""
        return future.value

    def reject(self, future: Any, error: Exception) -> None:
        """Let it fail."""
        future.settle(None, error)

    def call_later(self, delay_s: float, function: Callable[..., object], *args: Any) -> Timer:
        """Call C{function} in C{delay_s} seconds, if somebody waits then, or else later."""
        timer = Timer(lambda: function(*args))
        heappush(self._timers, (self.seconds() + delay_s, next(self._order), timer))
        return timer

    def spawn(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Nothing runs beside who waits."""
        coroutine.close()
        raise NotImplementedError("a client without a loop does one thing after another")

    def seconds(self) -> float:
        """The monotonic time."""
        return time.monotonic()

    def next_s(self, longest_s: float) -> float:
        """How long it is until the next timer, seconds."""
        timers = self._timers
        while timers and timers[0][2].cancelled:
            heappop(timers)
        if not timers:
            return longest_s
        return max(0.0, min(longest_s, timers[0][0] - self.seconds()))

    def fire(self) -> None:
        """Make the calls that are due."""
        now = self.seconds()
        while self._timers and self._timers[0][0] <= now:
            heappop(self._timers)[2].fire()
