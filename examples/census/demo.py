"""
A broker, two workers, every file of the standard library, and a kill.

Starts a real broker and two worker processes, submits one task for each Python
file of the running interpreter's standard library, and kills one of the workers
half-way, without a warning and without a replacement.  What that worker had in
hand is delivered again, to the other one.  At the end every result is compared
with one computed here.

Run it with `make demo`.  It needs no network but the loopback interface, and
removes what it made.  With a number as its argument it takes that many files, no
more.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater, react
from twisted.logger import globalLogBeginner

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from examples.census.handlers import LIBRARY, examine  # noqa: E402  # after the path is set
from taskqueue.client import Client, Outcome, connect  # noqa: E402
from taskqueue.errors import TaskQueueError  # noqa: E402

FOLDER = ROOT / ".demo"
WORKERS = ("census-1", "census-2")
CONCURRENCY = 4

#: How long broker and workers may take to start, seconds.
START_S = 20.0

#: How long the whole census may take, seconds.
LIMIT_S = 60.0

#: A worker that is gone is given up after a second instead of after ten.
CONFIG = """\
[broker]
name = census
lease_s = 10
[listen]
framed = tcp:{port}:interface=127.0.0.1
[store]
path = {folder}/data
[workers]
heartbeat_s = 1
stale_after_s = 3
reconnect_grace_s = 1
[http]
listen = ,
"""


class Trouble(Exception):
    """The demonstration cannot go on."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Children:
    """The processes of the demonstration, and their logs."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        # What the user has set for another broker does not concern this one.
        self._environ = {k: v for k, v in os.environ.items() if not k.startswith("TASKQUEUE_")}
        self._environ["PYTHONPATH"] = str(ROOT)
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *arguments: str) -> None:
        with self.log(name).open("wb") as log:
            self.running[name] = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=ROOT,
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def log(self, name: str) -> Path:
        return self._folder / f"{name}.log"

    def check(self) -> None:
        """Complain about a child that has ended by itself."""
        for name, process in self.running.items():
            if process.poll() is not None:
                tail = self.log(name).read_text(errors="replace").splitlines()[-15:]
                raise Trouble("\n".join([f"{name} ended with {process.returncode}:", *tail]))

    def kill(self, name: str) -> None:
        process = self.running.pop(name)
        process.send_signal(signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        """End all, workers before the broker."""
        for name in reversed(list(self.running)):
            process = self.running.pop(name)
            process.terminate()
            try:
                process.wait(timeout=15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@contextmanager
def stage() -> Iterator[tuple[Children, str]]:
    """A broker and two workers, which are gone afterwards; gives the broker's address."""
    FOLDER.mkdir(exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=FOLDER))
    children = Children(folder)
    address = f"tq://127.0.0.1:{(port := free_port())}"
    config = folder / "taskqueue.conf"
    config.write_text(CONFIG.format(port=port, folder=folder))
    # The command twistd itself may be anywhere: its function is where Twisted is.
    twistd = "from twisted.scripts.twistd import run; run()"
    try:
        children.start(
            "broker", "-c", twistd, "-n", "--pidfile=", "taskqueue", "--config", str(config)
        )
        for name in WORKERS:
            children.start(
                name,
                *("-m", "taskqueue.cli", "--broker", address),
                *("worker", "examples.census.handlers:HANDLERS"),
                *("--concurrency", str(CONCURRENCY), "--id", name),
            )
        yield children, address
    finally:
        children.stop()
        shutil.rmtree(folder)
        if not any(FOLDER.iterdir()):
            FOLDER.rmdir()


class Census:
    """
    @ivar results: file name to what the workers say of it.
    @ivar failed: file name to why there is nothing.
    """

    def __init__(self, reactor: Any, children: Children, address: str, names: list[str]) -> None:
        self.results: dict[str, Any] = {}
        self.failed: dict[str, str] = {}
        self.attempts = 0
        self.seconds = 0.0
        self.stats: dict[str, Any] = {}
        self.killed: tuple[str, int] | None = None
        self._reactor = reactor
        self._children = children
        self._address = address
        self._names = names
        self._name_of: dict[str, str] = {}
        self._early: list[Outcome] = []
        self._half = Deferred[None]()
        self._all = Deferred[None]()
        self._progress: Progress | None = None

    def pause(self, seconds: float) -> Deferred[None]:
        return deferLater(self._reactor, seconds, lambda: None)

    async def take(self, console: Console) -> None:
        client = await self.reach()
        try:
            await self.until_workers_are_there(client)
            console.print(f"broker at {self._address}; workers: {', '.join(WORKERS)}")
            with Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=console,
            ) as self._progress:
                self._bar = self._progress.add_task("census", total=len(self._names))
                running = Deferred.fromCoroutine(self.run(client, console))
                await running.addTimeout(LIMIT_S, self._reactor, self.too_late)
            self.stats = await client.stats()
        finally:
            await client.close()

    async def reach(self) -> Client:
        deadline = time.monotonic() + START_S
        while True:
            self._children.check()
            try:
                return await connect(self._address, reactor=self._reactor, name="census")
            except TaskQueueError as error:
                if time.monotonic() > deadline:
                    raise Trouble(f"the broker does not answer: {error}") from None
            await self.pause(0.1)

    async def until_workers_are_there(self, client: Client) -> None:
        deadline = time.monotonic() + START_S
        while len(await client.workers()) < len(WORKERS):
            self._children.check()
            if time.monotonic() > deadline:
                raise Trouble("the workers did not register")
            await self.pause(0.1)

    def too_late(self, _: object, limit_s: float) -> None:
        self._children.check()
        raise Trouble(f"not everything was done within {limit_s:g} s")

    async def run(self, client: Client, console: Console) -> None:
        began = time.monotonic()
        tasks = ({"type": "census", "payload": name.encode()} for name in self._names)
        answers = await client.submit_many(tasks, self.ended)
        for name, answer in zip(self._names, answers, strict=True):
            if isinstance(answer, TaskQueueError):
                raise Trouble(f"{name} was not accepted: {answer}")
            self._name_of[answer] = name
        for outcome in self._early:
            self.note(outcome)
        await self._half
        await self.kill_one(client, console)
        await self._all
        self.seconds = time.monotonic() - began

    def ended(self, outcome: Outcome | TaskQueueError) -> None:
        if isinstance(outcome, TaskQueueError):
            self._all.errback(Trouble(f"an outcome is missing: {outcome}"))
        elif outcome.task in self._name_of:
            self.note(outcome)
        else:  # before the answer to its submission
            self._early.append(outcome)

    def note(self, outcome: Outcome) -> None:
        name = self._name_of[outcome.task]
        self.attempts += outcome.attempt
        if outcome.result is None:
            self.failed[name] = f"{outcome.state.word}: {outcome.error}"
        else:
            self.results[name] = json.loads(outcome.result)
        if self._progress is not None:
            self._progress.advance(self._bar)
        done = len(self.results) + len(self.failed)
        if done * 2 >= len(self._names) and not self._half.called:
            self._half.callback(None)
        if done == len(self._names) and not self._all.called:
            self._all.callback(None)

    async def kill_one(self, client: Client, console: Console) -> None:
        """Kill the first worker, at a moment when it has something in hand."""
        while not self._all.called:
            leases = next(w["leases"] for w in await client.workers() if w["id"] == WORKERS[0])
            if leases:
                self._children.kill(WORKERS[0])
                self.killed = (WORKERS[0], leases)
                console.print(f"half-way: {WORKERS[0]} killed with {leases} tasks in hand")
                return
            await self.pause(0.01)


def library_files() -> list[str]:
    """Every Python file of the standard library, relative to it."""
    others = {"site-packages", "dist-packages", "__pycache__"}
    paths = (path.relative_to(LIBRARY) for path in LIBRARY.rglob("*.py") if path.is_file())
    return sorted(str(path) for path in paths if not others.intersection(path.parts))


def compare(census: Census, names: list[str]) -> list[str]:
    """What the workers' results and those computed here disagree about."""
    wrong = [f"{name}: {why}" for name, why in census.failed.items()]
    # Not forked: this process has had threads, and a fork keeps the locks that they held.
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        for name, expected in zip(names, pool.map(examine, names, chunksize=25), strict=True):
            found = census.results.get(name)
            if name not in census.failed and found != expected:
                wrong.append(f"{name}: the workers say {found}, and it is {expected}")
    return wrong


def show(console: Console, census: Census, names: list[str], wrong: list[str]) -> None:
    totals = census.stats["totals"]
    killed = "none" if census.killed is None else "{} ({} tasks in hand)".format(*census.killed)
    table = Table(title="Census of the standard library", title_justify="left")
    table.add_column("what")
    table.add_column("value", justify="right")
    for what, value in (
        ("files (tasks)", len(names)),
        ("lines", sum(result["lines"] for result in census.results.values())),
        ("words", sum(result["words"] for result in census.results.values())),
        ("files that do not compile", sum(not r["compiles"] for r in census.results.values())),
        ("worker killed", killed),
        ("deliveries", census.attempts),
        ("lost and delivered again", totals["lost"]),
        ("failed and tried again", totals["retried"]),
        ("seconds", f"{census.seconds:.1f}"),
        ("tasks per second", f"{len(names) / census.seconds:.0f}"),
        ("results that differ from a direct computation", len(wrong)),
    ):
        table.add_row(what, str(value))
    console.print(table)
    for line in wrong[:20]:
        console.print(line, style="red", markup=False)


def main(arguments: list[str]) -> int:
    """
    @param arguments: at most one: how many files to take.
    @return: the exit status: 0 where every result is right.
    """
    console = Console(highlight=False)
    globalLogBeginner.beginLoggingTo([], redirectStandardIO=False, discardBuffer=True)
    names = library_files()
    if arguments:
        names = names[: int(arguments[0])]
    status = 130  # interrupted
    with stage() as (children, address):

        async def body(reactor: Any) -> None:
            nonlocal status
            census = Census(reactor, children, address, names)
            try:
                await census.take(console)
            except (Trouble, TaskQueueError) as error:
                console.print(f"the demonstration failed: {error}", style="red", markup=False)
                status = 1
                return
            wrong = compare(census, names)
            show(console, census, names, wrong)
            status = 1 if wrong else 0

        with suppress(SystemExit):
            react(lambda reactor: Deferred.fromCoroutine(body(reactor)))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
