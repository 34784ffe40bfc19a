"""
Tasks, queues and workers as tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.table import Table

from taskqueue.cli.output import first_line, moment, table

Json = dict[str, Any]

_MIB = 1024 * 1024

_QUEUE_STATES = ("pending", "scheduled", "blocked", "in_progress", "failed", "completed")


def tasks_table(views: Sequence[Json], title: str = "Tasks") -> Table:
    """A task a row."""
    columns = ("id", "type", "queue", "priority", "state", "attempt", "failures", "losses")
    return table(
        title,
        (*columns, "submitted", "worker", "error"),
        [
            (
                *(view.get(name) for name in columns),
                moment(view.get("submitted_at")),
                view.get("worker"),
                first_line(view.get("error")),
            )
            for view in views
        ],
    )


def history_table(view: Json) -> Table:
    """An event in a task's life a row."""
    return table(
        f"History of {view['id']}",
        ("at", "event", "attempt", "worker", "detail"),
        [
            (
                moment(event.get("at")),
                event.get("event"),
                event.get("attempt"),
                event.get("worker"),
                first_line(event.get("detail")),
            )
            for event in view.get("history") or ()
        ],
    )


def queues_table(queues: Sequence[Json]) -> Table:
    """A queue a row."""
    return table(
        "Queues",
        ("queue", "paused", "depth", "bound", *_QUEUE_STATES, "dead letters", "oldest ready, s"),
        [
            (
                *(queue["name"], queue["paused"], queue["depth"], queue["max_depth"]),
                *(queue["states"].get(state, 0) for state in _QUEUE_STATES),
                queue["states"].get("dead_letter", 0),
                queue["oldest_ready_s"],
            )
            for queue in queues
        ],
    )


def workers_table(workers: Sequence[Json]) -> Table:
    """A worker a row."""
    columns = ("worker", "queues", "types", "in hand", "capacity", "completed", "failed", "lost")
    return table(
        "Workers",
        (*columns, "CPU, %", "memory, MiB", "last heard of", "state"),
        map(_worker_row, workers),
    )


def worker_state(worker: Json) -> str:
    """What a worker does, in a word."""
    if worker.get("order"):
        return str(worker["order"])
    return "connected" if worker["connected"] else "not connected"


def memory_mib(worker: Json) -> float | None:
    """The memory that a worker said it takes."""
    rss_bytes = worker.get("rss_bytes")
    return None if rss_bytes is None else rss_bytes / _MIB


def _worker_row(worker: Json) -> tuple[Any, ...]:
    return (
        worker["id"],
        ", ".join(worker["queues"]),
        "any" if worker["types"] is None else ", ".join(worker["types"]),
        worker["leases"],
        *(worker[name] for name in ("capacity", "completed", "failed", "lost")),
        worker.get("cpu_percent"),
        memory_mib(worker),
        moment(worker["beat_at"]),
        worker_state(worker),
    )
