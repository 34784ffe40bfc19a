"""
Commands that change the fate of many tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from taskqueue.cli.bulk import Action, How, how_options, to_selected, to_these
from taskqueue.cli.running import Visit
from taskqueue.cli.selection import Selection, select_options, selection_from
from taskqueue.cli.setting import Setting, shows
from taskqueue.client import Client
from taskqueue.core.task import ENDED_STATES, LIVE_STATES, WAITING, State

_WAITING = tuple(state.word for state in WAITING)
_LIVE = tuple(state.word for state in LIVE_STATES)
_ENDED = tuple(state.word for state in ENDED_STATES)
_DELAYED = (State.SCHEDULED.word, State.FAILED.word)
_DEAD = (State.DEAD_LETTER.word,)


def canceller(running: bool = False) -> Action:
    """Cancels tasks; with C{running} those in progress too."""

    async def cancel_these(client: Client, ids: Sequence[str]) -> list[Any]:
        return [*await client.cancel(ids, running=running)]

    return Action("cancel", "cancelled", cancel_these)


def retrier(max_retries: int | None = None) -> Action:
    """Lets dead letters run again."""

    async def retry_these(client: Client, ids: Sequence[str]) -> list[Any]:
        return [*await client.retry(ids, max_retries)]

    return Action("retry", "to run again", retry_these)


async def _run_now(client: Client, ids: Sequence[str]) -> list[Any]:
    return [*await client.run_now(ids)]


RUN_NOW = Action("run", "to run now", _run_now)


async def _delete(client: Client, ids: Sequence[str]) -> list[Any]:
    return [*await client.delete(ids)]


DELETE = Action("delete", "deleted", _delete)


def choose(ids: Sequence[str], selection: Selection, everything: bool = False) -> None:
    """
    Check that it is plain which tasks are meant.

    @raises click.UsageError: it is not.
    """
    restricted = selection.is_filter or everything
    if ids and restricted:
        raise click.UsageError("give ids, or say which tasks by options; not both")
    if not ids and not restricted:
        raise click.UsageError("say which tasks: ids, a filter such as --queue, or --all")


async def apply(
    visit: Visit, ids: Sequence[str], selection: Selection, action: Action, how: How
) -> int:
    """Do it to the tasks that were named, or to those that match."""
    if ids:
        return await to_these(visit, ids, action, how)
    return await to_selected(visit, selection, action, how)


_ALL = click.option("--all", "everything", is_flag=True, help="All tasks in these states.")
_IDS = click.argument("ids", nargs=-1, metavar="[ID]...")
_MAX_RETRIES = click.option(
    "--max-retries",
    type=click.IntRange(0, 1000),
    help="How often it may fail from now on, instead of what it was submitted with.",
)


@click.command()
@_IDS
@select_options(_LIVE)
@_ALL
@click.option("--running", is_flag=True, help="Ask workers to give up those in progress too.")
@how_options
@shows
def cancel(
    setting: Setting,
    /,
    ids: tuple[str, ...],
    everything: bool,
    running: bool,
    dry_run: bool,
    yes: bool,
    **options: Any,
) -> None:
    """Cancel tasks that wait: those named, or all that match."""
    given = options.pop("states")
    running = running or State.IN_PROGRESS.word in given
    states = given or (_LIVE if running else _WAITING)
    selection = selection_from(options, states=states)
    choose(ids, selection, everything or bool(given))
    how = How(dry_run, yes)
    setting.ask(lambda visit: apply(visit, ids, selection, canceller(running), how))


@click.command()
@_IDS
@select_options()
@_ALL
@_MAX_RETRIES
@how_options
@shows
def retry(
    setting: Setting,
    /,
    ids: tuple[str, ...],
    everything: bool,
    max_retries: int | None,
    dry_run: bool,
    yes: bool,
    **options: Any,
) -> None:
    """
    Let dead letters run again: those named, or all that match.

    Their age is the time since they ended.
    """
    selection = selection_from(options, states=_DEAD, by_end=True)
    choose(ids, selection, everything)
    how = How(dry_run, yes)
    setting.ask(lambda visit: apply(visit, ids, selection, retrier(max_retries), how))


@click.command()
@_IDS
@select_options()
@_ALL
@how_options
@shows
def run_now(
    setting: Setting,
    /,
    ids: tuple[str, ...],
    everything: bool,
    dry_run: bool,
    yes: bool,
    **options: Any,
) -> None:
    """Run tasks now that wait for their time or for a retry: those named, or all that match."""
    selection = selection_from(options, states=_DELAYED)
    choose(ids, selection, everything)
    setting.ask(lambda visit: apply(visit, ids, selection, RUN_NOW, How(dry_run, yes)))


@click.command()
@click.argument("name", required=False, metavar="[QUEUE]")
@select_options((*_WAITING, *_ENDED))
@_ALL
@how_options
@shows
def purge(
    setting: Setting,
    /,
    name: str | None,
    everything: bool,
    dry_run: bool,
    yes: bool,
    **options: Any,
) -> None:
    """
    Cancel what waits in QUEUE, or in all queues.

    With --state and the name of a state in which tasks have ended, delete tasks
    in this state.
    """
    if name is not None:
        if options["queue"] is not None:
            raise click.UsageError("name the queue once, as QUEUE or with --queue")
        options["queue"] = name
    given = options.pop("states")
    ended = set(given) & set(_ENDED)
    if ended and ended != set(given):
        raise click.UsageError("name states of waiting tasks or of ended ones, not both")
    selection = selection_from(options, states=given or _WAITING, by_end=bool(ended))
    choose((), selection, everything or bool(given))
    action = DELETE if ended else canceller()
    setting.ask(lambda visit: to_selected(visit, selection, action, How(dry_run, yes)))
