"""
Commands on values under keys.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import click

from taskqueue.cli.bulk import confirmed
from taskqueue.cli.exits import OK, REFUSED, USAGE
from taskqueue.cli.output import Rows, Shown, moment
from taskqueue.cli.parameters import SPAN
from taskqueue.cli.running import Visit, complain
from taskqueue.cli.setting import Setting, goes_on, shows, watches
from taskqueue.cli.tasks import read_payload
from taskqueue.client import Client, Value

_NAMESPACE = click.argument("namespace")
_KEY = click.argument("key")


class Putting(NamedTuple):
    """
    A value to put, and on which condition.

    @ivar only_if: C{"absent"}, C{"present"} or C{None}.
    @ivar version: that it must have; C{None} for any.
    """

    namespace: str
    key: str
    value: bytes
    expires_s: float | None = None
    only_if: str | None = None
    version: int | None = None


async def view_namespaces(client: Client) -> Shown:
    """Every namespace that has values."""
    found = await client.value_namespaces()
    rows = [Rows("Namespaces", ("namespace", "values"), list(found.items()))]
    return Shown([{"namespace": name, "count": count} for name, count in found.items()], rows)


async def view_values(client: Client, namespace: str, prefix: str, limit: int) -> Shown:
    """The values of a namespace, without their bytes."""
    found = await client.list_keys(namespace, prefix, limit=limit)
    columns = ("key", "bytes", "version", "expires")
    rows = [(key, size, str(version), moment(expires)) for key, size, version, expires in found]
    shown = Rows(f"Values of {namespace}", columns, rows, ("version", "expires"))
    return Shown([each._asdict() for each in found], [shown])


def _described(key: str, value: Value) -> dict[str, Any]:
    return {
        "key": key,
        "bytes": len(value.value),
        "version": value.version,
        "expires_at": value.expires_at,
    }


@click.group(invoke_without_command=True)
@watches
def values(setting: Setting, /) -> None:
    """Show the namespaces that have values under keys, or change values."""
    if not goes_on(setting):
        setting.show(view_namespaces)


@values.command("list")
@_NAMESPACE
@click.option("--prefix", default="", metavar="TEXT", help="Only keys that begin with this.")
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    metavar="NUMBER",
    help="At most so many.",
)
@watches
def list_values(setting: Setting, /, namespace: str, prefix: str, limit: int) -> None:
    """Show the keys of a namespace."""
    setting.show(lambda client: view_values(client, namespace, prefix, limit))


@values.command("get")
@_NAMESPACE
@_KEY
@shows
def get_value(setting: Setting, /, namespace: str, key: str) -> None:
    """Print a value: its bytes as they are, or with a format all about it."""
    setting.ask(lambda visit: print_value(visit, namespace, key))


@values.command("put")
@_NAMESPACE
@_KEY
@click.argument("value", metavar="TEXT|@FILE|-")
@click.option(
    "--expires", "expires_s", type=SPAN, metavar="SPAN", help="How long it is there: 90s, 2h, 7d."
)
@click.option("--if-absent", "only_if", flag_value="absent", help="Only where there is none.")
@click.option("--if-present", "only_if", flag_value="present", help="Only where there is one.")
@click.option(
    "--if-version",
    "version",
    type=click.IntRange(min=0),
    metavar="NUMBER",
    help="Only where it has this version; 0: where there is none.",
)
@shows
def put_value(setting: Setting, /, value: str, **given: Any) -> None:
    """Put a value under a key: a text, what is in a file, or what is read from standard input."""
    putting = Putting(value=read_payload(value), **given)
    setting.ask(lambda visit: put(visit, putting))


@values.command("delete")
@_NAMESPACE
@click.argument("keys", nargs=-1, required=True, metavar="KEY...")
@click.option("--yes", "-y", is_flag=True, help="Do not ask before doing it.")
@shows
def delete_values(setting: Setting, /, namespace: str, keys: tuple[str, ...], yes: bool) -> None:
    """Forget values."""
    setting.ask(lambda visit: delete_these(visit, namespace, keys, yes))


async def print_value(visit: Visit, namespace: str, key: str) -> int:
    """Print the value under a key."""
    value = await visit.client.get_value(namespace, key)
    if value is None:
        complain(f"there is no value {key!r} in {namespace!r}")
        return REFUSED
    if visit.out.for_people:
        visit.out.raw(value.value)
    else:
        visit.out.value({**_described(key, value), "value": value.value})
    return OK


async def put(visit: Visit, putting: Putting) -> int:
    """Put a value, and say which version it has."""
    namespace, key, value, expires_s, only_if, version = putting
    given = await visit.client.put_value(
        namespace, key, value, expires_s=expires_s, only_if=only_if, version=version
    )
    if given is None:
        complain(f"value {key!r} of {namespace!r} is not as the condition says: it is unchanged")
        return REFUSED
    visit.out.note(f"Value {key} of {namespace} has version {given}.")
    if not visit.out.for_people:
        visit.out.value({"namespace": namespace, "key": key, "version": given})
    return OK


async def delete_these(visit: Visit, namespace: str, keys: Sequence[str], yes: bool) -> int:
    """Forget these values, once somebody has agreed."""
    if not yes:
        if not sys.stdin.isatty():
            complain(f"this would delete {', '.join(keys)} of {namespace}: say --yes")
            return USAGE
        if not confirmed(f"Delete {', '.join(keys)} of {namespace}?"):
            complain("nothing was done")
            return REFUSED
        await visit.client.ping()
    count = await visit.client.delete_values(namespace, keys)
    visit.out.note(f"{count} of {len(set(keys))} values are deleted.")
    if not visit.out.for_people:
        visit.out.value({"deleted": count})
    return OK if count == len(set(keys)) else REFUSED
