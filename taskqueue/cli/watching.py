"""
Views that are shown again and again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Coroutine
from typing import Any

from rich.console import RenderableType
from rich.live import Live
from rich.text import Text
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from taskqueue.cli.output import Output, Shown, moment, together
from taskqueue.cli.running import Visit, complain, explain
from taskqueue.client import Client
from taskqueue.errors import TaskQueueError

#: Looks once.
View = Callable[[Client], Coroutine[Any, Any, Shown]]


def pause(reactor: Any, delay_s: float) -> Deferred[None]:
    """Fires in C{delay_s} seconds."""
    return deferLater(reactor, delay_s, lambda: None)


async def show(visit: Visit, view: View, every_s: float | None = None) -> int:
    """
    Show a view once, or every C{every_s} seconds until somebody interrupts.

    @return: the exit status.
    """
    if every_s is not None:
        return await _watch(visit, view, every_s)
    shown = await view(visit.client)
    visit.out.show(shown)
    for complaint in shown.complaints:
        complain(complaint)
    return shown.status


async def _watch(visit: Visit, view: View, every_s: float) -> int:
    out = visit.out
    if not (out.for_people and out.console.is_terminal):
        while True:
            _show_again(out, await view(visit.client))
            await pause(visit.reactor, every_s)
    with Live(console=out.console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(await _page(visit.client, view, every_s), refresh=True)
            await pause(visit.reactor, every_s)


def _show_again(out: Output, shown: Shown) -> None:
    if out.for_people:
        out.show(shown)
    else:
        out.item(shown.value)
    for complaint in shown.complaints:
        complain(complaint)


async def _page(client: Client, view: View, every_s: float) -> RenderableType:
    """What stands on the screen; where the broker is away, that is said, and looked again."""
    head = f"Every {every_s:g} s · {moment(time.time())} · Ctrl-C ends"
    try:
        shown = await view(client)
    except TaskQueueError as error:
        return together([Text(head, style="dim"), Text(explain(error), style="bold red")])
    complaints = [Text(complaint, style="red") for complaint in shown.complaints]
    return together([Text(head, style="dim"), *shown.parts, *complaints])
