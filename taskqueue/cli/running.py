"""
Running a command: a reactor, a client, and an exit status.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, TextIO

from twisted.internet.defer import Deferred
from twisted.internet.task import react
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)

from taskqueue.client import Client, connect
from taskqueue.errors import BadRequest, TaskQueueError

OK = 0
REFUSED = 1
USAGE = 2
CANNOT_CONNECT = 3
INTERRUPTED = 130

Command = Callable[[Client], Coroutine[Any, Any, int]]


def complain(message: str) -> None:
    """Tell the user what is wrong."""
    sys.stderr.write(f"taskqueue: {message}\n")
    sys.stderr.flush()


def explain(error: BaseException) -> str:
    """An error as a sentence for the user."""
    if not isinstance(error, TaskQueueError):
        return f"unexpected {type(error).__name__}: {error}"
    hint = "" if error.retry_after_s is None else f" (again in {error.retry_after_s:g} s)"
    return f"{error}{hint}"


def log_to(stream: TextIO | None, level: str = "info") -> None:
    """Log to C{stream}, or nothing at all: Twisted else shows tracebacks by itself."""
    observers = []
    if stream is not None:
        least = LogLevelFilterPredicate(LogLevel.lookupByName(level))
        observers = [FilteringLogObserver(textFileLogObserver(stream), [least])]
    globalLogBeginner.beginLoggingTo(observers, redirectStandardIO=False, discardBuffer=True)


async def with_client(reactor: Any, address: str, timeout_s: float, command: Command) -> int:
    """
    Connect, carry out C{command}, disconnect.

    @return: the exit status; what went wrong has been told.
    """
    try:
        client = await connect(address, reactor=reactor, name="taskqueue-cli", timeout_s=timeout_s)
    except BadRequest as error:
        complain(str(error))
        return USAGE
    except TaskQueueError as error:
        complain(explain(error))
        return CANNOT_CONNECT
    try:
        return await command(client)
    except Exception as error:
        complain(explain(error))
        return REFUSED
    finally:
        await client.close()


def run(main: Callable[[Any], Coroutine[Any, Any, int]]) -> int:
    """
    Run C{main} with a reactor.

    @return: the exit status that it returns.
    """
    status = INTERRUPTED

    async def body(reactor: Any) -> None:
        nonlocal status
        try:
            status = await main(reactor)
        except Exception as error:
            complain(explain(error))
            status = REFUSED

    # The status that react() exits with says less than ours.
    with suppress(SystemExit):
        react(lambda reactor: Deferred.fromCoroutine(body(reactor)))
    return status
