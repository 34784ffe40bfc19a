"""
What a connection asks of its session, whatever language that speaks.
"""

from __future__ import annotations

from collections.abc import Callable

from taskqueue.access.identities import Identity
from taskqueue.errors import FatalClientError, Unauthenticated
from taskqueue.frontends.identification import Identified
from taskqueue.service import TaskQueueService
from taskqueue.transport.naming import PeerCertificate


def _no_certificate() -> None:
    """Where nobody shows one."""


class DoorSession(Identified):
    """
    What somebody who is connected has said, holds and waits for.

    @ivar peer: what to call them; empty until that is known.
    @ivar open: they are still there.
    @ivar greeted: they have said all that has to come first; until then
        C{handshake_timeout_s} runs.
    @ivar unanswered: how many requests wait for their answer.
    """

    greeted = True

    def __init__(
        self,
        service: TaskQueueService,
        door: str,
        fatal: Callable[[FatalClientError], None],
        certificate: Callable[[], PeerCertificate | None] = _no_certificate,
        *,
        peer: str = "",
    ) -> None:
        """
        @param door: where the peer came in, for the audit log.
        @param fatal: called with the error that ends the connection.
        @param certificate: tells whom the peer's certificate names, once there is one.
        """
        super().__init__(service, peer, door, certificate)
        self.peer = peer
        self.open = True
        self.unanswered = 0
        self._fatal = fatal

    def meet(self, host: str, peer: str) -> None:
        """
        Who the peer is, is known: called once, before anything that it says is handled.

        @param host: the address that it came from.
        @param peer: what to call it.
        """
        self.host = host
        self.peer = peer

    @property
    def busy(self) -> bool:
        """Whether its silence is no sign that it is of no more use to anybody."""
        return bool(self.unanswered)

    def withdraw_claims(self) -> None:
        """Its claims wait no more: they are answered with no tasks."""

    def dismiss(self, error: FatalClientError) -> None:
        """It may stay no longer: end the connection."""
        self.withdraw_claims()
        self._fatal(error)

    def close(self) -> None:
        """The connection is gone: give back all that it took."""
        self.open = False
        # In no cycle any more, it is gone when the last one that refers to it is.
        self._fatal = say_nothing
        self._certificate = _no_certificate


def say_nothing(*_: object) -> None:
    """Nobody is there any more."""


class ForeignSession(DoorSession):
    """
    A session in a language that knows nothing of the broker's keys: whoever comes in
    there is the key that the configuration names for this door.
    """

    def __init__(
        self,
        service: TaskQueueService,
        door: str,
        fatal: Callable[[FatalClientError], None],
        key: Callable[[], str],
    ) -> None:
        """
        @param key: gives the name of the door's key; empty where none is configured.
        """
        super().__init__(service, door, fatal)
        self._key = key

    def authenticate_door(self) -> Identity:
        """
        Come in as whom this door stands for: its key, or else everyone while everyone may.

        @raises Unauthenticated: there is neither.
        """
        found = self._stands_for()
        if found is None:
            raise self._nobody_there()
        self.adopt(found)
        return found

    def check_identity(self) -> None:
        """Somebody's permissions have changed: are they this door's?"""
        if self._identity is None:
            return
        found = self._stands_for()
        if found is None:
            self.dismiss(self._nobody_there())
        elif found is not self._identity:
            self.adopt(found)

    def _stands_for(self) -> Identity | None:
        gate, name = self.service.gate, self._key()
        found = gate.by_name(name) if name else None
        return gate.everyone if found is None and gate.open else found

    def _nobody_there(self) -> Unauthenticated:
        name = self._key()
        if name:
            return Unauthenticated(
                f"the key {name!r}, which [{self.door}] key names, is not valid here: it was "
                f"revoked, has expired, or there never was one of that name"
            )
        return Unauthenticated(
            f"this broker wants to know who asks, which {self.door} clients cannot tell it: "
            f"name the key that they stand for in [{self.door}] key"
        )
