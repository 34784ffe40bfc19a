"""
Who calls an operation.
"""

from __future__ import annotations

from typing import Protocol

from taskqueue.access.identities import Identity
from taskqueue.access.permissions import Permissions
from taskqueue.core.leases import Holder
from taskqueue.core.workers import Worker
from taskqueue.service import TaskQueueService
from taskqueue.service.watches import Listener


class Caller(Listener, Protocol):
    """
    A connection, as operations see it.

    @ivar claims_waiting: how many of its claims wait.
    @ivar open: whether it is still there.
    @ivar host: the address that it came from.
    @ivar door: where it came in: C{"framed"}, C{"lines"} or C{"http"}.
    @ivar restricted: what it may do; C{None}: everything.
    """

    service: TaskQueueService
    claims_waiting: int
    open: bool
    host: str
    door: str
    restricted: Permissions | None

    @property
    def identity(self) -> Identity:
        """Who it is."""

    @property
    def worker(self) -> Worker | None:
        """The worker that registered on it; C{None} where none did, or it was struck out."""

    @property
    def holder(self) -> Holder:
        """
        In whose name it claims: its own, or its worker's.

        @raises UnknownWorker: its worker was struck out.
        """

    def authenticate(self, key: str | None) -> Identity:
        """
        Find out who it is.

        @param key: what it gave for that, if anything.
        @raises Unauthenticated: it has to, and this is not enough.
        @raises RateLimited: too many attempts failed.
        """

    def introduce(self, client: str) -> None:
        """Its program said HELLO under this name."""

    def become(self, worker: Worker | None) -> None:
        """It speaks for C{worker} from now on, or for none any more."""
