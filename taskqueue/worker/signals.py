"""
What signals mean to a worker that has a process of its own.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

from twisted.logger import Logger

from taskqueue.worker.worker import Worker

#: Claim no more.
QUIET = (signal.SIGTSTP, signal.SIGUSR1)

#: Stop; the second one hurries.
STOP = (signal.SIGTERM, signal.SIGINT)

_log = Logger()


def heed_signals(worker: Worker, reactor: Any) -> Callable[[], None]:
    """
    Let signals rule C{worker}: SIGTSTP and SIGUSR1 make it quiet, SIGTERM and
    SIGINT stop it, and a second one of these stops it without waiting for what is
    running.  This begins when the reactor runs, which sets signals of its own then.

    @return: gives the signals back to whoever had them.
    """
    told = 0
    before: dict[int, Any] = {}

    def stop() -> None:
        nonlocal told
        told += 1
        if told > 1:
            _log.warn("told to stop again: what is running is given back now")
            worker.hurry()
        else:
            worker.stopService()

    def heard(call: Callable[[], None]) -> Callable[[int, FrameType | None], None]:
        return lambda number, frame: reactor.callFromThread(call)

    def take() -> None:
        for numbers, call in ((QUIET, worker.be_quiet), (STOP, stop)):
            for number in numbers:
                before[number] = signal.signal(number, heard(call))

    def give_back() -> None:
        while before:
            signal.signal(*before.popitem())

    reactor.callWhenRunning(reactor.callLater, 0, take)
    return give_back
