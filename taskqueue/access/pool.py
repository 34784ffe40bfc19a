"""
The identities of a keyring: one object for each entry, for as long as the entry stays the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import chain
from math import inf
from typing import Any, Generic, TypeVar

from taskqueue.access.identities import Identity
from taskqueue.access.keyring import (
    CertificateEntry,
    Entry,
    KeyEntry,
    Keyring,
    UserEntry,
    identity_of,
)
from taskqueue.access.permissions import fits

_E = TypeVar("_E", bound=Entry)

#: A comma that separates two parts of a subject, and is in neither.
_COMMA = re.compile(r"(?<!\\),")


class Held(Generic[_E]):
    """An entry, and whom it lets in."""

    __slots__ = ("entry", "identity")

    def __init__(self, entry: _E) -> None:
        """
        @raises BadRequest: something is wrong with its permissions.
        """
        self.entry = entry
        self.identity = identity_of(entry)


class Pool:
    """All identities, by what finds them."""

    def __init__(self) -> None:
        self._keys: dict[str, Held[KeyEntry]] = {}
        self._users: dict[str, Held[UserEntry]] = {}
        self._certificates: dict[str, Held[CertificateEntry]] = {}
        self._next_expiry = inf
        self._looked_at = -inf

    def key(self, key_id: str | None) -> Held[KeyEntry] | None:
        """The key with this id."""
        return None if key_id is None else self._keys.get(key_id)

    def key_named(self, name: str, wall: float) -> Identity | None:
        """Of the keys of this name that are valid, the one that was made last."""
        valid = [
            held
            for held in self._keys.values()
            if held.entry.name == name and held.identity.valid(wall)
        ]
        return max(valid, key=lambda held: held.entry.created_at).identity if valid else None

    def user(self, name: str) -> Held[UserEntry] | None:
        """The user of this name."""
        return self._users.get(name)

    def certificate(self, subject: str, names: Iterable[str], wall: float) -> Identity | None:
        """Whom a certificate stands for: the first entry counts that fits and is valid."""
        names = list(names)
        for held in self._certificates.values():
            if held.identity.valid(wall) and certificate_fits(held.entry, subject, names):
                return held.identity
        return None

    def adopt(self, keyring: Keyring) -> bool:
        """
        Hold another keyring's entries.  The identities of entries that are not as they were are
        revoked; those whose secret is the same have a successor.

        @return: whether anybody's identity was revoked.
        @raises BadRequest: something is wrong with an entry; nothing has changed then.
        """
        keys = _adopted(self._keys, {one.id: one for one in keyring.keys})
        users = _adopted(self._users, {one.name: one for one in keyring.users})
        certificates = _adopted(self._certificates, {one.id: one for one in keyring.certificates})
        replaced = [
            *_replaced(self._keys, keys),
            *_replaced(self._users, users),
            *_replaced(self._certificates, certificates),
        ]
        self._keys, self._users, self._certificates = keys, users, certificates
        self._next_expiry = -inf
        return bool(replaced)

    def expired(self, wall: float) -> bool:
        """Whether an entry may have expired since the last call; looks at all of them seldom."""
        # A clock that was set back makes what had expired valid again, until it expires anew.
        set_back, self._looked_at = wall < self._looked_at, wall
        if wall < self._next_expiry and not set_back:
            return False
        everybody: Iterable[Held[Any]] = chain(self._keys.values(), self._certificates.values())
        moments = [held.identity.expires_at for held in everybody]
        self._next_expiry = min((at for at in moments if at is not None and at > wall), default=inf)
        return True


def certificate_fits(entry: CertificateEntry, subject: str, names: Iterable[str]) -> bool:
    """
    Whether a certificate is one of those that an entry means: its subject and one of its
    alternative names, where the entry says both.
    """
    if entry.subject is not None and not _subject_fits(entry.subject, subject):
        return False
    if entry.san is None:
        return entry.subject is not None
    wanted = entry.san.lower()
    return any(fits(wanted, name.lower()) for name in names)


def _subject_fits(pattern: str, subject: str) -> bool:
    """Part by part: an asterisk stands for no comma, so nobody adds parts under its cover."""
    wanted, given = _COMMA.split(pattern), _COMMA.split(subject)
    return len(wanted) == len(given) and all(
        fits(one.strip(), other.strip()) for one, other in zip(wanted, given, strict=True)
    )


def _adopted(before: Mapping[str, Held[_E]], entries: Mapping[str, _E]) -> dict[str, Held[_E]]:
    """What is held of these entries: what was, where nothing has changed."""
    after: dict[str, Held[_E]] = {}
    for name, entry in entries.items():
        held = before.get(name)
        after[name] = held if held is not None and held.entry == entry else Held(entry)
    return after


def _replaced(before: Mapping[str, Held[_E]], after: Mapping[str, Held[_E]]) -> list[Identity]:
    """Revoke the identities that are not held any more, and return them."""
    replaced = []
    for name, held in before.items():
        now = after.get(name)
        if now is held:
            continue
        held.identity.revoked = True
        if now is not None and _proof(now.entry) == _proof(held.entry):
            held.identity.successor = now.identity
        replaced.append(held.identity)
    return replaced


def _proof(entry: Entry) -> Any:
    """By what somebody shows to be the one that an entry means."""
    if isinstance(entry, KeyEntry):
        return entry.sha256
    if isinstance(entry, UserEntry):
        return entry.password
    assert isinstance(entry, CertificateEntry)
    return entry.subject, entry.san
