"""
What commands on keys, users and certificates have in common: the file, and its errors.

They need no running broker, and speak to none: whoever may write the file may do everything anyway.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from functools import wraps
from typing import Any, NamedTuple

import click

from taskqueue.access.editing import permit
from taskqueue.access.file import KeyringFile, KeyringUnusable, path_of
from taskqueue.access.keyring import Entry, Keyring
from taskqueue.access.permissions import ROLES
from taskqueue.cli.exits import REFUSED, USAGE
from taskqueue.cli.output import Output, Rows
from taskqueue.cli.parameters import SPAN
from taskqueue.cli.running import complain
from taskqueue.cli.setting import Setting, shows
from taskqueue.config import load
from taskqueue.errors import BadRequest, ConfigError


class Desk(NamedTuple):
    """
    What a command has.

    @ivar file: the keyring.
    """

    file: KeyringFile
    out: Output

    def read(self) -> Keyring:
        """What stands in the file; nothing where there is none."""
        reading = self.file.read()
        for warning in reading.warnings if reading else ():
            complain(warning)
        return reading.keyring if reading else Keyring()

    def change(self, function: Callable[[Keyring], Keyring]) -> Keyring:
        """Put what C{function} makes of the keyring in its place, and return it."""
        is_new = self.file.signature() is None
        keyring = self.file.change(function)
        if is_new:
            note(
                f"{self.file.path} is new: nobody comes in any more who is not in it, unless the"
                " configuration lets everybody in."
            )
            if os.geteuid() == 0:
                note("It must be readable for the user that the broker runs as.")
        return keyring


def on_keyring(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the L{Desk}, and options that say which file it is; tell of its errors."""

    @click.option("--file", "path", metavar="FILE", help="The file of keys and users itself.")
    @click.option(
        "--data-dir", metavar="DIRECTORY", help="The broker's data directory.  [store.path]"
    )
    @click.option(
        "--config",
        envvar="TASKQUEUE_CONFIG",
        metavar="FILE",
        help="The broker's configuration, which says where the file is.  [TASKQUEUE_CONFIG]",
    )
    @shows
    @wraps(command)
    def run_it(
        setting: Setting,
        /,
        config: str | None,
        data_dir: str | None,
        path: str | None,
        **options: Any,
    ) -> None:
        try:
            command(Desk(_locate(config, data_dir, path), Output(setting.form)), **options)
        except (BadRequest, ConfigError, KeyringUnusable) as error:
            for problem in getattr(error, "problems", [str(error)]):
                complain(problem)
            sys.exit(USAGE if isinstance(error, BadRequest) else REFUSED)

    return run_it


def _locate(config: str | None, data_dir: str | None, path: str | None) -> KeyringFile:
    """
    Find the file as the broker does.

    @raises ConfigError: the configuration is not usable.
    @raises BadRequest: it names no file.
    """
    if path is not None:
        return KeyringFile(path)
    overrides = {} if data_dir is None else {"store.path": data_dir}
    found = path_of(load(config, os.environ, overrides))
    if found is None:
        raise BadRequest(
            "This broker keeps its tasks in memory and has no data directory: name the file in"
            " [access] file, or here with --file."
        )
    return KeyringFile(found)


def allows(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that say what somebody may do."""

    @click.option(
        "--allow",
        multiple=True,
        metavar="ACTION:QUEUE,…",
        help="What is allowed: submit, claim, read or cancel in queues (submit:mail,read:mail-*),"
        " metrics, admin; may be repeated.",
    )
    @click.option("--role", metavar="ROLE", help=f"A role: {', '.join(ROLES)}.")
    @wraps(command)
    def run_it(*arguments: Any, allow: Iterable[str], **options: Any) -> None:
        words = [word for text in allow for word in text.split(",") if word.strip()]
        command(*arguments, allow=words, **options)

    return run_it


#: The option for what people want to remember.
noted = click.option("--note", metavar="TEXT", help="What you want to remember of it.")


def permit_command(kind: str) -> click.Command:
    """
    The command that lets an entry do something else.

    @param kind: C{"keys"}, C{"users"} or C{"certificates"}.
    """

    @click.command("permit")
    @click.argument("name")
    @allows
    @on_keyring
    def change(desk: Desk, /, name: str, allow: list[str], role: str | None) -> None:
        """Let NAME do what is given here, and nothing else any more, also where it is in use."""
        keyring = desk.change(lambda keyring: permit(keyring, kind, name, allow=allow, role=role))
        entry: Entry = next(one for one in getattr(keyring, kind) if one.name == name)
        if desk.out.for_people:
            note(f"{name} may {may(entry)}.")
        else:
            desk.out.value(view(entry))

    return change


class Expiry(click.ParamType[datetime]):
    """When something expires: a span of time from now, a day (at 0:00 UTC), or a moment."""

    name = "when"

    def convert(self, value: Any, param: Any, ctx: Any) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            found = datetime.fromisoformat(str(value).strip())
        except ValueError:
            pass
        else:
            return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
        try:
            if str(value).strip().isdigit():  # the year, or seconds? nobody can tell
                raise click.BadParameter("no unit")
            return now() + timedelta(seconds=SPAN.convert(value, param, ctx))
        except (click.BadParameter, OverflowError):
            self.fail(f"{value!r} is no time: write 90d, 12h, 2027-06-30 or 2027-06-30T12:00:00Z")


EXPIRY = Expiry()


def now() -> datetime:
    """This moment."""
    return datetime.now(UTC)


def note(text: str) -> None:
    """Tell the user something that is no result."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def may(entry: Entry) -> str:
    """What somebody may do, as a clause of a sentence."""
    permissions = entry.permissions()
    return "do everything" if permissions.unrestricted else ", ".join(permissions.words())


def view(entry: Entry, **more: Any) -> dict[str, Any]:
    """An entry for programs, without its secret."""
    return {
        "name": entry.name,
        "role": entry.role,
        "permissions": entry.permissions().words(),
        "created_at": moment(entry.created_at),
        "note": entry.note,
        **more,
    }


def moment(at: datetime | None) -> str | None:
    """A moment as RFC 3339 writes it, in UTC, to the second."""
    return None if at is None else at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def show(out: Output, title: str, views: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    """Print entries."""
    if not out.for_people:
        out.value(views)
        return
    rows = [
        [", ".join(cell) if isinstance(cell := one.get(name), list) else cell for name in columns]
        for one in views
    ]
    out.console.print(Rows(title, columns, rows, ("note", "created_at")))
