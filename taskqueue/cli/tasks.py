"""
Commands that submit tasks and look at them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Any

import click

from taskqueue.cli.exits import OK, REFUSED
from taskqueue.cli.importing import Import, import_tasks
from taskqueue.cli.output import Shown
from taskqueue.cli.running import Visit, complain
from taskqueue.cli.selection import PAGE, Selection, pages, select_options, selection_from
from taskqueue.cli.setting import Setting, shows, watches
from taskqueue.cli.views import history_table, tasks_table
from taskqueue.client import Client, Outcome, Submission
from taskqueue.core.task import DEFAULT_PRIORITY, STATE_WORDS, State
from taskqueue.errors import TaskFailed

# --- submit ----------------------------------------------------------------------


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


_TASK_OPTIONS = (
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
    click.option(
        "--unique", metavar="KEY", help="Give the task that holds this key instead, if one does."
    ),
    click.option(
        "--unique-until",
        type=click.Choice(("success", "start", "window")),
        help="How long it holds the key: to its end, its first claim, or for --unique-for.",
    ),
    click.option("--unique-for", "unique_for_s", type=click.FloatRange(0), metavar="SECONDS"),
    click.option("--header", "headers", multiple=True, metavar="NAME=VALUE"),
    click.option("--wait", "--watch", "wait", is_flag=True, help="Wait, and print the result."),
    click.option("--wait-timeout", "wait_s", type=click.FloatRange(0), metavar="SECONDS"),
)

_FILE_OPTIONS = (
    click.option(
        "--from-file",
        "source",
        type=click.Path(dir_okay=False, allow_dash=True),
        metavar="FILE|-",
        help="Submit a task for each line of JSON in FILE instead.",
    ),
    click.option(
        "--resume",
        "journal",
        type=click.Path(dir_okay=False),
        metavar="FILE",
        help="Note in FILE how far it got, and go on from there where there is one.",
    ),
    click.option(
        "--rejects",
        type=click.Path(dir_okay=False),
        metavar="FILE",
        help="Write the lines that were not accepted here, with the reasons.",
    ),
    click.option(
        "--run-name",
        "run_name",
        default="",
        metavar="TEXT",
        help="Submit a file anew that was submitted before, under another name.",
    ),
)


def _options(command: Any) -> Any:
    several = (*_TASK_OPTIONS, *_FILE_OPTIONS)
    return reduce(lambda made, option: option(made), reversed(several), command)


@click.command()
@click.argument("type", required=False)
@_options
@shows
def submit(
    setting: Setting,
    /,
    type: str | None,
    wait: bool,
    wait_s: float | None,
    source: str | None,
    journal: str | None,
    rejects: str | None,
    run_name: str,
    **options: Any,
) -> None:
    """
    Submit a task of TYPE and print its id.

    With --from-file, submit a task for each line of a file. A line is a JSON
    object: "type" (TYPE where it has none), "payload" (text as it is, anything
    else as JSON) or "payload_base64" or "args" and "kwargs", and the options of
    the Python client ("queue", "priority", "run_in_s", ...), for which the
    options here are the defaults. Ids derive from the file, so that a line which
    is submitted twice is one task.
    """
    fields = _fields(options)
    if source is not None:
        if wait or fields["id"] or fields["payload"] or fields["unique"]:
            raise click.UsageError("--from-file goes without --wait, --id, --payload and --unique")
        defaults = {**fields, "type": type}
        plan = Import(source, journal, rejects, run_name, defaults)
        setting.ask(lambda visit: import_tasks(visit, plan))
        return
    if not fields["unique"] and (fields["unique_until"] or fields["unique_for_s"]):
        raise click.UsageError("--unique-until and --unique-for go with --unique")
    if type is None:
        raise click.UsageError("name the TYPE of the task, or a file with --from-file")
    if journal or rejects or run_name:
        raise click.UsageError("--resume, --rejects and --run-name go with --from-file")
    task = Submission(type, **fields)
    setting.ask(lambda visit: submit_one(visit, task, wait, wait_s))


def _fields(options: dict[str, Any]) -> dict[str, Any]:
    """The options of the command as fields of a L{Submission}."""
    return {
        "payload": read_payload(options.pop("payload")),
        "id": options.pop("task_id"),
        "headers": read_headers(options.pop("headers")) or None,
        "depends_on": options.pop("depends_on") or None,
        **options,
    }


async def submit_one(visit: Visit, task: Submission, wait: bool, timeout_s: float | None) -> int:
    """C{taskqueue submit TYPE}."""
    client, out = visit.client, visit.out
    options = {name: getattr(task, name) for name in Submission.__slots__}
    task_id = str(await client.submit(**options))
    if not wait:
        if out.for_people:
            out.line(task_id)
        else:
            out.value({"id": task_id})
        return OK
    outcome = await client.outcome(task_id, timeout_s)
    if not out.for_people:
        out.value({**outcome._asdict(), "state": outcome.state.word})
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


# --- looking ---------------------------------------------------------------------


@click.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--history", is_flag=True, help="With what happened to each.")
@watches
def status(setting: Setting, /, ids: tuple[str, ...], history: bool) -> None:
    """Show where tasks are in their lives."""
    setting.show(lambda client: view_status(client, ids, history))


async def view_status(client: Client, ids: Sequence[str], history: bool) -> Shown:
    """Where these tasks are in their lives."""
    views = await client.status(ids, history=history)
    known = [view for view in views if view is not None]
    parts = [tasks_table(known)] if known else []
    parts += [history_table(view) for view in known] if history else []
    unknown = [task for task, view in zip(ids, views, strict=True) if view is None]
    complaints = [f"there is no task {task}" for task in unknown]
    return Shown(views, parts, REFUSED if unknown else OK, complaints)


@click.command("list")
@select_options(STATE_WORDS)
@click.option(
    "--limit", type=click.IntRange(0), default=50, show_default=True, help="Most tasks; 0: all."
)
@click.option("--order", type=click.Choice(("newest", "oldest")), default="newest")
@watches
def list_tasks(setting: Setting, /, limit: int, order: str, **options: Any) -> None:
    """Show the tasks that match."""
    selection = selection_from(options)
    setting.show(lambda client: view_tasks(client, selection, limit, order))


async def view_tasks(client: Client, selection: Selection, limit: int, order: str) -> Shown:
    """Up to C{limit} of the tasks that match, 0 for all."""
    found: list[dict[str, Any]] = []
    size = PAGE if not limit or selection.error_matches else min(limit, PAGE)
    async for page in pages(client, selection, order=order, size=size):
        found += page
        if limit and len(found) >= limit:
            break
    found = found[:limit] if limit else found
    return Shown(found, [tasks_table(found)])
