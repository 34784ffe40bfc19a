"""
How far the broker is from what its machine allows.

Beside its throughput, end to end and synced before each answer, stand two floors:
the same frames through a bare Twisted server (L{benchmarks.echo}), and the store
alone, which commits the same changes, synced as well.  The load is the one of
the races.  The broker's share of the lower floor is what is to be looked at.

Run: C{python -m benchmarks.limits [--rounds N] [--seconds S] [--batch B]}
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from benchmarks import servers
from benchmarks.contest import Contestant, Numbers, Race, Variant
from benchmarks.groups import Groups
from benchmarks.install import ROOT
from benchmarks.run import machine
from benchmarks.throughput import closed
from taskqueue.store import make_store

LIMITS = Race(
    "limits",
    "Distance to the limit: end to end, synced before each answer",
    "tasks_per_s",
    "tasks/s",
    columns=("server_cores", "generator_cores", "server_us"),
    note="The broker should reach half of the lower floor.",
)

RACES = (LIMITS,)

#: Of one request, in all three.
BATCH = 100

#: Submissions, claims and results in one group, as the load makes them: each a request.
REQUESTS_A_GROUP = 2


@contextmanager
def echo(batch: int) -> Iterator[servers.Server]:
    """The bare server, for frames of C{batch} tasks."""
    command = [sys.executable, "-m", "benchmarks.echo", str(batch)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            yield servers.Server(port, process.pid)
        finally:
            process.terminate()


def through_echo(variant: Variant, seconds: float) -> Numbers:
    """A round of the load against the bare server."""
    start = servers.Start("", partial(echo, variant["batch"]))
    return closed(start, "taskqueue", variant, seconds)


def store_alone(variant: Variant, seconds: float) -> Numbers:
    """
    A round of commits, one after another; what the store does beside them is done
    beside them, and what is left at the end counts too.
    """
    size = variant["batch"] * REQUESTS_A_GROUP
    with servers.own_folder() as folder, ThreadPoolExecutor(1) as beside:
        store = make_store("sqlite", str(folder / "data"), "fsync", "none")
        store.open()
        catching_up: Future[None] | None = None
        groups, spent_s, cpu_s, tasks = Groups(size), 0.0, 0.0, 0
        while spent_s < seconds:
            made = groups.take(20)  # not counted
            began, cpu = time.perf_counter(), time.process_time()
            for batch in made:
                store.commit(batch)
                if store.wants_checkpoint and (catching_up is None or catching_up.done()):
                    catching_up = beside.submit(store.checkpoint)
            spent_s += time.perf_counter() - began
            cpu_s += time.process_time() - cpu
            tasks += size * len(made)
        began, cpu = time.perf_counter(), time.process_time()
        if catching_up is not None:
            catching_up.result()
        store.close()
        spent_s += time.perf_counter() - began
        cpu_s += time.process_time() - cpu
    return {
        "tasks_per_s": tasks / spent_s,
        "server_cores": cpu_s / spent_s,
        "server_us": 1e6 * cpu_s / tasks,
    }


def contestants(quick: bool = False) -> list[Contestant]:
    """The broker, and the two floors; they are as quick as a race wants them."""
    variants: tuple[Variant, ...] = ({"batch": BATCH, "window": 2},)
    start = servers.taskqueue("fsync")
    return [
        Contestant(
            LIMITS.key, "taskqueue fsync", "batches", "each answer is on the disk",
            partial(closed, start, "taskqueue"), variants,
        ),
        Contestant(
            LIMITS.key, "a bare Twisted server, same frames", "batches", "nothing is done",
            through_echo, variants,
        ),
        Contestant(
            LIMITS.key, "the store alone, same changes", "batches", "each commit is on the disk",
            store_alone, variants,
        ),
    ]  # fmt: skip


def main() -> None:
    """Measure, and say how near the broker is."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round")
    parser.add_argument("--batch", type=int, default=BATCH)
    options = parser.parse_args()
    rows = contestants()
    found: dict[str, list[Numbers]] = {row.name: [] for row in rows}
    for _ in range(options.rounds):
        for row in rows:
            variant = {**row.variants[0], "batch": options.batch}
            found[row.name].append(row.measure(variant, options.seconds))
    print(machine())
    medians = []
    for name, rounds in found.items():
        rates = [numbers["tasks_per_s"] for numbers in rounds]
        medians.append(statistics.median(rates))
        cost_us = statistics.median(numbers["server_us"] for numbers in rounds)
        print(f"{name:36} {medians[-1]:>9,.0f} tasks/s, {cost_us:.1f} us of processor a task")
    print(f"the broker reaches {medians[0] / min(medians[1:]):.0%} of the lower floor")


if __name__ == "__main__":
    main()
