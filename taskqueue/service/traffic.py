"""
What goes over the connections, counted by the front-ends.
"""

from __future__ import annotations

from collections import Counter


class Traffic:
    """
    Numbers since the broker started.

    @ivar open: connections open now, by front-end (C{"framed"}, C{"lines"}).
    @ivar accepted: connections that were let in, by front-end.
    @ivar refused: connections that were not, or that were ended by the broker,
        by error code.
    @ivar requests: by operation (its lower-case name).
    @ivar nacks: requests, or items of batches, that were refused, by error code.
    @ivar bytes_in: bytes received.
    @ivar bytes_out: bytes handed to the transports.
    """

    __slots__ = ("accepted", "bytes_in", "bytes_out", "nacks", "open", "refused", "requests")

    def __init__(self) -> None:
        self.open: Counter[str] = Counter()
        self.accepted: Counter[str] = Counter()
        self.refused: Counter[str] = Counter()
        self.requests: Counter[str] = Counter()
        self.nacks: Counter[str] = Counter()
        self.bytes_in = 0
        self.bytes_out = 0
