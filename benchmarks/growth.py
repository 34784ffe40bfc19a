"""
What an operation costs a real broker as it fills: 1,000 to 1,000,000 waiting
tasks, in one lane or in 10,000.

The cost is the broker's own processor time for each task, over TCP, with
SQLite and fsync, in batches of ten.  Rounds are interleaved; medians are shown.
C{benchmarks/core_growth.py} measures the core alone.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.brokers import BrokerProcess
from benchmarks.run import machine

SIZES = (1_000, 100_000, 1_000_000)
LANES = (1, 10_000)
OPERATIONS = 10_000
BATCH = 10


def load(broker: BrokerProcess, scenario: str, **arguments: Any) -> float:
    """Run a scenario; return the processor time that it cost the broker, seconds."""
    began = broker.cpu_s()
    subprocess.run(
        [
            sys.executable,
            "-m",
            "benchmarks.load",
            scenario,
            str(broker.port),
            json.dumps(arguments),
        ],
        check=True,
        capture_output=True,
        timeout=900,
    )
    return broker.cpu_s() - began


def measure(tasks: int, lanes: int) -> dict[str, float]:
    """Microseconds of the broker's processor for each task, by operation."""
    with BrokerProcess() as broker:
        load(broker, "waiting", count=tasks, types=lanes, batch=10 if lanes > 1 else 500)
        submit_s = load(broker, "submit", batch=BATCH, window=4, count=OPERATIONS, types=lanes)
        work_s = load(broker, "drain", batch=BATCH, count=OPERATIONS)
    return {"submit": submit_s / OPERATIONS * 1e6, "claim and complete": work_s / OPERATIONS * 1e6}


def main() -> None:
    """Measure every combination, and print a table with ratios to the smallest one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--most", type=int, default=SIZES[-1], help="the largest number of tasks")
    options = parser.parse_args()
    console = Console(width=120)
    cases = [(size, lanes) for size in SIZES if size <= options.most for lanes in LANES]
    found: dict[tuple[int, int], list[dict[str, float]]] = {case: [] for case in cases}
    for number in range(options.rounds):
        for case in cases:
            console.print(f"round {number + 1}: {case[0]:,} tasks, {case[1]:,} lanes")
            found[case].append(measure(*case))
    table = Table(title=machine())
    for column in ("tasks", "lanes", "submit us", "ratio", "claim and complete us", "ratio"):
        table.add_column(column, justify="right")
    base: dict[str, float] = {}
    for (tasks, lanes), rounds in found.items():
        row = [f"{tasks:,}", f"{lanes:,}"]
        for name in ("submit", "claim and complete"):
            cost = statistics.median(numbers[name] for numbers in rounds)
            row += [f"{cost:.1f}", f"{cost / base.setdefault(name, cost):.2f}"]
        table.add_row(*row)
    console.print(table)


if __name__ == "__main__":
    main()
