"""
Doing something to many tasks: what it would be, whether that is meant, and what
came of it.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import click

from taskqueue.cli.exits import OK, REFUSED, USAGE
from taskqueue.cli.running import Visit, complain
from taskqueue.cli.selection import Selection, pages
from taskqueue.cli.views import tasks_table
from taskqueue.client import Client
from taskqueue.errors import Conflict, TaskQueueError, UnknownTask

#: Tasks that a dry run and a question show.
SAMPLE = 10

#: Refusals that are told one by one.
_TOLD = 10

#: Tasks that one request changes.
BATCH = 500

Json = dict[str, Any]

#: Does it to tasks; answers for each, with an error for those it was not done to.
Deed = Callable[[Client, Sequence[str]], Awaitable[Sequence[Any]]]


class Action(NamedTuple):
    """
    What is done.

    @ivar verb: as in "cancel 3 tasks?".
    @ivar done: as in "3 tasks cancelled".
    """

    verb: str
    done: str
    deed: Deed


class How(NamedTuple):
    """
    @ivar dry_run: only show what would be done.
    @ivar yes: do not ask.
    """

    dry_run: bool
    yes: bool


@dataclass
class Tally:
    """
    What came of it.

    @ivar moved: tasks that were no more in the state for it when their turn came.
    @ivar refused: the first of them, each with its id, code and message.
    """

    done: int = 0
    moved: int = 0
    refusals: int = 0
    refused: list[Json] = field(default_factory=list)

    def count(self, ids: Sequence[str], answers: Sequence[Any], *, may_move: bool) -> None:
        """Count the answers to one request."""
        for task, answer in zip(ids, answers, strict=True):
            if not isinstance(answer, TaskQueueError):
                self.done += 1
            elif may_move and isinstance(answer, (Conflict, UnknownTask)):
                self.moved += 1
            else:
                self.refusals += 1
                if len(self.refused) < _TOLD:
                    told = {"id": task, "code": answer.code, "message": answer.message}
                    self.refused.append(told)


def how_options(command: Any) -> Any:
    """Give a command C{--dry-run} and C{--yes}."""
    yes = click.option("--yes", "-y", is_flag=True, help="Do not ask before doing it.")
    dry = click.option("--dry-run", is_flag=True, help="Count, show a sample, and do nothing.")
    return dry(yes(command))


def amount(count: int) -> str:
    """So many tasks, in words."""
    return "1 task" if count == 1 else f"{count:,} tasks"


def confirmed(question: str) -> bool:
    """Ask on the terminal; Ctrl-C is a no."""
    # The reactor's own handler would let the question go on.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return click.confirm(question, err=True)
    except click.Abort:
        sys.stderr.write("\n")
        return False
    finally:
        signal.signal(signal.SIGINT, before)


async def to_these(visit: Visit, ids: Sequence[str], action: Action, how: How) -> int:
    """Do it to the tasks that were named, without a question."""
    if how.dry_run:
        views = await visit.client.status(list(ids)[:BATCH])
        known = [view for view in views if view is not None]
        _show_plan(visit, action, len(ids), known[:SAMPLE])
        return OK
    tally = Tally()
    for start in range(0, len(ids), BATCH):
        batch = ids[start : start + BATCH]
        tally.count(batch, await action.deed(visit.client, batch), may_move=False)
    return _tell(visit, action, tally)


async def to_selected(visit: Visit, selection: Selection, action: Action, how: How) -> int:
    """Do it to all tasks that match, once somebody has agreed."""
    # What comes up while somebody reads the question was not part of it.
    now = await visit.client.ping()
    count, sample = await survey(visit.client, selection, now)
    if how.dry_run:
        _show_plan(visit, action, count, sample)
        return OK
    if count and not how.yes:
        status = await agreed(visit, action.verb, count, sample)
        if status != OK:
            return status
    tally = Tally()
    async for page in pages(visit.client, selection, size=BATCH, now=now):
        ids = [view["id"] for view in page]
        if ids:
            tally.count(ids, await action.deed(visit.client, ids), may_move=True)
    return _tell(visit, action, tally)


async def survey(client: Client, selection: Selection, now: float) -> tuple[int, list[Json]]:
    """How many tasks match at C{now}, and the first of them."""
    count, sample = 0, list[Json]()
    async for page in pages(client, selection, now=now):
        count += len(page)
        sample += page[: SAMPLE - len(sample)]
    return count, sample


async def agreed(visit: Visit, verb: str, count: int, sample: list[Json]) -> int:
    """
    Show on the terminal what would be done, and ask.

    @return: C{OK} where it is meant, or the status to end with.
    """
    if not sys.stdin.isatty():
        complain(f"this would {verb} {amount(count)}: say --yes, or look first with --dry-run")
        return USAGE
    if visit.out.for_people and sample:
        visit.out.console.print(_sample(verb, count, sample))
    if not confirmed(f"{verb.capitalize()} {amount(count)}?"):
        complain("nothing was done")
        return REFUSED
    # Answering may have taken longer than the broker keeps a silent connection.
    await visit.client.ping()
    return OK


def _sample(verb: str, count: int, sample: list[Json]) -> Any:
    more = f"the first {len(sample)} of " if count > len(sample) else ""
    return tasks_table(sample, title=f"To {verb}: {more}{amount(count)}")


def _show_plan(visit: Visit, action: Action, count: int, sample: list[Json]) -> None:
    if visit.out.for_people:
        if sample:
            visit.out.console.print(_sample(action.verb, count, sample))
        visit.out.line(f"This would {action.verb} {amount(count)}.")
    else:
        plan = {"action": action.verb, "dry_run": True, "count": count, "sample": sample}
        visit.out.value(plan)


def _tell(visit: Visit, action: Action, tally: Tally) -> int:
    if visit.out.for_people:
        visit.out.line(f"{amount(tally.done)} {action.done}.")
        if tally.moved:
            visit.out.line(f"{amount(tally.moved)} changed meanwhile and left alone.")
    else:
        visit.out.value(
            {
                "action": action.verb,
                "dry_run": False,
                "done": tally.done,
                "changed_meanwhile": tally.moved,
                "refusals": tally.refusals,
                "refused": tally.refused,
            }
        )
    for refused in tally.refused:
        complain(f"{refused['id']}: {refused['message']}")
    if tally.refusals > len(tally.refused):
        complain(f"and {tally.refusals - len(tally.refused):,} more")
    return REFUSED if tally.refusals else OK
