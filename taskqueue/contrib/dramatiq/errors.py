"""
What dramatiq is told where the broker is away: it knows how to wait for that.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from dramatiq.errors import BrokerConnectionError, ConnectionClosed, ConnectionFailed

from taskqueue.errors import (
    AnswerTimedOut,
    CannotConnect,
    ConnectionLost,
    FatalClientError,
    ShuttingDown,
    StoreUnavailable,
    TaskQueueError,
)

#: Our errors, and what dramatiq calls them; all others are passed on as they are.
_THEIRS: tuple[tuple[type[TaskQueueError], type[BrokerConnectionError]], ...] = (
    (CannotConnect, ConnectionFailed),
    (FatalClientError, ConnectionFailed),
    (ConnectionLost, ConnectionClosed),
    (AnswerTimedOut, ConnectionClosed),
    (ShuttingDown, ConnectionClosed),
    (StoreUnavailable, ConnectionClosed),
)


@contextmanager
def as_theirs() -> Iterator[None]:
    """
    Raise what dramatiq knows for what has to do with the connection.

    @raises ConnectionFailed: there is no broker, or it refuses the connection.
    @raises ConnectionClosed: it has gone away, or cannot write.
    """
    try:
        yield
    except TaskQueueError as error:
        for ours, theirs in _THEIRS:
            if isinstance(error, ours):
                raise theirs(str(error)) from error
        raise
