"""
Where blocking calls of a store run.
"""

from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from time import monotonic
from typing import Any, ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred, execute, fail
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from taskqueue.errors import ShuttingDown

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Runner(Protocol):
    """Runs calls one after another, in the order in which they were asked for."""

    def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> Deferred[_T]:
        """Fires with what C{function} returns, or fails as it does."""

    def stop(self, within_s: float) -> bool:
        """
        Take no more calls, and wait up to C{within_s} seconds for those that
        were taken.

        @return: whether they are over.
        """


class InlineRunner:
    """Runs calls at once, in the caller's thread."""

    def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> Deferred[_T]:
        return execute(function, *args, **kwargs)

    def stop(self, within_s: float) -> bool:
        return True  # nothing is under way


class _Daemon(Thread):
    """A thread that does not keep the process alive, should its call never return."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs, daemon=True)


class _Pool(ThreadPool):
    threadFactory = _Daemon  # type: ignore[assignment]  # it is called as this one can be

    def quit(self, within_s: float) -> bool:
        """As C{stop}, which waits for ever."""
        if not self.joined:
            self.joined = True
            self.started = False
            self._team.quit()
        ends_at = monotonic() + within_s
        for thread in self.threads:
            thread.join(max(0.0, ends_at - monotonic()))
        return not any(thread.is_alive() for thread in self.threads)


class ThreadRunner:
    """Runs calls in one thread of its own."""

    def __init__(self, reactor: Any, name: str) -> None:
        """
        @param reactor: an C{IReactorFromThreads}, in whose thread answers arrive.
        """
        self._reactor = reactor
        self._pool = _Pool(1, 1, name=name)
        self._pool.start()

    def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> Deferred[_T]:
        if self._pool.joined:
            return fail(ShuttingDown(retry_after_s=1.0))
        return deferToThreadPool(self._reactor, self._pool, function, *args, **kwargs)

    def stop(self, within_s: float) -> bool:
        return self._pool.quit(within_s)


def make_runner(inline: bool, reactor: Any, name: str) -> Runner:
    """A runner that suits a store: inline where its calls are quick."""
    return InlineRunner() if inline else ThreadRunner(reactor, name)
