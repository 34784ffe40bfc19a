"""
Tasks, queues and workers as tables.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taskqueue.cli.output import Rows, first_line, moment

Json = dict[str, Any]

_MIB = 1024 * 1024

_QUEUE_STATES = ("pending", "scheduled", "blocked", "in_progress", "failed", "completed")


def tasks_table(views: Sequence[Json], title: str = "Tasks") -> Rows:
    """A task a row."""
    columns = ("id", "type", "queue", "priority", "state", "attempt", "failures", "losses")
    return Rows(
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
        ("losses", "failures", "priority", "attempt", "worker", "submitted", "queue"),
    )


def history_table(view: Json) -> Rows:
    """An event in a task's life a row."""
    return Rows(
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


def queues_table(queues: Sequence[Json]) -> Rows:
    """A queue a row."""
    return Rows(
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
        ("blocked", "scheduled", "bound", "completed", "oldest ready, s", "failed", "paused"),
    )


def workers_table(workers: Sequence[Json]) -> Rows:
    """A worker a row."""
    columns = ("worker", "queues", "types", "in hand", "capacity", "completed", "failed", "lost")
    return Rows(
        "Workers",
        (*columns, "CPU, %", "memory, MiB", "last heard of", "state"),
        map(_worker_row, workers),
        ("types", "lost", "CPU, %", "memory, MiB", "failed", "queues", "last heard of"),
    )


def worker_state(worker: Json) -> str:
    """What a worker does, in a word."""
    if worker.get("order"):
        return str(worker["order"])
    if worker.get("stalled"):
        return "stalled"
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
