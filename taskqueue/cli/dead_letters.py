"""
Commands on dead letters.
"""

from __future__ import annotations

from typing import Any

import click

from taskqueue.cli.bulk import How, how_options
from taskqueue.cli.changing import DELETE, apply, choose, retrier
from taskqueue.cli.selection import Selection, select_options, selection_from
from taskqueue.cli.setting import Setting, goes_on, shows, watches
from taskqueue.cli.tasks import view_tasks
from taskqueue.core.task import State

_ALL = click.option("--all", "everything", is_flag=True, help="All dead letters.")
_IDS = click.argument("ids", nargs=-1, metavar="[ID]...")


def _dead(options: dict[str, Any]) -> Selection:
    return selection_from(options, states=(State.DEAD_LETTER.word,), by_end=True)


@click.group("dead-letters")
@shows
def dead_letters(setting: Setting, /) -> None:
    """Show the tasks that failed for good, and decide what becomes of them."""
    goes_on(setting)


@dead_letters.command("list")
@select_options()
@click.option(
    "--limit", type=click.IntRange(0), default=50, show_default=True, help="Most tasks; 0: all."
)
@watches
def list_dead(setting: Setting, /, limit: int, **options: Any) -> None:
    """Show dead letters, the newest submission first."""
    selection = _dead(options)
    setting.show(lambda client: view_tasks(client, selection, limit, "newest"))


@dead_letters.command()
@_IDS
@select_options()
@_ALL
@click.option(
    "--max-retries",
    type=click.IntRange(0, 1000),
    help="How often it may fail from now on, instead of what it was submitted with.",
)
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
    """Let dead letters run again: those named, or all that match."""
    selection = _dead(options)
    choose(ids, selection, everything)
    how = How(dry_run, yes)
    setting.ask(lambda visit: apply(visit, ids, selection, retrier(max_retries), how))


@dead_letters.command()
@_IDS
@select_options()
@_ALL
@how_options
@shows
def delete(
    setting: Setting,
    /,
    ids: tuple[str, ...],
    everything: bool,
    dry_run: bool,
    yes: bool,
    **options: Any,
) -> None:
    """Have dead letters forgotten entirely: those named, or all that match."""
    selection = _dead(options)
    choose(ids, selection, everything)
    setting.ask(lambda visit: apply(visit, ids, selection, DELETE, How(dry_run, yes)))
