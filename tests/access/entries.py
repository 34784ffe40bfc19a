"""Entries of keyrings, and a gate with a clock, for tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from taskqueue.access.gate import Gate
from taskqueue.access.keyring import (
    CertificateEntry,
    KeyEntry,
    Keyring,
    UserEntry,
    digest_of,
    new_secret,
)
from taskqueue.access.passwords import hash_password
from taskqueue.core.moments import Now

#: When the tests begin: seconds since the epoch, and its moment.
BEGIN = 1_800_000_000.0
MADE_AT = datetime.fromtimestamp(BEGIN, UTC)

#: Hashed once: it takes long on purpose.
PASSWORD = "correct horse battery"
HASHED = hash_password(PASSWORD)


def at(seconds: float) -> datetime:
    """So many seconds after the tests begin."""
    return datetime.fromtimestamp(BEGIN + seconds, UTC)


def a_key(name: str = "mailer", *allow: str, **more: Any) -> tuple[KeyEntry, str]:
    """An entry for a key, and the key."""
    secret = new_secret()
    values: dict[str, Any] = {
        "name": name,
        "id": secret.id,
        "sha256": digest_of(secret.text),
        "allow": allow or ("submit:mail",),
        "created_at": MADE_AT,
        **more,
    }
    return KeyEntry(**values), secret.text


def a_user(name: str = "ann", **more: Any) -> UserEntry:
    """An entry for a user with L{PASSWORD}."""
    values: dict[str, Any] = {
        "name": name,
        "password": HASHED,
        "role": "viewer",
        "created_at": MADE_AT,
        **more,
    }
    return UserEntry(**values)


def a_certificate(name: str = "workers", **more: Any) -> CertificateEntry:
    """An entry for certificates."""
    values: dict[str, Any] = {
        "name": name,
        "id": new_secret().id,
        "allow": ("claim:mail",),
        "created_at": MADE_AT,
        **more,
    }
    return CertificateEntry(**values)


class Keeper:
    """
    A gate, and the time it goes by.

    @ivar told: how often the listeners were told that something has changed.
    """

    def __init__(self, keyring: Keyring | None = None, **values: Any) -> None:
        self.passed = 0.0
        self.told = 0
        self.gate = Gate(self.moments, **values)
        self.gate.adopt(keyring)
        self.stop_telling = self.gate.when_changed(self._tell)

    def moments(self) -> Now:
        return Now(BEGIN + self.passed, self.passed)

    def _tell(self) -> None:
        self.told += 1
