"""
The broker on one screen: what C{taskqueue top} shows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from taskqueue.cli.output import first_line, moment
from taskqueue.cli.views import memory_mib, worker_state

Json = dict[str, Any]

#: Lines that are not rows: the head, and each table's own.
_HEAD_LINES = 3
_TABLE_LINES = 2

#: At most so many failures are shown.
FAILURES = 5


class Sight(NamedTuple):
    """
    What the broker said at one moment.

    @ivar at: seconds, of any clock that runs on.
    @ivar failures: the newest dead letters.
    """

    at: float
    stats: Json
    queues: Sequence[Json]
    workers: Sequence[Json]
    failures: Sequence[Json]


def dashboard(now: Sight, before: Sight | None, height: int) -> RenderableType:
    """
    All of it, in C{height} lines.

    @param before: an earlier sight, from which the rates of queues derive.
    """
    failures = min(len(now.failures), FAILURES)
    for_rows = height - _HEAD_LINES - 3 * _TABLE_LINES - max(failures, 1)
    most_workers = max(1, min(len(now.workers), for_rows // 3))
    most_queues = max(1, for_rows - most_workers)
    return Group(
        _head(now.stats),
        _queues(now, before, most_queues),
        _workers(now.workers, most_workers),
        _failures(now.failures[:failures]),
    )


def _head(stats: Json) -> Text:
    up = timedelta(seconds=int(stats["uptime_s"]))
    health = ("healthy", "green") if stats["healthy"] else ("store in trouble", "bold red")
    rates = stats["rates"]
    head = Text(no_wrap=True, overflow="ellipsis")
    head.append(f"{stats['name'] or 'taskqueue'}", style="bold")
    head.append(f"  up {up}  ")
    head.append(*health)
    head.append(f"  {stats['connections']} connections  {stats['workers']} workers\n")
    head.append(
        f"waiting {stats['depth']:,}  in progress {stats['in_progress']:,}"
        f"  dead letters {stats['states'].get('dead_letter', 0):,}\n"
    )
    shown = ("submitted", "completed", "failed", "dead_lettered")
    per_second = "  ".join(
        f"{name.replace('_', '-')} {rates[name]:,.1f}" for name in shown if name in rates
    )
    head.append(f"a second, over a minute: {per_second}", style="dim")
    return head


def _table(*columns: str) -> Table:
    made = Table(box=box.SIMPLE_HEAD, expand=True, padding=(0, 1), show_edge=False)
    for index, name in enumerate(columns):
        made.add_column(
            name, justify="left" if index == 0 else "right", no_wrap=True, overflow="ellipsis"
        )
    return made


def _queues(now: Sight, before: Sight | None, most: int) -> Table:
    made = _table("QUEUE", "READY", "LATER", "RUN", "DEAD", "IN/s", "DONE/s", "FAIL/s", "OLDEST")
    busiest = sorted(now.queues, key=lambda queue: (-_weight(queue), queue["name"]))
    earlier = {queue["name"]: queue["totals"] for queue in before.queues} if before else {}
    span_s = now.at - before.at if before else 0.0
    for queue in busiest[: most if len(busiest) <= most else most - 1]:
        made.add_row(*_queue_row(queue, earlier.get(queue["name"]), span_s))
    if len(busiest) > most:
        made.add_row(Text(f"and {len(busiest) - most + 1} more", style="dim"))
    if not busiest:
        made.add_row(Text("no queue yet", style="dim"))
    return made


def _weight(queue: Json) -> int:
    states = queue["states"]
    return int(queue["depth"] + states.get("in_progress", 0))


def _queue_row(queue: Json, earlier: Mapping[str, int] | None, span_s: float) -> list[Text]:
    states = queue["states"]
    later = sum(states.get(state, 0) for state in ("scheduled", "blocked", "failed"))
    name = Text(queue["name"])
    if queue["paused"]:
        name.append(" paused", style="yellow")
    dead = states.get("dead_letter", 0)
    rates = [_rate(queue["totals"], earlier, what, span_s) for what in _COUNTED]
    return [
        name,
        Text(f"{states.get('pending', 0):,}"),
        Text(f"{later:,}"),
        Text(f"{states.get('in_progress', 0):,}", style="cyan"),
        Text(f"{dead:,}", style="bold red" if dead else "dim"),
        *rates,
        Text(f"{queue['oldest_ready_s']:,.0f} s"),
    ]


_COUNTED = ("submitted", "completed", "failed")


def _rate(
    totals: Mapping[str, int], earlier: Mapping[str, int] | None, what: str, span_s: float
) -> Text:
    if earlier is None or span_s <= 0:
        return Text("-", style="dim")
    per_second = max(0, totals.get(what, 0) - earlier.get(what, 0)) / span_s
    style = "red" if what == "failed" and per_second else ""
    return Text(f"{per_second:,.1f}", style=style)


def _workers(workers: Sequence[Json], most: int) -> Table:
    made = _table("WORKER", "STATE", "BUSY", "DONE", "FAILED", "LOST", "CPU %", "MiB")
    busiest = sorted(workers, key=lambda worker: (-worker["leases"], worker["id"]))
    for worker in busiest[: most if len(busiest) <= most else most - 1]:
        cpu, memory = worker.get("cpu_percent"), memory_mib(worker)
        made.add_row(
            Text(worker["id"]),
            Text(worker_state(worker), style="" if worker["connected"] else "red"),
            Text(f"{worker['leases']}/{worker['capacity']}"),
            *(Text(f"{worker[name]:,}") for name in ("completed", "failed", "lost")),
            Text("" if cpu is None else f"{cpu:.0f}"),
            Text("" if memory is None else f"{memory:.0f}"),
        )
    if len(busiest) > most:
        made.add_row(Text(f"and {len(busiest) - most + 1} more", style="dim"))
    if not busiest:
        made.add_row(Text("no worker", style="yellow"))
    return made


def _failures(failures: Sequence[Json]) -> Table:
    made = Table(box=box.SIMPLE_HEAD, expand=True, padding=(0, 1), show_edge=False)
    made.add_column("NEWEST DEAD LETTERS", no_wrap=True)
    made.add_column("TYPE", no_wrap=True, overflow="ellipsis")
    made.add_column("ERROR", no_wrap=True, overflow="ellipsis", ratio=1)
    for view in failures:
        made.add_row(
            Text(moment(view.get("ended_at"))),
            Text(view["type"]),
            Text(first_line(view.get("error")), style="red"),
        )
    if not failures:
        made.add_row(Text("none", style="dim"))
    return made
