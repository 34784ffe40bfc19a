"""
The command that tells how tasks end, as they do.
"""

from __future__ import annotations

from collections.abc import Sequence

import click
from rich.text import Text
from twisted.internet.defer import Deferred

from taskqueue.cli.exits import OK
from taskqueue.cli.output import cell, first_line, moment
from taskqueue.cli.running import Visit
from taskqueue.cli.setting import Setting, shows
from taskqueue.cli.watching import pause
from taskqueue.client import Outcome
from taskqueue.core.task import ENDED_STATES

#: How often queues that are new are looked for, seconds.
_LOOK_S = 2.0


@click.command()
@click.argument("queues", nargs=-1, metavar="[QUEUE]...")
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice([state.word for state in ENDED_STATES]),
    help="Only tasks that end like this; may be repeated.",
)
@click.option("--type", "types", multiple=True, help="Only tasks of this type; may be repeated.")
@click.option("--count", type=click.IntRange(1), metavar="NUMBER", help="End after so many.")
@shows
def tail(
    setting: Setting,
    /,
    queues: tuple[str, ...],
    states: tuple[str, ...],
    types: tuple[str, ...],
    count: int | None,
) -> None:
    """
    Tell how tasks of QUEUE, or of all queues, end, as they do.

    JSON is a line for each, YAML a document for each.
    """
    setting.ask(lambda visit: Tail(visit, states, types, count).run(queues))


class Tail:
    """
    Prints outcomes until there were enough of them.
    """

    def __init__(
        self, visit: Visit, states: Sequence[str], types: Sequence[str], count: int | None
    ) -> None:
        self._visit = visit
        self._states = states
        self._types = types
        self._left = count
        self._enough: Deferred[None] = Deferred()
        self._watched: set[str] = set()

    async def run(self, queues: Sequence[str]) -> int:
        """Tell of these queues, or of all, those that come up meanwhile too."""
        await self._watch(queues or await self._all())
        looking = None if queues else Deferred.fromCoroutine(self._look())
        try:
            await self._enough
        finally:
            if looking is not None:
                looking.addErrback(lambda failure: None)
                looking.cancel()
        return OK

    async def _all(self) -> list[str]:
        return [queue["name"] for queue in await self._visit.client.queues()]

    async def _watch(self, queues: Sequence[str]) -> None:
        for queue in queues:
            if queue not in self._watched:
                self._watched.add(queue)
                await self._visit.client.watch_queue(queue, self.tell)

    async def _look(self) -> None:
        while True:
            await pause(self._visit.reactor, _LOOK_S)
            await self._watch(await self._all())

    def tell(self, outcome: Outcome) -> None:
        """Print one outcome, if it is wanted."""
        if self._enough.called or not self._wanted(outcome):
            return
        if self._visit.out.for_people:
            self._visit.out.console.print(_line(outcome), soft_wrap=True)
        else:
            self._visit.out.item({**outcome._asdict(), "state": outcome.state.word})
        if self._left is not None:
            self._left -= 1
            if not self._left:
                self._enough.callback(None)

    def _wanted(self, outcome: Outcome) -> bool:
        if self._states and outcome.state.word not in self._states:
            return False
        return not self._types or outcome.type in self._types


def _line(outcome: Outcome) -> Text:
    line = Text(f"{moment(outcome.ended_at)}  ")
    state = cell(outcome.state.word)
    state.pad_right(11 - len(state))
    line.append_text(state)
    line.append(f"  {outcome.queue}  {outcome.type}  {outcome.task}  attempt {outcome.attempt}")
    if outcome.error:
        line.append(f"  {first_line(outcome.error)}")
    return line
