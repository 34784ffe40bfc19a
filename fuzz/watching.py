"""
What a target must not do: raise, or have something logged as nobody foresaw it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from twisted.logger import LogEvent, formatEvent, globalLogPublisher


class Unforeseen(AssertionError):
    """Something went wrong inside the broker that it has no answer to."""


@contextmanager
def nothing_unforeseen() -> Iterator[None]:
    """
    @raises Unforeseen: a failure was logged meanwhile.
    """
    seen: list[LogEvent] = []

    def observe(event: LogEvent) -> None:
        if "log_failure" in event:
            seen.append(event)

    globalLogPublisher.addObserver(observe)
    try:
        yield
    finally:
        globalLogPublisher.removeObserver(observe)
    for event in seen:
        raise Unforeseen(formatEvent(event)) from event["log_failure"].value
