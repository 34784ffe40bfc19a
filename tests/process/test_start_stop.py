"""How broker processes start, refuse to start, are reconfigured and stop."""

from __future__ import annotations

import os
import resource
import signal
import socket
import sqlite3
import subprocess
import time
from contextlib import closing
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.request import urlopen

from taskqueue.wire import MessageType
from tests.process.children import (
    PATIENCE_S,
    Child,
    ProcessTestCase,
    command,
    environment,
    until,
)
from tests.process.peer import Gone, Peer, Refused

COMMANDS = ("twistd", "twist")

REFUSAL = "the broker does not start: "


class FirstStart(ProcessTestCase):
    """A start where nothing is yet."""

    def test_the_data_directory_is_made(self) -> None:
        for name in COMMANDS:
            child = self.start(f"--data-dir={name}/of/tasks", name=name)
            with Peer(child.port()) as peer:
                peer.submit({"type": "t"})
            made = self.folder / name / "of" / "tasks"
            self.assertEqual(made.stat().st_mode & 0o777, 0o700)
            self.assertTrue((made / "taskqueue.db").exists())
            self.assertEqual(child.end(), 0, child.log)
            self.assertNotIn("Traceback", child.log)

    def test_daemon(self) -> None:
        """The command returns when the broker is up, and whoever gave it is let go."""
        done = self.daemon()
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        pidfile = self.folder / "pid"
        pid = int(pidfile.read_text())
        self.addCleanup(_kill, pid)
        os.kill(pid, signal.SIGTERM)
        until("the pid file goes", lambda: not pidfile.exists())
        self.assertIn("Server Shut Down", (self.folder / "log").read_text())

    def test_a_daemon_that_cannot_start(self) -> None:
        (self.folder / "data").write_text("in the way")
        done = self.daemon()
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr.count(REFUSAL), 1, done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        log = (self.folder / "log").read_text()
        self.assertEqual(log.count(REFUSAL), 1, log)
        self.assertNotIn("Traceback", log)
        self.assertFalse((self.folder / "pid").exists())

    def daemon(self) -> subprocess.CompletedProcess[str]:
        """Have C{twistd} start a daemon."""
        return subprocess.run(
            command("twistd", "--pidfile=pid", "--logfile=log", "taskqueue", *self.arguments),
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )


def _kill(pid: int) -> None:
    """Make an end of a process that should have ended."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


class RefusedStart(ProcessTestCase):
    """What keeps a broker from starting is said in one line."""

    def assertRefused(self, child: Child, *words: str) -> None:
        """It ended with status 1 and one line that has these words."""
        self.assertEqual(child.wait(), 1, child.log)
        lines = [line for line in child.log.splitlines() if REFUSAL in line]
        self.assertEqual(len(lines), 1, child.log)
        for word in words:
            self.assertIn(word, lines[0])
        for word in ("Traceback", "Unhandled"):
            self.assertNotIn(word, child.log)
        self.assertTrue(child.log.splitlines()[-1].endswith(lines[0][-20:]), child.log)

    def stored(self) -> Path:
        """A database with a task in it, which nobody has open."""
        child = self.start()
        with Peer(child.port()) as peer:
            peer.submit({"type": "t"})
        self.assertEqual(child.end(), 0)
        return self.folder / "data" / "taskqueue.db"

    def test_a_second_broker(self) -> None:
        first = self.start()
        port = first.port()
        for name in COMMANDS:
            second = self.start(name=name)
            self.assertRefused(second, "in use by another broker", f"process {first.process.pid}")
        with Peer(port) as peer:
            self.assertEqual(peer.stats()["depth"], 0)
        first.end(signal.SIGKILL)
        self.start().port()  # a lock does not outlive its process

    def test_a_port_that_is_taken(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            endpoint = f"tcp:{other.getsockname()[1]}:interface=127.0.0.1"
            for name in COMMANDS:
                for setting in ("listen.framed", "listen.lines", "http.listen"):
                    child = self.start(f"--set={setting}={endpoint}", name=name)
                    self.assertRefused(child, f"cannot listen on {endpoint}", "in use")
        self.start().port()  # the directory is free again

    def test_a_damaged_database(self) -> None:
        path = self.stored()
        damage = os.urandom(path.stat().st_size)
        path.write_bytes(damage)
        for name in COMMANDS:
            self.assertRefused(self.start(name=name), f"{path} is damaged", "Restore a backup")
        self.assertEqual(path.read_bytes(), damage)

    def test_a_newer_schema(self) -> None:
        path = self.stored()
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version = 999")
            connection.commit()
        for name in COMMANDS:
            self.assertRefused(self.start(name=name), str(path), "newer")

    def test_a_directory_that_cannot_be_used(self) -> None:
        (self.folder / "file").write_text("")
        for name in COMMANDS:
            child = self.start("--data-dir=file/data", name=name)
            self.assertRefused(child, "file/data cannot be used: Not a directory")

    def test_a_directory_of_somebody_else(self) -> None:
        if os.geteuid() == 0:
            self.skipTest("to root, every directory is readable")
        (self.folder / "data").mkdir(mode=0o000)
        self.assertRefused(self.start(), "cannot be used: Permission denied")

    def test_the_log_is_elsewhere(self) -> None:
        """Then the line is on the terminal too."""
        (self.folder / "data").write_text("in the way")
        for before in (
            ["twistd", "-n", "--pidfile=", "--logfile=log"],
            ["twist", "--log-file=log"],
        ):
            done = subprocess.run(
                command(before[0], *before[1:], "taskqueue", *self.arguments),
                cwd=self.folder,
                env=environment(),
                capture_output=True,
                text=True,
                timeout=PATIENCE_S,
                check=False,
            )
            self.assertEqual((done.returncode, done.stdout), (1, ""))
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
            self.assertTrue(done.stderr.startswith(REFUSAL), done.stderr)
            log = self.folder / "log"
            self.assertEqual(log.read_text().count(REFUSAL), 1, log.read_text())
            log.unlink()


class Stop(ProcessTestCase):
    """SIGTERM."""

    def test_whoever_waits_is_answered(self) -> None:
        child = self.start()
        with Peer(child.port()) as peer, Peer(child.port()) as other:
            ids = other.submit(*({"type": "t", "queue": "q"} for _ in range(10)))
            (held,) = other.claim(queues=["q"])
            waiting = peer.send(MessageType.CLAIM_TASK, wait_s=60)
            peer.ask(MessageType.PING)
            began = time.monotonic()
            child.tell(signal.SIGTERM)
            self.assertEqual(peer.answer(waiting)["tasks"], [])
            self.assertRaises(Gone, peer.answer, 10**6)  # and then it is closed
            self.assertEqual(child.wait(), 0, child.log)
            self.assertLess(time.monotonic() - began, 5)
            self.assertRaises(Gone, Peer, child.port())
        self.assertNotIn("Traceback", child.log)
        with Peer(self.start().port()) as peer:
            states = [task["state"] for task in peer.status(*ids) if task is not None]
            self.assertEqual(sorted(states), ["in_progress"] + 9 * ["pending"])
            self.assertEqual(peer.complete(held), "completed")

    def test_nothing_new_is_taken(self) -> None:
        """What comes while it stops is refused, or not answered; never lost."""
        child = self.start()
        accepted: list[str] = []
        with Peer(child.port()) as peer:
            accepted += peer.submit({"type": "t"})
            child.tell(signal.SIGTERM)
            refusal = None
            try:
                while True:
                    accepted += peer.submit({"type": "t"})
            except Refused as refused:
                refusal = refused.code
            except Gone:
                pass
            self.assertIn(refusal, (None, "SHUTTING_DOWN"))
        self.assertEqual(child.wait(), 0, child.log)
        with Peer(self.start().port()) as peer:
            self.assertLessEqual(set(accepted), {task["id"] for task in peer.every_task()})

    def test_told_twice(self) -> None:
        for name in COMMANDS:
            child = self.start(name=name)
            Peer(child.port()).close()  # its reactor runs
            child.tell(signal.SIGTERM)
            child.tell(signal.SIGTERM)
            self.assertEqual(child.wait(), 0, child.log)
            self.assertNotIn("Traceback", child.log)


class Hangup(ProcessTestCase):
    """SIGHUP."""

    def test_limits_change(self) -> None:
        path = self.folder / "taskqueue.conf"
        path.write_text("[limits]\nmax_connections = 2\n")
        child = self.start(config=path)
        with Peer(child.port()), Peer(child.port()):
            self.assertIn(
                "TOO_MANY_CONNECTIONS", str(self.assertRaises(Refused, Peer, child.port()))
            )
            path.write_text("[limits]\nmax_connections = 3\n[store]\nsync_interval_ms = 7\n")
            child.tell(signal.SIGHUP)
            child.said("limits.max_connections: 2 is now 3")
            child.said("store.sync_interval_ms: 100 stays; 7 needs a restart")
            with Peer(child.port()):
                self.assertRaises(Refused, Peer, child.port())

    def test_a_bad_file_changes_nothing(self) -> None:
        path = self.folder / "taskqueue.conf"
        path.write_text("[limits]\nmax_connections = 2\n")
        child = self.start(config=path)
        with Peer(child.port()) as peer, Peer(child.port()):
            path.write_text("[limits]\nmax_connections = many\n[broker]\nmax_batch_submit = 1\n")
            child.tell(signal.SIGHUP)
            child.said("configuration not reloaded: 1 problems")
            child.said("max_connections = 'many'")
            self.assertRaises(Refused, Peer, child.port())
            peer.submit({"type": "t"}, {"type": "t"})
        self.assertEqual(child.end(), 0)


class Surroundings(ProcessTestCase):
    """What the command arranges for its process."""

    def test_open_files(self) -> None:
        if not hasattr(resource, "prlimit"):
            self.skipTest("there is no prlimit here to look with")

        def lower() -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (64, 300))

        child = self.start("--set=limits.max_connections=100", preexec_fn=lower)
        child.port()
        soft, hard = resource.prlimit(child.process.pid, resource.RLIMIT_NOFILE)
        self.assertEqual((soft, hard), (300, 300))
        self.assertNotIn("open files", child.log)
        child.end()
        child = self.start("--set=limits.max_connections=1000", preexec_fn=lower)
        child.port()
        self.assertIn("max_connections = 1000 needs 1128 open files", child.log)

    def test_the_date_of_http_is_that_of_the_wall(self) -> None:
        """The reactor's clock is another one."""
        child = self.start("--http=tcp:0:interface=127.0.0.1")
        with urlopen(f"http://127.0.0.1:{child.port('HTTP')}/ready", timeout=PATIENCE_S) as answer:
            date = parsedate_to_datetime(answer.headers["Date"]).timestamp()
        self.assertLess(abs(date - time.time()), 10)

    def test_timers_outlive_a_clock_set_back(self) -> None:
        """A reactor whose wall clock falls back by an hour as soon as all is up."""
        child = self.start("--set=broker.lease_min_s=0.1", script=_CLOCK_SET_BACK)
        with Peer(child.port()) as peer:
            peer.submit({"type": "t"})
            peer.claim(lease_s=0.5)
            (again,) = peer.claim(wait_s=20)
            self.assertEqual(again["losses"], 1)

    def test_garbage_collector(self) -> None:
        """It comes rarely, and leaves alone what was recovered."""
        child = self.start(script=_GARBAGE)
        Peer(child.port()).close()
        child.end()
        self.assertIn("collector (10000, 2, 50) True\n", child.log)


_CLOCK_SET_BACK = """
import time
from twisted.internet.base import ReactorBase
began = time.monotonic()
def wall():
    return time.time() - (3600 if time.monotonic() > began + 0.6 else 0)
ReactorBase.seconds = staticmethod(wall)
from twisted.scripts.twistd import run
run()
"""

_GARBAGE = """
import atexit, gc, sys
def told():
    out = sys.__stdout__  # sys.stdout is the log's, which has ended
    print("collector", gc.get_threshold(), gc.get_freeze_count() > 0, file=out, flush=True)
atexit.register(told)
from twisted.scripts.twistd import run
run()
"""
