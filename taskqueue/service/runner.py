"""
Where blocking calls of a store run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred, execute
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Runner(Protocol):
    """Runs calls one after another, in the order in which they were asked for."""

    def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> Deferred[_T]:
        """Fires with what C{function} returns, or fails as it does."""

    def stop(self) -> None:
        """Wait for the call that runs, and take no more."""


class InlineRunner:
    """Runs calls at once, in the caller's thread."""

    def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> Deferred[_T]:
        return execute(function, *args, **kwargs)

    def stop(self) -> None:
        """Nothing is under way."""


class ThreadRunner:
    """Runs calls in one thread of its own."""

    def __init__(self, reactor: Any, name: str) -> None:
        """
        @param reactor: an C{IReactorFromThreads}, in whose thread answers arrive.
        """
        self._reactor = reactor
        self._pool = ThreadPool(1, 1, name=name)
        self._pool.start()

    def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> Deferred[_T]:
        return deferToThreadPool(self._reactor, self._pool, function, *args, **kwargs)

    def stop(self) -> None:
        self._pool.stop()


def make_runner(inline: bool, reactor: Any, name: str) -> Runner:
    """A runner that suits a store: inline where its calls are quick."""
    return InlineRunner() if inline else ThreadRunner(reactor, name)
