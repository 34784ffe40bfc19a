"""What the commands arrange for their process, as far as this one can bear it."""

from __future__ import annotations

import ctypes
import os
import pwd
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from io import StringIO
from typing import Any

from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.error import ReactorNotRunning
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import LoopingCall
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SkipTest, SynchronousTestCase

from taskqueue import process
from taskqueue.config.endpoints import parse_endpoint

HOUR_S = 3600.0


class Wall:
    """A wall clock that can be set."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


class Logged(SynchronousTestCase):
    """Sees what is logged."""

    def setUp(self) -> None:
        self.events: list[Any] = []
        globalLogPublisher.addObserver(self.events.append)
        self.addCleanup(globalLogPublisher.removeObserver, self.events.append)

    def said(self) -> str:
        mine = [e for e in self.events if e.get("log_namespace") == "taskqueue.process"]
        return "\n".join(formatEvent(event) for event in mine)


class MonotonicClock(Logged):
    """Timers of a real reactor while the wall clock is set."""

    def setUp(self) -> None:
        super().setUp()
        self.wall = Wall()

    def reactor(self, kind: Callable[[], Any] = SelectReactor) -> Any:
        reactor = kind()
        self.addCleanup(reactor.removeAll)
        reactor.seconds = self.wall  # as every reactor has it, but that this one can be set
        return reactor

    def test_the_wall_clock_stops_timers(self) -> None:
        """Were it not so, nothing would have to be done."""
        reactor = self.reactor()
        reactor.callLater(1, list)
        self.wall.ahead_s = -HOUR_S
        self.assertGreater(reactor.timeout(), HOUR_S - 10)

    def test_a_clock_that_is_set(self) -> None:
        for kind in (SelectReactor, AsyncioSelectorReactor):
            reactor = self.reactor(kind)
            self.assertTrue(process.use_monotonic_clock(reactor))
            call = reactor.callLater(1, list)
            for ahead_s in (-HOUR_S, HOUR_S):
                self.wall.ahead_s = ahead_s
                self.assertTrue(0.5 < reactor.timeout() <= 1, reactor.timeout())
                call.delay(0.0)
                call.reset(1)
                self.assertTrue(0.5 < reactor.timeout() <= 1, reactor.timeout())

    def test_loops_go_on(self) -> None:
        reactor = self.reactor()
        process.use_monotonic_clock(reactor)
        ticks: list[float] = []

        def tick() -> None:
            ticks.append(time.monotonic())
            self.wall.ahead_s = -HOUR_S if len(ticks) % 2 else HOUR_S
            if len(ticks) == 6:
                reactor.stop()

        loop = LoopingCall(tick)
        loop.clock = reactor
        loop.start(0.01).addErrback(self.fail)
        reactor.callLater(20, reactor.stop)  # should the loop have come to a stand
        reactor.run(installSignalHandlers=False)
        self.assertEqual(len(ticks), 6)
        self.assertTrue(0.04 < ticks[-1] - ticks[0] < 10)

    def test_something_is_scheduled_already(self) -> None:
        """By the other clock it would come due never, or at once."""
        reactor = self.reactor()
        reactor.callLater(1, list)
        self.assertFalse(process.use_monotonic_clock(reactor))
        self.assertIs(reactor.seconds, self.wall)
        self.assertIn("run by the wall clock", self.said())


class Files(Logged):
    """The limit of open files."""

    def provide(self, connections: int, soft: int, hard: int) -> list[tuple[int, int]]:
        """What the limits are set to, from these."""
        found: list[tuple[int, int]] = []
        self.patch(resource, "getrlimit", lambda which: (soft, hard))
        self.patch(resource, "setrlimit", lambda which, limits: found.append(limits))
        process.provide_files(connections)
        return found

    def test_enough(self) -> None:
        self.assertEqual(self.provide(1000, 2000, 2000), [])
        self.assertEqual(self.provide(1000, resource.RLIM_INFINITY, resource.RLIM_INFINITY), [])
        self.assertEqual(self.said(), "")

    def test_raised(self) -> None:
        self.assertEqual(self.provide(1000, 1024, 4096), [(4096, 4096)])
        infinity = resource.RLIM_INFINITY
        needed = 1000 + process.OTHER_FILES
        self.assertEqual(self.provide(1000, 1024, infinity), [(needed, infinity)])
        self.assertEqual(self.said(), "")

    def test_not_enough(self) -> None:
        self.assertEqual(self.provide(5000, 1024, 4096), [(4096, 4096)])
        self.assertIn("max_connections = 5000 needs 5128 open files", self.said())
        self.assertIn("may have 4096", self.said())


_MAPPING = """
import ctypes
from taskqueue.process import MAPPED_FROM_BYTES, map_large_memory

class Info(ctypes.Structure):
    names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
    _fields_ = [(name, ctypes.c_size_t) for name in names.split()]

libc = ctypes.CDLL(None)
libc.mallinfo2.restype = Info

def mapped(size):
    before = libc.mallinfo2().hblkhd
    piece = bytes(size)
    return libc.mallinfo2().hblkhd - before >= size

found = [map_large_memory()]
for size in (16 * MAPPED_FROM_BYTES, 2 * MAPPED_FROM_BYTES, MAPPED_FROM_BYTES // 2):
    found.append(mapped(size))
print(*found)
"""


class Memory(SynchronousTestCase):
    def test_largePiecesAreMapped(self) -> None:
        """Also after a larger one was freed: glibc by itself would not any more."""
        if not hasattr(ctypes.CDLL(None), "mallinfo2"):
            raise SkipTest("tells nothing of its memory: this is no glibc, or one before 2.33")
        done = subprocess.run(
            [sys.executable, "-c", _MAPPING], capture_output=True, text=True, check=True
        )
        self.assertEqual(done.stdout.split(), ["True", "True", "True", "False"])

    def test_anotherLibraryIsLeftAlone(self) -> None:
        class Library:
            """One without C{mallopt}."""

        self.patch(ctypes, "CDLL", lambda name: Library())
        self.assertFalse(process.map_large_memory())


class MostConnections(SynchronousTestCase):
    def test_as_many_as_there_can_be_files(self) -> None:
        for hard, most in ((resource.RLIM_INFINITY, 10_000), (4096, 3968), (10**6, 10_000), (9, 1)):
            self.patch(resource, "getrlimit", lambda which, hard=hard: (9, hard))
            self.assertEqual(process.most_connections(10_000), most)


class ListenEarly(SynchronousTestCase):
    """Who connects before the broker has started is not refused."""

    def listen(self, text: str) -> Any:
        found = process.listen_early(parse_endpoint(text))
        if found is not None:
            self.addCleanup(found.close)
        return found

    def test_listens(self) -> None:
        for host in ("127.0.0.1", "localhost", "0.0.0.0"):
            found = self.listen(f"tcp:0:interface={host}")
            port = found.getsockname()[1]
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
            self.assertFalse(found.getblocking())

    def test_a_port_that_is_busy(self) -> None:
        """The endpoint will tell of it, in its own words."""
        port = self.listen("tcp:0:interface=127.0.0.1").getsockname()[1]
        self.assertIsNone(self.listen(f"tcp:{port}:interface=127.0.0.1"))

    def test_other_endpoints_listen_themselves(self) -> None:
        for text in ("unix:/run/a.sock", "tls:port=1", "systemd:domain=INET:index=0"):
            self.assertIsNone(self.listen(text))
        self.assertIsNone(self.listen("tcp:0:interface=no such host"))


class Drain(Logged):
    """SIGUSR1, where clients know that a broker may take no more."""

    def setUp(self) -> None:
        super().setUp()
        self.addCleanup(
            signal.signal, signal.SIGUSR1, signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        )
        self.drained = 0

    def drain(self) -> None:
        self.drained += 1

    def start(self, *, always: bool = False) -> None:
        service = process.DrainOnSignal(self.drain, lambda call: call(), always=always)
        service.startService()
        self.addCleanup(service.stopService)

    def test_drains(self) -> None:
        self.start()
        signal.raise_signal(signal.SIGUSR1)
        signal.raise_signal(signal.SIGUSR1)
        self.assertEqual(self.drained, 2)

    def test_gives_it_back(self) -> None:
        service = process.DrainOnSignal(self.drain, lambda call: call())
        service.startService()
        service.stopService()
        self.assertEqual(signal.getsignal(signal.SIGUSR1), signal.SIG_DFL)

    def test_a_log_file_that_rotates_goes_on_doing_so(self) -> None:
        rotated: list[int] = []
        signal.signal(signal.SIGUSR1, lambda number, frame: rotated.append(number))
        self.start()
        signal.raise_signal(signal.SIGUSR1)
        self.assertEqual((self.drained, rotated), (0, [signal.SIGUSR1]))
        self.assertIn("SIGUSR1 rotates the log file", formatEvent(self.events[-1]))

    def test_unless_it_is_started_as_beanstalkd(self) -> None:
        signal.signal(signal.SIGUSR1, lambda number, frame: None)
        self.start(always=True)
        signal.raise_signal(signal.SIGUSR1)
        self.assertEqual(self.drained, 1)


class Become(SynchronousTestCase):
    def setUp(self) -> None:
        self.err = StringIO()
        self.patch(sys, "stderr", self.err)

    def test_twistd_does_it(self) -> None:
        entry = pwd.getpwall()[-1]
        self.patch(os, "getuid", lambda: entry.pw_uid + 1)
        command: dict[str, Any] = {"logfile": None}
        process.become(entry.pw_name, command)
        self.assertEqual((command["uid"], command["gid"]), (entry.pw_uid, entry.pw_gid))

    def test_it_is_that_user_already(self) -> None:
        command: dict[str, Any] = {"logfile": None}
        process.become(pwd.getpwuid(os.getuid()).pw_name, command)
        self.assertEqual(command, {"logfile": None})

    def test_nobody_of_that_name(self) -> None:
        error = self.assertRaises(SystemExit, process.become, "no such", {"logfile": None})
        self.assertEqual(error.code, 33)
        self.assertEqual(self.err.getvalue(), 'taskqueue: getpwnam("no such"): no such user\n')

    def test_twist_cannot(self) -> None:
        entry = pwd.getpwall()[-1]
        self.patch(os, "getuid", lambda: entry.pw_uid + 1)
        self.assertRaises(SystemExit, process.become, entry.pw_name, {"fileLogObserverFactory": 1})
        self.assertIn("only twistd becomes another user", self.err.getvalue())


class FakeReactor:
    """Runs at once what it is told to."""

    stops = 0

    def sigTerm(self, number: int, frame: Any) -> None:
        """What the reactor itself would do."""

    def callWhenRunning(self, function: Any, *args: Any) -> None:
        function(*args)

    callFromThread = callWhenRunning

    def stop(self) -> None:
        self.stops += 1
        if self.stops > 1:
            raise ReactorNotRunning


class Terminate(SynchronousTestCase):
    """SIGTERM."""

    def setUp(self) -> None:
        self.addCleanup(signal.signal, signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        self.reactor = FakeReactor()

    def test_stops(self) -> None:
        signal.signal(signal.SIGTERM, self.reactor.sigTerm)
        process.end_well_on_sigterm(self.reactor)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        self.assertEqual(self.reactor.stops, 2)

    def test_somebody_else_has_it(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        process.end_well_on_sigterm(self.reactor)
        self.assertEqual(signal.getsignal(signal.SIGTERM), signal.SIG_IGN)

    def test_before_the_reactor_has_it(self) -> None:
        """It waits for the reactor, instead of killing a process that has just started."""
        later: list[Callable[[], None]] = []
        stopped: list[bool] = []

        def stop() -> None:
            if stopped:
                raise ReactorNotRunning
            stopped.append(True)

        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        process.wait_with_sigterm(later.append, stop)
        signal.raise_signal(signal.SIGTERM)
        signal.raise_signal(signal.SIGTERM)
        self.assertEqual((len(later), stopped), (2, []))
        for told in later:
            told()
        self.assertEqual(stopped, [True])

    def test_not_taken_from_somebody_else(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        process.wait_with_sigterm(lambda stop: None, lambda: None)
        self.assertEqual(signal.getsignal(signal.SIGTERM), signal.SIG_IGN)
