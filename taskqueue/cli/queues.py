"""
Commands on queues.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from taskqueue.cli.exits import OK, OVER_LIMIT, REFUSED
from taskqueue.cli.output import Rows, Shown
from taskqueue.cli.parameters import NUMBER_OR_NONE, SPAN
from taskqueue.cli.running import Visit, complain
from taskqueue.cli.setting import Setting, goes_on, shows, watches
from taskqueue.cli.views import queues_table
from taskqueue.cli.watching import pause as pause_for
from taskqueue.client import Client

#: How often a queue that drains is looked at, seconds.
_LOOK_S = 0.5


async def view_queues(client: Client) -> Shown:
    """Every queue."""
    found = await client.queues()
    return Shown(found, [queues_table(found)])


@click.group(invoke_without_command=True)
@watches
def queues(setting: Setting, /) -> None:
    """Show every queue, or change one."""
    if not goes_on(setting):
        setting.show(view_queues)


@queues.command("list")
@watches
def list_queues(setting: Setting, /) -> None:
    """Show every queue."""
    setting.show(view_queues)


@queues.command()
@click.argument("queue")
@click.option(
    "--for", "for_s", type=SPAN, metavar="DURATION", help="Resume by itself after this: 90s, 15m."
)
@shows
def pause(setting: Setting, /, queue: str, for_s: float | None) -> None:
    """Hand out no tasks of QUEUE."""

    async def act(visit: Visit) -> int:
        await visit.client.pause(queue, for_s)
        return _done(visit, queue, f"Queue {queue} is paused.")

    setting.ask(act)


@queues.command()
@click.argument("queue")
@shows
def resume(setting: Setting, /, queue: str) -> None:
    """Hand out tasks of QUEUE again."""

    async def act(visit: Visit) -> int:
        await visit.client.resume(queue)
        return _done(visit, queue, f"Queue {queue} is resumed.")

    setting.ask(act)


@queues.command()
@click.argument("queue")
@click.argument("max_depth", type=NUMBER_OR_NONE, metavar="NUMBER|none")
@shows
def bound(setting: Setting, /, queue: str, max_depth: int) -> None:
    """
    Let at most NUMBER tasks wait in QUEUE.

    The word none takes the bound off: the configured one holds again.
    """

    async def act(visit: Visit) -> int:
        await visit.client.set_queue(queue, None if max_depth < 0 else max_depth)
        what = "has no bound of its own" if max_depth < 0 else f"is bounded to {max_depth:,} tasks"
        return _done(visit, queue, f"Queue {queue} {what}.")

    setting.ask(act)


@queues.command()
@click.argument("queue")
@click.option("--wait", is_flag=True, help="Wait until no task of it waits or runs.")
@shows
def drain(setting: Setting, /, queue: str, wait: bool) -> None:
    """
    Let QUEUE run empty: it takes no new tasks.

    `taskqueue queues bound QUEUE none` lets it take tasks again.
    """

    async def act(visit: Visit) -> int:
        await visit.client.set_queue(queue, 0)
        if wait:
            await empty(visit, queue)
        how = "is empty and" if wait else ""
        undo = f"`taskqueue queues bound {queue} none` undoes it"
        return _done(visit, queue, " ".join(f"Queue {queue} {how} takes no tasks; {undo}.".split()))

    setting.ask(act)


@queues.command("retry")
@click.argument("queue")
@click.option(
    "--limit",
    type=click.IntRange(1, 100_000),
    default=10_000,
    show_default=True,
    metavar="NUMBER",
    help="At most so many.",
)
@shows
def retry_queue(setting: Setting, /, queue: str, limit: int) -> None:
    """
    Let the dead letters of QUEUE run again.

    Those come first that have been dead letters for longest.
    """
    setting.ask(lambda visit: retry_dead(visit, queue, limit))


async def retry_dead(visit: Visit, queue: str, limit: int) -> int:
    """Let dead letters of a queue run again, and tell how many there were."""
    retried, left = await visit.client.retry_queue(queue, limit)
    if visit.out.for_people:
        rest = f"; {left:,} are left" if left else ""
        visit.out.line(f"{retried:,} dead letters of queue {queue} run again{rest}.")
    else:
        visit.out.value({"queue": queue, "retried": retried, "left": left})
    return OK


async def empty(visit: Visit, queue: str) -> None:
    """Wait until no task of a queue waits or runs."""
    told = -1
    while True:
        (found,) = [each for each in await visit.client.queues() if each["name"] == queue]
        left = found["depth"] + found["states"].get("in_progress", 0)
        if not left:
            return
        if left != told:
            told = left
            complain(f"{left:,} to go")
        await pause_for(visit.reactor, _LOOK_S)


def _done(visit: Visit, queue: str, said: str) -> int:
    if visit.out.for_people:
        visit.out.line(said)
    else:
        visit.out.value({"queue": queue, "done": True})
    return OK


@click.command("queue-depth")
@click.argument("names", nargs=-1, metavar="[QUEUE]...")
@click.option(
    "--above",
    type=click.IntRange(0),
    metavar="NUMBER",
    help="Exit with 5 where a queue is deeper than this.",
)
@watches
def queue_depth(setting: Setting, /, names: tuple[str, ...], above: int | None) -> None:
    """Show how many tasks wait in each QUEUE, or in all."""
    setting.show(lambda client: view_depths(client, names, above))


async def view_depths(client: Client, names: Sequence[str], above: int | None) -> Shown:
    """The depths of these queues, or of all."""
    depths: dict[str, Any] = {queue["name"]: queue["depth"] for queue in await client.queues()}
    unknown = [name for name in names if name not in depths]
    chosen = {name: depths[name] for name in names or depths if name in depths}
    deep = [name for name, depth in chosen.items() if above is not None and depth > above]
    complaints = [f"there is no queue {name}" for name in unknown]
    complaints += [f"queue {name} has {chosen[name]:,} tasks waiting" for name in deep]
    status = REFUSED if unknown else OVER_LIMIT if deep else OK
    return Shown(chosen, [Rows(None, ("queue", "depth"), chosen.items())], status, complaints)
