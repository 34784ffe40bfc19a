"""
Waiting, but not for ever.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

_log = Logger()


def in_time(waited: Deferred[Any], limit_s: float, reactor: IReactorTime) -> Deferred[bool]:
    """
    Wait for something at most so long.

    @return: fires with whether C{waited} came to its end within C{limit_s}
        seconds; if not, that is cancelled.  A failure is logged, and an end.
    """
    over = True

    def cancel() -> None:
        nonlocal over
        over = False
        waited.cancel()

    def ended(result: object) -> bool:
        if call.active():
            call.cancel()
        if isinstance(result, Failure) and not result.check(CancelledError):
            _log.failure("what was waited for failed", result)
        return over

    call = reactor.callLater(max(0.0, limit_s), cancel)
    return waited.addBoth(ended)
