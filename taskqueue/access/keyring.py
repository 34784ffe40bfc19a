"""
Who is known to a broker: keys, users and certificates, as plain values.

L{taskqueue.access.file} keeps them on disk, L{taskqueue.access.gate} asks them.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Any, NamedTuple

import msgspec

from taskqueue.access.identities import Identity
from taskqueue.access.permissions import Permissions
from taskqueue.errors import BadRequest

#: How a key begins, so that people and scanners recognise one.
PREFIX = "tq"

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

#: 71 random bits say which key it is, 190 that it is the true one.
_ID_LENGTH = 12
_SECRET_LENGTH = 32

_KEY = re.compile(rf"{PREFIX}_([0-9A-Za-z]{{{_ID_LENGTH}}})_[0-9A-Za-z]{{{_SECRET_LENGTH}}}")

_NAME = re.compile(r"[A-Za-z0-9_.@/+-]{1,128}")
NAME_RULE = "1 to 128 letters, digits and _ - . @ / +"

LONGEST_TEXT = 500

#: With a time zone: without one nobody knows when it is.
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
KeyId = Annotated[str, msgspec.Meta(pattern=rf"^[0-9A-Za-z]{{{_ID_LENGTH}}}$")]
Digest = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Entry(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True
):
    """
    What all entries have.

    @ivar name: unique among users, and among certificates; a key that replaces another has
        the same.
    @ivar allow: permissions, as L{Permissions.parse} takes them.
    @ivar role: one of L{taskqueue.access.permissions.ROLES}, beside C{allow}.
    @ivar note: what people want to remember of it.
    """

    name: str
    allow: tuple[str, ...] = ()
    role: str | None = None
    created_at: Moment
    note: str | None = None

    def permissions(self) -> Permissions:
        """
        What it may do.

        @raises BadRequest: there is no such role, or something is wrong with a permission.
        """
        if self.role is not None:
            return Permissions.of_role(self.role, self.allow)
        return Permissions.parse(self.allow)

    def __repr__(self) -> str:
        # What a hash is made of may be worth guessing at, so it stands in no log either.
        return f"<{type(self).__name__} {self.name}>"


class KeyEntry(Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    One key.

    @ivar id: the part of the key that is no secret.
    @ivar sha256: of the whole key, in hexadecimal digits.
    @ivar expires_at: from when on it does not count; C{None} for never.
    @ivar revoked_at: since when it does not count; a revoked key is kept for a while, so that
        whoever holds it is told.
    """

    id: KeyId
    sha256: Digest
    expires_at: Moment | None = None
    revoked_at: Moment | None = None

    __repr__ = Entry.__repr__


class UserEntry(Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    One person who signs in with a password.

    @ivar password: its argon2id hash, as the reference implementation writes it.
    """

    password: str

    __repr__ = Entry.__repr__


class CertificateEntry(Entry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Clients whose certificates fit; TLS has verified them before.

    @ivar id: what revokes it by.
    @ivar subject: what the subject must be, as RFC 4514 writes it; C{*} stands for any run of
        characters.  C{None}: it does not matter.
    @ivar san: what one of the alternative names must be, with its kind (C{DNS:}, C{IP:},
        C{URI:}, C{EMAIL:}) before it; C{*} as above.
    """

    id: str
    subject: str | None = None
    san: str | None = None
    expires_at: Moment | None = None

    __repr__ = Entry.__repr__


class Keyring(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """
    Everybody who is known.
    """

    keys: tuple[KeyEntry, ...] = ()
    users: tuple[UserEntry, ...] = ()
    certificates: tuple[CertificateEntry, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.keys or self.users or self.certificates)

    def entries(self) -> Iterator[Entry]:
        """All of them."""
        yield from self.keys
        yield from self.users
        yield from self.certificates

    def __repr__(self) -> str:
        return (
            f"<Keyring of {len(self.keys)} keys, {len(self.users)} users,"
            f" {len(self.certificates)} certificates>"
        )


class Secret(NamedTuple):
    """
    A new key: the only moment at which it is known.

    @ivar id: the part that is no secret.
    @ivar text: what its holder is given.
    """

    id: str
    text: str

    def __repr__(self) -> str:
        return f"<Secret {self.id}>"


def new_secret() -> Secret:
    """A key that nobody can guess."""
    key_id = _random(_ID_LENGTH)
    return Secret(key_id, f"{PREFIX}_{key_id}_{_random(_SECRET_LENGTH)}")


def id_of(text: str) -> str | None:
    """The id in a key; C{None} where it has not the form of one."""
    found = _KEY.fullmatch(text)
    return None if found is None else found[1]


def digest_of(text: str) -> str:
    """
    What is stored of a key, in hexadecimal digits.

    A key is random: there is nothing to guess from a list of words, so a slow hash adds nothing.
    """
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def is_name(text: str) -> bool:
    """Whether a key, a user or a certificate may be called so."""
    return _NAME.fullmatch(text) is not None


def check_name(name: str) -> str:
    """
    A name, as it may be given to a key, a user or a certificate.

    @raises BadRequest: it may not.
    """
    if not is_name(name):
        raise BadRequest(f"{name[:80]!r} cannot be a name; allowed: {NAME_RULE}.")
    return name


def check_text(text: str | None) -> str | None:
    """
    What people may say beside the name; C{None} for nothing.

    @raises BadRequest: it is too long, or not for people to read.
    """
    if text is not None and not (len(text) <= LONGEST_TEXT and text.isprintable()):
        raise BadRequest(
            f"{text[:80]!r}: a text beside the name has at most {LONGEST_TEXT} characters, and none"
            " that cannot be printed."
        )
    return text


def identity_of(entry: Entry) -> Identity:
    """
    Whom an entry lets in.

    @raises BadRequest: something is wrong with its permissions.
    """
    expires_at = getattr(entry, "expires_at", None)
    more: dict[str, Any] = {
        "role": entry.role,
        "expires_at": None if expires_at is None else expires_at.timestamp(),
        "key_id": getattr(entry, "id", None),
    }
    permissions = entry.permissions()
    if isinstance(entry, KeyEntry):
        identity = Identity(entry.name, "key", permissions, **more)
        identity.revoked = entry.revoked_at is not None
        return identity
    if isinstance(entry, UserEntry):
        return Identity(entry.name, "user", permissions, **more)
    return Identity(entry.name, "certificate", permissions, **more)


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(length))
