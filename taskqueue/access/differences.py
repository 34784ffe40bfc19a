"""
What has changed from one keyring to another, for the audit log.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from taskqueue.access.keyring import Entry, KeyEntry, Keyring


def differences(old: Keyring, new: Keyring) -> Iterator[str]:
    """A clause for each entry that is not as it was; nothing secret stands in them."""
    before, after = _named(old), _named(new)
    for name, entry in after.items():
        was = before.get(name)
        if was is None:
            yield f"{name} added, may {', '.join(entry.permissions().words()) or 'nothing'}"
        elif was != entry:
            yield f"{name} {_change(was, entry)}"
    yield from (f"{name} removed" for name in before if name not in after)


def _named(keyring: Keyring) -> Mapping[str, Entry]:
    """The entries, by what they are called in the audit log."""
    return {
        **{f"key {one.id} of {one.name}": one for one in keyring.keys},
        **{f"user {one.name}": one for one in keyring.users},
        **{f"certificate {one.name}": one for one in keyring.certificates},
    }


def _change(was: Entry, now: Entry) -> str:
    """What has changed in an entry, in short: what it may do, whether it counts, or the rest."""
    if isinstance(was, KeyEntry) and isinstance(now, KeyEntry) and was.revoked_at != now.revoked_at:
        return "revoked" if now.revoked_at is not None else "not revoked any more"
    allowed = now.permissions()
    if was.permissions() != allowed:
        return f"changed, may {', '.join(allowed.words()) or 'nothing'}"
    if (was.role, was.allow, was.note) == (now.role, now.allow, now.note):
        expires_at = getattr(now, "expires_at", None)
        if getattr(was, "expires_at", None) != expires_at:
            return f"changed, expires {expires_at.isoformat() if expires_at else 'never'}"
    return "changed"
