"""
What grows and what does not: cost and memory with waiting tasks, lanes,
connections, leases, and the size of payloads.

Each round has a broker of its own, which syncs before each answer.  Costs are its own
processor time, which does not depend on how fast the load comes.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from benchmarks import servers
from benchmarks.brokers import BrokerProcess
from benchmarks.contest import Contestant, Numbers, Race, Variant
from benchmarks.growth import BATCH, load
from benchmarks.install import ROOT

WAITING = Race(
    "scale",
    "Waiting tasks: the broker's processor time for one task",
    "task_us",
    "us",
    higher_is_better=False,
    columns=("submit_us", "work_us", "rss_mb", "bytes_a_task", "restart_s"),
    note="In batches of ten, submitted, claimed and completed; memory beside the payload"
    " of 100 bytes; the restart with all of them, from the process to its port.",
)
CONNECTIONS = Race(
    "connections",
    "Connections: the broker's processor time for one task of each",
    "task_us",
    "us",
    higher_is_better=False,
    columns=("tasks_per_s", "connect_us", "idle_mb", "idle_kb_each"),
    note="One by one on every connection; memory while they do nothing.",
)
LEASES = Race(
    "leases",
    "Leases: the broker's processor time for a heartbeat, 100 workers",
    "heartbeat_us",
    "us",
    higher_is_better=False,
    columns=("round_trip_us", "leases"),
)
PAYLOADS = Race(
    "payloads",
    "Payloads, from submission to the task's end",
    "mb_per_s",
    "MB/s",
    columns=("tasks_per_s", "task_us"),
)
RACES = (WAITING, CONNECTIONS, LEASES, PAYLOADS)

#: Tasks that are measured, after those that wait.
OPERATIONS = 10_000

#: Between two looks whether the broker is quiet, seconds, and how many there are at most.
LOOK_S, PATIENCE = 0.5, 120

#: So many quiet looks, one after another, take longer than the store waits before it catches up.
QUIET_LOOKS = 4

#: Of one contestant, which is a size.
STYLE = "fsync"

_MANY = (
    "limits.max_connections=20000",
    "limits.max_connections_per_peer=20000",
    "broker.lease_max_s=3600",
)


@contextmanager
def broker(*, keep: str | None = None) -> Iterator[BrokerProcess]:
    """A broker that accepts whatever comes, with its data where everybody's is."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with (
        servers.own_folder() as folder,
        BrokerProcess("fsync", *_MANY, folder=keep or str(folder)) as process,
    ):
        yield process


def until_quiet(process: BrokerProcess) -> None:
    """
    Wait until the broker has brought to its place what it accepted: else that would
    count as the cost of what comes next.
    """
    quiet = 0
    for _ in range(PATIENCE):
        cpu_s = process.cpu_s()
        time.sleep(LOOK_S)
        quiet = quiet + 1 if process.cpu_s() - cpu_s < 0.1 * LOOK_S else 0
        if quiet == QUIET_LOOKS:
            return


def whole_cost(process: BrokerProcess, scenario: str, **arguments: Any) -> float:
    """Processor time of the operations, and of what the store does for them afterwards."""
    cpu_s = process.cpu_s()
    load(process, scenario, count=OPERATIONS, **arguments)
    until_quiet(process)
    return process.cpu_s() - cpu_s


def waiting(tasks: int, lanes: int, variant: Variant, seconds: float) -> Numbers:
    """The cost of a task beside so many that wait, and what these take."""
    with servers.own_folder() as folder:
        with broker(keep=str(folder)) as full:
            before = full.rss_bytes()
            load(full, "waiting", count=tasks, types=lanes, batch=10 if lanes > 1 else 500)
            until_quiet(full)
            grown = full.rss_bytes() - before
            submit_s = whole_cost(full, "submit", batch=BATCH, window=4, types=lanes)
            work_s = whole_cost(full, "drain", batch=BATCH)
        with broker(keep=str(folder)) as again:
            restart_s = again.start_s
    return {
        "submit_us": submit_s / OPERATIONS * 1e6,
        "work_us": work_s / OPERATIONS * 1e6,
        "task_us": (submit_s + work_s) / OPERATIONS * 1e6,
        "rss_mb": (before + grown) / 1e6,
        "bytes_a_task": grown / tasks - 100,
        "restart_s": restart_s,
    }


def loaded(scenario: str, arguments: dict[str, Any], variant: Variant, seconds: float) -> Numbers:
    """A scenario of L{benchmarks.scale_load}."""
    with broker() as process:
        told = [scenario, str(process.port), str(process.usage.pid), json.dumps(arguments)]
        done = subprocess.run(
            [sys.executable, "-m", "benchmarks.scale_load", *told],
            cwd=ROOT, check=True, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
    numbers: Numbers = json.loads(done.stdout)
    return numbers


def contestants(quick: bool = False) -> list[Contestant]:
    """taskqueue, at every size."""

    def size(race: Race, what: str, measure: Callable[[Variant, float], Numbers]) -> Contestant:
        return Contestant(race.key, f"taskqueue, {what}", STYLE, what, measure)

    most = 10_000 if quick else 1_000_000
    return [
        *(
            size(WAITING, f"{tasks:,} waiting, {lanes:,} lanes", partial(waiting, tasks, lanes))
            for tasks in (1_000, 10_000, 100_000, 1_000_000)
            for lanes in (1, 10_000)
            if tasks <= most
        ),
        *(
            size(
                CONNECTIONS,
                f"{count:,} connections",
                partial(loaded, "connections", {"count": count, "tasks": max(count, 5_000)}),
            )
            for count in ((10, 100) if quick else (10, 100, 1_000, 5_000))
        ),
        *(
            size(
                LEASES,
                f"{100 * each:,} leases",
                partial(loaded, "leases", {"workers": 100, "each": each, "beats": 20}),
            )
            for each in ((1, 10) if quick else (1, 10, 100, 1_000))
        ),
        *(
            size(PAYLOADS, name, partial(loaded, "payloads", {"size": bytes_, "count": count}))
            for name, bytes_, count in (
                ("100 B", 100, 20_000),
                ("10 KB", 10_000, 10_000),
                ("1 MB", 1_000_000, 200),
            )
        ),
    ]
