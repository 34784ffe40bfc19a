import io
import os
import shutil
import sys
import tempfile
from contextlib import redirect_stdout
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import install, machine, servers
from benchmarks.contest import Unavailable

#: A server that says nothing, and one that is done at once.
SILENT = [sys.executable, "-c", "import signal; signal.pause()"]
HASTY = [sys.executable, "-c", "raise SystemExit('no such option')"]


class RunningTests(SynchronousTestCase):
    def setUp(self):
        self.folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def start(self, command, ready=lambda: True):
        return servers.running(command, self.folder, ready, GREETING="hello")

    def test_it_runs_as_long_as_the_block(self):
        with self.start(SILENT) as process:
            self.assertIsNone(process.poll())
        self.assertIsNotNone(process.poll())

    def test_it_is_stopped_when_the_block_fails(self):
        with self.assertRaises(ZeroDivisionError), self.start(SILENT) as process:
            raise ZeroDivisionError
        self.assertIsNotNone(process.poll())

    def test_what_is_not_installed_says_so(self):
        with self.assertRaises(Unavailable) as caught, self.start(["no-such-server"]):
            pass
        self.assertEqual(str(caught.exception), "no-such-server is not installed")

    def test_what_does_not_start_says_what_it_said(self):
        with self.assertRaises(Unavailable) as caught, self.start(HASTY, lambda: False):
            pass
        self.assertIn("did not start: no such option", str(caught.exception))

    def test_nobody_listens_on_a_free_port(self):
        self.assertFalse(servers.answers(servers.free_port()))


class ProgramTests(SynchronousTestCase):
    def test_the_peers_own_programs_come_first(self):
        folder = Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, folder)
        self.patch(install, "PEERS", folder)
        (folder / "bin").mkdir()
        for name in ("sh", "nats-server"):
            (folder / "bin" / name).write_text("#!/bin/sh\n")
            (folder / "bin" / name).chmod(0o755)
        self.assertEqual(install.program("sh"), folder / "bin" / "sh")
        self.assertEqual(install.missing(["sh", "no-such-server"]), ["no-such-server"])

    def test_nothing_is_installed_where_nothing_is_missing(self):
        self.patch(install.subprocess, "run", self.fail)
        install.install([])

    def test_who_may_not_install_is_told_what_to(self):
        self.patch(install, "missing", lambda names: ["gearmand"])
        self.patch(install.os, "geteuid", lambda: 1000)
        self.patch(install.subprocess, "run", self.fail)
        said = io.StringIO()
        with redirect_stdout(said):
            install.install()
        self.assertIn("will be missing: gearman-job-server.", said.getvalue())
        self.assertIn("sudo apt-get install", said.getvalue())


class MachineTests(SynchronousTestCase):
    def test_it_names_the_processor_and_the_file_system(self):
        text = machine.machine(Path(tempfile.gettempdir()))
        self.assertIn(f"{os.cpu_count()} cores", text)
        self.assertNotIn("data on unknown", text)
