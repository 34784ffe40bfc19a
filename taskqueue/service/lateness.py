"""
How late the broker's event loop is.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from taskqueue.service.timers import Timer

if TYPE_CHECKING:
    from taskqueue.service.service import TaskQueueService

#: How often it is looked at, seconds.
LOOK_S = 0.5

#: How far back, seconds.
WINDOW_S = 60.0


class Lateness(Timer):
    """
    Notes how much later than planned it is called: so much later does everything else
    happen, answers among it.
    """

    def __init__(self, service: TaskQueueService) -> None:
        super().__init__("event loop", LOOK_S, self.look, service.reactor)
        self._service = service
        self._looked_at: float | None = None
        self._late: deque[tuple[float, float]] = deque()

    def startService(self) -> None:
        self._looked_at = self._service.moments().mono
        self._late.clear()
        super().startService()

    def look(self) -> None:
        """Note how late this call is."""
        now = self._service.moments().mono
        if self._looked_at is not None:
            self._late.append((now, max(0.0, now - self._looked_at - LOOK_S)))
        self._looked_at = now
        while self._late and self._late[0][0] <= now - WINDOW_S:
            self._late.popleft()

    @property
    def worst_s(self) -> float:
        """The worst of the last minute, seconds."""
        return max((late_s for _, late_s in self._late), default=0.0)
