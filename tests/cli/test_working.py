"""
The command that starts a worker.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from unittest import mock

from click.testing import CliRunner
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from taskqueue.cli import reloading, working
from taskqueue.cli.main import cli
from taskqueue.cli.working import RELOAD_STOP_S, Order, Reload, make_worker
from taskqueue.errors import BadRequest
from taskqueue.worker.work import load_tasks, works_of


class FolderCase(SynchronousTestCase):
    """Works in a folder of its own."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp()).resolve()
        self.folder.mkdir()
        self.addCleanup(os.chdir, os.getcwd())
        self.patch(sys, "path", list(sys.path))
        self.patch(sys, "modules", dict(sys.modules))
        os.chdir(self.folder)

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path


class TasksTests(FolderCase):
    def refusal(self, named: str) -> str:
        return str(self.assertRaises(BadRequest, lambda: works_of(load_tasks(named))))

    def test_from_the_working_directory(self) -> None:
        self.write("mine_a.py", "class Box:\n    HANDLERS = {'t': print}\nHANDLERS = {'u': len}\n")
        self.assertEqual(load_tasks("mine_a:HANDLERS"), {"u": len})
        self.assertEqual(load_tasks("mine_a:Box.HANDLERS"), {"t": print})

    def test_refusals(self) -> None:
        self.write("mine_b.py", "HANDLERS = {'t': 3}\nEMPTY = {}\n")
        self.write("mine_c.py", "1 / 0\n")
        self.assertIn("MODULE:NAME", self.refusal("mine_b"))
        self.assertIn("has no OTHER", self.refusal("mine_b:OTHER"))
        self.assertIn("must be a function", self.refusal("mine_b:HANDLERS"))
        self.assertIn("not empty", self.refusal("mine_b:EMPTY"))
        self.assertIn("ZeroDivisionError", self.refusal("mine_c:HANDLERS"))
        self.assertIn("cannot import", self.refusal("no_such_module:HANDLERS"))


class OrderTests(FolderCase):
    def setUp(self) -> None:
        super().setUp()
        self.orders: list[Order] = []
        self.patch(working, "carry_out", lambda order: self.orders.append(order) or 0)
        self.patch(working, "log_to", lambda *args: None)
        self.write(
            "shop.py",
            "from taskqueue import App\n"
            "app = App('tq://of-the-app:1')\n"
            "empty = App()\n"
            "@app.task\n"
            "def sell(): pass\n",
        )

    def run_it(self, *arguments: str, **environ: str) -> tuple[int, str]:
        done = CliRunner().invoke(cli, arguments, env={"TASKQUEUE_BROKER": None, **environ})
        return done.exit_code, done.output

    def test_what_the_command_line_says(self) -> None:
        status, printed = self.run_it(
            *("--timeout", "7", "worker", "shop:app", "--queues", "a, b,", "--concurrency", "3"),
            *("--executor", "processes", "--prefetch", "4", "--recycle-after", "5"),
            *("--recycle-mb", "6", "--id", "w", "--stop-timeout", "8"),
        )
        self.assertEqual((status, printed), (0, ""))
        how = {
            "queues": ["a", "b"],
            "concurrency": 3,
            "executor": "processes",
            "prefetch": 4,
            "recycle_after": 5,
            "recycle_mb": 6.0,
            "worker_id": "w",
            "stop_timeout_s": 8.0,
        }
        self.assertEqual(self.orders, [Order("shop:app", None, 7.0, False, how)])
        worker = make_worker(Clock(), self.orders[0])
        self.assertEqual(
            (worker.queues, worker.concurrency, worker.types), (["a", "b"], 3, ["sell"])
        )

    def test_which_broker(self) -> None:
        for arguments, environ, expected in (
            ((), {}, "tq://of-the-app:1"),
            (("--broker", "tq://said:2"), {}, "tq://said:2"),
            ((), {"TASKQUEUE_BROKER": "tq://environment:3"}, "tq://environment:3"),
        ):
            self.run_it(*arguments, "worker", "shop:app", **environ)
            worker = make_worker(Clock(), self.orders[-1])
            self.assertEqual(worker.client.address, expected)

    def test_a_mapping_goes_to_the_usual_broker(self) -> None:
        self.write("plain.py", "HANDLERS = {'u': len}\n")
        self.run_it("worker", "plain:HANDLERS")
        self.assertEqual(make_worker(Clock(), self.orders[0]).client.address, "tq://127.0.0.1:7780")

    def test_what_is_wrong_is_said_at_once(self) -> None:
        for arguments, words in (
            (("shop",), "MODULE:NAME"),
            (("shop:empty",), "the application has no tasks"),
            (("shop:app", "--recycle-after", "0"), "recycle-after"),
            (("shop:app", "--queues", " ,"), "--queues names no queue"),
            (("shop:app", "--executor", "magic"), "magic"),
        ):
            status, printed = self.run_it("worker", *arguments)
            self.assertEqual(status, 2, printed)
            self.assertIn(words, printed)
        self.assertEqual(self.orders, [])

    def test_numbers_out_of_their_bounds(self) -> None:
        for option, values, bounds in (
            ("--concurrency", ("0", "-1", "10001", "9" * 30), "1<=x<=10000"),
            ("--concurrency", ("1.5", "many", "nan", "inf"), "is not a valid integer"),
            ("--prefetch", ("-1", "10001"), "0<=x<=10000"),
            ("--recycle-after", ("0", "-1"), "x>=1"),
            ("--recycle-mb", ("0", "-1", "inf", "nan", "-inf"), "0<x<=1073741824"),
            ("--stop-timeout", ("-1", "nan", "-nan", "inf", "-inf", "1e9"), "0<=x<=604800"),
            ("--stop-timeout", ("soon",), "is not a valid float"),
        ):
            for value in values:
                status, printed = self.run_it("worker", "shop:app", option, value)
                self.assertEqual(status, 2, printed)
                self.assertIn(f"'{option}'", printed)
                self.assertIn(bounds, printed)
        self.assertEqual(self.orders, [])


class Stoppable:
    """Is told to stop."""

    stop_timeout_s = 60.0
    stopped = 0

    def stopService(self) -> None:
        self.stopped += 1


class ReloadTests(FolderCase):
    def touch(self, path: Path) -> None:
        """Change the file, later than it can have been read."""
        os.utime(path, (path.stat().st_mtime + 5,) * 2)

    def test_a_change_stops_the_worker_once(self) -> None:
        path = self.write("code_a.py", "X = 1\n")
        self.write("code_b.py", "X = 1\n")
        sys.path.insert(0, str(self.folder))
        __import__("code_a")
        clock, worker = Clock(), Stoppable()
        reload = Reload(worker, clock, self.folder)
        reload.start()
        clock.advance(reloading.LOOK_S)
        self.touch(self.folder / "code_b.py")  # nobody has imported it
        clock.advance(reloading.LOOK_S)
        self.assertEqual((worker.stopped, reload.wanted), (0, False))
        for _ in range(2):
            self.touch(path)
            clock.advance(reloading.LOOK_S)
        self.assertEqual((worker.stopped, reload.wanted), (1, True))
        self.assertEqual(worker.stop_timeout_s, RELOAD_STOP_S)
        reload.stop()
        reload.stop()
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_a_file_that_goes_has_changed(self) -> None:
        path = self.write("code_c.py", "")
        watched = reloading.Watched()
        self.assertEqual(watched.changed([path]), [])
        path.unlink()
        self.assertEqual(watched.changed([]), [path])
        self.assertEqual(watched.changed([]), [])

    def test_files_of_others_are_not_looked_at(self) -> None:
        mine = self.write("deep/mine.py", "")
        self.write("venv/lib/site-packages/theirs.py", "")
        self.write(".hidden/theirs.py", "")
        self.write("notes.txt", "")
        self.assertEqual(list(reloading.all_files(self.folder)), [mine])

    def test_code_that_cannot_be_imported_is_waited_for(self) -> None:
        path = self.write("broken.py", "1 / 0\n")
        begun: list[str] = []

        class Begun(Exception):
            pass

        def start_anew() -> None:
            begun.append(path.read_text())
            raise Begun

        def wait(seconds: float) -> None:
            path.write_text("# mended, and longer\n")
            self.touch(path)

        self.patch(reloading, "start_anew", start_anew)
        self.patch(reloading.threading, "Event", lambda: mock.Mock(wait=wait))
        said: list[str] = []
        self.patch(working, "complain", said.append)
        order = Order("broken:app", None, 1.0, True, {})
        self.assertRaises(Begun, working.carry_out, order)
        self.assertEqual(begun, ["# mended, and longer\n"])
        self.assertIn("ZeroDivisionError", said[0])

    def test_the_same_command_begins_again(self) -> None:
        called: list[object] = []
        self.patch(os, "execv", lambda *what: called.append(what))
        self.patch(sys, "orig_argv", ["python", "-m", "taskqueue.cli", "worker", "a:b"])
        reloading.start_anew()
        command = [sys.executable, "-m", "taskqueue.cli", "worker", "a:b"]
        self.assertEqual(called, [(sys.executable, command)])
