"""
Timers that survive their own errors.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

#: What is due in less is due in so many seconds: something that is due and stays so must not
#: keep the processor busy.
SHORTEST_S = 0.001


class Timer(Service):
    """
    Calls a function again and again while the service runs.

    An error of the function is logged and costs that one call.  A function
    that returns True has more to do, and is called again in the next turn of
    the reactor, so that others get theirs in between.  One that returns a number
    has something to do in so many seconds: it is called then too, if that is before
    its next turn, so that what is due does not wait for that.  One that returns a
    Deferred is waited for, at each call and when the service stops.

    @ivar failures: how many calls have failed.
    @ivar failing: whether the newest call that is over was one of them.
    """

    _log = Logger()

    def __init__(
        self,
        name: str,
        interval_s: float,
        function: Callable[[], bool | float | Deferred[None] | None],
        reactor: IReactorTime,
    ) -> None:
        self.setName(name)
        self.interval_s = interval_s
        self.failures = 0
        self.failing = False
        self._function = function
        self._reactor = reactor
        self._loop = LoopingCall(self._guarded)
        self._loop.clock = reactor
        self._more: IDelayedCall | None = None
        self._under_way: Deferred[None] = succeed(None)

    def startService(self) -> None:
        super().startService()
        self._loop.start(self.interval_s, now=False)

    def stopService(self) -> Deferred[None]:
        super().stopService()
        if self._loop.running:
            self._loop.stop()
        if self._more is not None:
            self._more.cancel()
            self._more = None
        return self._under_way

    def _guarded(self) -> Deferred[None] | None:
        try:
            result = self._function()
        except Exception:
            self._failed(Failure())
            return None
        if isinstance(result, Deferred):
            self._under_way = result.addCallbacks(self._succeeded, self._failed)
            return self._under_way
        self._succeeded()
        if result is True:
            self._call_in(0.0)
        elif type(result) is float and result < self.interval_s:
            self._call_in(max(result, SHORTEST_S))
        return None

    def _call_in(self, pause_s: float) -> None:
        if self._more is not None:
            self._more.reset(pause_s)
        elif self.running:
            self._more = self._reactor.callLater(pause_s, self._again)

    def _again(self) -> None:
        self._more = None
        self._guarded()

    def _succeeded(self, _: None = None) -> None:
        self.failing = False

    def _failed(self, failure: Failure) -> None:
        self.failures += 1
        self.failing = True
        self._log.failure("timer {timer!r} failed, and goes on", failure, timer=self.name)
