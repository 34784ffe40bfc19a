"""
Celery's tasks that do nothing, over this broker and over Redis, in one run.

The same application, worker and producer for both: prefork with two children, the same
prefetch, events, gossip and mingling off.  One producer submits task by task over one
connection, while the worker runs; what is counted is from the first submission until the
last task has ended, its result stored where there are results.  Rounds of everyone take
turns, and the median counts.  Processor time is that of all processes together: the
producer's, the worker's with its children, and the server's.

    python -m benchmarks.celery_transport --tasks 5000 --rounds 3
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psutil

from benchmarks import servers
from benchmarks.framework_servers import running
from benchmarks.install import ROOT, peers_python

_APP = "benchmarks.peers.celery_transport"
_QUIET = ("--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "WARNING")

#: How long one round may take, seconds.
PATIENCE_S = 300.0


class Entrant(NamedTuple):
    """
    One broker, in one setting.

    @ivar scheme: of its address.
    """

    name: str
    start: servers.Start
    scheme: str


ENTRANTS = (
    Entrant("taskqueue fsync", servers.taskqueue("fsync"), "taskqueue://127.0.0.1:{port}"),
    Entrant("taskqueue interval", servers.taskqueue("interval"), "taskqueue://127.0.0.1:{port}"),
    Entrant("Redis always", servers.redis("always"), "redis://127.0.0.1:{port}/0"),
    Entrant("Redis everysec", servers.redis("everysec"), "redis://127.0.0.1:{port}/0"),
)


def _cpu_s(pids: list[int]) -> float:
    """What these and their children have used, seconds of processor time."""
    used = 0.0
    for pid in pids:
        whole = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        used += sum(sum(one.cpu_times()[:2]) for one in whole)
    return used


@contextmanager
def _worker(folder: Path, environment: dict[str, str], prefetch: int) -> Iterator[int]:
    command = [
        *(sys.executable, "-m", "celery", "-A", _APP, "worker", "--pool", "prefork"),
        *("--concurrency", "2", "--prefetch-multiplier", str(prefetch), *_QUIET),
    ]
    with running(command, folder / "worker.log", **environment) as process:
        yield process.pid


def measure(entrant: Entrant, tasks: int, prefetch: int, results: bool) -> dict[str, float]:
    """One round."""
    (packages,) = (peers_python().parent.parent / "lib").glob("python*/site-packages")
    with servers.own_folder() as folder, entrant.start.run() as server:
        counts = folder / "counts"
        counts.mkdir()
        url = entrant.scheme.format(port=server.port)
        environment = {
            "BROKER": url,
            "RESULTS": url if results else "",
            "PREFETCH": str(prefetch),
            "COUNTS": str(counts),
            "PEERS_PATH": str(packages),
        }
        with _worker(folder, environment, prefetch) as worker:
            return _produced(folder, environment, tasks, [worker, server.pid])


def _produced(
    folder: Path, environment: dict[str, str], tasks: int, pids: list[int]
) -> dict[str, float]:
    before = _cpu_s(pids)
    done = subprocess.run(
        [sys.executable, "-m", _APP, "200", str(tasks)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    if done.returncode:
        raise SystemExit(f"{done.stderr}\n{(folder / 'worker.log').read_text()[-2000:]}")
    took = json.loads(done.stdout)
    # What the worker's start took is small beside the round, and the same for all.
    used = _cpu_s(pids) - before + took["producer_cpu_s"]
    return {
        "tasks_per_s": tasks / took["total_s"],
        "submits_per_s": tasks / took["submit_s"],
        "cpu_us": 1e6 * used / tasks,
        "producer_us": 1e6 * took["producer_cpu_s"] / tasks,
    }


def main() -> None:
    """Run all and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--tasks", type=int, default=5000, help="of one round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prefetch", type=int, default=64, help="Celery's prefetch multiplier")
    parser.add_argument("--only", default="", help="a part of the entrants' names")
    given = parser.parse_args()
    entrants = [one for one in ENTRANTS if given.only.lower() in one.name.lower()]
    print(
        "| broker | results | tasks/s | submits/s | processor us a task | of these the producer |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    for results in (False, True):
        found: dict[str, list[dict[str, float]]] = defaultdict(list)
        for _ in range(given.rounds):
            for entrant in entrants:
                found[entrant.name].append(measure(entrant, given.tasks, given.prefetch, results))
        for name, rounds in found.items():
            median = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
            numbers = " | ".join(f"{value:,.0f}" for value in median.values())
            print(f"| {name} | {'kept' if results else 'none'} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
