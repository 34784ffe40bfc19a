"""
Commands on the people who sign in with a password.
"""

from __future__ import annotations

import sys
from typing import Any

import click

from taskqueue.access.editing import (
    add_user,
    check_new_user,
    find_user,
    remove_user,
    set_password,
)
from taskqueue.access.passwords import LONGEST, check_password
from taskqueue.cli.keyring import (
    Desk,
    allows,
    may,
    note,
    noted,
    now,
    on_keyring,
    permit_command,
    show,
    view,
)
from taskqueue.errors import BadRequest

_from_stdin = click.option(
    "--password-stdin", is_flag=True, help="Read the password from the standard input, one line."
)


@click.group()
def users() -> None:
    """Add, list and remove people who sign in at the dashboard."""


users.add_command(permit_command("users"))


@users.command()
@click.argument("name")
@allows
@noted
@_from_stdin
@on_keyring
def add(
    desk: Desk,
    /,
    name: str,
    allow: list[str],
    role: str | None,
    password_stdin: bool,
    **options: Any,
) -> None:
    """Let NAME sign in, with a password that is asked for."""
    # Whatever else is wrong is told before anybody is asked for a password.
    check_new_user(desk.read(), name, role=role, allow=allow)
    password = _password(name, password_stdin)
    desk.change(
        lambda keyring: add_user(
            keyring, name, password, now=now(), role=role, allow=allow, note=options["note"]
        )
    )
    _tell(desk, name, "may sign in")


@users.command()
@click.argument("name")
@_from_stdin
@on_keyring
def passwd(desk: Desk, /, name: str, password_stdin: bool) -> None:
    """Give NAME another password; their sessions end."""
    find_user(desk.read(), name)
    password = _password(name, password_stdin)
    desk.change(lambda keyring: set_password(keyring, name, password))
    _tell(desk, name, "has another password")


@users.command("list")
@on_keyring
def list_users(desk: Desk, /) -> None:
    """Show all users."""
    views = [view(one) for one in desk.read().users]
    show(desk.out, "Users", views, ("name", "role", "permissions", "created_at", "note"))


@users.command()
@click.argument("name")
@on_keyring
def remove(desk: Desk, /, name: str) -> None:
    """Let NAME sign in no more; their sessions end."""
    desk.change(lambda keyring: remove_user(keyring, name))
    note(f"{name} may not sign in any more.")


def _tell(desk: Desk, name: str, what: str) -> None:
    user = find_user(desk.read(), name)
    if desk.out.for_people:
        note(f"{name} {what}, and may {may(user)}.")
    else:
        desk.out.value(view(user))


def _password(name: str, from_stdin: bool) -> str:
    """
    Ask for a password, twice; or take it from a pipe.

    @raises BadRequest: nobody can be asked, or it is too short or too long.
    """
    if from_stdin:
        line = sys.stdin.readline(LONGEST + 2)
        return check_password(line.removesuffix("\n").removesuffix("\r"))
    if not sys.stdin.isatty():
        raise BadRequest(
            "Nobody can be asked for a password: the standard input is no terminal. Pipe it in,"
            " with --password-stdin."
        )
    asked: str = click.prompt(
        f"Password for {name}", hide_input=True, confirmation_prompt="Once more", err=True
    )
    return check_password(asked)
