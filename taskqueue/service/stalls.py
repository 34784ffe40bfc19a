"""
The watch for workers that live, but have stopped to ask for work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from twisted.logger import Logger

from taskqueue.core.stalls import StalledWorkers
from taskqueue.service.timers import Timer

if TYPE_CHECKING:
    from taskqueue.service.service import TaskQueueService

#: How often the workers are looked at, seconds.
LOOK_S = 5.0


class StallWatch(Timer):
    """
    Looks at the workers again and again, and warns of those that are stalled: for
    C{workers.stale_after_s}, they had room, and work waited for them.
    """

    _log = Logger()

    def __init__(self, service: TaskQueueService) -> None:
        super().__init__("stalled workers", LOOK_S, self.look, service.reactor)
        self._service = service
        self._workers = StalledWorkers()

    @property
    def stalled(self) -> frozenset[str]:
        """The names of the workers that were stalled at the newest look."""
        return self._workers.names

    def startService(self) -> None:
        self._workers = StalledWorkers()
        super().startService()

    def look(self) -> None:
        """Look once, and warn of those that were not stalled before."""
        service = self._service
        after_s = service.config.workers.stale_after_s
        found = self._workers.look(service.broker.ledger, service.moments().mono, after_s)
        for worker in found:
            self._log.warn(
                "worker {worker} is stalled: it is alive and has room for {slots} more tasks,"
                " work waits for it, and it has not asked for {seconds:g} s",
                worker=worker.name,
                slots=worker.info.capacity - len(worker.leases),
                seconds=after_s,
            )
