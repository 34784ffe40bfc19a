"""
Commands that show how the broker is doing.
"""

from __future__ import annotations

from typing import Any

from taskqueue.cli.output import Output, flat, moment
from taskqueue.cli.running import OK
from taskqueue.client import Client

_MIB = 1024 * 1024


async def stats(client: Client, out: Output) -> int:
    """C{taskqueue stats}."""
    numbers = await client.stats()
    if out.as_json:
        out.json(numbers)
    else:
        out.table("Broker", ("what", "value"), flat(numbers))
    return OK


async def queues(client: Client, out: Output) -> int:
    """C{taskqueue queues}."""
    found = await client.queues()
    if out.as_json:
        out.json(found)
        return OK
    states = ("pending", "scheduled", "blocked", "in_progress", "failed", "completed")
    out.table(
        "Queues",
        ("queue", "paused", "depth", "bound", *states, "dead letters", "oldest ready, s"),
        [
            (
                *(queue["name"], queue["paused"], queue["depth"], queue["max_depth"]),
                *(queue["states"].get(state, 0) for state in states),
                queue["states"].get("dead_letter", 0),
                queue["oldest_ready_s"],
            )
            for queue in found
        ],
    )
    return OK


async def workers(client: Client, out: Output) -> int:
    """C{taskqueue workers}."""
    found = await client.workers()
    if out.as_json:
        out.json(found)
        return OK
    columns = ("worker", "queues", "types", "in hand", "capacity", "completed", "failed", "lost")
    out.table(
        "Workers",
        (*columns, "CPU, %", "memory, MiB", "last heard of", "state"),
        map(_worker_row, found),
    )
    return OK


def _worker_row(worker: dict[str, Any]) -> tuple[Any, ...]:
    rss_bytes = worker.get("rss_bytes")
    return (
        worker["id"],
        ", ".join(worker["queues"]),
        "any" if worker["types"] is None else ", ".join(worker["types"]),
        worker["leases"],
        *(worker[name] for name in ("capacity", "completed", "failed", "lost")),
        worker.get("cpu_percent"),
        None if rss_bytes is None else rss_bytes / _MIB,
        moment(worker["beat_at"]),
        worker.get("order") or ("connected" if worker["connected"] else "not connected"),
    )
