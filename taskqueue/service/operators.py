"""
Commands for those who run the broker.
"""

from __future__ import annotations

import os
from typing import Any

from twisted.internet.defer import Deferred

from taskqueue.core.overview import total_counts, total_states, unserved
from taskqueue.errors import BadRequest, StoreFailed
from taskqueue.service.commands import Commands, answered

#: How many unserved types the numbers name.
MOST_UNSERVED = 100


class OperatorCommands(Commands):
    """Commands for those who run the broker."""

    def stats(self) -> dict[str, Any]:
        """The whole broker in numbers, as JSON-able values; durations in seconds."""
        ledger, now = self.broker.ledger, self.moments()
        return {
            "name": self.config.broker.name,
            "uptime_s": now.wall - self.started_at,
            "durability": self.config.store.durability,
            "healthy": self.journal.trouble is None,
            "depth": ledger.depth,
            "held_bytes": ledger.held_bytes,
            "in_progress": len(ledger.leases),
            "waiting_claims": len(ledger.claims),
            "workers": len(ledger.workers),
            "periodics": len(ledger.periodics),
            "values": ledger.values.count,
            "values_bytes": ledger.values.size_bytes,
            "connections": self.traffic.open.total(),
            "states": total_states(ledger),
            "totals": total_counts(ledger),
            "rates": self.samples.rates(),
            "unserved": [
                {"queue": queue, "type": kind, "ready": n}
                for queue, kind, n in unserved(ledger)[:MOST_UNSERVED]
            ],
        }

    @answered
    def backup(self, name: str) -> Deferred[tuple[str, int]]:
        """
        Copy the store, while it runs, into the folder C{backups} beside it.

        @param name: the copy's file name, without a path.
        @return: fires with the copy's path and size in bytes; fails with
            L{BadRequest} where there is one of that name.
        """
        if self.store.inline:
            raise BadRequest("this broker keeps its tasks in memory: nothing can be backed up")
        folder = os.path.join(self.config.store.path, "backups")
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
        except OSError as error:
            raise StoreFailed(f"the folder for backups cannot be made: {error}") from error
        path = os.path.join(folder, name)
        if os.path.exists(path):
            raise BadRequest(f"there is a backup named {name!r} already", field="name")
        return self.reader.backup(path).addCallback(lambda size: (path, size))
