"""
What monitoring sees of periodic tasks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from prometheus_client.metrics_core import Metric

from taskqueue.core.ledger import Ledger
from taskqueue.core.periodic import PeriodicRow
from taskqueue.web.families import Labels, counter, gauge

_LABELS = ("periodic",)

#: Name, meaning and value (C{None}: no sample) of each number that goes up and down.
_GAUGES: tuple[tuple[str, str, Callable[[PeriodicRow], float | None]], ...] = (
    (
        "taskqueue_periodic_next_run_timestamp_seconds",
        "When the periodic task is due next; none while it is paused.",
        lambda row: row.next_at,
    ),
    (
        "taskqueue_periodic_last_run_timestamp_seconds",
        "When it submitted a task last.",
        lambda row: row.last_at,
    ),
    (
        "taskqueue_periodic_paused",
        "1 where it is paused, else 0.",
        lambda row: int(row.paused),
    ),
)

_COUNTERS: tuple[tuple[str, str, Callable[[PeriodicRow], int]], ...] = (
    (
        "taskqueue_periodic_runs_total",
        "Tasks that it submitted, by a tick or by hand.",
        lambda row: row.fired,
    ),
    (
        "taskqueue_periodic_skipped_total",
        "Ticks that it skipped: missed, or the task before still lived.",
        lambda row: row.skipped,
    ),
)


class PeriodicSeries:
    """
    The periodic tasks that have series of their own: as many as there may be, the
    oldest first.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._outcomes: dict[str, tuple[str, str]] = {}

    def collect(self, ledger: Ledger) -> Iterator[Metric]:
        """Every family about periodic tasks."""
        paused = sum(row.paused for row in ledger.periodics.values())
        yield gauge(
            "taskqueue_periodic_tasks",
            "Periodic tasks.",
            ("state",),
            [(("active",), len(ledger.periodics) - paused), (("paused",), paused)],
        )
        rows = list(islice(ledger.periodics.items(), self._limit))
        for name, meaning, read in _GAUGES:
            found = [((key,), read(row)) for key, row in rows]
            known: list[tuple[Labels, float]] = [(k, v) for k, v in found if v is not None]
            yield gauge(name, meaning, _LABELS, known)
        for name, meaning, read in _COUNTERS:
            yield counter(name, meaning, _LABELS, [((key,), read(row)) for key, row in rows])
        yield gauge(
            "taskqueue_periodic_last_outcome",
            "1: the state of the task that it submitted last.",
            ("periodic", "state"),
            self._states(ledger, rows),
        )

    def _states(
        self, ledger: Ledger, rows: list[tuple[str, PeriodicRow]]
    ) -> list[tuple[tuple[str, str], float]]:
        """
        The core forgets tasks that ended long ago: what was seen of the newest
        task of each then holds, and where nothing was seen, nothing is said.
        """
        known, self._outcomes = self._outcomes, {}
        for name, row in rows:
            if row.last_task is None:
                continue
            task = ledger.find(row.last_task)
            last_task, word = known.get(name, ("", ""))
            if task is not None:
                self._outcomes[name] = row.last_task, task.state.word
            elif last_task == row.last_task:
                self._outcomes[name] = row.last_task, word
        return [((name, word), 1.0) for name, (_, word) in self._outcomes.items()]
