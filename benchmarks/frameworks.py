"""
Tasks that do nothing, through the worker runtimes of taskqueue, Celery, dramatiq,
RQ, Huey and Procrastinate: two child processes each, results kept.

Every round starts a server and workers of its own, submits some tasks to warm up,
and then counts from the first submission until the last result is stored.  Everybody
submits task by task, and in bulk where there is a way, from one thread.

Redis has its append-only file on: synced once a second, as its makers recommend, and
in rows of their own before each answer.  So has PostgreSQL: C{synchronous_commit} off,
which writes up to 0.6 s later, and on.  taskqueue syncs before each answer unless it is
told otherwise; told so, ten times a second.  Its worker is run as it comes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from benchmarks import servers
from benchmarks.contest import Contestant, Numbers, Race, Variant
from benchmarks.framework_servers import postgresql, running
from benchmarks.install import ROOT, peers_python

FRAMEWORKS = Race(
    "frameworks",
    "Worker runtimes: tasks that do nothing, two child processes, results kept",
    "tasks_per_s",
    "tasks/s",
    columns=("submits_per_s",),
    note="Until the last result is stored; submitted by one thread.",
)
RACES = (FRAMEWORKS,)

#: Of one round, where a task takes a tenth of a millisecond or so; others get a share.
TASKS, QUICK_TASKS = 20_000, 2_000

#: Tasks before, not measured.
WARM_UP = 200

#: How long one round may take, seconds.
PATIENCE_S = 300.0

#: What an answer means, for each way to sync.
ON_DISK, SOON = "each answer is on the disk", "the last moments may be lost"


class Peer(NamedTuple):
    """
    Another framework.

    @ivar module: of its producer.
    @ivar workers: the commands of its workers; C{{url}} in them is its server's address.
    @ivar styles: how it submits, and what that is called.
    @ivar scheme: of its server's address.
    @ivar start: its server, told how to sync.
    @ivar syncs: how to sync, and what that promises.
    @ivar before: a command that is run once the server is there.
    @ivar share: of the tasks of a round.
    """

    title: str
    module: str
    workers: list[list[str]]
    styles: dict[str, str]
    scheme: str = "redis://127.0.0.1:{port}/0"
    start: Callable[[str], servers.Start] = servers.redis
    syncs: tuple[tuple[str, str], ...] = (("everysec", SOON), ("always", ON_DISK))
    before: list[str] | None = None
    share: float = 0.25


_HERE = "benchmarks.peers."
_QUIET_CELERY = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING"]

PEERS = (
    Peer(
        "Celery",
        _HERE + "celery_noop",
        [["celery", "-A", _HERE + "celery_noop", "worker", "--pool", "prefork",
          "--concurrency", "2", *_QUIET_CELERY]],
        {"one": "one by one", "many": "with one producer"},
    ),
    Peer(
        "dramatiq",
        _HERE + "dramatiq_noop",
        [["dramatiq", _HERE + "dramatiq_noop", "--processes", "2"]],
        {"one": "one by one"},
        share=0.5,
    ),
    Peer(
        "RQ, a process for each task",
        _HERE + "rq_noop",
        [["rq", "worker", "--quiet", "--url", "{url}"]] * 2,
        {"one": "one by one"},
        share=0.02,
    ),
    Peer(
        "RQ, SimpleWorker",
        _HERE + "rq_noop",
        [["rq", "worker", "--quiet", "--url", "{url}", "-w", "rq.worker.SimpleWorker"]] * 2,
        {"one": "one by one", "many": "enqueue_many"},
        share=0.1,
    ),
    Peer(
        "Huey",
        _HERE + "huey_noop",
        [["huey_consumer", _HERE + "huey_tasks.huey", "--worker-type", "process",
          "--workers", "2", "--quiet"]],
        {"one": "one by one"},
        share=0.5,
    ),
    Peer(
        "Procrastinate",
        _HERE + "procrastinate_noop",
        [["procrastinate", "--app", _HERE + "procrastinate_noop.app", "worker",
          "--concurrency", "20"]] * 2,
        {"one": "one by one", "many": "batch_defer"},
        "postgresql://postgres@127.0.0.1:{port}/postgres",
        postgresql,
        (("off", SOON), ("on", ON_DISK)),
        ["procrastinate", "--app", _HERE + "procrastinate_noop.app", "schema", "--apply"],
    ),
)  # fmt: skip


def produce(command: list[str], folder: Path, tasks: int, **more: str) -> Numbers:
    """
    Run a producer; what it measured.

    @raises subprocess.CalledProcessError: if it fails; its words and its workers' are in
        C{stderr}.
    """
    done = subprocess.run(
        [*command, str(WARM_UP), str(tasks)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **more},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    if done.returncode:
        logs = "\n".join(path.read_text()[-1000:] for path in folder.glob("*.log"))
        raise subprocess.CalledProcessError(
            done.returncode, command, done.stdout, f"{logs}\n{done.stderr}"
        )
    took = json.loads(done.stdout)
    return {"submits_per_s": tasks / took["submit_s"], "tasks_per_s": tasks / took["total_s"]}


def measure_peer(peer: Peer, how: str, sync: str, variant: Variant, seconds: float) -> Numbers:
    """One round of another framework: so many tasks, however long that takes."""
    python = peers_python()
    with ExitStack() as stack:
        folder = stack.enter_context(servers.own_folder())
        server = stack.enter_context(peer.start(sync).run())
        url = peer.scheme.format(port=server.port)
        places = {"PEER_BROKER": url, "PEER_RESULTS": f"redis://127.0.0.1:{server.port}/1"}

        def process(command: list[str], name: str) -> subprocess.Popen[bytes]:
            program, *arguments = (word.replace("{url}", url) for word in command)
            whole = [str(python.with_name(program)), *arguments]
            return stack.enter_context(running(whole, folder / f"{name}.log", **places))

        if peer.before is not None:
            process(peer.before, "before").wait(60)
        for number, command in enumerate(peer.workers):
            process(command, f"worker{number}")
        return produce([str(python), "-m", peer.module, how], folder, variant["tasks"], **places)


def measure_taskqueue(how: str, durability: str, variant: Variant, seconds: float) -> Numbers:
    """
    One round of taskqueue, its worker as it comes: so many tasks.

    @param how: tasks are submitted C{"one"} by one, or C{"many"} in a request.
    @param durability: as the broker's settings name it.
    """
    command = [
        *(sys.executable, "-m", "taskqueue.cli", "worker", "benchmarks.noop:app"),
        *("--concurrency", "2", "--executor", "processes"),
    ]
    with servers.own_folder() as folder, servers.taskqueue(durability).run() as broker:
        place = {"TASKQUEUE_BROKER": f"tq://127.0.0.1:{broker.port}"}
        with running(command, folder / "worker.log", **place):
            producer = [sys.executable, "-m", "benchmarks.noop", how]
            return produce(producer, folder, variant["tasks"], **place)


def contestants(quick: bool = False) -> list[Contestant]:
    """Everyone, in each style and with each promise."""
    whole = QUICK_TASKS if quick else TASKS

    def entrant(
        name: str, promise: str, measure: Callable[[Variant, float], Numbers], settings: str,
        share: float,
    ) -> Contestant:  # fmt: skip
        variant = {"tasks": max(50, int(whole * share))}
        return Contestant(
            FRAMEWORKS.key, name, "no-op tasks", promise, measure, (variant,), settings
        )

    found = []
    for how, words in (("one", "one by one"), ("many", "submit_many")):
        for durability, promise in (("interval", SOON), ("fsync", ON_DISK)):
            run = partial(measure_taskqueue, how, durability)
            settings = servers.taskqueue(durability).settings
            share = 0.2 if how == "one" else 1.0
            found.append(entrant(f"taskqueue {durability}, {words}", promise, run, settings, share))
    for peer in PEERS:
        for how, words in peer.styles.items():
            for sync, promise in peer.syncs:
                run = partial(measure_peer, peer, how, sync)
                settings = peer.start(sync).settings
                name = f"{peer.title} {sync}, {words}"
                found.append(entrant(name, promise, run, settings, peer.share))
    return found
