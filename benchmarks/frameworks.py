"""
Tasks that do nothing, through the worker runtimes of taskqueue, Celery, dramatiq,
RQ, Huey and Procrastinate: two child processes each, results kept.

Rounds are interleaved; the table shows medians.  The others are installed into an
environment of their own (build/peers); Redis and PostgreSQL are the system's.  Redis
has its append-only file on: synced once a second, as its makers recommend, and in
rows of their own before each answer.  So has PostgreSQL: C{synchronous_commit} off,
which writes up to 0.6 s later, and on.  taskqueue syncs before each answer unless it
is told otherwise; told so, ten times a second.

Everybody submits task by task, and in bulk where there is a way.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

from benchmarks.brokers import BrokerProcess
from benchmarks.framework_servers import ROOT, own_folder, peers_python, postgresql, redis, running
from benchmarks.run import machine

#: Of one round, which includes those that need a second for thirty tasks, seconds.
PATIENCE_S = 900.0


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
    @ivar durable: whether that is before each answer.
    @ivar run: one round of it.
    @ivar share: of the round's tasks that it gets, where it takes too long for all.
    """

    title: str
    synced: str
    durable: bool
    run: Callable[[Load], Measured]
    share: float = 1.0


class Peer(NamedTuple):
    """
    Another framework.

    @ivar module: of its producer.
    @ivar workers: the commands of its workers; C{{url}} in them is its server's address.
    @ivar styles: how it submits, and what that is called.
    @ivar before: a command that is run once the server is there.
    """

    title: str
    module: str
    workers: list[list[str]]
    styles: dict[str, str]
    server: Callable[..., Any] = redis
    before: list[str] | None = None
    share: float = 1.0


_NOOP = "benchmarks.peers."
_QUIET_CELERY = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING"]

PEERS = {
    "celery": Peer(
        "Celery",
        _NOOP + "celery_noop",
        [["celery", "-A", _NOOP + "celery_noop", "worker", "--pool", "prefork",
          "--concurrency", "2", *_QUIET_CELERY]],
        {"one": "one by one", "many": "with one producer"},
    ),
    "dramatiq": Peer(
        "dramatiq",
        _NOOP + "dramatiq_noop",
        [["dramatiq", _NOOP + "dramatiq_noop", "--processes", "2"]],
        {"one": "one by one"},
    ),
    "rq": Peer(
        "RQ, a process per task",
        _NOOP + "rq_noop",
        [["rq", "worker", "--quiet", "--url", "{url}"]] * 2,
        {"one": "one by one"},
        share=0.05,
    ),
    "rq-simple": Peer(
        "RQ, SimpleWorker",
        _NOOP + "rq_noop",
        [["rq", "worker", "--quiet", "--url", "{url}", "-w", "rq.worker.SimpleWorker"]] * 2,
        {"one": "one by one", "many": "enqueue_many"},
    ),
    "huey": Peer(
        "Huey",
        _NOOP + "huey_noop",
        [["huey_consumer", _NOOP + "huey_tasks.huey", "--worker-type", "process", "--workers", "2",
          "--quiet"]],
        {"one": "one by one"},
    ),
    "procrastinate": Peer(
        "Procrastinate",
        _NOOP + "procrastinate_noop",
        [["procrastinate", "--app", _NOOP + "procrastinate_noop.app", "worker",
          "--concurrency", "20"]] * 2,
        {"one": "one by one", "many": "batch_defer"},
        server=postgresql,
        before=["procrastinate", "--app", _NOOP + "procrastinate_noop.app", "schema", "--apply"],
    ),
}  # fmt: skip

#: For each kind of server: its setting, what that means, the suffix of the row's
#: name, and whether each answer waits for the disk.
SYNCS = {
    redis: (("everysec", "every second", "", False), ("always", "each answer", "-synced", True)),
    postgresql: (("off", "every 0.6 s", "", False), ("on", "each answer", "-synced", True)),
}


def produce(command: list[str], folder: Path, **more: str) -> Measured:
    """Run a producer, and read what it measured."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **more},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    if done.returncode:
        logs = "\n".join(path.read_text()[-2000:] for path in folder.glob("*.log"))
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr}\n{logs}")
    return Measured(**json.loads(done.stdout))


def measure_peer(peer: Peer, how: str, sync: str, load: Load) -> Measured:
    """One round of another framework."""
    python = peers_python()

    def program(command: list[str]) -> list[str]:
        name, *arguments = (word.replace("{url}", url) for word in command)
        return [str(python.with_name(name)), *arguments]

    with ExitStack() as stack:
        folder = stack.enter_context(own_folder())
        server = stack.enter_context(peer.server(folder, sync))
        url = server if peer.server is postgresql else f"{server}/0"
        places = {"PEER_BROKER": url, "PEER_RESULTS": f"{server}/1"}
        if peer.before is not None:
            with running(program(peer.before), folder, "before", **places) as before:
                before.wait(60)
        for number, command in enumerate(peer.workers):
            worker = running(program(command), folder, f"worker{number}", **places)
            stack.enter_context(worker)
        command = [str(python), "-m", peer.module, how, *map(str, load)]
        return produce(command, folder, **places)


def measure_taskqueue(how: str, durability: str, load: Load) -> Measured:
    """
    One round of taskqueue, its worker as it comes.

    @param how: tasks are submitted C{"one"} by one, or C{"many"} in a request.
    @param durability: as the broker's settings name it.
    """
    with own_folder() as folder, BrokerProcess(durability) as broker:
        place = {"TASKQUEUE_BROKER": f"tq://127.0.0.1:{broker.port}"}
        command = [
            sys.executable, "-m", "taskqueue.cli", "worker", "benchmarks.noop:app",
            "--concurrency", "2", "--executor", "processes",
        ]  # fmt: skip
        with running(command, folder, "worker", **place):
            producer = [sys.executable, "-m", "benchmarks.noop", how, *map(str, load)]
            return produce(producer, folder, **place)


def contenders() -> dict[str, Contender]:
    """Who is measured, by the word that names it on the command line."""
    found = {}
    for name, peer in PEERS.items():
        for how, words in peer.styles.items():
            for sync, synced, suffix, durable in SYNCS[peer.server]:
                key = f"{name}{'-bulk' if how == 'many' else ''}{suffix}"
                run = partial(measure_peer, peer, how, sync)
                title = f"{peer.title}, {words}"
                found[key] = Contender(title, synced, durable, run, peer.share)
    for how, words in (("one", "one by one"), ("many", "submit_many")):
        for durability, synced, suffix, durable in (
            ("interval", "every 0.1 s", "", False),
            ("fsync", "each answer", "-synced", True),
        ):
            key = f"taskqueue{'-bulk' if how == 'many' else ''}{suffix}"
            run = partial(measure_taskqueue, how, durability)
            found[key] = Contender(f"taskqueue, {words}", synced, durable, run)
    return found


def measured(
    names: list[str], rounds: int, load: Load, say: Callable[[str], None]
) -> dict[str, list[dict[str, float]]]:
    """
    Rounds of those named, interleaved.

    @param say: told what begins.
    @return: for each name, the numbers of each round: C{submits_per_s} and
        C{tasks_per_s}, or none where it could not be run (C{say} is told why).
    """
    known = contenders()
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names:
            say(f"round {number + 1}: {name}")
            its = load._replace(tasks=max(50, int(load.tasks * known[name].share)))
            try:
                took = known[name].run(its)
            except (SystemExit, OSError, subprocess.SubprocessError) as error:
                say(f"{name} could not be measured: {error}")
                continue
            rows[name].append(
                {
                    "submits_per_s": its.tasks / took.submit_s,
                    "tasks_per_s": its.tasks / took.total_s,
                }
            )
    return rows


def show(rows: dict[str, list[dict[str, float]]]) -> None:
    """The table, with each one's distance to taskqueue at the same durability, and the machine."""
    known = contenders()
    table = Table(title=machine())
    for column in ("", "disk synced", "submitted", "end to end", "range", "taskqueue's best"):
        table.add_column(column, justify="right" if column else "left")
    best = {
        durable: max(
            (
                statistics.median(took["tasks_per_s"] for took in rounds)
                for name, rounds in rows.items()
                if rounds and name.startswith("taskqueue") and known[name].durable == durable
            ),
            default=0.0,
        )
        for durable in (False, True)
    }
    for name, rounds in rows.items():
        one = known[name]
        if not rounds:
            table.add_row(one.title, one.synced, "", "not measured")
            continue
        whole = [took["tasks_per_s"] for took in rounds]
        table.add_row(
            one.title,
            one.synced,
            f"{statistics.median(took['submits_per_s'] for took in rounds):,.0f} /s",
            f"{statistics.median(whole):,.0f} /s",
            f"{min(whole):,.0f} - {max(whole):,.0f}",
            f"{best[one.durable] / statistics.median(whole):,.1f} x",
        )
    Console(width=140).print(table)


def main() -> None:
    """Measure all, or those that are named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=", ".join(contenders()))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=10_000, help="tasks a round")
    parser.add_argument("--warm-up", type=int, default=200, help="tasks before, not measured")
    options = parser.parse_args()
    known = contenders()
    unknown = set(options.names) - known.keys()
    if unknown:
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    names = options.names or list(known)
    load = Load(options.warm_up, options.count)
    show(measured(names, options.rounds, load, lambda text: print(text, flush=True)))


if __name__ == "__main__":
    main()
