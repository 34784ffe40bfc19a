"""
Who is at the other end of a connection: by a key, a certificate, or because anybody may come in.
"""

from __future__ import annotations

from collections.abc import Callable

from taskqueue.access.identities import Identity
from taskqueue.access.permissions import Permissions
from taskqueue.errors import BadRequest, FatalClientError, Unauthenticated
from taskqueue.operations.authorization import permissions_of
from taskqueue.operations.ownership import owner_of
from taskqueue.service import TaskQueueService
from taskqueue.transport.naming import PeerCertificate

_WHO_ASKS = (
    "this broker wants to know who asks: begin with HELLO and a key (operation hello, field key)"
)
_NO_MORE = (
    "the key, or the right to come in without one, is not valid any more: it was revoked, or has "
    "expired; connect again with a valid key"
)


class Identified:
    """
    Somebody who comes in, and stays.

    @ivar host: the address that it came from.
    @ivar door: where it came in.
    @ivar restricted: what it may do; C{None}: everything.  Of nobody, before it was let in,
        this says nothing.
    """

    def __init__(
        self,
        service: TaskQueueService,
        host: str,
        door: str,
        certificate: Callable[[], PeerCertificate | None],
    ) -> None:
        """
        @param certificate: tells whom the peer's certificate names, once there is one.
        """
        self.service = service
        self.host = host
        self.door = door
        self.restricted: Permissions | None = None
        self._identity = service.gate.everyone if service.gate.open else None
        self._certificate = certificate

    @property
    def identity(self) -> Identity:
        """Who it is; it was let in."""
        assert self._identity is not None
        return self._identity

    def authenticate(self, key: str | None) -> Identity:
        """
        Find out who it is: by a key, or else its certificate, or else that it may be anybody.

        @raises Unauthenticated: none of these will do.
        @raises RateLimited: too many attempts from there failed.
        @raises BadRequest: it is somebody else already.
        """
        known = self._identity
        found = self._found(key)
        if found is None:
            raise self._nobody()
        if known is not None and owner_of(known) not in (None, owner_of(found)):
            raise BadRequest(
                f"this connection is {known.kind} {known.name!r}: use another one for another key",
                field="key",
            )
        self.adopt(found)
        return found

    def _found(self, key: str | None) -> Identity | None:
        gate, known = self.service.gate, self._identity
        if key is not None:
            return gate.by_key(key, self.host, self.door)
        if known is not None and known.kind != "everyone":
            return known
        shown = self._certificate()
        found = None if shown is None else gate.by_certificate(*shown)
        return gate.everyone if found is None and gate.open else found

    def _nobody(self) -> Unauthenticated:
        """Why it is not let in: it said nothing, or its certificate says what nobody knows."""
        shown = self._certificate()
        if shown is None:
            return Unauthenticated(_WHO_ASKS)
        return self.service.gate.unknown_certificate(*shown, self.host, self.door)

    def adopt(self, identity: Identity) -> None:
        """It is C{identity}, and may do what that may, from now on."""
        self._identity = identity
        self.restricted = permissions_of(identity)

    def check_identity(self) -> None:
        """Somebody's permissions have changed: are they its own?"""
        identity = self._identity
        if identity is None:
            return
        current = self.service.gate.refresh(identity)
        if current is None:
            self.dismiss(Unauthenticated(_NO_MORE))
        elif current is not identity:
            self.adopt(current)

    def dismiss(self, error: FatalClientError) -> None:
        """It may stay no longer."""
        raise NotImplementedError
