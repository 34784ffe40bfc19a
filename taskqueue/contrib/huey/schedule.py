"""
Tasks that wait for huey's scheduler, as values whose keys begin with their moment.
"""

from __future__ import annotations

from datetime import UTC, datetime

from taskqueue.contrib.huey.table import Table
from taskqueue.ids import new_task_id

#: Greater than whatever follows a moment in a key.
_END = "~"


def seconds_until(moment: datetime, utc: bool) -> float:
    """
    How long it is until a moment.

    @param utc: whether one without a time zone is UTC, or else local time.
    """
    if moment.tzinfo is None and utc:
        moment = moment.replace(tzinfo=UTC)
    return moment.timestamp() - datetime.now(UTC).timestamp()


class Schedule:
    """What huey's scheduler is to put into the queue when it is due."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def add(self, data: bytes, moment: datetime) -> None:
        """Keep a task until its moment."""
        # Ids grow, so those of one moment stay in their order.
        self._table.put(f"{_sortable(moment)} {new_task_id()}", data)

    def take_due(self, moment: datetime) -> list[bytes]:
        """Those whose moment has come; each is given out once."""
        due = self._table.items(to=f"{_sortable(moment)}{_END}")
        taken = [self._table.take(key) for key, _ in due]
        return [data for data in taken if data is not None]

    def items(self, limit: int | None = None) -> list[bytes]:
        """Those that wait, soonest first."""
        return [data for _, data in self._table.items(limit)]

    def size(self) -> int:
        """How many wait."""
        return len(self._table.items())

    def flush(self) -> None:
        """Forget them."""
        self._table.flush()


def _sortable(moment: datetime) -> str:
    """A moment as a text; the order of texts is that of moments.  huey's have no time zone."""
    return moment.replace(tzinfo=None).isoformat(timespec="microseconds")
