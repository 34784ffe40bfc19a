"""
Commands on tasks.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from taskqueue.cli.output import Output, first_line, moment
from taskqueue.cli.running import OK, REFUSED, complain
from taskqueue.client import Client, Outcome, Submission
from taskqueue.core.task import DEFAULT_PRIORITY, State
from taskqueue.errors import TaskFailed


def read_payload(given: str) -> bytes:
    """
    What C{--payload} names: C{-} is the standard input, C{@file} a file, all
    else the text itself.

    @raises click.BadParameter: the file cannot be read.
    """
    if given == "-":
        return sys.stdin.buffer.read()
    if not given.startswith("@"):
        return given.encode("utf-8", "surrogateescape")
    try:
        return Path(given[1:]).read_bytes()
    except OSError as error:
        raise click.BadParameter(f"{given[1:]}: {error.strerror}") from None


def read_headers(given: Sequence[str]) -> dict[str, str]:
    """
    C{name=value} each, as a mapping.

    @raises click.BadParameter: one has no equals sign.
    """
    headers = {}
    for item in given:
        name, equals, value = item.partition("=")
        if not equals:
            raise click.BadParameter(f"{item!r}: write it as name=value")
        headers[name] = value
    return headers


async def submit(
    client: Client, out: Output, task: Submission, wait: bool, timeout_s: float | None
) -> int:
    """C{taskqueue submit}."""
    options = {name: getattr(task, name) for name in Submission.__slots__}
    task_id = await client.submit(**options)
    if not wait:
        if out.as_json:
            out.json({"id": task_id})
        else:
            out.line(task_id)
        return OK
    outcome = await client.outcome(task_id, timeout_s)
    if out.as_json:
        out.json({**outcome._asdict(), "state": outcome.state.word})
    elif outcome.result is not None:
        out.raw(outcome.result)
    return _tell_failure(outcome)


def _tell_failure(outcome: Outcome) -> int:
    if outcome.state is State.COMPLETED:
        return OK
    try:
        outcome.value()
    except TaskFailed as error:
        complain(str(error))
    return REFUSED


async def status(client: Client, out: Output, tasks: Sequence[str], history: bool) -> int:
    """C{taskqueue status}."""
    views = await client.status(tasks, history=history)
    known = [view for view in views if view is not None]
    if out.as_json:
        out.json(views)
    elif known:
        _show_tasks(out, known)
        for view in known if history else ():
            _show_history(out, view)
    unknown = [task for task, view in zip(tasks, views, strict=True) if view is None]
    for task in unknown:
        complain(f"there is no task {task}")
    return REFUSED if unknown else OK


def _show_tasks(out: Output, views: Sequence[dict[str, Any]]) -> None:
    columns = ("id", "type", "queue", "priority", "state", "attempt", "failures", "losses")
    out.table(
        "Tasks",
        (*columns, "submitted", "worker", "error"),
        [
            (
                *(view.get(name) for name in columns),
                moment(view.get("submitted_at")),
                view.get("worker"),
                first_line(view.get("error")),
            )
            for view in views
        ],
    )


def _show_history(out: Output, view: dict[str, Any]) -> None:
    out.table(
        f"History of {view['id']}",
        ("at", "event", "attempt", "worker", "detail"),
        [
            (
                moment(event.get("at")),
                event.get("event"),
                event.get("attempt"),
                event.get("worker"),
                first_line(event.get("detail")),
            )
            for event in view.get("history") or ()
        ],
    )


SUBMIT_OPTIONS = (
    click.option("--payload", default="", metavar="TEXT|@FILE|-", help="What its handler gets."),
    click.option("--queue", default="default", show_default=True),
    click.option(
        "--priority",
        type=click.IntRange(0, 255),
        default=DEFAULT_PRIORITY,
        show_default=True,
        help="Higher goes first.",
    ),
    click.option("--id", "task_id", metavar="UUID", help="Submitting an id twice is harmless."),
    click.option("--run-in", "run_in_s", type=click.FloatRange(0), metavar="SECONDS"),
    click.option("--expires-in", "expires_in_s", type=click.FloatRange(0), metavar="SECONDS"),
    click.option("--max-retries", type=click.IntRange(0, 1000)),
    click.option("--depends-on", multiple=True, metavar="UUID", help="May be repeated."),
    click.option("--header", "headers", multiple=True, metavar="NAME=VALUE"),
)
