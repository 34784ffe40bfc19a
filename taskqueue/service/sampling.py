"""
Rates, from samples of the counters.
"""

from __future__ import annotations

from collections import deque

from taskqueue.core.counters import COUNTED
from taskqueue.core.ledger import Ledger
from taskqueue.core.overview import total_counts
from taskqueue.service.history import History

#: How far the rates look back, seconds.
WINDOW_S = 60.0


class Samples:
    """
    The broker's totals at moments of the last minute.

    @ivar history: what they were in the last hours.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.history = History(ledger)
        self._samples: deque[tuple[float, dict[str, int]]] = deque()

    def take(self, mono: float) -> None:
        """Note the totals as they are at C{mono}."""
        self.history.take(mono)
        self._samples.append((mono, total_counts(self._ledger)))
        while len(self._samples) > 2 and self._samples[1][0] <= mono - WINDOW_S:
            self._samples.popleft()

    def rates(self) -> dict[str, float]:
        """Events per second over the last minute, or as far back as there are samples."""
        if len(self._samples) < 2:
            return dict.fromkeys(COUNTED, 0.0)
        (first_at, first), (last_at, last) = self._samples[0], self._samples[-1]
        span_s = max(last_at - first_at, 1e-9)
        return {name: (last[name] - first[name]) / span_s for name in COUNTED}
