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
94 to 251 ms before, 3 to 11 ms since.  A connection that is gone is in no cycle.  Nor is
anything collected while a broker recovers: with 1,000,000 tasks that took 0.4 to 1.4 of 8 to 9 s,
and with as many values 0.35 of 2.4 s.

A collection of the second kind looks at all that the first kind has left since the last
one.  After 10 of the first it took up to 25 ms, after 2 of them up to 7 ms, and all
together as long (processor time; 600,000 tasks submitted, half of them claimed and completed).

With the rows for SQLite made in small pieces (L{taskqueue.store.pending}), 5,000 tasks a
second one by one are collected about once in four seconds, for 1 to 2.3 ms, and nothing of the
second kind is; to collect less would leave what is in cycles for longer.

Why large pieces of memory are mapped
=====================================

glibc gives a large piece of memory back to the system when it is freed, as it is mapped on its
own.  But each time it takes up what was freed as its measure of "large", up to 32 MiB.  After the
first large commit the next one comes from between the small pieces, and what it leaves there is
not of much use to them.  With tasks coming as fast as the disk takes them (300,000 of 1 KiB with
C{durability = interval}) 86 MB were free but not given back, of 360 MB.  With
L{MAPPED_FROM_BYTES} as the measure for good the process took 338 MB, and 249 instead of 307 MB with
payloads of 20,000 bytes, in the same processor time.  Payloads of 1 MB cost a tenth more, as what
is mapped has to be cleared; so that is done only where C{memory_limit} is set.

The switch interval of threads was measured too, at 5 ms (Python's own), 1 ms and
0.5 ms: the differences were within the noise (1,000 tasks a second, submit to
acknowledgement, p99: 7.0, 8.9 and 8.8 ms).  It stays as it is.
"""

from __future__ import annotations

import ctypes
import gc
import os
import pwd
import resource
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from types import FrameType
from typing import IO, Any, NoReturn

from twisted.application.service import Service
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger, globalLogBeginner

from taskqueue.beanstalkd_line import USER_STATUS
from taskqueue.config.endpoints import Endpoint
from taskqueue.errors import TaskQueueError
from taskqueue.logs import FromSignal, LogSettings, is_shown, is_twist, is_twistd

#: Files that are open beside the connections of the wire protocols: the store's,
#: the log, the reactor's own, what is listened on, and connections of HTTP.
OTHER_FILES = 128

#: How many connections may wait for a broker that is starting.
EARLY_BACKLOG = 1024

#: The collector's thresholds: new objects; collections of the first, and of the second kind.
COLLECT_AFTER = (10_000, 2, 50)

#: From so many bytes on a piece of memory is mapped on its own; and so much that is free at the end
#: of all others is kept.
MAPPED_FROM_BYTES = 1024 * 1024
KEPT_AT_END_BYTES = 4 * MAPPED_FROM_BYTES

#: What <malloc.h> of glibc calls M_MMAP_THRESHOLD and M_TRIM_THRESHOLD.
_MMAP_THRESHOLD, _TRIM_THRESHOLD = -3, -1

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


def map_large_memory() -> bool:
    """
    Let large pieces of memory go back to the system when they are freed; see the note above.

    @return: whether they do: not where the C library is another one than glibc.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    asked = ((_MMAP_THRESHOLD, MAPPED_FROM_BYTES), (_TRIM_THRESHOLD, KEPT_AT_END_BYTES))
    return all(mallopt(*each) == 1 for each in asked)


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


def most_connections(wanted: int) -> int:
    """
    How many connections this process could have, and C{wanted} at most.
    """
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return wanted if hard == resource.RLIM_INFINITY else max(1, min(wanted, hard - OTHER_FILES))


def listen_early(endpoint: Endpoint, backlog: int = EARLY_BACKLOG) -> socket.socket | None:
    """
    Listen on an endpoint at once, before what takes its time to start has started: who
    connects meanwhile is served then, and not refused.

    @return: C{None} where that is not done, or cannot be: the endpoint itself will tell why.
    """
    host, port = endpoint.arguments.get("interface", ""), endpoint.arguments.get("port", "")
    if endpoint.type != "tcp" or not port:
        return None
    try:
        family, kind, _, _, address = socket.getaddrinfo(
            host or None, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind)
    except OSError:
        return None
    try:
        # As Twisted does: what is left of an old broker's connections is in nobody's way.
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(backlog)
    except OSError:
        listening.close()
        return None
    listening.setblocking(False)
    return listening


class DrainOnSignal(Service):
    """
    Has the broker take no more new tasks on SIGUSR1, as beanstalkd does.

    @param drain: what does that.
    @param from_signal: runs a function in the reactor's thread.
    @param always: also where the signal means something else already: that C{twistd}
        rotates its log file.
    """

    def __init__(
        self, drain: Callable[[], None], from_signal: FromSignal, *, always: bool = False
    ) -> None:
        self._drain = drain
        self._from_signal = from_signal
        self._always = always
        self._previous: Any = None
        self._installed = False

    def startService(self) -> None:
        """Begin to heed SIGUSR1."""
        super().startService()
        if not self._always and signal.getsignal(signal.SIGUSR1):
            _log.info("SIGUSR1 rotates the log file, and does not make the broker drain")
            return
        try:
            self._previous = signal.signal(signal.SIGUSR1, self._told)
        except ValueError:  # Python lets only the main thread handle signals
            _log.warn("not started in the main thread: SIGUSR1 will not make the broker drain")
        else:
            self._installed = True

    def stopService(self) -> None:
        """Give SIGUSR1 back to who had it before."""
        super().stopService()
        # Whoever took it since then keeps it.  Bound methods are equal, never identical.
        if self._installed and signal.getsignal(signal.SIGUSR1) == self._told:
            signal.signal(signal.SIGUSR1, self._previous or signal.SIG_DFL)
        self._installed = False

    def _told(self, number: int, frame: FrameType | None) -> None:
        self._from_signal(self._drain)


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


def become(user: str, command: MutableMapping[str, Any] | None) -> None:
    """
    Have C{twistd} become a user, and its primary group, before anything starts.

    @param command: the options of C{twistd}.
    @raises SystemExit: that cannot be, as was said then.
    """
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        problem = f'getpwnam("{user}"): no such user'
    else:
        if entry.pw_uid == os.getuid():
            return
        if command is not None and is_twistd(command):
            command.update(uid=entry.pw_uid, gid=entry.pw_gid)
            return
        problem = f"only twistd becomes another user, such as {user}"
    sys.stderr.write(f"taskqueue: {problem}\n")
    raise SystemExit(USER_STATUS)


def _end_daemon(command: Mapping[str, Any]) -> None:
    """Do what C{twistd} does when an application fails to start, but for the traceback."""
    pipe = command.get("statusPipe")
    if pipe is not None:
        os.write(pipe, b"1 the broker does not start")
        os.close(pipe)
    if command.get("pidfile"):
        with suppress(OSError):
            os.unlink(command["pidfile"])
