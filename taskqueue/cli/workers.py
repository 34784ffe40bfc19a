"""
Commands on workers.
"""

from __future__ import annotations

from collections.abc import Sequence

import click

from taskqueue.cli.exits import OK, REFUSED
from taskqueue.cli.output import Shown
from taskqueue.cli.running import Visit, complain
from taskqueue.cli.setting import Setting, goes_on, shows, watches
from taskqueue.cli.views import workers_table
from taskqueue.client import Client
from taskqueue.errors import ClientError


async def view_workers(client: Client) -> Shown:
    """Every registered worker."""
    found = await client.workers()
    return Shown(found, [workers_table(found)])


@click.group(invoke_without_command=True)
@watches
def workers(setting: Setting, /) -> None:
    """Show every registered worker, or tell some to stop."""
    if not goes_on(setting):
        setting.show(view_workers)


@workers.command("list")
@watches
def list_workers(setting: Setting, /) -> None:
    """Show every registered worker."""
    setting.show(view_workers)


@workers.command()
@click.argument("ids", nargs=-1, required=True, metavar="WORKER...")
@shows
def quiet(setting: Setting, /, ids: tuple[str, ...]) -> None:
    """Tell workers to claim no more tasks and finish what they have."""
    setting.ask(lambda visit: order(visit, ids, "quiet"))


@workers.command()
@click.argument("ids", nargs=-1, required=True, metavar="WORKER...")
@shows
def terminate(setting: Setting, /, ids: tuple[str, ...]) -> None:
    """Tell workers to finish what they have, and end."""
    setting.ask(lambda visit: order(visit, ids, "terminate"))


async def order(visit: Visit, ids: Sequence[str], what: str) -> int:
    """Give an order to each of these workers; it hears it with its next heartbeat."""
    told: list[str] = []
    for worker in ids:
        try:
            await visit.client.order_worker(worker, what)
        except ClientError as error:
            complain(str(error))
        else:
            told.append(worker)
            visit.out.note(f"Worker {worker} is told to {_MEANINGS[what]}.")
    if not visit.out.for_people:
        visit.out.value({"order": what, "workers": told})
    return OK if len(told) == len(ids) else REFUSED


_MEANINGS = {"quiet": "claim no more", "terminate": "finish and end"}
