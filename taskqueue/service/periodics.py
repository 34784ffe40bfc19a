"""
Commands on periodic tasks, and the duty to fire them.
"""

from __future__ import annotations

from collections.abc import Sequence

from twisted.internet.defer import Deferred

from taskqueue.core.periodic import Periodic, PeriodicRow, Tick
from taskqueue.core.task import State
from taskqueue.errors import QueueFull, TaskQueueError
from taskqueue.service.commands import Commands, answered


class PeriodicCommands(Commands):
    """Commands on periodic tasks."""

    #: Names of those that were warned of: there is no room for their tasks.
    _held_up: frozenset[str] = frozenset()

    @answered
    def put_periodics(
        self, definitions: Sequence[Periodic]
    ) -> Deferred[list[PeriodicRow | TaskQueueError]]:
        """Create or replace periodic tasks; fires with each as it is then, or L{BadRequest}."""
        self.check_open()
        return self.journal.barrier(self.each(self.broker.periodics.put, definitions))

    @answered
    def delete_periodic(self, name: str) -> Deferred[None]:
        """Fires when a periodic task is gone; fails with L{UnknownPeriodic}."""
        self.check_open()
        self.broker.periodics.delete(name)
        self.after(self.moments())
        return self.journal.barrier(None)

    @answered
    def pause_periodic(self, name: str, paused: bool) -> Deferred[PeriodicRow]:
        """Fires when a periodic task rests, or goes on; fails with L{UnknownPeriodic}."""
        self.check_open()
        now = self.moments()
        row = self.broker.periodics.pause(name, paused, now)
        self.after(now)
        return self.journal.barrier(row)

    @answered
    def trigger_periodic(self, name: str) -> Deferred[str]:
        """
        Submit a periodic task's task now.

        @return: fires with the task's id; fails with L{UnknownPeriodic},
            L{Conflict} or L{QueueFull}.
        """
        self.check_open()
        now = self.moments()
        task_id = self.broker.periodics.trigger(name, now)
        self.after(now)
        return self.journal.barrier(task_id)

    def periodics(self, after: str = "", limit: int | None = None) -> list[PeriodicRow]:
        """Up to C{limit} periodic tasks by name, those beyond the name C{after}."""
        rows = self.broker.ledger.periodics
        return [rows[name] for name in sorted(name for name in rows if name > after)[:limit]]

    def fire_periodics(self) -> Deferred[None] | bool:
        """Submit the tasks that are due; nothing while the store fails."""
        if self.stopping or self.journal.trouble is not None:
            return False
        now = self.moments()
        ticks, more = self.broker.periodics.due(now)
        if ticks:
            return Deferred.fromCoroutine(self._fire(ticks))
        self.after(now)
        return more

    async def _fire(self, ticks: list[Tick]) -> None:
        """
        A tick fires under an id of its own.  It may be that a task with this id
        has ended long ago: where a periodic task was deleted and made again, and
        the clock set back.
        """
        ledger = self.broker.ledger
        unknown = [
            tick.task_id
            for tick in ticks
            if ledger.seen.may_have(tick.task_id) and ledger.find(tick.task_id) is None
        ]
        rows = await self.reader.records(unknown)
        if self.stopping:
            return
        now = self.moments()
        states = {task_id: State(row.state) for task_id, row in rows.items()}
        refused = self.broker.periodics.fire(ticks, now, states)
        self.after(now)
        self._warn_of(refused)

    def _warn_of(self, refused: list[tuple[str, TaskQueueError]]) -> None:
        for name, error in refused:
            if name not in self._held_up:
                self._log.warn(
                    "periodic task {periodic} cannot be submitted: {reason}",
                    periodic=name,
                    reason=str(error),
                )
        self._held_up = frozenset(n for n, error in refused if isinstance(error, QueueFull))
