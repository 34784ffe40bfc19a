"""
Who somebody is, for the broker.
"""

from __future__ import annotations

from typing import Literal

from taskqueue.access.permissions import Action, Permissions

Kind = Literal["everyone", "key", "user", "certificate"]

#: May do everything: whoever comes while nobody needs to authenticate.
ALL = Permissions({Action.ADMIN: ["*"]})


class Identity:
    """
    Somebody who has been let in, and what they may do.

    It holds no secret.  One object stands for one entry of the keyring as it is now: when the
    entry changes, another object takes its place, and L{taskqueue.access.Gate.refresh} gives it.

    @ivar name: unique among those of its kind.
    @ivar unrestricted: everything is allowed; as the permissions say, one look nearer.
    @ivar role: the role that it was given, if any.
    @ivar expires_at: from when on it counts no more, seconds since the epoch; C{None} for never.
    @ivar key_id: the public part of the key, or the id of the certificate's entry.
    @ivar revoked: it counts no more.
    @ivar successor: who has taken its place: the same entry with the same secret, changed.
    """

    __slots__ = (
        "expires_at",
        "key_id",
        "kind",
        "name",
        "permissions",
        "revoked",
        "role",
        "successor",
        "unrestricted",
    )

    def __init__(
        self,
        name: str,
        kind: Kind,
        permissions: Permissions,
        *,
        role: str | None = None,
        expires_at: float | None = None,
        key_id: str | None = None,
    ) -> None:
        self.name = name
        self.kind = kind
        self.permissions = permissions
        self.unrestricted = permissions.unrestricted
        self.role = role
        self.expires_at = expires_at
        self.key_id = key_id
        self.revoked = False
        self.successor: Identity | None = None

    def valid(self, now: float) -> bool:
        """
        Whether it counts.

        @param now: seconds since the epoch.
        """
        return not self.revoked and (self.expires_at is None or now < self.expires_at)

    def __repr__(self) -> str:
        return f"<{self.kind} {self.name}: {', '.join(self.permissions.words()) or 'nothing'}>"


def everyone() -> Identity:
    """Whoever comes while nobody needs to authenticate: may do everything."""
    return Identity("everyone", "everyone", ALL)
