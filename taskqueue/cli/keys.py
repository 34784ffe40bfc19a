"""
Commands on API keys.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import click

from taskqueue.access.editing import add_key, revoke_keys, rotate_key
from taskqueue.access.keyring import KeyEntry, Keyring, Secret
from taskqueue.cli.keyring import (
    EXPIRY,
    Desk,
    allows,
    may,
    moment,
    note,
    noted,
    now,
    on_keyring,
    permit_command,
    show,
    view,
)
from taskqueue.cli.parameters import SPAN


@click.group()
def keys() -> None:
    """Make, list, renew and revoke API keys."""


keys.add_command(permit_command("keys"))


@keys.command()
@click.option("--name", required=True, metavar="NAME", help="Whose key it is.")
@allows
@noted
@click.option(
    "--expires",
    "expires_at",
    type=EXPIRY,
    metavar="WHEN",
    help="When it expires: 90d, 2027-06-30, 2027-06-30T12:00:00Z.  [default: never]",
)
@on_keyring
def create(
    desk: Desk,
    /,
    name: str,
    allow: list[str],
    role: str | None,
    expires_at: datetime | None,
    **options: Any,
) -> None:
    """
    Make a key, and show it this once.

    The key alone is printed on the standard output, so that it can go where it is needed without
    being seen: taskqueue keys create --name mailer --allow submit:mail > mailer.key
    """
    made: list[Secret] = []

    def change(keyring: Keyring) -> Keyring:
        keyring, secret = add_key(
            keyring,
            name,
            now=now(),
            allow=allow,
            role=role,
            expires_at=expires_at,
            note=options["note"],
        )
        made.append(secret)
        return keyring

    desk.change(change)
    _tell(desk, made[-1])


@keys.command("list")
@on_keyring
def list_keys(desk: Desk, /) -> None:
    """Show all keys, but not their secrets."""
    views = [_view(one) for one in desk.read().keys]
    columns = ("name", "id", "state", "permissions", "created_at", "expires_at", "note")
    show(desk.out, "Keys", views, columns)


@keys.command()
@click.argument("name")
@click.option(
    "--grace",
    type=SPAN,
    default="1d",
    show_default=True,
    metavar="DURATION",
    help="For how long the old key counts yet; 0 revokes it at once.",
)
@click.option(
    "--expires",
    "expires_at",
    type=EXPIRY,
    metavar="WHEN",
    help="When the new one expires.  [default: after as long as the old one was given]",
)
@on_keyring
def rotate(desk: Desk, /, name: str, grace: float, expires_at: datetime | None) -> None:
    """Put a new key in the place of NAME's, with the same permissions, and show it this once."""
    made: list[Secret] = []

    def change(keyring: Keyring) -> Keyring:
        keyring, secret = rotate_key(
            keyring, name, now=now(), grace=timedelta(seconds=grace), expires_at=expires_at
        )
        made.append(secret)
        return keyring

    desk.change(change)
    _tell(desk, made[-1])
    ends = f"expires at {moment(now() + timedelta(seconds=grace))}" if grace else "is revoked"
    note(f"The old key of {name} {ends}.")


@keys.command()
@click.argument("name")
@on_keyring
def revoke(desk: Desk, /, name: str) -> None:
    """Let the keys of NAME, or the one with this id, count no more, also where they are in use."""
    revoked: list[KeyEntry] = []

    def change(keyring: Keyring) -> Keyring:
        keyring, found = revoke_keys(keyring, name, now=now())
        revoked[:] = found
        return keyring

    desk.change(change)
    if desk.out.for_people:
        for one in revoked:
            note(f"The key {one.id} of {one.name} is revoked.")
    else:
        desk.out.value([_view(one) | {"state": "revoked"} for one in revoked])


def _tell(desk: Desk, secret: Secret) -> None:
    """Print a new key: alone on the standard output, what is worth knowing beside it."""
    (entry,) = (one for one in desk.read().keys if one.id == secret.id)
    if not desk.out.for_people:
        desk.out.value(_view(entry) | {"key": secret.text})
        return
    ends = f" until {moment(entry.expires_at)}" if entry.expires_at else ""
    note(f"Key {entry.id} of {entry.name} may {may(entry)}{ends}. It is shown only now:")
    desk.out.line(secret.text)


def _view(entry: KeyEntry) -> dict[str, Any]:
    state = "valid"
    if entry.revoked_at is not None:
        state = "revoked"
    elif entry.expires_at is not None and entry.expires_at <= now():
        state = "expired"
    return view(
        entry,
        id=entry.id,
        state=state,
        expires_at=moment(entry.expires_at),
        revoked_at=moment(entry.revoked_at),
    )
