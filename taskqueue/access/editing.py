"""
What can be done to a keyring: each makes another one of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from difflib import get_close_matches

from msgspec.structs import replace

from taskqueue.access.keyring import (
    CertificateEntry,
    Entry,
    KeyEntry,
    Keyring,
    Secret,
    UserEntry,
    check_name,
    check_text,
    digest_of,
    id_of,
    new_secret,
)
from taskqueue.access.passwords import check_password, hash_password
from taskqueue.access.permissions import Permissions
from taskqueue.errors import BadRequest

#: What an entry of a kind is called in sentences.
_KINDS = {"keys": "key", "users": "user", "certificates": "entry for certificates"}

#: For how long a key that counts no more is kept, so that whoever holds it is told so.
KEPT = timedelta(days=90)


def add_key(
    keyring: Keyring,
    name: str,
    *,
    now: datetime,
    allow: Sequence[str] = (),
    role: str | None = None,
    expires_at: datetime | None = None,
    note: str | None = None,
) -> tuple[Keyring, Secret]:
    """
    Make a new key.

    @return: the keyring with it, and the key itself, which is known at no other time.
    @raises BadRequest: the name is taken or cannot be one, nothing is allowed, or something is
        wrong with what is.
    """
    check_name(name)
    if _current(keyring, name, now):
        raise BadRequest(
            f"There is a key {name!r} already. Give this one another name, or put a new secret in"
            f" the place of the old one: taskqueue keys rotate {name}"
        )
    _check_expiry(expires_at, now)
    secret = new_secret()
    entry = KeyEntry(
        id=secret.id,
        name=name,
        sha256=digest_of(secret.text),
        allow=_allowed(allow, role),
        role=role,
        created_at=now,
        expires_at=expires_at,
        note=check_text(note),
    )
    return replace(keyring, keys=(*_kept(keyring.keys, now), entry)), secret


def rotate_key(
    keyring: Keyring,
    name: str,
    *,
    now: datetime,
    grace: timedelta,
    expires_at: datetime | None = None,
) -> tuple[Keyring, Secret]:
    """
    Put a new key in the place of one, with the same name and permissions.

    @param grace: for how long the old one counts yet; none revokes it at once.
    @param expires_at: when the new one expires; C{None}: after as long as the old one was given.
    @raises BadRequest: there is no such key, or the new one would have expired already.
    """
    _check_expiry(expires_at, now)
    current = _current(keyring, name, now)
    if not current:
        raise _unknown(_KINDS["keys"], name, keyring.keys)
    old = current[-1]
    if expires_at is None and old.expires_at is not None:
        expires_at = now + (old.expires_at - old.created_at)
    secret = new_secret()
    new = replace(
        old,
        id=secret.id,
        sha256=digest_of(secret.text),
        created_at=now,
        expires_at=expires_at,
    )
    ended = {one.id: _ended(one, now, grace) for one in current}
    keys = [ended.get(one.id, one) for one in _kept(keyring.keys, now)]
    return replace(keyring, keys=(*keys, new)), secret


def revoke_keys(
    keyring: Keyring, name: str, *, now: datetime
) -> tuple[Keyring, tuple[KeyEntry, ...]]:
    """
    Let keys count no more.

    @param name: of all of them, or the id of one.
    @return: the keyring, and which were revoked.
    @raises BadRequest: there is none that counts.
    """
    revoked = tuple(_current(keyring, name, now))
    if not revoked:
        raise _unknown(_KINDS["keys"], name, keyring.keys)
    ids = {one.id for one in revoked}
    keys = tuple(
        replace(one, revoked_at=now) if one.id in ids else one for one in _kept(keyring.keys, now)
    )
    return replace(keyring, keys=keys), revoked


def check_new_user(
    keyring: Keyring, name: str, *, role: str | None = None, allow: Sequence[str] = ()
) -> tuple[str, ...]:
    """
    Whether a person could be let in under this name.

    @return: the permissions beside the role.
    @raises BadRequest: the name is taken or cannot be one, nothing is allowed, or something is
        wrong with what is.
    """
    check_name(name)
    if any(one.name == name for one in keyring.users):
        raise BadRequest(
            f"There is a user {name!r} already; for another password: taskqueue users passwd {name}"
        )
    return _allowed(allow, role)


def add_user(
    keyring: Keyring,
    name: str,
    password: str,
    *,
    now: datetime,
    role: str | None = None,
    allow: Sequence[str] = (),
    note: str | None = None,
) -> Keyring:
    """
    Let a person sign in.  Blocks while the password is hashed.

    @raises BadRequest: as L{check_new_user} says, or the password is too short or too long.
    """
    entry = UserEntry(
        name=name,
        allow=check_new_user(keyring, name, role=role, allow=allow),
        role=role,
        password=hash_password(check_password(password)),
        created_at=now,
        note=check_text(note),
    )
    return replace(keyring, users=(*keyring.users, entry))


def set_password(keyring: Keyring, name: str, password: str) -> Keyring:
    """
    Give a user another password.  Blocks while it is hashed.

    @raises BadRequest: there is no such user, or the password is too short.
    """
    find_user(keyring, name)
    hashed = hash_password(check_password(password))
    users = tuple(
        replace(one, password=hashed) if one.name == name else one for one in keyring.users
    )
    return replace(keyring, users=users)


def remove_user(keyring: Keyring, name: str) -> Keyring:
    """
    Let a person sign in no more.

    @raises BadRequest: there is no such user.
    """
    find_user(keyring, name)
    return replace(keyring, users=tuple(one for one in keyring.users if one.name != name))


def find_user(keyring: Keyring, name: str) -> UserEntry:
    """
    A user by name.

    @raises BadRequest: there is no such user.
    """
    for user in keyring.users:
        if user.name == name:
            return user
    raise _unknown(_KINDS["users"], name, keyring.users)


def allow_certificate(
    keyring: Keyring,
    name: str,
    *,
    now: datetime,
    subject: str | None = None,
    san: str | None = None,
    allow: Sequence[str] = (),
    role: str | None = None,
    expires_at: datetime | None = None,
    note: str | None = None,
) -> Keyring:
    """
    Let clients with certificates that fit come in.

    @raises BadRequest: the name is taken or cannot be one, neither subject nor alternative name
        is given, nothing is allowed, or something is wrong with what is.
    """
    check_name(name)
    if any(one.name == name for one in keyring.certificates):
        raise BadRequest(f"There is an entry for certificates {name!r} already; remove it first.")
    if not (subject or san):
        raise BadRequest(
            "Say which certificates are meant: by their subject, such as CN=worker-*,O=Example, or"
            " by an alternative name, such as DNS:worker-*.example.org."
        )
    _check_expiry(expires_at, now)
    entry = CertificateEntry(
        id=new_secret().id,
        name=name,
        subject=check_text(subject or None),
        san=check_text(san or None),
        allow=_allowed(allow, role),
        role=role,
        created_at=now,
        expires_at=expires_at,
        note=check_text(note),
    )
    return replace(keyring, certificates=(*keyring.certificates, entry))


def remove_certificate(keyring: Keyring, name: str) -> Keyring:
    """
    Let the clients of an entry come in no more.

    @raises BadRequest: there is no such entry.
    """
    kept = tuple(one for one in keyring.certificates if one.name != name)
    if len(kept) == len(keyring.certificates):
        raise _unknown(_KINDS["certificates"], name, keyring.certificates)
    return replace(keyring, certificates=kept)


def permit(
    keyring: Keyring, kind: str, name: str, *, allow: Sequence[str] = (), role: str | None = None
) -> Keyring:
    """
    Let an entry do something else than before, and nothing beside it.

    @param kind: C{"keys"}, C{"users"} or C{"certificates"}.
    @param name: of all keys, of the user or of the entry for certificates.
    @raises BadRequest: there is none of this name, nothing is allowed, or something is wrong with
        what is.
    """
    entries: tuple[Entry, ...] = getattr(keyring, kind)
    allowed = _allowed(allow, role)
    if all(one.name != name for one in entries):
        raise _unknown(_KINDS[kind], name, entries)
    changed = tuple(
        replace(one, allow=allowed, role=role) if one.name == name else one for one in entries
    )
    return replace(keyring, **{kind: changed})


def _allowed(allow: Sequence[str], role: str | None) -> tuple[str, ...]:
    """
    The permissions as they are kept: without a role, one at least.

    @raises BadRequest: something is wrong with them.
    """
    if role is not None:
        Permissions.of_role(role, allow)
    elif not allow:
        raise BadRequest(
            "Say what is allowed: permissions such as submit:mail,claim:mail, or a role."
        )
    return tuple(Permissions.parse(allow).words())


def _check_expiry(expires_at: datetime | None, now: datetime) -> None:
    if expires_at is not None and expires_at <= now:
        raise BadRequest("It would have expired already: give a time that is to come.")


def _current(keyring: Keyring, name: str, now: datetime) -> list[KeyEntry]:
    """The keys of this name, or with this id, that count; the newest last."""
    return [one for one in keyring.keys if name in (one.name, one.id) and not _ended_at(one, now)]


def _ended_at(entry: KeyEntry, now: datetime) -> datetime | None:
    """Since when a key does not count; C{None} where it does."""
    ends = [at for at in (entry.revoked_at, entry.expires_at) if at is not None and at <= now]
    return min(ends, default=None)


def _ended(entry: KeyEntry, now: datetime, grace: timedelta) -> KeyEntry:
    """A key that another one has replaced."""
    if grace <= timedelta(0):
        return replace(entry, revoked_at=now)
    ends = now + grace
    if entry.expires_at is not None:
        ends = min(ends, entry.expires_at)
    return replace(entry, expires_at=ends)


def _kept(keys: Iterable[KeyEntry], now: datetime) -> list[KeyEntry]:
    """Without those that have not counted for so long that nobody needs to be told."""
    return [one for one in keys if (at := _ended_at(one, now)) is None or now - at < KEPT]


def _unknown(what: str, name: str, entries: Iterable[Entry]) -> BadRequest:
    key_id = id_of(name)
    if key_id is not None:
        return BadRequest(
            f"This is a whole key, which belongs on no command line: others may see it there. Use"
            f" its name, or the part in the middle, {key_id}."
        )
    known = sorted({one.name for one in entries})
    near = get_close_matches(name, known, 1, 0.6)
    if near == [name]:
        return BadRequest(f"The {what} {name!r} counts no more already.")
    hint = f" Did you mean {near[0]}?" if near else f" Known: {', '.join(known) or 'none'}."
    return BadRequest(f"There is no {what} {name!r}.{hint}")
