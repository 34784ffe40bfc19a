"""
Commands on periodic tasks.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import click

from taskqueue.cli.bulk import confirmed
from taskqueue.cli.exits import OK, REFUSED, USAGE
from taskqueue.cli.output import Rows, Shown, moment
from taskqueue.cli.running import Visit, complain
from taskqueue.cli.setting import Setting, goes_on, shows, watches
from taskqueue.client import Client
from taskqueue.errors import ClientError

Json = dict[str, Any]

_NAMES = click.argument("names", nargs=-1, required=True, metavar="NAME...")


async def view_periodics(client: Client) -> Shown:
    """Every periodic task."""
    found = await client.periodics()
    columns = ("name", "type", "queue", "due", "state", "next", "last", "fired", "skipped")
    optional = ("last task", "skipped", "last", "fired", "type", "queue")
    shown = Rows("Periodic tasks", (*columns, "last task"), map(_row, found), optional)
    return Shown(found, [shown])


def _row(periodic: Json) -> tuple[Any, ...]:
    return (
        *(periodic["name"], periodic["type"], periodic["queue"], _due(periodic)),
        "paused" if periodic["paused"] else "active",
        moment(periodic["next_at"]),
        moment(periodic["last_at"]),
        *(periodic["fired"], periodic["skipped"], periodic["last_task"]),
    )


def _due(periodic: Json) -> str:
    if periodic.get("cron") is None:
        return f"every {periodic['every_s']:g} s"
    return f"{periodic['cron']} ({periodic.get('tz', 'UTC')})"


@click.group(invoke_without_command=True)
@watches
def periodic(setting: Setting, /) -> None:
    """Show the tasks that the broker submits again and again, or change them."""
    if not goes_on(setting):
        setting.show(view_periodics)


@periodic.command("list")
@watches
def list_periodic(setting: Setting, /) -> None:
    """Show periodic tasks, and when they are due."""
    setting.show(view_periodics)


@periodic.command()
@_NAMES
@shows
def pause(setting: Setting, /, names: tuple[str, ...]) -> None:
    """Let periodic tasks rest."""
    setting.ask(lambda visit: each(visit, names, "paused", visit.client.pause_periodic))


@periodic.command()
@_NAMES
@shows
def resume(setting: Setting, /, names: tuple[str, ...]) -> None:
    """Let periodic tasks go on."""
    setting.ask(
        lambda visit: each(
            visit, names, "resumed", lambda name: visit.client.pause_periodic(name, paused=False)
        )
    )


@periodic.command()
@_NAMES
@shows
def trigger(setting: Setting, /, names: tuple[str, ...]) -> None:
    """Submit the tasks of periodic tasks now, and print their ids."""
    setting.ask(lambda visit: trigger_these(visit, names))


@periodic.command()
@_NAMES
@click.option("--yes", "-y", is_flag=True, help="Do not ask before doing it.")
@shows
def delete(setting: Setting, /, names: tuple[str, ...], yes: bool) -> None:
    """Forget periodic tasks; what they submitted stays."""
    setting.ask(lambda visit: delete_these(visit, names, yes))


async def delete_these(visit: Visit, names: Sequence[str], yes: bool) -> int:
    """Forget these periodic tasks, once somebody has agreed."""
    if not yes:
        if not sys.stdin.isatty():
            complain(f"this would delete {', '.join(names)}: say --yes")
            return USAGE
        if not confirmed(f"Delete {', '.join(names)}?"):
            complain("nothing was done")
            return REFUSED
        await visit.client.ping()
    return await each(visit, names, "deleted", visit.client.delete_periodic)


async def trigger_these(visit: Visit, names: Sequence[str]) -> int:
    """Submit the tasks of these periodic tasks."""
    tasks: dict[str, str] = {}

    async def submit(name: str) -> None:
        tasks[name] = str(await visit.client.trigger_periodic(name))
        visit.out.note(tasks[name])

    left = await _to_each(names, submit)
    if not visit.out.for_people:
        visit.out.value({"tasks": tasks})
    return REFUSED if left else OK


async def each(
    visit: Visit, names: Sequence[str], done: str, deed: Callable[[str], Awaitable[Any]]
) -> int:
    """Do it to each of these, and say so."""

    async def do(name: str) -> None:
        await deed(name)
        visit.out.note(f"Periodic task {name} is {done}.")

    left = await _to_each(names, do)
    if not visit.out.for_people:
        visit.out.value({done: [name for name in names if name not in left]})
    return REFUSED if left else OK


async def _to_each(names: Sequence[str], deed: Callable[[str], Awaitable[None]]) -> set[str]:
    """Do it to each; returns those to which it could not be done."""
    left: set[str] = set()
    for name in names:
        try:
            await deed(name)
        except ClientError as error:
            left.add(name)
            complain(str(error))
    return left
