"""
The event loop: coroutine functions, and functions that return a Deferred.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Generator, Mapping
from typing import Any

from twisted.internet import asyncioreactor
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from taskqueue.app.context import Context
from taskqueue.app.outcomes import Verdict
from taskqueue.worker.executors.in_process import InProcess, mark
from taskqueue.worker.stopping import TIMEOUT, Reason
from taskqueue.worker.work import Work


def use_asyncio() -> bool:
    """
    Have the reactor run on an asyncio loop.  To be called by a program before it
    has a reactor.

    @return: whether it does; not so where there is another already.
    """
    if "twisted.internet.reactor" not in sys.modules:
        asyncioreactor.install(asyncio.new_event_loop())
    reactor = sys.modules["twisted.internet.reactor"]
    return isinstance(reactor, asyncioreactor.AsyncioSelectorReactor)


class InLoop(InProcess):
    """
    An L{Executor<taskqueue.worker.executors.Executor>} that runs tasks in the
    reactor's thread.

    Where the reactor runs on an asyncio loop, tasks may await what asyncio has and
    Deferreds alike; elsewhere, Deferreds only.  A task is stopped by cancelling
    what it waits for.
    """

    _log = Logger()

    def __init__(self, works: Mapping[str, Work], concurrency: int, reactor: Any) -> None:
        """
        @param works: by type.
        """
        super().__init__(works, concurrency)
        self._loop: asyncio.AbstractEventLoop | None = getattr(reactor, "_asyncioEventloop", None)

    def start(self) -> Deferred[None]:
        """See L{Executor}."""
        return maybeDeferred(lambda: None)

    def _begin(self, work: Work, payload: bytes, context: Context) -> Deferred[Any]:
        coroutine = work.perform_in_loop(payload, context)
        if self._loop is None:
            return Deferred.fromCoroutine(coroutine)
        return Deferred.fromFuture(self._loop.create_task(bridged(coroutine)))

    def _stray(self, failure: Failure) -> Verdict:
        if not failure.check(asyncio.CancelledError):
            self._log.failure("a task ended in a way that is none", failure)
        return Verdict("failed", error=f"the task did not end: {failure.value!r}")

    def stop_task(self, token: int, reason: Reason) -> None:
        """See L{Executor}."""
        found = self._running.get(token)
        if found is not None:
            context, running = found
            if reason != TIMEOUT:
                mark(context, reason)
            running.cancel()

    def shut_down(self, within_s: float) -> Deferred[None]:
        """Cancel what runs."""
        for _, running in list(self._running.values()):
            running.cancel()
        return maybeDeferred(lambda: None)


class _Bridge:
    """
    Awaits a coroutine in an asyncio task, and whatever Deferreds it awaits: an
    asyncio task knows futures only.
    """

    def __init__(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        self._coroutine = coroutine

    def __await__(self) -> Generator[Any, Any, Any]:
        thrown: BaseException | None = None
        while True:
            try:
                if thrown is None:
                    awaited = self._coroutine.send(None)
                else:
                    awaited = self._coroutine.throw(thrown)
            except StopIteration as end:
                return end.value
            thrown = None
            try:
                if isinstance(awaited, Deferred):
                    yield from _settled(awaited).__await__()
                else:
                    yield awaited
            except GeneratorExit:
                self._coroutine.close()
                raise
            except BaseException as error:  # the asyncio task is cancelled
                if isinstance(awaited, Deferred):
                    awaited.cancel()  # which fails it: the coroutine will see that
                    if awaited.called:
                        continue
                thrown = error


async def bridged(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """
    What C{coroutine} returns; in an asyncio task it may await Deferreds as well.
    """
    return await _Bridge(coroutine)


def _settled(waited: Deferred[Any]) -> asyncio.Future[None]:
    """A future that is done when C{waited} has fired; that keeps its result."""
    settled: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def fired(result: Any) -> Any:
        if not settled.done():
            settled.set_result(None)
        return result

    waited.addBoth(fired)
    return settled
