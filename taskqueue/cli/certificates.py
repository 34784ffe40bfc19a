"""
Commands on the clients that come in with a certificate.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from taskqueue.access.editing import allow_certificate, remove_certificate
from taskqueue.access.keyring import CertificateEntry
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


@click.group()
def certificates() -> None:
    """Say whose client certificates let them in, and what they may do."""


certificates.add_command(permit_command("certificates"))


@certificates.command()
@click.option("--name", required=True, metavar="NAME", help="What such clients are called.")
@click.option("--subject", metavar="PATTERN", help="Their subject, as in CN=worker-*,O=Example.")
@click.option(
    "--san",
    metavar="PATTERN",
    help="An alternative name with its kind, as in DNS:worker-*.example.org.",
)
@allows
@noted
@click.option(
    "--expires",
    "expires_at",
    type=EXPIRY,
    metavar="WHEN",
    help="Until when: 90d, 2027-06-30, 2027-06-30T12:00:00Z.  [default: always]",
)
@on_keyring
def allow(
    desk: Desk,
    /,
    name: str,
    subject: str | None,
    san: str | None,
    allow: list[str],
    role: str | None,
    expires_at: datetime | None,
    **options: Any,
) -> None:
    """
    Let clients in whose certificates fit; the broker verifies them first.

    An asterisk stands for any run of characters, in a subject for none with a comma.
    """
    desk.change(
        lambda keyring: allow_certificate(
            keyring,
            name,
            now=now(),
            subject=subject,
            san=san,
            allow=allow,
            role=role,
            expires_at=expires_at,
            note=options["note"],
        )
    )
    (entry,) = (one for one in desk.read().certificates if one.name == name)
    if desk.out.for_people:
        note(f"Clients with {_fit(entry)} may {may(entry)}.")
    else:
        desk.out.value(_view(entry))


@certificates.command("list")
@on_keyring
def list_certificates(desk: Desk, /) -> None:
    """Show whose certificates let them in."""
    views = [_view(one) for one in desk.read().certificates]
    columns = ("name", "subject", "san", "permissions", "created_at", "expires_at", "note")
    show(desk.out, "Certificates", views, columns)


@certificates.command()
@click.argument("name")
@on_keyring
def remove(desk: Desk, /, name: str) -> None:
    """Let the clients called NAME come in no more, also those that are in."""
    desk.change(lambda keyring: remove_certificate(keyring, name))
    note(f"Certificates of {name} let nobody in any more.")


def _fit(entry: CertificateEntry) -> str:
    parts = (("the subject", entry.subject), ("the alternative name", entry.san))
    return " and ".join(f"{what} {pattern}" for what, pattern in parts if pattern is not None)


def _view(entry: CertificateEntry) -> dict[str, Any]:
    return view(entry, subject=entry.subject, san=entry.san, expires_at=moment(entry.expires_at))
