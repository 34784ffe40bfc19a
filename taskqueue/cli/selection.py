"""
Which tasks a command is about.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import click

from taskqueue.cli.parameters import PATTERN, SPAN
from taskqueue.client import Client, Search
from taskqueue.errors import BadRequest

#: Tasks that one look-up asks for; fewer where their errors are long.
PAGE = 500

_SPECIAL = frozenset(r"\.^$*+?{}[]|()")
_LONGEST_LITERAL = 1000

Json = dict[str, Any]


@dataclass(frozen=True)
class Selection:
    """
    Tasks that match everything given; C{None} does not restrict.

    @ivar states: words; empty for any.
    @ivar older_than_s: submitted, or with C{by_end} ended, at least so long ago.
    @ivar error_matches: found in the newest error.
    """

    queue: str | None = None
    type: str | None = None
    states: tuple[str, ...] = ()
    older_than_s: float | None = None
    error_matches: re.Pattern[str] | None = None
    by_end: bool = False

    @property
    def is_filter(self) -> bool:
        """Whether anything but the states was given."""
        given = (self.queue, self.type, self.older_than_s, self.error_matches)
        return any(value is not None for value in given)

    def matches(self, view: Json) -> bool:
        """What the broker does not look for."""
        wanted = self.error_matches
        return wanted is None or wanted.search(view.get("error") or "") is not None

    def search(self, now: float, order: str) -> Json:
        """The fields of a L{Search} but for its page, at C{now} by the broker's clock."""
        moment = "ended_to" if self.by_end else "submitted_to"
        # Whatever is submitted while pages are read is not part of them.
        before = now if self.older_than_s is None else now - self.older_than_s
        return {
            "queue": self.queue,
            "type": self.type,
            "states": self.states or None,
            "error_contains": self._literal(),
            "order": order,
            moment: max(before, 0.0),
        }

    def _literal(self) -> str | None:
        """Text that every error which matches contains, as far as that is plain to see."""
        wanted = self.error_matches
        if wanted is None or not 0 < len(wanted.pattern) <= _LONGEST_LITERAL:
            return None
        return None if _SPECIAL & set(wanted.pattern) else wanted.pattern


async def pages(
    client: Client,
    selection: Selection,
    *,
    order: str = "oldest",
    size: int = PAGE,
    now: float | None = None,
) -> AsyncIterator[list[Json]]:
    """
    The matching tasks, a page at a time; an empty page may come in between.

    @param now: as of when, by the broker's clock; C{None}: as of now.
    """
    fields = selection.search(await client.ping() if now is None else now, order)
    after: int | None = None
    while True:
        try:
            page = await client.list_tasks(Search(**fields, limit=size, after=after))
        except BadRequest:
            # The errors of so many tasks may be more than fits into one answer.
            if size == 1:
                raise
            size //= 2
            continue
        yield [view for view in page.tasks if selection.matches(view)]
        after = page.next
        if after is None:
            return


def select_options(states: Sequence[str] = ()) -> Callable[[Any], Any]:
    """Give a command the options that make a L{Selection}; C{--state} where there are states."""
    options = [
        click.option("--queue", help="Only tasks of this queue."),
        click.option("--type", "type", help="Only tasks of this type."),
        click.option(
            "--older-than",
            "older_than_s",
            type=SPAN,
            metavar="DURATION",
            help="Only tasks of at least this age: 90s, 15m, 2h, 7d, 1w.",
        ),
        click.option(
            "--error-matches",
            type=PATTERN,
            metavar="REGEX",
            help="Only tasks in whose newest error this is found.",
        ),
    ]
    if states:
        state = click.option(
            "--state",
            "states",
            multiple=True,
            type=click.Choice(tuple(states)),
            help="Only tasks in this state; may be repeated.",
        )
        options.insert(2, state)
    return lambda command: reduce(lambda made, option: option(made), reversed(options), command)


def selection_from(options: Json, **fixed: Any) -> Selection:
    """Take the options of L{select_options} out of C{options}."""
    names = ("queue", "type", "states", "older_than_s", "error_matches")
    given = {name: options.pop(name) for name in names if name in options}
    return Selection(**{**given, **fixed})
