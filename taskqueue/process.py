"""
What the commands arrange for their whole process: its clock, its memory, its open
files, and how it ends.  An application that embeds the broker arranges this itself.

Why the reactor's clock is replaced
===================================

C{reactor.seconds} is the wall clock.  When that is set back by an hour, every
timer that is scheduled waits an hour longer: leases would not expire, schedules
not fall due, claims not time out.  The reactor reads the clock through this one
attribute only, and the times in what it schedules are never shown to anybody;
so C{time.monotonic} in its place changes nothing but that.  (The access log of
C{twisted.web} would show it; the broker keeps none.)

Why the garbage collector is held back
======================================

A task is a dozen objects and in no cycle: the collector looks at all of them and
finds nothing, while everybody waits.  With 300,000 tasks submitted in batches of
1,000, on two cores under Python 3.11, it took 0.62 s of 5.4 s, at most 96 ms at a
time.  With L{COLLECT_AFTER} it took 0.10 s, at most 20 ms, in the same memory.  What
was recovered is not looked at ever again: with 200,000 tasks a full collection took
94 to 251 ms before, 3 to 11 ms since.  A connection that is gone is in no cycle.

A collection of the second kind looks at all that the first kind has left since the last
one.  After 10 of the first it took up to 25 ms, after 2 of them up to 7 ms, and all
together as long (processor time; 600,000 tasks submitted, half of them claimed and completed).

The switch interval of threads was measured too, at 5 ms (Python's own), 1 ms and
0.5 ms: the differences were within the noise (1,000 tasks a second, submit to
acknowledgement, p99: 7.0, 8.9 and 8.8 ms).  It stays as it is.
"""

from __future__ import annotations

import gc
import os
import resource
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import FrameType
from typing import IO, Any, NoReturn

from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger, globalLogBeginner

from taskqueue.errors import TaskQueueError
from taskqueue.logs import LogSettings, is_shown, is_twist, is_twistd

#: Files that are open beside the connections of the wire protocols: the store's,
#: the log, the reactor's own, what is listened on, and connections of HTTP.
OTHER_FILES = 128

#: The collector's thresholds: new objects; collections of the first, and of the second kind.
COLLECT_AFTER = (10_000, 2, 50)

_log = Logger()


def use_monotonic_clock(reactor: Any) -> bool:
    """
    Let the reactor's timers run by the monotonic clock.

    @return: whether they do; not when something is scheduled by the other one.
    """
    if reactor.getDelayedCalls():
        _log.warn("the timers run by the wall clock: something had been scheduled before")
        return False
    reactor.seconds = time.monotonic
    return True


def collect_rarely() -> None:
    """Let the garbage collector disturb less often; see the note above."""
    gc.set_threshold(*COLLECT_AFTER)


def provide_files(connections: int) -> None:
    """
    See to it that this process may open a file for each connection, as far as
    that is in its power; warn where it is not.

    @param connections: how many there may be.
    """
    needed = connections + OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return
    most = needed if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    if most < needed:
        _log.warn(
            "max_connections = {connections} needs {needed} open files, this process may have "
            "{most}: raise the hard limit (LimitNOFILE= of systemd, ulimit -Hn of a shell)",
            connections=connections,
            needed=needed,
            most=most,
        )


def end_well_on_sigterm(reactor: Any) -> None:
    """
    Let SIGTERM, once the reactor runs, end the process with the status 0.

    Twisted ends by the same signal in the end, so that whoever sent it finds that
    it had to be killed.  For a service, SIGTERM is how it is told to stop, and to
    have stopped is success.
    """
    reactor.callWhenRunning(_heed_sigterm, reactor)


def wait_with_sigterm(from_signal: Callable[[Callable[[], object]], object], stop: Any) -> None:
    """
    Let a SIGTERM that comes before the reactor has taken it over stop the reactor
    when it runs: it would kill a process that has just told that it started.

    @param from_signal: runs a function in the reactor's thread, once it runs.
    @param stop: stops the reactor.
    """

    def stop_once() -> None:
        with suppress(ReactorNotRunning):
            stop()

    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        with suppress(ValueError):  # Python lets only the main thread handle signals
            signal.signal(signal.SIGTERM, lambda number, frame: from_signal(stop_once))


def _heed_sigterm(reactor: Any) -> None:
    def stop() -> None:
        _log.info("told to stop (SIGTERM)")
        with suppress(ReactorNotRunning):  # told again
            reactor.stop()

    def terminated(number: int, frame: FrameType | None) -> None:
        reactor.callFromThread(stop)

    # Whoever took the signal from the reactor keeps it.  Bound methods are equal, never identical.
    if signal.getsignal(signal.SIGTERM) == reactor.sigTerm:
        signal.signal(signal.SIGTERM, terminated)


class Terminal:
    """
    Where the person who gave the command reads why it was refused: also from a
    daemon, which has let go of the terminal.

    @param command: the options of C{twistd} or C{twist}.
    """

    def __init__(self, command: Mapping[str, Any]) -> None:
        daemon = is_twistd(command) and not command.get("nodaemon")
        # The duplicate outlives what twistd does to the standard streams.
        self._descriptor = os.dup(2) if daemon else None

    def tell(self, line: str) -> None:
        """Write one line."""
        if self._descriptor is None:
            out: IO[str] | None = sys.__stderr__  # twistd lets sys.stderr write to the log
            if out is not None:
                out.write(f"{line}\n")
                out.flush()
        else:
            os.write(self._descriptor, f"{line}\n".encode())

    def leave(self) -> None:
        """Let go of it, so that nobody waits for the daemon."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def refuse_to_start(
    error: TaskQueueError, command: Mapping[str, Any], settings: LogSettings, terminal: Terminal
) -> NoReturn:
    """
    End the process, status 1, with one line that says why: in the log, and on the
    terminal where that does not show the log.

    @param command: the options of C{twistd} or C{twist}.
    """
    reason = " ".join(str(error).split())
    if is_twist(command):
        # It would do so only when everything has started.
        globalLogBeginner.beginLoggingTo(
            [settings.observer(command["logFile"])], redirectStandardIO=False
        )
    _log.critical("the broker does not start: {reason}", reason=reason)
    if not is_shown(command):
        terminal.tell(f"the broker does not start: {reason}")
    _end_daemon(command)
    raise SystemExit(1)


def _end_daemon(command: Mapping[str, Any]) -> None:
    """Do what C{twistd} does when an application fails to start, but for the traceback."""
    pipe = command.get("statusPipe")
    if pipe is not None:
        os.write(pipe, b"1 the broker does not start")
        os.close(pipe)
    if command.get("pidfile"):
        with suppress(OSError):
            os.unlink(command["pidfile"])
