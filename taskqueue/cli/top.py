"""
The command that shows the broker on one screen, and goes on showing it.
"""

from __future__ import annotations

import os
import sys
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click
from rich.live import Live
from rich.text import Text
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from taskqueue.cli.dashboard import FAILURES, Sight, dashboard
from taskqueue.cli.exits import OK, USAGE
from taskqueue.cli.output import together
from taskqueue.cli.running import Visit, complain, explain
from taskqueue.cli.setting import Setting, shows
from taskqueue.cli.watching import pause
from taskqueue.client import Client, Search
from taskqueue.core.task import State
from taskqueue.errors import TaskQueueError


@click.command()
@click.option(
    "--interval",
    "every_s",
    type=click.FloatRange(0.1),
    default=1.0,
    show_default=True,
    metavar="SECONDS",
    help="How often to look.",
)
@shows
def top(setting: Setting, /, every_s: float) -> None:
    """
    Show queues, workers, rates and failures on the terminal, live.

    Press q to quit.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        complain("top needs a terminal; `taskqueue stats --watch` does not")
        sys.exit(USAGE)
    setting.ask(lambda visit: show_top(visit, every_s))


async def look(client: Client, at: float) -> Sight:
    """Ask the broker for everything."""
    dead = Search(states=[State.DEAD_LETTER.word], limit=FAILURES)
    found = await client.list_tasks(dead)
    stats, queues = await client.stats(), await client.queues()
    return Sight(at, stats, queues, await client.workers(), found.tasks)


async def show_top(visit: Visit, every_s: float) -> int:
    """Show the dashboard until somebody presses q."""
    console, seconds = visit.out.console, visit.reactor.seconds
    quitting = _Quitting()
    before: Sight | None = None
    with (
        Live(console=console, screen=True, auto_refresh=False) as live,
        keys(visit.reactor, sys.stdin.fileno(), quitting.pressed),
    ):
        while not quitting.wanted:
            foot = Text("q quits", style="dim")
            try:
                now = await look(visit.client, seconds())
            except TaskQueueError as error:
                live.update(together([Text(explain(error), style="bold red"), foot]), refresh=True)
            else:
                shown = dashboard(now, before, console.size.height - 1)
                live.update(together([shown, foot]), refresh=True)
                before = now
            await quitting.unless(pause(visit.reactor, every_s))
    return OK


class _Quitting:
    """
    Whether somebody has pressed q.

    @ivar wanted: so it is.
    """

    def __init__(self) -> None:
        self.wanted = False
        self._pause: Deferred[None] | None = None

    def pressed(self, key: bytes) -> None:
        """A key was pressed, or the terminal is gone."""
        if key in (b"q", b"Q", b""):
            self.wanted = True
            if self._pause is not None:
                self._pause.cancel()

    async def unless(self, pausing: Deferred[None]) -> None:
        """Wait until the pause is over, or somebody quits."""
        self._pause = pausing
        try:
            await pausing
        except CancelledError:
            if not self.wanted:
                raise
        finally:
            self._pause = None


@implementer(IReadDescriptor)
class _Keys:
    """Reads keys as they are pressed."""

    def __init__(self, descriptor: int, pressed: Callable[[bytes], None]) -> None:
        self._descriptor = descriptor
        self._pressed = pressed

    def fileno(self) -> int:
        return self._descriptor

    def logPrefix(self) -> str:
        return "keys"

    def doRead(self) -> None:
        data = os.read(self._descriptor, 64)
        for key in [data[i : i + 1] for i in range(len(data))] or [b""]:
            self._pressed(key)

    def connectionLost(self, reason: Failure) -> None:
        self._pressed(b"")


@contextmanager
def keys(reactor: Any, descriptor: int, pressed: Callable[[bytes], None]) -> Iterator[None]:
    """
    Call C{pressed} with each key that is pressed on a terminal, without waiting
    for the end of a line; with nothing when the terminal is gone.
    """
    before = termios.tcgetattr(descriptor)
    reader = _Keys(descriptor, pressed)
    tty.setcbreak(descriptor)
    reactor.addReader(reader)
    try:
        yield
    finally:
        reactor.removeReader(reader)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
