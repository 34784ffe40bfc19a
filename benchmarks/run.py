"""
The load benchmark: one command, a table, and the machine it ran on.

Every scenario runs against a fresh broker, several rounds, interleaved; the
table shows medians.  C{--quick} runs one short round.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from rich.console import Console
from rich.table import Table

import twisted
from benchmarks.brokers import BrokerProcess
from taskqueue import __version__


class Case(NamedTuple):
    """
    One row of the table.

    @ivar goal: what the number named C{metric} should reach, and in which
        direction: C{">"} or C{"<"}.
    """

    title: str
    scenario: str
    arguments: dict[str, Any]
    durability: str
    metric: str
    unit: str
    goal: tuple[str, float] | None = None


CASES = (
    Case("submit, batches of 100", "submit", {"batch": 100, "window": 4, "count": 100_000},
         "fsync", "submits_per_s", "/s", (">", 10_000)),
    Case("submit, one by one, pipelined", "submit", {"batch": 1, "window": 50, "count": 20_000},
         "fsync", "submits_per_s", "/s"),
    Case("end to end, 10 workers, batches of 50", "end_to_end", {"batch": 50, "count": 50_000},
         "fsync", "tasks_per_s", "/s", (">", 5_000)),
    Case("end to end, 10 workers, one by one", "end_to_end", {"batch": 1, "count": 10_000},
         "fsync", "tasks_per_s", "/s"),
    Case("end to end, batches of 50", "end_to_end", {"batch": 50, "count": 50_000},
         "interval", "tasks_per_s", "/s"),
    Case("end to end, batches of 50", "end_to_end", {"batch": 50, "count": 50_000},
         "none", "tasks_per_s", "/s"),
    Case("1,000 tasks/s one by one: submit to ack", "latency", {"rate": 1000, "seconds": 10},
         "fsync", "ack_p99_ms", "ms p99", ("<", 10)),
    Case("1,000 tasks/s one by one: submit to claimed", "latency", {"rate": 1000, "seconds": 10},
         "fsync", "claimed_p99_ms", "ms p99", ("<", 20)),
    Case("1,000 tasks/s one by one: broker's processor", "latency", {"rate": 1000, "seconds": 10},
         "fsync", "broker_cores", "cores", ("<", 0.5)),
    Case("1,000 connections, a task each", "connections", {"count": 1000},
         "fsync", "round_s", "s"),
    Case("100,000 waiting tasks of 100 bytes", "waiting", {"count": 100_000},
         "fsync", "broker_rss_mb", "MB", ("<", 200)),
)  # fmt: skip


def run_case(case: Case) -> dict[str, float]:
    """One round of one case."""
    with BrokerProcess(
        case.durability, "limits.max_connections=2000", "limits.max_connections_per_peer=2000"
    ) as broker:
        began, cpu = time.perf_counter(), broker.cpu_s()
        finished = subprocess.run(
            [
                sys.executable, "-m", "benchmarks.load",
                case.scenario, str(broker.port), json.dumps(case.arguments),
            ],
            capture_output=True, text=True, check=False, timeout=600,
        )  # fmt: skip
        if finished.returncode:
            raise RuntimeError(f"{case.title}: {finished.stderr}")
        numbers: dict[str, float] = json.loads(finished.stdout)
        seconds = time.perf_counter() - began
        numbers["broker_cores"] = (broker.cpu_s() - cpu) / seconds
        numbers["generator_cores"] = numbers["generator_cpu_s"] / seconds
        numbers["broker_rss_mb"] = broker.rss_bytes() / 1e6
        return numbers


def machine() -> str:
    """The machine and the versions, in a line."""
    memory = psutil.virtual_memory().total / 2**30
    return (
        f"{platform.machine()}, {psutil.cpu_count()} cores, {memory:.0f} GiB, "
        f"Python {platform.python_version()}, Twisted {twisted.__version__}, "
        f"taskqueue {__version__}"
    )


def show(rows: list[tuple[Case, list[dict[str, float]]]], console: Console) -> None:
    """The table."""
    table = Table(title=machine())
    for column in ("case", "durability", "median", "range", "goal", "broker cores", "load cores"):
        table.add_column(column, justify="left" if column == "case" else "right")
    for case, rounds in rows:
        values = [numbers[case.metric] for numbers in rounds]
        median = statistics.median(values)
        goal = ""
        if case.goal is not None:
            sign, bound = case.goal
            reached = median > bound if sign == ">" else median < bound
            goal = f"{sign} {bound:,g} {'yes' if reached else 'NO'}"
        table.add_row(
            case.title,
            case.durability,
            f"{median:,.2f} {case.unit}" if median < 100 else f"{median:,.0f} {case.unit}",
            f"{min(values):,.4g} - {max(values):,.4g}",
            goal,
            f"{statistics.median(n['broker_cores'] for n in rounds):.2f}",
            f"{statistics.median(n['generator_cores'] for n in rounds):.2f}",
        )
    console.print(table)


def main() -> None:
    """Run all cases, or those whose title or scenario contains a word given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="run only cases with one of these words")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round")
    parser.add_argument("--json", type=Path, help="write every number there")
    options = parser.parse_args()
    wanted = [
        case
        for case in CASES
        if not options.words
        or any(word in f"{case.title} {case.scenario} {case.durability}" for word in options.words)
    ]
    console = Console(width=140)
    rows: list[tuple[Case, list[dict[str, float]]]] = [(case, []) for case in wanted]
    for number in range(1 if options.quick else options.rounds):
        measured: dict[str, dict[str, float]] = {}
        for case, rounds in rows:
            key = f"{case.scenario} {case.arguments} {case.durability}"
            if key not in measured:  # several rows may show one run
                console.print(f"round {number + 1}: {case.title} ({case.durability})")
                measured[key] = run_case(case)
            rounds.append(measured[key])
    show(rows, console)
    if options.json:
        options.json.write_text(
            json.dumps(
                {"machine": machine(), "cases": [[c._asdict(), r] for c, r in rows]}, indent=1
            )
        )


if __name__ == "__main__":
    main()
