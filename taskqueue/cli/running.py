"""
Running a command: a reactor, a client, and an exit status.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any, NamedTuple, TextIO

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import react
from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    globalLogBeginner,
    textFileLogObserver,
)

from taskqueue.cli.exits import CANNOT_CONNECT, INTERRUPTED, OK, REFUSED, TIMED_OUT, USAGE
from taskqueue.cli.output import Output
from taskqueue.client import Client, connect
from taskqueue.client.options import ClientOptions
from taskqueue.errors import AnswerTimedOut, BadRequest, TaskQueueError

__all__ = [
    "CANNOT_CONNECT",
    "INTERRUPTED",
    "OK",
    "REFUSED",
    "TIMED_OUT",
    "USAGE",
    "Command",
    "Visit",
    "complain",
    "explain",
    "log_to",
    "run",
    "with_client",
]


class Visit(NamedTuple):
    """What a command has while it runs: a connected client, an output, a reactor."""

    client: Client
    out: Output
    reactor: Any


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


async def with_client(
    reactor: Any,
    address: str,
    timeout_s: float,
    command: Command,
    how: ClientOptions | None = None,
) -> int:
    """
    Connect, carry out C{command}, disconnect.  Where the reactor is stopped
    meanwhile, the command is cancelled, so that it can clean up.

    @param how: more about how the client is made.
    @return: the exit status; what went wrong has been told.
    """
    try:
        settings = ClientOptions(**(how or {}))
        settings.update({"name": "taskqueue-cli", "timeout_s": timeout_s})
        client = await connect(address, reactor=reactor, **settings)
    except BadRequest as error:
        complain(str(error))
        return USAGE
    except TaskQueueError as error:
        complain(explain(error))
        return CANNOT_CONNECT
    try:
        return await _interruptible(reactor, command(client))
    except CancelledError:
        return INTERRUPTED
    except AnswerTimedOut as error:
        complain(explain(error))
        return TIMED_OUT
    except Exception as error:
        complain(explain(error))
        return REFUSED
    finally:
        await client.close()


async def _interruptible(reactor: Any, work: Coroutine[Any, Any, int]) -> int:
    """What C{work} returns; it is cancelled, and waited for, when the reactor stops."""
    running = Deferred.fromCoroutine(work)
    ended: Deferred[None] = Deferred()
    stopping = False

    def interrupt() -> Deferred[None]:
        nonlocal stopping
        stopping = True
        running.cancel()
        return ended

    trigger = reactor.addSystemEventTrigger("before", "shutdown", interrupt)
    try:
        return await running
    finally:
        if not stopping:
            reactor.removeSystemEventTrigger(trigger)
        ended.callback(None)


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
