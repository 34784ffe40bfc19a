"""
The store catches up beside the commits.

What a commit made safe is brought to its place a while later, for many commits at
once, in a thread of its own: nobody waits for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from taskqueue.core.counters import BUCKETS_S, Histogram
from taskqueue.errors import ShuttingDown, StoreError
from taskqueue.service.runner import Runner
from taskqueue.store.interface import IStore

_T = TypeVar("_T")


class Settling:
    """
    Lets the store catch up: from time to time, and when much has come together.

    @ivar error: what the store said when it could not; C{None} while it can.
    @ivar seconds: how long it took each time.
    """

    _log = Logger()

    def __init__(self, store: IStore, runner: Runner, reactor: IReactorTime) -> None:
        self._store = store
        self._runner = runner
        self._reactor = reactor
        self._under_way = False
        self.error: StoreError | None = None
        self.seconds = Histogram(BUCKETS_S)

    def offer(self) -> None:
        """Something was committed: catch up, if it has become much."""
        if self._store.wants_checkpoint and self.error is None:
            self.catch_up()

    def catch_up(self) -> Deferred[None]:
        """
        Let the store catch up.  Fires when it has, also where it could not: that is
        told in the log, and in L{error}, and tried again the next time.
        """
        return succeed(None) if self._under_way else self.finish()

    def finish(self) -> Deferred[None]:
        """As L{catch_up}, and with all that is committed by now, whatever is under way."""
        self._under_way = True
        done = self._runner.run(self._store.checkpoint)
        return done.addCallbacks(
            self._caught_up, self._failed, callbackArgs=(self._reactor.seconds(),)
        )

    def exclusive(self, function: Callable[..., _T], *args: Any) -> Deferred[_T]:
        """Fires with what C{function} returns, run while the store does not catch up."""
        return self._runner.run(function, *args)

    def _caught_up(self, _: None, began: float) -> None:
        self._under_way = False
        self.seconds.observe(self._reactor.seconds() - began)
        if self.error is not None:
            self.error = None
            self._log.info("the store catches up again")

    def _failed(self, failure: Failure) -> None:
        self._under_way = False
        if failure.check(CancelledError, ShuttingDown):
            return
        if failure.check(StoreError) is None:
            self._log.failure("the store cannot catch up", failure)
        else:
            if self.error is None:
                self._log.error(
                    "the store cannot catch up, and commits stay in its log: {error}",
                    error=str(failure.value),
                )
            self.error = failure.value  # type: ignore[assignment]  # that is what it is
