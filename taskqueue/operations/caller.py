"""
Who calls an operation.
"""

from __future__ import annotations

from typing import Protocol

from taskqueue.core.leases import Holder
from taskqueue.core.workers import Worker
from taskqueue.service import TaskQueueService
from taskqueue.service.watches import Listener


class Caller(Listener, Protocol):
    """
    A connection, as operations see it.

    @ivar claims_waiting: how many of its claims wait.
    @ivar open: whether it is still there.
    """

    service: TaskQueueService
    claims_waiting: int
    open: bool

    @property
    def worker(self) -> Worker | None:
        """The worker that registered on it; C{None} where none did, or it was struck out."""

    @property
    def holder(self) -> Holder:
        """
        In whose name it claims: its own, or its worker's.

        @raises UnknownWorker: its worker was struck out.
        """

    def introduce(self, client: str) -> None:
        """Its program said HELLO under this name."""

    def become(self, worker: Worker | None) -> None:
        """It speaks for C{worker} from now on, or for none any more."""
