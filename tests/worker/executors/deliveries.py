"""
Deliveries, and tasks for real child processes.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from taskqueue import strictjson
from taskqueue.app.outcomes import Verdict
from taskqueue.client import Delivery
from taskqueue.worker.executors import Executor
from taskqueue.worker.executors.processes import Processes

ROOT = Path(__file__).resolve().parent.parent.parent.parent

TASKS = """
import os, signal, threading, time
from taskqueue.app.application import App
from taskqueue.app.outcomes import Retry, Snooze, Discard, TaskCancelled
from taskqueue.worker.stopping import TaskTimedOut

app = App()
pause = threading.Event()

@app.task
def add(a, b):
    return a + b

@app.task
def pid():
    return os.getpid()

@app.task
def fail():
    raise ValueError("broken")

@app.task
def die(number):
    os.kill(os.getpid(), number)
    pause.wait()

@app.task
def leave():
    os._exit(3)

@app.task
def exit():
    raise SystemExit(4)

@app.task
def say(ctx, text):
    print(text, flush=True)
    print("no end", end="")
    ctx.progress({"done": 1})
    ctx.log("half way", percent=50, what=object)
    ctx.progress(object())
    return ctx.id

@app.task
def patient(ctx, path):
    open(path, "w").close()
    while not pause.wait(0.01):
        ctx.check()

@app.task
def blocked(path):
    open(path, "w").close()
    try:
        pause.wait()
    except (TaskTimedOut, TaskCancelled) as error:
        with open(path, "w") as out:
            out.write(type(error).__name__)
        raise

@app.task
def stubborn(path):
    open(path, "w").close()
    while True:
        try:
            pause.wait()
        except BaseException:
            continue

@app.task
def chatty(ctx, path):
    open(path, "w").close()
    while True:
        ctx.progress("x" * 3000)

@app.task
def flags(ctx, path):
    open(path, "w").close()
    while not ctx.stopping:
        pause.wait(0.01)
    return [ctx.cancelled, ctx.lease_lost]

@app.task
def grow():
    global kept
    kept = bytearray(60 * 2**20)

@app.task
def snooze():
    raise Snooze(7)

HANDLERS = {"shout": lambda task: task.payload.upper()}
"""

_tokens = itertools.count(1)


def delivery(kind: str, *args: Any, payload: bytes | None = None, **headers: str) -> Delivery:
    """A delivery of a call."""
    token = next(_tokens)
    if payload is None:
        payload = strictjson.dumps({"args": list(args), "kwargs": {}})
    return Delivery(
        *(f"task-{token}", kind, "default", 150, payload, 1, token, 30.0, 1.0, 0, 0), headers
    )


def fate_of(executor: Executor, given: Delivery) -> Deferred[Verdict]:
    """Have a task run; fires with how it ended."""
    fate: Deferred[Verdict] = Deferred()
    executor.run([given], lambda token, verdict: fate.callback(verdict))
    return fate


class Notes:
    """The listener of an executor under test."""

    def __init__(self) -> None:
        self.told: list[tuple[int, Any]] = []
        self.lines: list[tuple[int, str, Mapping[str, Any]]] = []
        self.begun: list[int] = []
        self.changes = 0

    def progress(self, token: int, value: Any) -> None:
        self.told.append((token, value))

    def logged(self, token: int, message: str, fields: Mapping[str, Any]) -> None:
        self.lines.append((token, message, fields))

    def began(self, token: int) -> None:
        self.begun.append(token)

    def capacity_changed(self) -> None:
        self.changes += 1


class ChildrenCase(TestCase):
    """Has a folder with C{tasks.py}, and real children."""

    timeout = 30

    def setUp(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="taskqueue-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.write(TASKS)
        self.notes = Notes()

    def write(self, source: str) -> None:
        (self.folder / "tasks.py").write_text(source)

    def make(self, concurrency: int = 1, tasks: str = "tasks:app", **how: Any) -> Processes:
        """A pool that is not started."""
        env = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
        pool = Processes(tasks, concurrency, reactor, folder=str(self.folder), env=env, **how)
        pool.listener = self.notes
        self.addCleanup(pool.shut_down, 0.0)
        return pool

    async def start(self, *args: Any, **how: Any) -> Processes:
        pool = self.make(*args, **how)
        await pool.start()
        return pool

    async def until(self, condition: Any) -> None:
        """Wait for something to become true; trial ends the wait."""
        while not condition():
            await deferLater(reactor, 0.005, lambda: None)

    async def begun(self, pool: Processes, kind: str) -> tuple[Delivery, Deferred[Any], Path]:
        """Run a task that makes a file when it has begun, and wait for that."""
        path = self.folder / kind
        given = delivery(kind, str(path))
        running = fate_of(pool, given)
        await self.until(path.exists)
        return given, running, path
