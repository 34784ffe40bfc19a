"""
Tasks that do nothing, through the worker runtimes of taskqueue, Celery and
dramatiq: two child processes each, results kept.

Rounds are interleaved; the table shows medians.  Celery and dramatiq are
installed into an environment of their own (build/peers); Redis is the system's,
with its append-only file on: synced once a second, as its makers recommend, and
in rows of their own before each answer.  The latter is what taskqueue does unless
it is told otherwise; told so, it syncs ten times a second.

The other two fetch tasks ahead of their processes by themselves; taskqueue does
so where it is told to, which is a row of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.brokers import BrokerProcess
from benchmarks.run import machine

ROOT = Path(__file__).resolve().parent.parent
PEERS = ROOT / "build" / "peers"
PINNED = ROOT / "requirements" / "peers.txt"

#: How long Redis may take to start, seconds.
START_S = 10.0

#: Of taskqueue's worker, in one row.
PREFETCH = 100

NO_REDIS = (
    "redis-server is not installed: Celery and dramatiq are measured with it."
    " On Debian and Ubuntu: apt-get install redis-server"
)


class Load(NamedTuple):
    """How many tasks, measured and before."""

    warm_up: int
    tasks: int


class Measured(NamedTuple):
    """One round, seconds."""

    submit_s: float
    total_s: float


class Contender(NamedTuple):
    """
    One row of the table.

    @ivar synced: when what it keeps is synced to the disk.
    @ivar run: one round of it.
    """

    title: str
    synced: str
    run: Callable[[Load], Measured]


def peers_python() -> Path:
    """The interpreter of the peers' environment, which is made where it is not up to date."""
    stamp = PEERS / "installed.txt"
    python = PEERS / "bin" / "python"
    if not stamp.exists() or stamp.read_text() != PINNED.read_text():
        venv.create(PEERS, with_pip=True, clear=True)
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", "-r", str(PINNED)], check=True, cwd=ROOT
        )
        stamp.write_text(PINNED.read_text())
    return python


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Whether Redis there is ready."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
    except OSError:
        return False


@contextmanager
def running(
    command: list[str], folder: Path, name: str, **more: str
) -> Iterator[subprocess.Popen[bytes]]:
    """A process for as long as the block runs; what it says goes to a file in C{folder}."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def redis(folder: Path, sync: str) -> Iterator[int]:
    """
    A Redis of its own; its port.

    @param sync: when it syncs its file: C{"everysec"} or C{"always"}.
    """
    port = free_port()
    command = [
        "redis-server", "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder),
        "--save", "", "--appendonly", "yes", "--appendfsync", sync,
    ]  # fmt: skip
    with running(command, folder, "redis") as process:
        deadline = time.monotonic() + START_S
        while not answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"Redis did not start:\n{(folder / 'redis.log').read_text()}")
            time.sleep(0.01)
        yield port


@contextmanager
def own_folder() -> Iterator[Path]:
    """A folder that goes when the block ends."""
    folder = Path(tempfile.mkdtemp(prefix="taskqueue-frameworks-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def produce(command: list[str], folder: Path, **more: str) -> Measured:
    """Run a producer, and read what it measured."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **more},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    if done.returncode:
        logs = "\n".join(path.read_text()[-2000:] for path in folder.glob("*.log"))
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}\n{logs}")
    return Measured(**json.loads(done.stdout))


def measure_peer(module: str, worker: list[str], sync: str, load: Load) -> Measured:
    """One round of another framework; C{worker} is its command and what it is told."""
    python = peers_python()
    program, *arguments = worker
    with own_folder() as folder, redis(folder, sync) as port:
        places = {
            "PEER_BROKER": f"redis://127.0.0.1:{port}/0",
            "PEER_RESULTS": f"redis://127.0.0.1:{port}/1",
        }
        with running([str(python.with_name(program)), *arguments], folder, "worker", **places):
            numbers = list(map(str, load))
            return produce([str(python), "-m", module, *numbers], folder, **places)


def measure_celery(sync: str, load: Load) -> Measured:
    """One round of Celery."""
    module = "benchmarks.peers.celery_noop"
    told = ["-A", module, "worker", "--pool", "prefork", "--concurrency", "2", "-l", "WARNING"]
    return measure_peer(module, ["celery", *told], sync, load)


def measure_dramatiq(sync: str, load: Load) -> Measured:
    """One round of dramatiq, with as many threads in a process as it has by itself."""
    module = "benchmarks.peers.dramatiq_noop"
    return measure_peer(module, ["dramatiq", module, "--processes", "2"], sync, load)


def measure_taskqueue(how: str, prefetch: int, durability: str, load: Load) -> Measured:
    """
    One round of taskqueue.

    @param how: tasks are submitted C{"one"} by one, or C{"many"} in a request.
    @param durability: as the broker's settings name it.
    """
    with own_folder() as folder, BrokerProcess(durability) as broker:
        place = {"TASKQUEUE_BROKER": f"tq://127.0.0.1:{broker.port}"}
        command = [
            sys.executable, "-m", "taskqueue.cli", "worker", "benchmarks.noop:app",
            "--concurrency", "2", "--executor", "processes", "--prefetch", str(prefetch),
        ]  # fmt: skip
        with running(command, folder, "worker", **place):
            numbers = list(map(str, load))
            return produce(
                [sys.executable, "-m", "benchmarks.noop", how, *numbers], folder, **place
            )


def contenders() -> dict[str, Contender]:
    """Who is measured, by the word that names it on the command line."""
    return {
        "celery": Contender("Celery", "every second", partial(measure_celery, "everysec")),
        "celery-synced": Contender("Celery", "each answer", partial(measure_celery, "always")),
        "dramatiq": Contender("dramatiq", "every second", partial(measure_dramatiq, "everysec")),
        "dramatiq-synced": Contender(
            "dramatiq", "each answer", partial(measure_dramatiq, "always")
        ),
        **{
            f"taskqueue-{how}{'-prefetch' if prefetch else ''}{suffix}": Contender(
                f"taskqueue, {words}",
                synced,
                partial(measure_taskqueue, how, prefetch, durability),
            )
            for how, prefetch, words in (
                ("one", 0, "one by one"),
                ("many", 0, "submitted in batches"),
                ("many", PREFETCH, f"in batches, --prefetch {PREFETCH}"),
            )
            for durability, synced, suffix in (
                ("interval", "every 0.1 s", ""),
                ("fsync", "each answer", "-synced"),
            )
        },
    }


def show(rows: list[tuple[Contender, list[Measured]]], count: int) -> None:
    """The table, and the machine."""
    table = Table(title=f"{count:,} tasks; {machine()}")
    for column in ("", "disk synced", "submitted", "end to end", "range"):
        table.add_column(column, justify="right" if column else "left")
    for one, rounds in rows:
        whole = [count / took.total_s for took in rounds]
        submitted = statistics.median(count / took.submit_s for took in rounds)
        table.add_row(
            one.title,
            one.synced,
            f"{submitted:,.0f} /s",
            f"{statistics.median(whole):,.0f} /s",
            f"{min(whole):,.0f} - {max(whole):,.0f}",
        )
    Console(width=140).print(table)


def main() -> None:
    """Measure all, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=", ".join(contenders()))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=5_000, help="tasks a round")
    parser.add_argument("--warm-up", type=int, default=200, help="tasks before, not measured")
    options = parser.parse_args()
    known = contenders()
    unknown = set(options.names) - known.keys()
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    names = options.names or list(known)
    if any(not name.startswith("taskqueue") for name in names):
        if shutil.which("redis-server") is None:
            raise SystemExit(NO_REDIS)
        peers_python()
    load = Load(options.warm_up, options.count)
    rows: dict[str, list[Measured]] = {name: [] for name in names}
    for number in range(options.rounds):
        for name in names:
            print(f"round {number + 1}: {name}", flush=True)
            rows[name].append(known[name].run(load))
    show([(known[name], rounds) for name, rounds in rows.items()], options.count)


if __name__ == "__main__":
    main()
