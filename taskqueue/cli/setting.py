"""
What every command is given: where the broker is, and how to show what it says.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from functools import wraps
from typing import Any

import click

from taskqueue.cli.output import FORMATS, Output
from taskqueue.cli.running import Visit, log_to, run, with_client
from taskqueue.cli.watching import View, show
from taskqueue.client import Client
from taskqueue.client.options import ClientOptions

#: How often a watched view is shown anew where nothing is said, seconds.
WATCH_S = 2.0

#: What a command does with the broker; returns the exit status.
Action = Callable[[Visit], Coroutine[Any, Any, int]]


@dataclass(frozen=True)
class Setting:
    """
    What stands before the name of the command.

    @ivar form: one of L{FORMATS}.
    @ivar timeout_s: how long connecting, or an answer, may take.
    @ivar watch_s: how often a view is shown anew; C{None}: once.
    @ivar how: more about how the client is made.
    """

    broker: str
    form: str
    timeout_s: float
    watch_s: float | None = None
    how: ClientOptions = field(default_factory=ClientOptions)

    def ask(self, action: Action) -> None:
        """Carry out C{action} with a client, and exit."""
        out = Output(self.form)
        log_to(None)

        async def main(reactor: Any) -> int:
            async def act(client: Client) -> int:
                return await action(Visit(client, out, reactor))

            return await with_client(reactor, self.broker, self.timeout_s, act, self.how)

        sys.exit(run(main))

    def show(self, view: View) -> None:
        """Show what C{view} sees, once or again and again, and exit."""
        self.ask(lambda visit: show(visit, view, self.watch_s))


FORMAT = click.Choice(FORMATS)


def shows(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the setting; it may name its format after its own name too."""

    @click.option("--format", "form", type=FORMAT, help="How to show it.  [default: table]")
    @click.pass_obj
    @wraps(command)
    def run_it(setting: Setting, /, form: str | None, **options: Any) -> None:
        if form is not None:
            setting = replace(setting, form=form)
        command(setting, **options)

    return run_it


def watches(command: Callable[..., None]) -> Callable[..., None]:
    """Let a command that shows a view show it again and again; goes above L{shows}."""

    @click.option(
        "--watch",
        "watch_s",
        type=click.FloatRange(0.1),
        is_flag=False,
        flag_value=WATCH_S,
        metavar="[SECONDS]",
        help=f"Show it again every SECONDS ({WATCH_S:g}) until Ctrl-C; write --watch=SECONDS.",
    )
    @shows
    @wraps(command)
    def run_it(setting: Setting, /, watch_s: float | None, **options: Any) -> None:
        command(replace(setting, watch_s=watch_s), **options)

    return run_it


def goes_on(setting: Setting) -> bool:
    """Whether a command of this group follows; it goes by what was said to the group."""
    context = click.get_current_context()
    context.obj = setting
    return context.invoked_subcommand is not None
