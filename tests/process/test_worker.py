"""
C{taskqueue worker} as a process: its children, its signals, its end.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil

from taskqueue.wire import Header, MessageType
from tests.process.children import PATIENCE_S, ProcessTestCase, environment, until
from tests.process.peer import Peer

MODULE = """
import asyncio, os, sys, threading
import taskqueue

app = taskqueue.App()
pause = threading.Event()

def begun(path):
    open(path, "w").close()

@app.task
def add(a, b):
    return a + b

@app.task(timeout=0.3)
def slow(path):
    begun(path)
    pause.wait()

@app.task
def hold(ctx, path):
    begun(path)
    while not pause.wait(0.01):
        ctx.check()

@app.task
def stubborn(path):
    begun(path)
    while True:
        pause.wait(0.01)
        if os.path.exists(path + ".go"):
            return "gone on"

@app.task
def later(path):
    if not os.path.exists(path):
        begun(path)
        raise taskqueue.Snooze(in_s=0.2)
    return "woken"

@app.task
async def rest(seconds):
    await asyncio.sleep(seconds)
    print("rested", file=sys.stderr)
    return "rested"
"""

SETTINGS = ("--set=workers.heartbeat_s=1",)


class Workers(ProcessTestCase):
    def setUp(self) -> None:
        super().setUp()
        (self.folder / "tasks.py").write_text(MODULE)
        self.port = self.start(*SETTINGS).port()
        self.peer = Peer(self.port)
        self.addCleanup(self.peer.close)
        self.log = self.folder / "worker.log"

    def work(self, *arguments: str, tasks: str = "tasks:app") -> subprocess.Popen[bytes]:
        """Start a worker; returns when the broker knows it."""
        with open(self.log, "ab") as log:
            worker = subprocess.Popen(
                [
                    *(sys.executable, "-m", "taskqueue.cli"),
                    *("--broker", f"tq://127.0.0.1:{self.port}", "worker", tasks, *arguments),
                ],
                cwd=self.folder,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.addCleanup(worker.wait)
        self.addCleanup(worker.kill)
        until(
            "the worker is registered",
            lambda: worker.poll() is not None or b"is registered" in self.log.read_bytes(),
        )
        return worker

    def submit(self, kind: str, *args: Any, **options: Any) -> str:
        words = ",".join(f'"{a}"' if isinstance(a, str) else str(a) for a in args)
        task = {"type": kind, "payload": b'{"args":[%s]}' % words.encode(), **options}
        return self.peer.submit(task)[0]

    def begin(self, kind: str, **options: Any) -> tuple[str, Path]:
        """Submit a task, and wait until it runs."""
        path = self.folder / kind
        task = self.submit(kind, str(path), **options)
        until(f"{kind} runs", path.exists)
        return task, path

    def status(self, task: str) -> Header:
        (found,) = self.peer.status(task, result=True, history=True)
        assert found is not None
        return found

    def ended(self, task: str) -> Header:
        """The task, once it has ended."""
        until("the task has ended", lambda: self.status(task)["state"] in _ENDED)
        return self.status(task)

    def known_workers(self) -> list[Header]:
        found: list[Header] = self.peer.ask(MessageType.LIST_WORKERS)["workers"]
        return found

    def test_tasks_of_every_kind(self) -> None:
        self.work("--concurrency=2")
        self.assertEqual(self.ended(self.submit("add", 1, 2))["result"], b"3")
        self.assertEqual(self.ended(self.submit("rest", 0.01))["result"], b'"rested"')
        self.assertIn("rested", self.log.read_text())
        woken = self.ended(self.submit("later", str(self.folder / "later")))
        self.assertEqual((woken["result"], woken["failures"]), (b'"woken"', 0))

    def test_a_time_out(self) -> None:
        self.work()
        failed = self.ended(self.begin("slow", max_retries=0)[0])
        self.assertEqual(failed["state"], "dead_letter")
        self.assertTrue(
            failed["error"].startswith(
                "the task exceeded its time-out of 0.3 s\n\ntaskqueue.worker.stopping.TaskTimedOut"
            ),
            failed["error"],
        )

    def test_a_request_to_cancel(self) -> None:
        self.work()
        task, _ = self.begin("hold")
        self.peer.ask(MessageType.CANCEL_TASK, tasks=[task], running=True)
        self.assertEqual(self.ended(task)["state"], "cancelled")

    def test_a_stop_waits_for_what_runs(self) -> None:
        worker = self.work("--prefetch=3")
        task, path = self.begin("stubborn")
        others = [self.submit("add", 1, 2) for _ in range(2)]
        until("they are claimed", lambda: self.status(others[-1])["state"] == "in_progress")
        worker.terminate()
        until(
            "what has not begun is given back",
            lambda: [self.status(other)["state"] for other in others] == ["pending"] * 2,
        )
        self.assertIsNone(worker.poll())
        Path(f"{path}.go").touch()
        self.assertEqual(worker.wait(PATIENCE_S), 0)
        self.assertEqual(self.ended(task)["result"], b'"gone on"')
        self.assertEqual(self.known_workers(), [])

    def test_a_second_signal_hurries(self) -> None:
        worker = self.work()
        children = psutil.Process(worker.pid).children()
        task, _ = self.begin("stubborn")
        worker.terminate()
        until("it stops", lambda: b" stops: " in self.log.read_bytes())
        self.assertIsNone(worker.poll())
        worker.send_signal(signal.SIGINT)
        self.assertEqual(worker.wait(PATIENCE_S), 0)
        found = self.status(task)
        self.assertEqual((found["state"], found["losses"], found["failures"]), ("pending", 0, 0))
        self.assertEqual([event["event"] for event in found["history"]], ["released"])
        self.assertFalse(any(child.is_running() for child in children))

    def test_what_does_not_end_in_time_is_given_back(self) -> None:
        worker = self.work("--stop-timeout=0.2")
        task, _ = self.begin("stubborn")
        worker.terminate()
        self.assertEqual(worker.wait(PATIENCE_S), 0)
        self.assertEqual([e["event"] for e in self.status(task)["history"]], ["released"])

    def test_quiet(self) -> None:
        for number in (signal.SIGTSTP, signal.SIGUSR1):
            worker = self.work()
            self.assertEqual(self.ended(self.submit("add", 1, 2))["result"], b"3")
            worker.send_signal(number)
            until("it is quiet", lambda: b"claims no more" in self.log.read_bytes())
            task = self.submit("add", 1, 2)
            # The claim that was waiting may still be given it: it is given back, unbegun.
            until("nobody has it", lambda: self.status(task)["state"] == "pending")  # noqa: B023
            self.assertLessEqual(
                {event["event"] for event in self.status(task)["history"]}, {"released"}
            )
            self.assertIsNone(worker.poll())
            worker.terminate()
            self.assertEqual(worker.wait(PATIENCE_S), 0)
            self.assertEqual(self.status(task)["state"], "pending")
            self.peer.ask(MessageType.CANCEL_TASK, tasks=[task])
            self.log.unlink()

    def test_a_module_that_only_children_cannot_import(self) -> None:
        (self.folder / "broken.py").write_text(
            "import sys, taskqueue\n"
            "if 'taskqueue.worker.child' in sys.orig_argv: raise ValueError('not here')\n"
            "app = taskqueue.App()\n"
            "@app.task\ndef t(): pass\n"
        )
        worker = self.work(tasks="broken:app")
        self.assertEqual(worker.wait(PATIENCE_S), 1)
        self.assertIn("cannot import broken: ValueError: not here", self.log.read_text())
        self.assertEqual(self.known_workers(), [])


_ENDED = frozenset({"completed", "dead_letter", "cancelled", "expired"})
