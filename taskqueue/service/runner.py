"""
Where blocking calls of a store run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from threading import Thread
from typing import Any, NamedTuple, ParamSpec, Protocol, TypeVar

from twisted.internet.defer import Deferred, execute, fail
from twisted.python.failure import Failure

from taskqueue.errors import ShuttingDown

_P = ParamSpec("_P")
_T = TypeVar("_T")


class Runner(Protocol):
    """
    Runs calls one after another, in the order in which they were asked for.

    @ivar at_work: whether a thread of its own has something to do.
    """

    @property
    def at_work(self) -> bool: ...

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

    at_work = False

    def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> Deferred[_T]:
        return execute(function, *args, **kwargs)

    def stop(self, within_s: float) -> bool:
        return True  # nothing is under way


class _Call(NamedTuple):
    """What is to be called, and who is told what came of it."""

    answer: Deferred[Any]
    function: Callable[[], Any]


class ThreadRunner:
    """
    Runs calls in one thread of its own.

    A queue and C{callFromThread} are all that a call costs, about 14 microseconds;
    through a pool of threads it is 24.  The thread does not keep the process alive, should
    a call never return.
    """

    def __init__(self, reactor: Any, name: str) -> None:
        """
        @param reactor: an C{IReactorFromThreads}, in whose thread answers arrive.
        """
        self._reactor = reactor
        self._calls: SimpleQueue[_Call | None] = SimpleQueue()
        self._stopped = False
        # Each is written in one thread only.
        self._asked = self._done = 0
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def at_work(self) -> bool:
        return self._asked != self._done

    def run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> Deferred[_T]:
        if self._stopped:
            return fail(ShuttingDown(retry_after_s=1.0))
        answer: Deferred[_T] = Deferred()
        self._asked += 1
        self._calls.put(_Call(answer, partial(function, *args, **kwargs)))
        return answer

    def stop(self, within_s: float) -> bool:
        if not self._stopped:
            self._stopped = True
            self._calls.put(None)
        self._thread.join(max(0.0, within_s))
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                result = call.function()
            except BaseException:
                self._reactor.callFromThread(call.answer.errback, Failure())
            else:
                self._reactor.callFromThread(call.answer.callback, result)
            self._done += 1


def make_runner(inline: bool, reactor: Any, name: str) -> Runner:
    """A runner that suits a store: inline where its calls are quick."""
    return InlineRunner() if inline else ThreadRunner(reactor, name)
